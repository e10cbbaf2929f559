//! `run` for models that generate: words on a terminal as they come, answers with tokens into a pipe.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use crate::pipeline::{Answer, Record, Request};
use crate::predict::generate::{Error, Generated, Generator};
use crate::term::duration;

use super::failure::explain;
use super::given::{self, Arguments};
use super::opened::Opened;
use super::ran::Ran;
use super::records::{One, Records};
use super::{Code, Context, Failure, OrFail};

/// The answer's name, where steps would have that of an output.
const NAME: &str = "text";

/// Generates text for each thing that is given, in turn.
///
/// Errors: nothing is given, or one of the things has no answer, which is told when all are answered.
pub fn run(
    mut opened: Opened,
    generator: &Generator,
    (operand, arguments): (&str, Arguments<'_>),
    context: &Context,
) -> Result<(), Failure> {
    let given = given::read(arguments, Some(generator.pipeline()), generator.pipeline().signature())?;
    let speaks = !context.term.json_or_piped();
    let start = Instant::now();
    let (mut answers, mut tokens) = (Vec::new(), 0);
    let several = given.len() > 1;
    for (at, one) in given.into_iter().enumerate() {
        if speaks && several {
            let gap = if at == 0 { "" } else { "\n" };
            context.term.data(format_args!("{gap}{}", one.label))?;
        }
        let answer = (one.job)()
            .map_err(|error| explain(&error))
            .and_then(|request| answer(&mut opened, generator, &request, speaks).map_err(|error| explain(&error)));
        if speaks && answer.is_ok() {
            context.term.data("")?;
        }
        if speaks
            && several
            && let Err(error) = &answer
        {
            context.term.data(format_args!("error: {error}"))?;
        }
        tokens += answer.as_ref().map_or(0, |made| made.tokens.len());
        answers.push(one_of(one.label, answer));
    }
    let time = start.elapsed();
    if let [
        One {
            input,
            error: Some(error),
            ..
        },
    ] = answers.as_slice()
    {
        return Err(Failure::new(Code::Failed, format!("cannot answer `{input}`: {error}")));
    }
    context.term.tell(format_args!(
        "ran on {}: load {}, run {}, {tokens} tokens, {:.1} a second",
        opened.engine(),
        duration(opened.load),
        duration(time),
        tokens as f64 / time.as_secs_f64().max(1e-9),
    ));
    if !speaks {
        let digest = opened.subject.digest(context)?.to_string();
        let records = Records {
            ran: Ran::new(&opened, operand, digest, None, time),
            answers: &answers,
        };
        context.term.stream(|to| records.write_json(to))?;
    }
    match answers.iter().filter(|one| one.error.is_some()).count() {
        0 => Ok(()),
        failed => Err(
            Failure::new(Code::Failed, format!("{failed} of {} have no answer", answers.len()))
                .hint("each has its `error` in the answer"),
        ),
    }
}

/// Answers one request, and speaks on the way; who hears no more ends it.
pub fn answer(opened: &mut Opened, generator: &Generator, request: &Request, speaks: bool) -> Result<Generated, Error> {
    let mut parts = opened.parts();
    let mut models = Vec::with_capacity(parts.len());
    for part in &mut parts {
        models.push(part as &mut dyn crate::predict::Model);
    }
    generator.generate(&mut models, request, &mut |part| {
        if !speaks {
            return ControlFlow::Continue(());
        }
        let mut stdout = io::stdout().lock();
        match stdout
            .write_all(printable(part).as_bytes())
            .and_then(|()| stdout.flush())
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })
}

/// Takes from a terminal what it would take for a command.
fn printable(text: &str) -> String {
    let is_harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars()
        .map(|c| if is_harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

fn one_of(input: String, answer: Result<Generated, String>) -> One {
    let (answer, error) = match answer {
        Ok(generated) => (Some(record(generated)), None),
        Err(error) => (None, Some(error)),
    };
    One { input, answer, error }
}

/// Makes what was generated into an answer, as steps would make one.
pub fn record(generated: Generated) -> Record {
    let Generated { text, tokens, end } = generated;
    let ended = end.name();
    let words = Answer::Generated { text, tokens, ended };
    Record {
        answers: vec![(NAME.to_owned(), words)],
    }
}

/// Refuses what has no meaning where text is generated.
pub fn refuse(option: &str) -> Failure {
    Failure::new(
        Code::Usage,
        format!("{option} has no meaning here: the GPUXfile says that this model generates text"),
    )
    .hint("the tokens are in the JSON that a pipe gets: gpux run … | jq")
}

/// Gets a generator's error ready for the user.
pub fn cannot<T>(made: Result<T, Error>) -> Result<T, Failure> {
    made.or_fail(|| "cannot get the models ready to generate".to_owned())
}
