use std::sync::Arc;

use crate::predict::generate::Generator;
use crate::predict::{AnswerKind, Modality, Predictor, Source};

/// Is what a model does for people, beside answering tensors with tensors.
#[derive(Debug)]
pub enum Skill {
    /// Steps make tensors of what people give, and answers of what the model gives; without steps, both are tensors.
    Answers(Arc<Predictor>),
    /// Text is made token by token.
    Generates(Arc<Generator>),
}

/// Is a way of calling a model that its steps allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whatever it takes in, whatever it makes of it out.
    Predict,
    /// Text in, one vector of numbers out.
    Embeddings,
    /// Sound in, text out.
    Transcriptions,
    /// Text in, generated text out.
    Completions,
}

impl Form {
    /// Names it, as paths do.
    pub fn name(self) -> &'static str {
        match self {
            Form::Predict => "predict",
            Form::Embeddings => "embeddings",
            Form::Transcriptions => "transcriptions",
            Form::Completions => "completions",
        }
    }
}

impl Skill {
    /// Gives what people give; empty where tensors are given.
    pub fn sources(&self) -> Vec<Source> {
        match self {
            Skill::Answers(predictor) => predictor.pipeline().sources(),
            Skill::Generates(generator) => generator.pipeline().sources(),
        }
    }

    /// Says what becomes of each output; empty where tensors come out.
    pub fn answers(&self) -> Vec<(String, AnswerKind)> {
        match self {
            Skill::Answers(predictor) => {
                let pipeline = predictor.pipeline();
                let names = pipeline.answer_names().into_iter().map(str::to_owned);
                names.zip(pipeline.answer_kinds()).collect()
            }
            Skill::Generates(_) => vec![("text".to_owned(), AnswerKind::Text)],
        }
    }

    /// Tells in which ways the model may be called.
    pub fn forms(&self) -> Vec<Form> {
        let answers = self.answers();
        let generates = matches!(self, Skill::Generates(_));
        let mut forms = vec![Form::Predict];
        if let ([source], [(_, kind), ..]) = (self.sources().as_slice(), answers.as_slice()) {
            match (source.modality, kind) {
                (Modality::Text, AnswerKind::Numbers) => forms.push(Form::Embeddings),
                (Modality::Text, AnswerKind::Text) if generates => forms.push(Form::Completions),
                (Modality::Sound, AnswerKind::Text) => forms.push(Form::Transcriptions),
                _ => {}
            }
        }
        forms
    }
}
