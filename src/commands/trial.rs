use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::fs;
use crate::runtime::{Configuration, ProviderKind, Value};
use crate::tensor::{Signature, Tensor, npz};

use super::latency::Latency;
use super::opened::{EngineArgs, Opened, Purpose};
use super::synthetic::{self, Sizes};
use super::{Context, Failure, OrFail, inputs};

/// Run a model for `gpux tune`, as a request on stdin says
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Is what a trial is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub operand: String,
    pub configuration: Configuration,
    pub device: u32,
    /// Inputs as the user gave them; made up where there are none.
    pub inputs: Vec<String>,
    pub map: Option<String>,
    pub batch: u32,
    pub dims: Vec<(String, usize)>,
    /// How long it runs.
    pub milliseconds: u64,
    /// Where the outputs of the last run go.
    pub outputs: PathBuf,
}

impl Request {
    /// Asks for a call of one row with made-up inputs; what differs is set by who asks, and the configuration, the time and the
    /// place of the outputs by the tuning.
    pub fn of(operand: &str, device: u32) -> Request {
        Request {
            operand: operand.to_owned(),
            configuration: Configuration::plain(ProviderKind::Cpu),
            device,
            inputs: Vec::new(),
            map: None,
            batch: 1,
            dims: Vec::new(),
            milliseconds: 0,
            outputs: PathBuf::new(),
        }
    }
}

/// Is what a trial answers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub median_us: f64,
    pub runs: usize,
    /// Why it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Runs before the measured ones: the second of a shape may record a graph, the third is the first replay.
const WARM_UP: usize = 4;
/// The share of the time that warming up may take.
const WARM_UP_SHARE: f64 = 0.3;
const MOST_RUNS: usize = 20_000;
const LEAST_RUNS: usize = 7;

/// Answers the request on stdin.
pub fn run(_: Args, context: &Context) -> Result<(), Failure> {
    let text = std::io::read_to_string(std::io::stdin().lock())?;
    let request: Request = serde_json::from_str(&text).or_fail(|| "cannot read the request for a trial".into())?;
    let answer = measure(&request, context).unwrap_or_else(|failure| Answer {
        error: Some(reason(&failure)),
        ..Answer::default()
    });
    let text = serde_json::to_string(&answer).or_fail(|| "cannot write the answer".into())?;
    context.term.data(text)?;
    Ok(())
}

/// Gives the deepest cause that says more than that there was one.
fn reason(failure: &Failure) -> String {
    failure
        .causes()
        .last()
        .cloned()
        .unwrap_or_else(|| failure.what().to_owned())
}

fn measure(request: &Request, context: &Context) -> Result<Answer, Failure> {
    let arguments = EngineArgs::of_trial(request.configuration.clone(), request.device);
    let mut opened = Opened::open(&request.operand, &arguments, Purpose::Many, context)?;
    let signature = opened.session.signature().clone();
    let tensors = tensors(request, &signature)?;
    let values: Vec<Value> = tensors.into_iter().map(Value::from).collect();
    let mut run_once = || {
        let start = Instant::now();
        let outputs = opened
            .run(&values)
            .or_fail(|| format!("cannot run `{}`", request.operand))?;
        Ok::<_, Failure>((start.elapsed(), outputs))
    };
    let budget = Duration::from_millis(request.milliseconds);
    let start = Instant::now();
    let mut warm = 0;
    while warm < WARM_UP || start.elapsed() < budget.mul_f64(WARM_UP_SHARE) && warm < MOST_RUNS {
        run_once()?;
        warm += 1;
        // One slow run says as much as several.
        if warm >= 1 && start.elapsed() > budget * 4 {
            break;
        }
    }
    let mut times = Vec::new();
    let start = Instant::now();
    let last = loop {
        let (time, outputs) = run_once()?;
        times.push(time);
        let enough = times.len() >= LEAST_RUNS || start.elapsed() > budget * 4;
        if enough && (start.elapsed() >= budget || times.len() >= MOST_RUNS) {
            break outputs;
        }
    };
    let ports = &signature.outputs;
    let tensors = ports
        .iter()
        .map(|port| &port.name)
        .zip(last.iter().filter_map(Value::as_host));
    let bytes = npz::encode(tensors).or_fail(|| "cannot write the outputs".into())?;
    fs::replace(&request.outputs, &bytes).or_fail(|| "cannot write the outputs".into())?;
    let runs = times.len();
    Ok(Answer {
        median_us: Latency::new(times).quantile(0.5).as_secs_f64() * 1e6,
        runs,
        error: None,
    })
}

/// Gives the inputs that are asked for.
pub fn tensors(request: &Request, signature: &Signature) -> Result<Vec<Tensor>, Failure> {
    if request.inputs.is_empty() && request.map.is_none() {
        let symbols = request.dims.iter().cloned().collect();
        let batch = request.batch as usize;
        return synthetic::inputs(signature, &Sizes { batch, symbols });
    }
    inputs::read(&request.inputs, request.map.as_deref(), signature)
}
