//! What is counted, in the form that Prometheus reads.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Model;
use super::telemetry::{Latencies, note};
use crate::runtime::resident_bytes_of;

/// Holds every counter of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    waiting: Family<ModelLabels, Gauge>,
    instances: Family<ModelLabels, Gauge>,
    calls: Family<ModelLabels, Counter>,
    queue_time: Family<ModelLabels, Histogram>,
    infer_time: Family<ModelLabels, Histogram>,
    batch_rows: Family<ModelLabels, Histogram>,
    /// What outlives the models that are counted: one that sleeps or is replaced goes on counting.
    sums: Mutex<HashMap<ModelLabels, Arc<Sums>>>,
    stages: [Family<ModelLabels, Histogram>; 3],
    lost: Family<LostLabels, Gauge>,
    resident: Family<ProcessLabels, Gauge>,
    gpu_busy: Family<GpuLabels, Gauge<f64, AtomicU64>>,
    gpu_memory: [Family<GpuLabels, Gauge>; 2],
}

/// Says which model something was counted of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
    version: String,
}

impl ModelLabels {
    fn of(model: &str, version: &str) -> Self {
        ModelLabels {
            model: model.to_owned(),
            version: version.to_owned(),
        }
    }
}

/// Says which process, and of which model a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcessLabels {
    process: &'static str,
    model: String,
    version: String,
}

/// Says which card.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GpuLabels {
    gpu: u32,
    name: String,
}

/// Is how busy a card is now.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuUse {
    /// Its number among the cards of the driver.
    pub index: u32,
    pub name: String,
    /// The share of the last moments in which it computed, where that is known.
    pub busy: Option<f64>,
    /// Memory that is taken, by whomever. Units: bytes.
    pub used_bytes: u64,
    pub memory_bytes: u64,
}

/// Tells how busy the cards are.
pub type Gpus = Arc<dyn Fn() -> Vec<GpuUse> + Send + Sync>;

/// Says what was lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabels {
    kind: &'static str,
}

/// Says what came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    version: String,
    code: u16,
    tenant: Arc<str>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("gpux");
        let times: fn() -> Histogram = || Histogram::new(TIME_BUCKETS);
        let rows: fn() -> Histogram = || Histogram::new((0..11).map(|power| f64::from(1 << power)));
        let requests = Family::default();
        let waiting = Family::default();
        let instances = Family::default();
        let calls = Family::default();
        let queue_time = Family::new_with_constructor(times);
        let infer_time = Family::new_with_constructor(times);
        let batch_rows = Family::new_with_constructor(rows);
        registry.register("requests", "Requests answered, by status code", requests.clone());
        registry.register("queue_requests", "Requests that wait", waiting.clone());
        registry.register("instances", "Sessions that answer", instances.clone());
        registry.register(
            "calls",
            "Calls of the model, each of one request or more",
            calls.clone(),
        );
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "queue_time",
            "From the arrival of a request to the start of its call",
            seconds(),
            queue_time.clone(),
        );
        registry.register_with_unit("infer_time", "How long a call took", seconds(), infer_time.clone());
        registry.register("batch_rows", "Rows of a call", batch_rows.clone());
        let (lost, resident, gpu_busy) = (Family::default(), Family::default(), Family::default());
        registry.register_with_unit(
            "gpu_busy",
            "The share of the last moments in which a card computed",
            Unit::Ratios,
            gpu_busy.clone(),
        );
        let gpu_memory = [
            ("gpu_memory_used", "Memory of a card that is taken, by whomever"),
            ("gpu_memory", "Memory of a card"),
        ];
        let gpu_memory = gpu_memory.map(|(name, help)| {
            let family = Family::default();
            registry.register_with_unit(name, help, Unit::Bytes, family.clone());
            family
        });
        registry.register_with_unit(
            "resident_memory",
            "Memory that is resident, mapped files included",
            Unit::Bytes,
            resident.clone(),
        );
        registry.register(
            "telemetry_lost",
            "Lines of the access log, and spans, that were dropped",
            lost.clone(),
        );
        let stages = STAGES.map(|(name, help)| {
            let family = Family::new_with_constructor(times);
            registry.register_with_unit(name, help, seconds(), family.clone());
            family
        });
        Metrics {
            registry,
            requests,
            waiting,
            instances,
            calls,
            queue_time,
            infer_time,
            batch_rows,
            sums: Mutex::default(),
            stages,
            lost,
            resident,
            gpu_busy,
            gpu_memory,
        }
    }
}

