use super::lacks;
use crate::gpuxfile::error::{Error, Problem};
use crate::gpuxfile::fields::Field;
use crate::gpuxfile::keys::step_keys;
use crate::gpuxfile::node::Content;
use crate::gpuxfile::steps::options::{Given, Raw, size_of};
use crate::gpuxfile::steps::picture::{
    Color, Filter, Layout, Normalize, Pad, PadPosition, Picture, Resize, ResizeTo, Size, TensorForm,
};
use crate::gpuxfile::steps::presets::NORMALIZATIONS;

pub(super) fn picture(raw: &Raw<'_>, keys: &[&'static str]) -> Result<Picture, Error> {
    let mut picture = Picture {
        color: Color::Rgb,
        background: None,
    };
    if let Some(fields) = raw.options(keys)? {
        if let Some(field) = fields.get("color") {
            picture.color = field.choice(Color::NAMES)?;
        }
        picture.background = fields.get("background").map(|field| field.byte()).transpose()?;
    }
    Ok(picture)
}

pub(super) fn resize(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Resize, Error> {
    const TARGETS: &str = "`shortest`, `size` or `letterbox`";
    let shaped = |to| Resize {
        to,
        filter: Filter::Bilinear,
        antialias: true,
    };
    let fields = match raw.given(keys)? {
        Given::Nothing => return Err(lacks(item, raw, TARGETS)),
        Given::Value(field) => return Ok(shaped(ResizeTo::Shortest(field.side()?))),
        Given::Options(fields) => fields,
    };
    let targets = (fields.get("shortest"), fields.get("size"), fields.get("letterbox"));
    let to = match &targets {
        (Some(field), None, None) => ResizeTo::Shortest(field.side()?),
        (None, Some(field), None) => ResizeTo::Exact(field.size()?),
        (None, None, Some(field)) => ResizeTo::Letterbox {
            size: field.size()?,
            fill: 0,
        },
        (None, None, None) => return Err(lacks(item, raw, TARGETS)),
        _ => return Err(lacks(item, raw, "one of `shortest`, `size` and `letterbox`")),
    };
    let mut resize = shaped(to);
    if let Some(field) = fields.get("filter") {
        resize.filter = field.choice(Filter::NAMES)?;
    }
    if let Some(field) = fields.get("antialias") {
        resize.antialias = field.boolean()?;
    }
    if let Some(field) = fields.get("fill") {
        match &mut resize.to {
            ResizeTo::Letterbox { fill, .. } => *fill = field.byte()?,
            _ => {
                return Err(field.error(Problem::OnlyWith {
                    key: field.name.clone(),
                    with: "letterbox",
                }));
            }
        }
    }
    Ok(resize)
}

pub(super) fn size(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Size, Error> {
    match raw.given(keys)? {
        Given::Nothing => Err(lacks(item, raw, "a size: one side, or `height` and `width`")),
        Given::Value(field) => field.size(),
        Given::Options(fields) => size_of(&fields),
    }
}

pub(super) fn pad(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Pad, Error> {
    let shaped = |size| Pad {
        size,
        fill: 0,
        position: PadPosition::Center,
    };
    let fields = match raw.given(keys)? {
        Given::Nothing => return Err(lacks(item, raw, "a size: one side, or `size`")),
        Given::Value(field) => return Ok(shaped(field.size()?)),
        Given::Options(fields) => fields,
    };
    let mut pad = shaped(fields.need("size")?.size()?);
    if let Some(field) = fields.get("fill") {
        pad.fill = field.byte()?;
    }
    if let Some(field) = fields.get("position") {
        pad.position = field.choice(PadPosition::NAMES)?;
    }
    Ok(pad)
}

pub(super) fn normalize(field: &Field<'_>) -> Result<Normalize, Error> {
    if !matches!(field.node.content, Content::Map(_)) {
        return Ok(field.choice(NORMALIZATIONS)?.values());
    }
    let fields = field.clone().fields(step_keys("normalize"))?;
    let (mean, std) = (fields.need("mean")?, fields.need("std")?);
    let (means, stds) = (mean.numbers()?, std.numbers()?);
    if stds.contains(&0.0) {
        return Err(std.error(Problem::ZeroDeviation));
    }
    if means.is_empty() || means.len() != stds.len() {
        return Err(std.error(Problem::MeanAndDeviation {
            means: means.len(),
            deviations: stds.len(),
        }));
    }
    Ok(Normalize { mean: means, std: stds })
}

pub(super) fn tensor(raw: &Raw<'_>, keys: &[&'static str]) -> Result<TensorForm, Error> {
    let mut form = TensorForm {
        layout: Layout::Nchw,
        dtype: crate::tensor::DType::F32,
    };
    match raw.given(keys)? {
        Given::Nothing => {}
        Given::Value(field) => form.layout = field.choice(Layout::NAMES)?,
        Given::Options(fields) => {
            if let Some(field) = fields.get("layout") {
                form.layout = field.choice(Layout::NAMES)?;
            }
            if let Some(field) = fields.get("type") {
                form.dtype = crate::gpuxfile::ports::read_type(&field)?.value;
            }
        }
    }
    Ok(form)
}
