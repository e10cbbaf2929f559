use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::*;
use crate::predict::Predictor;
use crate::runtime::{Cancel, Value};
use crate::serve::{Executor, Fault, Loaded, Request, Settings, Skill, WarmUp};
use crate::tensor::{DType, Dim, Port, Shape, Signature, Tensor, TensorName};

/// Answers with the number of its load, and takes a while.
struct Numbered {
    number: f32,
    takes: Duration,
}

impl Executor for Numbered {
    fn run(&mut self, _: &[Value], _: Option<Instant>, _: &Cancel) -> Result<Vec<Tensor>, Fault> {
        thread::sleep(self.takes);
        Ok(vec![Tensor::from_vec([1], vec![self.number]).unwrap()])
    }
}

/// Refuses its first call, as a model that cannot compute does.
struct Broken;

impl Executor for Broken {
    fn run(&mut self, _: &[Value], _: Option<Instant>, _: &Cancel) -> Result<Vec<Tensor>, Fault> {
        Err(Fault::Refused("no kernel".into()))
    }
}

/// Loads what it is told to, and counts.
#[derive(Default)]
struct Source {
    models: Vec<(ModelName, Version)>,
    loads: AtomicUsize,
    /// What the next loads come to: how much memory they take, or why they fail; then one byte.
    next: Mutex<VecDeque<Result<u64, &'static str>>>,
    load_takes: Duration,
    call_takes: Duration,
    is_broken: bool,
    wants_words: bool,
}

fn signature() -> Signature {
    let port = |name: &str| Port {
        name: TensorName::new(name),
        dtype: DType::F32,
        shape: Shape::of([Dim::Symbol("N".into())]),
    };
    Signature {
        inputs: vec![port("x")],
        outputs: vec![port("y")],
    }
}

fn skill() -> Skill {
    Skill::Answers(Arc::new(Predictor::without_steps(&signature())))
}

fn input() -> Vec<Tensor> {
    vec![Tensor::from_vec([1], vec![0f32]).unwrap()]
}

impl ModelSource for Source {
    fn models(&self) -> Vec<(ModelName, Version)> {
        self.models.clone()
    }

    fn load(&self, _: &str, _: &str) -> Result<Loaded, SourceError> {
        let number = self.loads.fetch_add(1, Ordering::SeqCst) as f32;
        thread::sleep(self.load_takes);
        let next = self.next.lock().unwrap().pop_front().unwrap_or(Ok(1));
        let bytes = next.map_err(|why| SourceError(why.into()))?;
        let executor: Box<dyn Executor> = match self.is_broken {
            true => Box::new(Broken),
            false => Box::new(Numbered {
                number,
                takes: self.call_takes,
            }),
        };
        Ok(Loaded {
            signature: signature(),
            executors: vec![executor],
            provider: "test".into(),
            digest: format!("sha256:{number}"),
            settings: Settings {
                timeout: Some(Duration::from_secs(20)),
                ..Settings::default()
            },
            skill: Arc::new(skill()),
            warm_up: vec![match self.wants_words {
                true => WarmUp::Words(input()),
                false => WarmUp::Call(input()),
            }],
            memory: Some(Box::new(move || Some(bytes))),
            held: Box::new(()),
        })
    }