/// What else is timed of a request, by the number of its histogram.
const STAGES: [(&str, &str); 3] = [
    ("request_time", "From the arrival of a request to its answer"),
    ("preprocess_time", "How long it took to make tensors of a request"),
    ("postprocess_time", "How long it took to make an answer of tensors"),
];
const REQUEST: usize = 0;
const PREPROCESS: usize = 1;
const POSTPROCESS: usize = 2;

/// The upper bounds of the buckets of a time. Units: seconds.
const TIME_BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metrics {
    /// Tells how many sessions of a model answer now.
    pub fn set_instances(&self, model: &str, version: &str, instances: usize) {
        let count = i64::try_from(instances).unwrap_or(i64::MAX);
        self.instances
            .get_or_create(&ModelLabels::of(model, version))
            .set(count);
    }

    /// Gives the counters of one model.
    pub fn of_model(&self, model: &str, version: &str) -> ModelMetrics {
        let labels = ModelLabels::of(model, version);
        let sums = {
            let mut all = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(labels.clone()).or_default())
        };
        ModelMetrics {
            requests: self.requests.clone(),
            waiting: self.waiting.get_or_create_owned(&labels),
            calls: self.calls.get_or_create_owned(&labels),
            queue_time: self.queue_time.get_or_create_owned(&labels),
            infer_time: self.infer_time.get_or_create_owned(&labels),
            batch_rows: self.batch_rows.get_or_create_owned(&labels),
            stages: std::array::from_fn(|at| self.stages[at].get_or_create_owned(&labels)),
            sums,
            labels,
        }
    }

    /// Counts a request that reached no model.
    pub fn count_stray(&self, tenant: &Arc<str>, code: u16) {
        let labels = RequestLabels {
            model: String::new(),
            version: String::new(),
            code,
            tenant: Arc::clone(tenant),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Tells how much memory the server and the workers of models have now.
    pub fn set_memory(&self, models: &[Arc<Model>]) {
        let of = |process, model: &str, version: &str| ProcessLabels {
            process,
            model: model.to_owned(),
            version: version.to_owned(),
        };
        let server = resident_bytes_of(std::process::id()).map(|bytes| (of("server", "", ""), bytes));
        let workers = models.iter().filter_map(|model| {
            let labels = of("worker", model.name(), model.version());
            Some((labels, model.resident_bytes()?))
        });
        // Workers that are gone have none.
        self.resident.clear();
        for (labels, bytes) in workers.chain(server) {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.resident.get_or_create(&labels).set(bytes);
        }
    }

    /// Tells how busy the cards are.
    pub fn set_gpus(&self, gpus: &[GpuUse]) {
        // Cards that are gone are not busy.
        self.gpu_busy.clear();
        self.gpu_memory.iter().for_each(Family::clear);
        for gpu in gpus {
            let labels = GpuLabels {
                gpu: gpu.index,
                name: gpu.name.clone(),
            };
            if let Some(busy) = gpu.busy {
                self.gpu_busy.get_or_create(&labels).set(busy);
            }
            for (family, bytes) in self.gpu_memory.iter().zip([gpu.used_bytes, gpu.memory_bytes]) {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                family.get_or_create(&labels).set(bytes);
            }
        }
    }

    /// Tells how many lines of the log, and how many spans, were lost.
    pub fn set_lost(&self, (lines, spans): (u64, u64)) {
        for (kind, count) in [("line", lines), ("span", spans)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.lost.get_or_create(&LostLabels { kind }).set(count);
        }
    }

    /// Writes everything in the text form of OpenMetrics.
    pub fn write(&self, to: &mut impl fmt::Write) -> fmt::Result {
        text::encode(to, &self.registry)
    }
}

/// Holds the counters of one model.
#[derive(Clone, Debug)]
pub struct ModelMetrics {
    labels: ModelLabels,
    requests: Family<RequestLabels, Counter>,
    waiting: Gauge,
    calls: Counter,
    queue_time: Histogram,
    infer_time: Histogram,
    batch_rows: Histogram,
    stages: [Histogram; 3],
    sums: Arc<Sums>,
}

/// Sums of what Triton's statistics tell. Units: nanoseconds, where a time is summed.
#[derive(Debug, Default)]
struct Sums {
    succeeded: AtomicU64,
    failed: AtomicU64,
    succeeded_time: AtomicU64,
    failed_time: AtomicU64,
    queue_time: AtomicU64,
    infer_time: AtomicU64,
    calls: AtomicU64,
    rows: AtomicU64,
    latencies: Latencies,
}

/// Is what a model has done since the server was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub succeeded: u64,
    pub failed: u64,
    pub succeeded_time: Duration,
    pub failed_time: Duration,
    /// Summed over the requests.
    pub queue_time: Duration,
    /// Summed over the calls.
    pub infer_time: Duration,
    pub calls: u64,
    /// Summed over the calls.
    pub rows: u64,
}

