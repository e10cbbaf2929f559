//! Joined calls, seen by an executor that notes them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::{Request, Scheduler};
use crate::predict::batch::Stacking;
use crate::runtime::{Cancel, Value};
use crate::serve::{Error, Executor, Fault, Metrics, OneCall, Settings};
use crate::tensor::{DType, Data, Dim, Port, Shape, Signature, Tensor, TensorName};

/// Gives its input back, and notes how many rows it had.
struct Echo(Arc<Mutex<Vec<usize>>>);

impl Executor for Echo {
    fn run(&mut self, inputs: &[Value], _: Option<Instant>, _: &Cancel) -> Result<Vec<Tensor>, Fault> {
        let input = inputs[0].as_host().unwrap().clone();
        self.0.lock().unwrap().push(input.shape()[0]);
        // Long enough for the others to come.
        std::thread::sleep(Duration::from_millis(20));
        Ok(vec![input])
    }
}

fn stacking() -> Stacking {
    let port = |name: &str| Port {
        name: TensorName::new(name),
        dtype: DType::I64,
        shape: Shape::of([Dim::Symbol("N".into()), Dim::Fixed(1)]),
    };
    Stacking::of(&Signature {
        inputs: vec![port("x")],
        outputs: vec![port("y")],
    })
    .unwrap()
}

