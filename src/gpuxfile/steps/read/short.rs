use super::Steps;
use super::picture::normalize;
use super::text::{TOKEN_LIMIT, default_tokenizer, padding};
use crate::gpuxfile::error::{Error, Problem};
use crate::gpuxfile::fields::{Field, Fields};
use crate::gpuxfile::keys::PREPROCESSING_KEYS;
use crate::gpuxfile::read::Reader;
use crate::gpuxfile::source::{Located, Span};
use crate::gpuxfile::steps::InputPipeline;
use crate::gpuxfile::steps::input::InputStep;
use crate::gpuxfile::steps::picture::{Color, Filter, Picture, Resize, ResizeTo, Size};
use crate::gpuxfile::steps::presets::UNIT;
use crate::gpuxfile::steps::text::Tokenize;

/// Reads the options that stand for steps, as the Python tool has them; `None` where none of them has an effect.
pub(super) fn short_form<'n>(reader: &mut Reader<'n>, field: Field<'n>) -> Result<Option<InputPipeline>, Error> {
    let known = match reader.python {
        true => [PREPROCESSING_KEYS, &["custom"]].concat(),
        false => PREPROCESSING_KEYS.to_vec(),
    };
    let span = field.key_span;
    let fields = field.fields(&known)?;
    if let Some(field) = fields.get("custom") {
        field.entries()?;
        reader.without_counterpart(&field, "gpux runs no code of the artifact");
    }
    let steps = match (fields.get("tokenizer"), fields.get("resize"), fields.get("normalize")) {
        (Some(field), resize, normalize) => {
            if let Some(other) = resize.or(normalize) {
                if !reader.python {
                    return Err(other.error(Problem::TwoModalities));
                }
                reader.without_counterpart(&other, "the tokenizer makes the inputs");
            }
            vec![Located::new(short_text(reader, &fields, &field)?, field.node.span)]
        }
        (None, None, None) => {
            if let Some(field) = ["max_length", "padding"].iter().find_map(|key| fields.get(key)) {
                if !reader.python {
                    return Err(fields
                        .need("tokenizer")
                        .err()
                        .unwrap_or_else(|| field.error(Problem::TwoModalities)));
                }
                reader.without_counterpart(&field, "it is of a tokenizer, and there is none");
            }
            return Ok(None);
        }
        (None, resize, normalize) => {
            if let Some(field) = ["max_length", "padding"].iter().find_map(|key| fields.get(key)) {
                if !reader.python {
                    return Err(field.error(Problem::TwoModalities));
                }
                reader.without_counterpart(&field, "it is of a tokenizer, and there is none");
            }
            short_picture(resize, normalize, span)?
        }
    };
    Ok(Some(InputPipeline { name: None, steps }))
}

pub(super) fn short_text<'n>(
    reader: &mut Reader<'n>,
    fields: &Fields<'n>,
    field: &Field<'n>,
) -> Result<InputStep, Error> {
    let path = match field.text()? {
        // The Python tool names a tokenizer of a hub, which gpux does not fetch; its file has a fixed name.
        text if reader.python && !text.ends_with(".json") => {
            reader.without_counterpart(field, "gpux reads the tokenizer from `tokenizer.json` beside this file");
            default_tokenizer()
        }
        _ => field.path()?.value,
    };
    let mut tokenize = Tokenize::with(path);
    tokenize.max_length = fields
        .get("max_length")
        .map(|f| f.integer(1, TOKEN_LIMIT))
        .transpose()?;
    if let Some(field) = fields.get("padding") {
        tokenize.padding = padding(&field, tokenize.max_length)?;
    }
    Ok(InputStep::Tokenize(tokenize))
}

/// Makes steps of a size, one side or width and height, and a normalization of values from 0 to 1.
pub(super) fn short_picture(
    resize: Option<Field<'_>>,
    normalization: Option<Field<'_>>,
    span: Span,
) -> Result<Steps<InputStep>, Error> {
    let picture = InputStep::Picture(Picture {
        color: Color::Rgb,
        background: None,
    });
    let mut steps = vec![Located::new(picture, span)];
    if let Some(field) = resize {
        let sides = field.one_or_list()?;
        let size = match sides.as_slice() {
            [side] => side.size()?,
            [width, height] => Size {
                height: height.side()?,
                width: width.side()?,
            },
            _ => return Err(field.kind_error("one side, or width and height")),
        };
        let to = ResizeTo::Exact(size);
        let step = InputStep::Resize(Resize {
            to,
            filter: Filter::Bilinear,
            antialias: true,
        });
        steps.push(Located::new(step, field.node.span));
    }
    steps.push(Located::new(InputStep::Rescale(UNIT), span));
    if let Some(field) = normalization {
        steps.push(Located::new(InputStep::Normalize(normalize(&field)?), field.node.span));
    }
    Ok(steps)
}