impl ModelMetrics {
    /// Tells how many requests wait now.
    pub fn set_waiting(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a call of the model.
    pub fn count_call(&self, rows: usize, infer: Duration) {
        self.calls.inc();
        self.infer_time.observe(infer.as_secs_f64());
        self.batch_rows.observe(rows as f64);
        self.sums.calls.fetch_add(1, Ordering::Relaxed);
        self.sums.rows.fetch_add(rows as u64, Ordering::Relaxed);
        add(&self.sums.infer_time, infer);
    }

    /// Counts a request whose call came.
    pub fn count_answer(&self, queue: Duration) {
        self.queue_time.observe(queue.as_secs_f64());
        add(&self.sums.queue_time, queue);
    }

    /// Counts a request of a tenant that was answered with a status code.
    pub fn count_request(&self, tenant: &Arc<str>, code: u16, took: Duration) {
        let labels = RequestLabels {
            model: self.labels.model.clone(),
            version: self.labels.version.clone(),
            code,
            tenant: Arc::clone(tenant),
        };
        self.requests.get_or_create(&labels).inc();
        self.stages[REQUEST].observe(took.as_secs_f64());
        self.sums.latencies.observe(took);
        let (count, time) = match code {
            200..=299 => (&self.sums.succeeded, &self.sums.succeeded_time),
            _ => (&self.sums.failed, &self.sums.failed_time),
        };
        count.fetch_add(1, Ordering::Relaxed);
        add(time, took);
    }

    /// Counts how long it took to make tensors of a request.
    pub fn count_preprocess(&self, took: Duration) {
        self.stages[PREPROCESS].observe(took.as_secs_f64());
        note(|noted| *noted.preprocess.get_or_insert_default() += took);
    }

    /// Counts how long it took to make an answer of tensors.
    pub fn count_postprocess(&self, took: Duration) {
        self.stages[POSTPROCESS].observe(took.as_secs_f64());
        note(|noted| *noted.postprocess.get_or_insert_default() += took);
    }

    /// Gives how long requests took.
    pub fn latencies(&self) -> &Latencies {
        &self.sums.latencies
    }

    /// Gives the sums since the server was started.
    pub fn statistics(&self) -> Statistics {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let time = |of: &AtomicU64| Duration::from_nanos(of.load(Ordering::Relaxed));
        let sums = &self.sums;
        Statistics {
            succeeded: count(&sums.succeeded),
            failed: count(&sums.failed),
            succeeded_time: time(&sums.succeeded_time),
            failed_time: time(&sums.failed_time),
            queue_time: time(&sums.queue_time),
            infer_time: time(&sums.infer_time),
            calls: count(&sums.calls),
            rows: count(&sums.rows),
        }
    }
}

fn add(sum: &AtomicU64, time: Duration) {
    sum.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