    fn size_bytes(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn moved(&self, _: Look) -> Vec<Moved> {
        Vec::new()
    }

    fn assign(&self, _: &str, _: Option<&str>, _: &str) -> Result<Version, SourceError> {
        Err(SourceError("nothing else is here".into()))
    }
}

/// Gives what is known of a model, for tests that need no more.
pub(super) fn profile() -> Arc<Profile> {
    let source = Source::default();
    let loaded = source.load("m", "1").unwrap();
    let metrics = Metrics::default().of_model("m", "1");
    let model = Model::start("m", "1", loaded, metrics, &Ends::default()).unwrap();
    Arc::clone(model.profile())
}

fn source(names: &[&str]) -> Source {
    let models = names.iter().map(|name| ((*name).to_owned(), "1".to_owned()));
    Source {
        models: models.collect(),
        ..Source::default()
    }
}

fn repository(source: Source, policy: Policy) -> (Arc<Repository>, Arc<Source>) {
    let source = Arc::new(source);
    let repository = Repository::new(source.clone(), policy, Arc::default(), Arc::new(|_| {}));
    repository.load_all();
    (Arc::new(repository), source)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn call(repository: &Arc<Repository>, name: &str) -> Result<f32, Error> {
    let model = repository.ready_model(name, None).await?;
    let request = Request {
        inputs: input(),
        ..Request::default()
    };
    let answer = model.call(request).await?;
    Ok(f32::try_from_tensor(&answer.outputs[0]))
}

trait First {
    fn try_from_tensor(tensor: &Tensor) -> f32;
}

impl First for f32 {
    fn try_from_tensor(tensor: &Tensor) -> f32 {
        match tensor.data() {
            crate::tensor::Data::F32(values) => values[0],
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_request_fails_while_models_are_replaced_and_every_one_of_them_answers() {
    let (repository, source) = repository(source(&["m"]), Policy::default());
    let runtime = runtime();
    let stop = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (repository, stop) = (Arc::clone(&repository), Arc::clone(&stop));
            runtime.spawn(async move {
                let mut seen = std::collections::BTreeMap::new();
                while stop.load(Ordering::Relaxed) == 0 {
                    let number = call(&repository, "m").await.unwrap();
                    *seen.entry(number as usize).or_insert(0usize) += 1;
                }
                seen
            })
        })
        .collect();
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(5));
        repository.replace("m", "1").unwrap();
    }
    stop.store(1, Ordering::Relaxed);
    let mut all = std::collections::BTreeMap::new();
    for caller in callers {
        for (number, count) in runtime.block_on(caller).unwrap() {
            *all.entry(number).or_insert(0) += count;
        }
    }
    assert_eq!(source.loads.load(Ordering::SeqCst), 51);
    assert!(all.len() > 10 && all.values().sum::<usize>() > 1000, "{all:?}");
    repository.close();
}

#[test]
fn what_cannot_be_loaded_leaves_what_answers_where_it_is() {
    let (repository, source) = repository(source(&["m"]), Policy::default());
    source.next.lock().unwrap().push_back(Err("broken"));
    assert_eq!(repository.replace("m", "1"), Err(SourceError("broken".into())));
    assert_eq!(runtime().block_on(call(&repository, "m")).unwrap(), 0.0);
    repository.replace("m", "1").unwrap();
    assert_eq!(runtime().block_on(call(&repository, "m")).unwrap(), 2.0);
}

#[test]
fn a_model_that_does_not_answer_its_first_call_is_not_ready() {
    let broken = Source {
        is_broken: true,
        ..source(&["m"])
    };
    let (repository, _) = repository(broken, Policy::default());
    let error = runtime().block_on(call(&repository, "m")).unwrap_err().to_string();
    assert_eq!(
        error,
        "model `m` is not ready: it does not answer the call that warms it up: no kernel"
    );
    assert!(!repository.is_ready());
    let wordless = Source {
        wants_words: true,
        ..source(&["m"])
    };
    let error = runtime().block_on(call(&self::repository(wordless, Policy::default()).0, "m"));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .ends_with("warms it up: the model generates no text")
    );
}

#[test]
fn a_model_that_nobody_calls_sleeps_and_many_requests_wake_it_once() {
    let slow = Source {
        load_takes: Duration::from_millis(200),
        ..source(&["m"])
    };
    let policy = Policy {
        keep_alive: Some(Duration::from_millis(50)),
        ..Policy::default()
    };
    let (repository, source) = repository(slow, policy);
    repository.let_sleep();
    assert_eq!(repository.index()[0].state, "READY", "it came just now");
    let held = repository.ready();
    thread::sleep(Duration::from_millis(60));
    repository.let_sleep();
    assert_eq!(repository.index()[0].state, "READY", "somebody holds it");
    drop(held);
    repository.let_sleep();
    assert_eq!(repository.index()[0].state, "ASLEEP");
    assert!(repository.is_ready());
    assert_eq!(repository.profile("m", None).unwrap().signature(), &signature());
    let runtime = runtime();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let repository = Arc::clone(&repository);
            runtime.spawn(async move { call(&repository, "m").await })
        })
        .collect();
    for one in waiting {
        assert_eq!(runtime.block_on(one).unwrap().unwrap(), 1.0);
    }
    assert_eq!(source.loads.load(Ordering::SeqCst), 2);
}

