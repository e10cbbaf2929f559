//! The fields of a form as things.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart};
use axum::http::{HeaderMap, Request as HttpRequest, header};

use super::Thing;
use super::things::{Kind, names, of_bytes, of_field, shortened};
use crate::predict::{Item, Request};
use crate::serve::Model;
use crate::serve::error::shown;
use crate::serve::http::Refusal;

/// The most fields of a form.
const MOST_FIELDS: usize = 256;

/// Is one field.
pub(in crate::serve::http) struct Field {
    pub name: String,
    pub file: Option<String>,
    pub bytes: Bytes,
}

/// Reads the fields of a form, in order.
///
/// Errors: 400, for a form that is none, or has more fields than any may have.
pub(in crate::serve::http) async fn fields(headers: &HeaderMap, body: Bytes) -> Result<Vec<Field>, Refusal> {
    let broken = |error: &dyn std::fmt::Display| Refusal::bad(format!("the form cannot be read: {error}"));
    let mut request = HttpRequest::new(Body::from(body));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    // It was bounded when it was read.
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| broken(&error.body_text()))?;
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error.body_text()))? {
        if fields.len() == MOST_FIELDS {
            return Err(Refusal::bad(format!("the form has more than {MOST_FIELDS} fields")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(shortened);
        let bytes = field.bytes().await.map_err(|error| broken(&error.body_text()))?;
        fields.push(Field { name, file, bytes });
    }
    Ok(fields)
}

/// Reads a form: each field a thing where the model takes one, else each a part of the only one.
pub(super) async fn read(model: &Arc<Model>, headers: &HeaderMap, body: Bytes) -> Result<Vec<Thing>, Refusal> {
    let fields = fields(headers, body).await?;
    if fields.is_empty() {
        return Err(Refusal::bad("the form has no field"));
    }
    let sources = model.skill().sources();
    if let [source] = sources.as_slice() {
        let is_meant =
            |field: &Field| [source.label().as_str(), "input", "file"].contains(&field.name.trim_end_matches("[]"));
        let things = fields.iter().map(|field| {
            if !is_meant(field) {
                return Err(unknown(
                    &field.name,
                    &format!("`{}`, `input` or `file`", source.label()),
                ));
            }
            let item = of_bytes(&field.bytes, Kind::Any, Some(source), model)?;
            let label = match &item {
                Item::Text(text) => Some(shortened(text)),
                _ => field.file.clone(),
            };
            let request = Request::from(item);
            Ok(Thing { label, request })
        });
        return things.collect();
    }
    let mut thing = Thing::bare(Request::default());
    for field in &fields {
        let known = sources.iter().find(|source| source.label() == field.name);
        let (name, item) = match (known, model.given().input(&field.name)) {
            (Some(source), _) => (
                source.name.clone(),
                of_bytes(&field.bytes, Kind::Any, Some(source), model)?,
            ),
            (None, Some(port)) => (Some(field.name.clone()), Item::Tensor(of_field(&field.bytes, port)?)),
            (None, None) => return Err(unknown(&field.name, &names(&sources, model))),
        };
        thing.label = thing.label.or_else(|| field.file.clone());
        thing.request.items.push((name, item));
    }
    Ok(vec![thing])
}

fn unknown(name: &str, known: &str) -> Refusal {
    let name = shown(name);
    Refusal::bad(format!("the form has a field `{name}`, and the model takes {known}"))
}