#[tokio::test]
async fn joined_rows_are_filled_up_to_one_of_few_sizes_and_nobody_sees_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let executor: Box<dyn Executor> = Box::new(Echo(Arc::clone(&seen)));
    let settings = Settings {
        max_batch_size: 6,
        even_batches: true,
        ..Settings::default()
    };
    let metrics = Metrics::default().of_model("m", "1");
    let scheduler = Arc::new(Scheduler::start("m", vec![executor], Some(stacking()), settings, metrics).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40i64 {
        let scheduler = Arc::clone(&scheduler);
        tasks.spawn(async move {
            let rows = 1 + number as usize % 2;
            let inputs = vec![Tensor::from_vec([rows, 1], vec![number; rows]).unwrap()];
            let request = Request {
                inputs: inputs.clone(),
                ..Request::default()
            };
            let answer = scheduler.call(request).await.unwrap();
            assert_eq!(answer.outputs, inputs);
            assert!(answer.times.rows <= 6, "{:?}", answer.times);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(seen.lock().unwrap().contains(&6), "{seen:?}");
    // One of two rows that comes alone is filled up as well.
    let inputs = vec![Tensor::from_vec([2, 1], vec![7i64; 2]).unwrap()];
    let request = Request {
        inputs: inputs.clone(),
        ..Request::default()
    };
    let answer = scheduler.call(request).await.unwrap();
    assert_eq!((answer.outputs, answer.times.rows), (inputs, 2));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.last(), Some(&3));
    assert!(seen.iter().all(|rows| [1, 3, 6].contains(rows)), "{seen:?}");
}

#[tokio::test]
async fn an_instance_that_gathers_goes_when_its_call_is_full_and_else_when_the_first_has_waited_long_enough() {
    let long = Duration::from_secs(60);
    for (instances, delay, requests) in [
        (1, long, 4),
        (2, long, 8),
        (1, Duration::from_millis(300), 3),
        (2, Duration::from_millis(300), 7),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let executors = (0..instances).map(|_| Box::new(Echo(Arc::clone(&seen))) as Box<dyn Executor>);
        let settings = Settings {
            max_batch_size: 4,
            max_queue_delay: delay,
            ..Settings::default()
        };
        let metrics = Metrics::default().of_model("m", "1");
        let scheduler = Scheduler::start("m", executors.collect(), Some(stacking()), settings, metrics).unwrap();
        let scheduler = Arc::new(scheduler);
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..requests {
            let scheduler = Arc::clone(&scheduler);
            tasks.spawn(async move { (number, scheduler.call(row(number)).await.unwrap().outputs) });
        }
        while let Some(done) = tasks.join_next().await {
            let (number, outputs) = done.unwrap();
            assert_eq!(outputs, row(number).inputs);
        }
        let mut rows = seen.lock().unwrap().clone();
        rows.sort_unstable_by(|one, other| other.cmp(one));
        let wanted: &[usize] = match requests {
            8 => &[4, 4],
            7 => &[4, 3],
            4 => &[4],
            _ => &[3],
        };
        assert_eq!(rows, wanted, "{instances} instances, {requests} requests");
        let is_full = requests % 4 == 0;
        assert_eq!(began.elapsed() < delay, is_full, "{:?}", began.elapsed());
    }
}

#[test]
fn sizes_that_a_device_gets_ready_for_are_few() {
    let settings = |max_batch_size, even_batches| Settings {
        max_batch_size,
        even_batches,
        ..Settings::default()
    };
    let sizes = |settings: Settings| settings.warm_sizes().collect::<Vec<_>>();
    assert_eq!(sizes(settings(64, true)), [1, 16, 32, 64]);
    assert_eq!(sizes(settings(6, true)), [1, 3, 6]);
    assert_eq!(sizes(settings(1, true)), [1]);
    assert_eq!(sizes(settings(64, false)), [1]);
    for rows in 1..=6 {
        assert!(
            sizes(settings(6, true)).contains(&settings(6, true).filled(rows)),
            "{rows}"
        );
        assert_eq!(settings(6, false).filled(rows), rows);
    }
    // Requests that came larger stay as they are.
    assert_eq!(settings(6, true).filled(7), 7);
}

type Seen = Arc<Mutex<Vec<(ThreadId, usize)>>>;

/// Gives its input back, waits at two rows until it is let go, and notes where and with how many others it was called.
struct Noting {
    seen: Seen,
    started: Sender<()>,
    go: Receiver<()>,
    most_at_once: usize,
    runs_anywhere: bool,
}

impl Noting {
    fn note(&self, calls: usize) {
        self.seen.lock().unwrap().push((std::thread::current().id(), calls));
    }

    fn answer(&self, input: &Tensor) -> Result<Vec<Tensor>, Fault> {
        if input.shape()[0] == 2 {
            self.started.send(()).unwrap();
            self.go.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        match input.data() {
            Data::I64(numbers) if numbers[0] == -1 => Err(Fault::Refused("less than nothing".to_owned())),
            _ => Ok(vec![input.clone()]),
        }
    }
}

impl Executor for Noting {
    fn run(&mut self, inputs: &[Value], _: Option<Instant>, _: &Cancel) -> Result<Vec<Tensor>, Fault> {
        self.note(1);
        self.answer(inputs[0].as_host().unwrap())
    }

    fn most_at_once(&self) -> usize {
        self.most_at_once
    }

    fn run_each(&mut self, calls: &[OneCall<'_>], answered: &mut dyn FnMut(Result<Vec<Tensor>, Fault>)) {
        self.note(calls.len());
        for call in calls {
            answered(self.answer(&call.inputs[0]));
        }
    }

    fn runs_anywhere(&self) -> bool {
        self.runs_anywhere
    }
}

/// Starts a scheduler of one instance, and calls it until it knows that small calls are brisk.
async fn brisk(most_at_once: usize, runs_anywhere: bool) -> (Arc<Scheduler>, Seen, Receiver<()>, Sender<()>) {
    let seen = Seen::default();
    let (started, has_started) = channel();
    let (let_go, go) = channel();
    let executor: Box<dyn Executor> = Box::new(Noting {
        seen: Arc::clone(&seen),
        started,
        go,
        most_at_once,
        runs_anywhere,
    });
    let metrics = Metrics::default().of_model("m", "1");
    let scheduler = Scheduler::start("m", vec![executor], Some(stacking()), Settings::default(), metrics).unwrap();
    for _ in 0..10_000 {
        if scheduler.shared.brisk.is_expected(8) {
            break;
        }
        scheduler.call(row(0)).await.unwrap();
    }
    assert!(scheduler.shared.brisk.is_expected(8));
    // The instance that answered the last call may still hold it.
    drop(scheduler.shared.executors[0].lock().unwrap());
    seen.lock().unwrap().clear();
    (Arc::new(scheduler), seen, has_started, let_go)
}

fn row(number: i64) -> Request {
    Request {
        inputs: vec![Tensor::from_vec([1, 1], vec![number]).unwrap()],
        ..Request::default()
    }
}

#[tokio::test]
async fn brisk_requests_that_wait_are_given_to_an_executor_together_and_answered_each_by_itself() {
    let (scheduler, seen, has_started, let_go) = brisk(4, false).await;
    let slow = Arc::clone(&scheduler);
    let slow = tokio::spawn(async move {
        let inputs = vec![Tensor::from_vec([2, 1], vec![0i64, 0]).unwrap()];
        slow.call(Request {
            inputs,
            ..Request::default()
        })
        .await
        .map(|_| ())
    });
    tokio::task::spawn_blocking(move || has_started.recv_timeout(Duration::from_secs(60)).unwrap())
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in [1, 2, -1, 4, 5, 6] {
        let scheduler = Arc::clone(&scheduler);
        tasks.spawn(async move { (number, scheduler.call(row(number)).await) });
    }
    while scheduler.waiting() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let_go.send(()).unwrap();
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (-1, answer) => assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}"),
            (number, answer) => {
                let answer = answer.unwrap();
                assert_eq!(answer.outputs, row(number).inputs);
                assert_eq!(answer.times.rows, 1);
            }
        }
    }
    slow.await.unwrap().unwrap();
    let calls: Vec<usize> = seen.lock().unwrap().iter().map(|(_, calls)| *calls).collect();
    assert_eq!(calls, [1, 4, 2]);
}

#[tokio::test]
async fn a_brisk_request_alone_is_answered_on_the_thread_that_brings_it() {
    let here = std::thread::current().id();
    for (runs_anywhere, is_here) in [(true, true), (false, false)] {
        let (scheduler, seen, ..) = brisk(1, runs_anywhere).await;
        assert_eq!(scheduler.call(row(7)).await.unwrap().outputs, row(7).inputs);
        let (thread, calls) = seen.lock().unwrap()[0];
        assert_eq!((thread == here, calls), (is_here, 1));
    }
}