#[test]
fn a_request_waits_no_longer_than_its_time_for_a_model_that_wakes() {
    let slow = Source {
        load_takes: Duration::from_millis(500),
        ..source(&["m"])
    };
    let policy = Policy {
        keep_alive: Some(Duration::from_nanos(1)),
        ..Policy::default()
    };
    let (repository, source) = repository(slow, policy);
    thread::sleep(Duration::from_millis(5));
    repository.let_sleep();
    let runtime = runtime();
    let found = repository.find(Wanted::of("m", None)).unwrap();
    let timeout = Some(Duration::from_millis(30));
    let late = runtime.block_on(repository.awake(found, timeout)).unwrap_err();
    assert!(matches!(late, Error::TimedOut(_)), "{late}");
    // The waking goes on, and the next finds it.
    assert_eq!(runtime.block_on(call(&repository, "m")).unwrap(), 1.0);
    assert_eq!(source.loads.load(Ordering::SeqCst), 2);
}

#[test]
fn a_model_that_does_not_wake_says_why_and_is_tried_again() {
    let policy = Policy {
        keep_alive: Some(Duration::from_nanos(1)),
        ..Policy::default()
    };
    let (repository, source) = repository(source(&["m"]), policy);
    thread::sleep(Duration::from_millis(5));
    repository.let_sleep();
    source.next.lock().unwrap().push_back(Err("gone"));
    let runtime = runtime();
    let error = runtime.block_on(call(&repository, "m")).unwrap_err().to_string();
    assert_eq!(error, "model `m` is not ready: gone");
    assert_eq!(runtime.block_on(call(&repository, "m")).unwrap(), 2.0);
}

#[test]
fn models_that_nobody_calls_make_room_those_first_that_were_not_called_for_the_longest() {
    let four = source(&["a", "b", "c"]);
    *four.next.lock().unwrap() = [Ok(40), Ok(40), Ok(40)].into();
    let policy = Policy {
        most_bytes: Some(100),
        ..Policy::default()
    };
    let (repository, source) = repository(four, policy);
    let states = |repository: &Repository| -> Vec<&'static str> {
        repository.index().iter().map(|status| status.state).collect()
    };
    assert_eq!(states(&repository), ["ASLEEP", "READY", "READY"]);
    let runtime = runtime();
    thread::sleep(Duration::from_millis(5));
    runtime.block_on(call(&repository, "b")).unwrap();
    *source.next.lock().unwrap() = [Ok(40)].into();
    runtime.block_on(call(&repository, "a")).unwrap();
    assert_eq!(states(&repository), ["READY", "READY", "ASLEEP"]);
    // Those that are being called stay, and the one that is to come says why it does not.
    let held = repository.ready();
    let error = runtime.block_on(call(&repository, "c")).unwrap_err().to_string();
    assert_eq!(
        error,
        "model `c` is not ready: it needs about 0.0 MB, and models that are being called take 0.0 MB of the 0.0 MB of \
         --models-memory"
    );
    drop(held);
    *source.next.lock().unwrap() = [Ok(40)].into();
    runtime.block_on(call(&repository, "c")).unwrap();
}

#[test]
fn a_model_that_alone_is_too_large_is_refused_with_figures() {
    let large = source(&["a"]);
    *large.next.lock().unwrap() = [Ok(2_500_000_000)].into();
    let policy = Policy {
        most_bytes: Some(1_000_000_000),
        ..Policy::default()
    };
    let (repository, _) = repository(large, policy);
    let error = runtime().block_on(call(&repository, "a")).unwrap_err().to_string();
    assert_eq!(
        error,
        "model `a` is not ready: it takes 2500 MB, and all models together may take 1000 MB by --models-memory"
    );
}

#[test]
fn what_was_taken_is_answered_also_where_the_model_is_unloaded_meanwhile() {
    let slow = Source {
        call_takes: Duration::from_millis(200),
        ..source(&["m"])
    };
    let (repository, _) = repository(slow, Policy::default());
    let runtime = runtime();
    let model = runtime.block_on(repository.ready_model("m", None)).unwrap();
    repository.unload("m", None).unwrap();
    assert_eq!(repository.index()[0].state, "UNAVAILABLE");
    assert!(runtime.block_on(call(&repository, "m")).is_err());
    let request = Request {
        inputs: input(),
        ..Request::default()
    };
    assert!(runtime.block_on(model.call(request)).is_ok());
    drop(model);
    repository.replace("m", "1").unwrap();
    assert!(runtime.block_on(call(&repository, "m")).is_ok());
    assert!(repository.unload("nothing", None).is_err());
    repository.close();
    assert!(runtime.block_on(call(&repository, "m")).is_err());
}
