//! Tries a provider: loads it, runs a small model, and compares its answer with the one that is right.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Call, Cancel, Engine, ModelFiles, ProviderKind, SessionOptions, Source, Value, ort};
use crate::onnx;
use crate::provider::LoadPlan;
use crate::tensor::{Signature, Tensor, npy};

/// The model, made so that its numbers are exact however they are added up.
///
/// Source: `fixtures/make.py`.
const MODEL: &[u8] = include_bytes!("../../fixtures/probe/model.onnx");
const INPUT: &[u8] = include_bytes!("../../fixtures/probe/x.npy");
const OUTPUTS: [&[u8]; 2] = [
    include_bytes!("../../fixtures/probe/scores.npy"),
    include_bytes!("../../fixtures/probe/shares.npy"),
];

/// How far an element may be off: half precision gives the scores, which are below 16, to within this.
pub const TOLERANCE: f32 = 0.01;

/// Says why a provider is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not load, or did not run the model.
    #[error(transparent)]
    Runtime(#[from] super::Error),
    /// It gave another answer than the right one.
    #[error("it gives wrong numbers: `{output}` has {found} where {expected} is right")]
    WrongNumber { output: String, found: f32, expected: f32 },
    /// It loaded the model, and left every node to the processor.
    #[error("it takes none of the model's nodes")]
    NoNodes,
    /// It gave something else than the model's outputs.
    #[error("it gives `{output}` in another shape or type than the model has")]
    OtherForm { output: String },
}

/// Is what was seen of a provider that works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The largest difference of an element from what is right.
    pub largest_error: f32,
    /// Nodes of the model as the engine counts them.
    pub nodes: usize,
    /// Those of them that the provider took.
    pub own_nodes: usize,
    /// How long loading libraries and model took. Units: milliseconds.
    pub load_ms: f64,
    /// How long the first run took. Units: milliseconds.
    pub run_ms: f64,
}

/// Loads what a plan names, and runs the model with it. To be called in a process that may crash.
///
/// Errors: what kept it from loading or running; [`Error::WrongNumber`], [`Error::OtherForm`].
pub fn run(plan: &LoadPlan) -> Result<Report, Error> {
    let model = onnx::Model::parse(MODEL.into()).map_err(super::Error::from)?;
    let signature = model.signature().map_err(super::Error::from)?;
    let files = ModelFiles {
        graph: "probe.onnx".into(),
        external: Default::default(),
    };
    let source = Source {
        files: &files,
        model: &model,
        signature: &signature,
    };
    let start = Instant::now();
    let options = SessionOptions {
        explain: true,
        ..SessionOptions::default()
    };
    let mut session = ort::Engine::of(plan)?.load(&source, &options)?;
    let (nodes, own_nodes) = session.assignment().map_or((0, 0), |assignment| {
        (assignment.nodes(), assignment.nodes_of(plan.kind))
    });
    if own_nodes == 0 && nodes > 0 && plan.kind != ProviderKind::Cpu {
        return Err(Error::NoNodes);
    }
    let load = start.elapsed();
    let inputs = [Value::from(array(INPUT))];
    let cancel = Cancel::default();
    let start = Instant::now();
    let outputs = session.run(Call {
        inputs: &inputs,
        keep_on_device: &[],
        deadline: None,
        cancel: &cancel,
    })?;
    let took = start.elapsed();
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Ok(Report {
        largest_error: compare(&outputs, &signature)?,
        nodes,
        own_nodes,
        load_ms: milliseconds(load),
        run_ms: milliseconds(took),
    })
}

/// Gives the largest difference of an element from the right one.
fn compare(outputs: &[Value], signature: &Signature) -> Result<f32, Error> {
    let mut largest: f32 = 0.0;
    for (at, right) in OUTPUTS.iter().enumerate() {
        let right = array(right);
        let output = signature.outputs[at].name.as_str().to_owned();
        let given = outputs
            .get(at)
            .and_then(Value::as_host)
            .filter(|it| it.shape() == right.shape());
        let given = given.and_then(|it| it.elements::<f32>());
        let (Some(given), Some(right)) = (given, right.elements::<f32>()) else {
            return Err(Error::OtherForm { output });
        };
        for (&found, &expected) in given.iter().zip(right) {
            let error = (found - expected).abs();
            // What is not a number compares as nothing.
            if error.is_nan() || error > TOLERANCE {
                return Err(Error::WrongNumber {
                    output,
                    found,
                    expected,
                });
            }
            largest = largest.max(error);
        }
    }
    Ok(largest)
}

fn array(bytes: &[u8]) -> Tensor {
    npy::decode(bytes).expect("the arrays in the source are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl Fn(&mut Vec<f32>)) -> Result<f32, Error> {
        let signature = onnx::Model::parse(MODEL.into()).unwrap().signature().unwrap();
        let outputs = OUTPUTS.map(|bytes| {
            let tensor = array(bytes);
            let mut elements = tensor.elements::<f32>().unwrap().to_vec();
            change(&mut elements);
            let shape = vec![1, elements.len()];
            Value::from(Tensor::from_vec(shape, elements).unwrap())
        });
        compare(&outputs, &signature)
    }

    #[test]
    fn right_numbers_pass_and_wrong_ones_do_not() {
        assert_eq!(judged(|_| {}).unwrap(), 0.0);
        assert!(judged(|elements| elements[2] += 0.005).unwrap() > 0.004);
        for wrong in [1.0, f32::NAN, f32::INFINITY] {
            let error = judged(|elements| elements[4] += wrong).unwrap_err();
            assert!(
                matches!(&error, Error::WrongNumber { output, .. } if output == "scores"),
                "{error}"
            );
        }
        let error = judged(|elements| elements.truncate(4)).unwrap_err();
        assert!(matches!(error, Error::OtherForm { .. }), "{error}");
    }
}
