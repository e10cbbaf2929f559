//! Outputs of a model made into answers.

mod ctc;
mod detect;
mod labels;
mod mask;
mod numbers;
mod template;
mod tokens;

use crate::gpuxfile::{Detect, DetectForm, Gpuxfile, Located, OutputPipeline, OutputStep};
use crate::tensor::{Signature, Tensor};

use super::prepared::Prepared;
use super::{Answer, AnswerKind, Error, Frame, Record, SideFiles};
use detect::Detector;
use labels::Names;
use numbers::Numbers;
use tokens::TokenReader;

/// Is one pipeline of `postprocessing`, ready to work.
#[derive(Debug)]
pub(super) struct OutputSteps {
    name: String,
    output: usize,
    names: Names,
    steps: Vec<Step>,
}

/// Is a step with what it found in the model and in side files.
#[derive(Debug)]
enum Step {
    Plain(OutputStep),
    MeanPool { mask: usize },
    Detect(Detector),
    Tokens(Box<TokenReader>),
    Ctc(ctc::Ctc),
}

/// Is what the steps have made so far of one request.
enum Made {
    Numbers(Numbers),
    Answer(Answer),
}

impl OutputSteps {
    /// Gets the steps of an output ready.
    ///
    /// Errors: an output or input that the model lacks, a side file that is missing or not what it should be.
    pub fn new(
        pipeline: &OutputPipeline,
        gpuxfile: &Gpuxfile,
        signature: &Signature,
        files: &SideFiles,
    ) -> Result<OutputSteps, Error> {
        let output = gpuxfile.output_of(pipeline, signature).map_err(Box::new)?;
        let port = &signature.outputs[output];
        let names = Names::of(gpuxfile, port, files)?;
        let place = |name: &str, of_inputs: bool| {
            let ports = if of_inputs {
                &signature.inputs
            } else {
                &signature.outputs
            };
            let found = ports.iter().position(|port| port.name.as_str() == name);
            found.ok_or_else(|| Error::Missing(name.to_owned()))
        };
        let ready = |step: &Located<OutputStep>| {
            Ok(match &step.value {
                OutputStep::MeanPool { mask } => Step::MeanPool {
                    mask: place(mask.as_str(), true)?,
                },
                OutputStep::Detect(detect) => Step::Detect(Detector {
                    detect: detect.clone(),
                    beside: beside(detect, &place)?,
                }),
                OutputStep::DecodeTokens(decode) => Step::Tokens(Box::new(TokenReader::new(decode, files)?)),
                OutputStep::Ctc(ctc) => Step::Ctc(ctc::Ctc::new(ctc, names.clone(), files)?),
                plain => Step::Plain(plain.clone()),
            })
        };
        Ok(OutputSteps {
            name: port.name.as_str().to_owned(),
            output,
            steps: pipeline.steps.iter().map(ready).collect::<Result<_, Error>>()?,
            names,
        })
    }

    /// Names the output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says what the answers will be.
    pub fn kind(&self) -> AnswerKind {
        let mut kind = AnswerKind::Numbers;
        for step in &self.steps {
            kind = match step {
                Step::Plain(OutputStep::Argmax | OutputStep::TopK(_) | OutputStep::Threshold(_)) => AnswerKind::Labels,
                Step::Plain(OutputStep::CosineSimilarity) => AnswerKind::Similarities,
                Step::Plain(OutputStep::Mask) => AnswerKind::Mask,
                Step::Detect(_) => AnswerKind::Boxes,
                Step::Plain(OutputStep::Template(_)) | Step::Tokens(_) | Step::Ctc(_) => AnswerKind::Text,
                Step::Plain(_) | Step::MeanPool { .. } => kind,
            };
        }
        kind
    }

