//! Joined calls, seen by an executor that notes them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Request, Scheduler};
use crate::predict::batch::Stacking;
use crate::runtime::{Cancel, Value};
use crate::serve::{Executor, Fault, Metrics, Settings};
use crate::tensor::{DType, Dim, Port, Shape, Signature, Tensor, TensorName};

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
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|rows| [1, 3, 6].contains(rows)), "{seen:?}");
    assert!(seen.contains(&6), "{seen:?}");
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
