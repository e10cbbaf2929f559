use super::lacks;
use super::text::default_tokenizer;
use crate::gpuxfile::error::{Error, Problem, printable};
use crate::gpuxfile::fields::Field;
use crate::gpuxfile::steps::options::{Given, Raw};
use crate::gpuxfile::steps::output::{BoxOrder, Ctc, DecodeTokens, Detect, DetectForm};

pub(super) fn detect(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Detect, Error> {
    const FORMS: &[(&str, Option<DetectForm>)] = &[
        ("yolov5", Some(DetectForm::YoloV5)),
        ("yolov8", Some(DetectForm::YoloV8)),
        ("ssd", None),
    ];
    let named = |field: &Field<'_>| {
        let names: Vec<(&'static str, usize)> = FORMS.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        field.choice(&names).map(|at| FORMS[at].1.clone())
    };
    let whole = |form| Detect {
        form,
        score: 0.25,
        iou: 0.45,
        limit: 300,
        per_class: true,
    };
    let needs = || lacks(item, raw, "`form`: yolov5, yolov8 or ssd");
    let fields = match raw.given(keys)? {
        Given::Nothing => return Err(needs()),
        Given::Value(field) => {
            let form = named(&field)?;
            return form
                .map(whole)
                .ok_or_else(|| lacks(item, raw, "with the form ssd, also `scores` and `classes`"));
        }
        Given::Options(fields) => fields,
    };
    let form = match named(&fields.get("form").ok_or_else(needs)?)? {
        Some(form) => form,
        None => DetectForm::Ssd {
            scores: fields.need("scores")?.port()?,
            classes: fields.need("classes")?.port()?,
            order: match fields.get("order") {
                Some(field) => field.choice(BoxOrder::NAMES)?,
                None => BoxOrder::Xyxy,
            },
        },
    };
    if let (DetectForm::YoloV5 | DetectForm::YoloV8, Some(field)) = (
        &form,
        ["scores", "classes", "order"].iter().find_map(|key| fields.get(key)),
    ) {
        return Err(field.error(Problem::OnlyWith {
            key: field.name.clone(),
            with: "form: ssd",
        }));
    }
    let mut detect = whole(form);
    for (key, value) in [("score", &mut detect.score), ("iou", &mut detect.iou)] {
        if let Some(field) = fields.get(key) {
            *value = field.number_within(0.0, 1.0)?;
        }
    }
    if let Some(field) = fields.get("limit") {
        detect.limit = field.integer(1, 65_536)?;
    }
    if let Some(field) = fields.get("per_class") {
        detect.per_class = field.boolean()?;
    }
    Ok(detect)
}

pub(super) fn decode_tokens(raw: &Raw<'_>, keys: &[&'static str]) -> Result<DecodeTokens, Error> {
    let whole = |tokenizer| DecodeTokens {
        tokenizer,
        skip_special: true,
    };
    match raw.given(keys)? {
        Given::Nothing => Ok(whole(default_tokenizer())),
        Given::Value(field) => Ok(whole(field.path()?.value)),
        Given::Options(fields) => {
            let mut decode = whole(default_tokenizer());
            if let Some(field) = fields.get("tokenizer") {
                decode.tokenizer = field.path()?.value;
            }
            if let Some(field) = fields.get("skip_special") {
                decode.skip_special = field.boolean()?;
            }
            Ok(decode)
        }
    }
}

pub(super) fn ctc(raw: &Raw<'_>, keys: &[&'static str]) -> Result<Ctc, Error> {
    let mut ctc = Ctc {
        blank: 0,
        delimiter: None,
        tokenizer: None,
    };
    if let Some(fields) = raw.options(keys)? {
        if let Some(field) = fields.get("blank") {
            ctc.blank = field.integer(0, 1 << 24)?;
        }
        ctc.delimiter = fields
            .get("delimiter")
            .map(|f| f.text().map(str::to_owned))
            .transpose()?;
        ctc.tokenizer = fields
            .get("tokenizer")
            .map(|f| f.path().map(|path| path.value))
            .transpose()?;
    }
    Ok(ctc)
}

/// What stands in braces in a template.
const PLACEHOLDERS: &[&str] = &["label", "index", "score", "percent", "text", "count"];

/// Reads a template: braces hold a placeholder, and two make one.
pub(super) fn template(field: &Field<'_>) -> Result<String, Error> {
    let text = field.prose()?;
    let mut rest = text.replace("{{", "").replace("}}", "");
    while let Some(start) = rest.find(['{', '}']) {
        let inner = rest[start..].strip_prefix('{').and_then(|tail| tail.split_once('}'));
        match inner {
            Some((name, tail)) if PLACEHOLDERS.contains(&name) => rest = tail.to_owned(),
            _ => {
                return Err(field.error(Problem::Template {
                    text: printable(&rest[start..]),
                    known: PLACEHOLDERS,
                }));
            }
        }
    }
    Ok(text.to_owned())
}