    /// Tells whether a step works on an input of the call.
    pub fn reads_inputs(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::MeanPool { .. }))
    }

    /// Tells whether the answer to one request depends on the others of the call.
    pub fn compares(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Plain(OutputStep::CosineSimilarity)))
    }

    /// Makes the answers of one call.
    pub fn answer(
        &self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        prepared: &[&Prepared],
        signature: &Signature,
    ) -> Result<Vec<Answer>, Error> {
        let rows = Rows {
            inputs,
            outputs,
            signature,
            count: prepared.len(),
        };
        (0..prepared.len())
            .map(|row| self.answer_one(&rows, row, prepared[row]))
            .collect()
    }

    fn answer_one(&self, rows: &Rows<'_>, row: usize, prepared: &Prepared) -> Result<Answer, Error> {
        let first = self.steps.first().map_or("", Step::name);
        let one = One {
            rows,
            row,
            frame: prepared.frame,
        };
        let mut made = Made::Numbers(rows.output(self.output, row, first)?);
        for step in &self.steps {
            made = match made {
                Made::Answer(answer) => match step {
                    Step::Plain(OutputStep::Template(template)) => Made::Answer(template::fill(template, &answer)),
                    _ => Made::Answer(answer),
                },
                Made::Numbers(numbers) => self.step(step, numbers, &one)?,
            };
        }
        Ok(match made {
            Made::Answer(answer) => answer,
            Made::Numbers(Numbers { shape, values }) => Answer::Numbers { shape, values },
        })
    }

    fn step(&self, step: &Step, numbers: Numbers, one: &One<'_>) -> Result<Made, Error> {
        let answered = |answer| Ok(Made::Answer(answer));
        let numbers = match step {
            Step::Plain(OutputStep::Softmax) => numbers.softmax(),
            Step::Plain(OutputStep::Sigmoid) => numbers.sigmoid(),
            Step::Plain(OutputStep::L2Normalize) => numbers.l2_normalized(),
            Step::Plain(OutputStep::ClsPool) => numbers.first_token()?,
            Step::MeanPool { mask } => {
                let mask = one.rows.input(*mask, one.row, "mean_pool")?;
                numbers.mean_pooled(&mask)?
            }
            Step::Plain(OutputStep::Argmax) => return answered(self.names.best(&numbers, 1)?),
            Step::Plain(OutputStep::TopK(k)) => {
                return answered(self.names.best(&numbers, usize::try_from(*k).unwrap_or(usize::MAX))?);
            }
            Step::Plain(OutputStep::Threshold(at)) => return answered(self.names.above(&numbers, *at as f32)?),
            Step::Plain(OutputStep::Mask) => return answered(mask::mask(numbers, one.frame, &self.names)?),
            Step::Detect(detector) => {
                let beside = match detector.beside {
                    Some((scores, classes)) => Some((
                        one.rows.output(scores, one.row, "detect")?,
                        one.rows.output(classes, one.row, "detect")?,
                    )),
                    None => None,
                };
                return answered(detector.find(numbers, beside, one.frame, &self.names)?);
            }
            Step::Tokens(reader) => return answered(reader.read(&numbers)?),
            Step::Ctc(ctc) => return answered(ctc.read(&numbers)?),
            // The one compares the requests of a call when all are there; the other needs an answer.
            Step::Plain(_) => numbers,
        };
        Ok(Made::Numbers(numbers))
    }

    /// Makes the numbers of all requests of a call into how alike they are.
    pub fn compare(&self, at: usize, records: &mut [&mut Record]) {
        let vectors: Vec<Vec<f32>> = records
            .iter()
            .map(|record| match record.answers.get(at) {
                Some((_, Answer::Numbers { values, .. })) => values.clone(),
                _ => Vec::new(),
            })
            .collect();
        for (record, one) in records.iter_mut().zip(&vectors) {
            if let Some((_, answer)) = record.answers.get_mut(at) {
                *answer = Answer::Similarities {
                    values: vectors.iter().map(|other| numbers::cosine(one, other)).collect(),
                };
            }
        }
    }
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Plain(step) => step.name(),
            Step::MeanPool { .. } => "mean_pool",
            Step::Detect(_) => "detect",
            Step::Tokens(_) => "decode_tokens",
            Step::Ctc(_) => "ctc",
        }
    }
}

/// Finds the outputs that go with boxes.
fn beside(
    detect: &Detect,
    place: &impl Fn(&str, bool) -> Result<usize, Error>,
) -> Result<Option<(usize, usize)>, Error> {
    match &detect.form {
        DetectForm::Ssd { scores, classes, .. } => {
            Ok(Some((place(scores.as_str(), false)?, place(classes.as_str(), false)?)))
        }
        _ => Ok(None),
    }
}

/// Is one request of a call.
struct One<'a> {
    rows: &'a Rows<'a>,
    row: usize,
    frame: Option<Frame>,
}

/// Is one call, of which each request has a row.
struct Rows<'a> {
    inputs: &'a [Tensor],
    outputs: &'a [Tensor],
    signature: &'a Signature,
    count: usize,
}

impl Rows<'_> {
    fn output(&self, at: usize, row: usize, step: &'static str) -> Result<Numbers, Error> {
        let name = &self.signature.outputs[at].name;
        Numbers::row(&self.outputs[at], (row, self.count), name.as_str(), step)
    }

    fn input(&self, at: usize, row: usize, step: &'static str) -> Result<Numbers, Error> {
        let name = &self.signature.inputs[at].name;
        Numbers::row(&self.inputs[at], (row, self.count), name.as_str(), step)
    }
}
