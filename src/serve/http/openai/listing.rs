use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde_json::{Value, json};

use super::OpenAiRefusal;
use crate::predict::Modality;
use crate::serve::http::metadata::{ModelPath, port};
use crate::serve::http::{Refusal, Shared};
use crate::serve::{Caller, Form, Profile, State as Standing, Status};

/// Answers `GET /v1/models`: each name once, as it answers calls without a version.
pub(in crate::serve::http) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
) -> Json<Value> {
    let mut names: Vec<String> = shared
        .repository
        .index()
        .into_iter()
        .map(|status| status.name)
        .filter(|name| caller.may_call(name))
        .collect();
    names.dedup();
    let data: Vec<Value> = names.iter().filter_map(|name| describe(&shared, name).ok()).collect();
    Json(json!({"object": "list", "data": data}))
}

/// Answers `GET /v1/models/{m}`.
pub(in crate::serve::http) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, OpenAiRefusal> {
    Ok(Json(describe(&shared, &path.model)?))
}

fn describe(shared: &Shared, name: &str) -> Result<Value, Refusal> {
    let repository = &shared.repository;
    let state = repository.state(name, None)?;
    let versions = repository.versions(name);
    let latest = versions.last().cloned().unwrap_or_default();
    let index = repository.index();
    let status = index
        .iter()
        .find(|status| status.name == name && status.version == latest);
    let own = match state.profile() {
        Some(profile) => of_known(profile, &state, &versions),
        None => of_other(status, &latest, &versions),
    };
    Ok(json!({
        "id": name,
        "object": "model",
        "created": shared.started,
        "owned_by": "gpux",
        "gpux": own,
    }))
}

fn of_other(status: Option<&Status>, version: &str, versions: &[String]) -> Value {
    json!({
        "version": version,
        "versions": versions,
        "state": status.map_or("UNAVAILABLE", |status| status.state),
        "reason": status.map_or("", |status| status.reason.as_str()),
    })
}

fn of_known(model: &Profile, state: &Standing, versions: &[String]) -> Value {
    let (waiting, instances) = match state {
        Standing::Ready(model) => (model.waiting(), model.instances()),
        _ => (0, 0),
    };
    let skill = model.skill();
    let sources = skill.sources();
    let sources = sources.iter().map(|source| {
        let kind = match source.modality {
            Modality::Picture => "image",
            Modality::Text => "text",
            Modality::Sound => "sound",
        };
        json!({"name": source.label(), "kind": kind})
    });
    let answers = skill.answers();
    let answers = answers
        .iter()
        .map(|(name, kind)| json!({"name": name, "kind": kind.name()}));
    let forms = skill.forms();
    json!({
        "version": model.version(),
        "versions": versions,
        "state": state.told().0,
        "reason": "",
        "provider": model.provider(),
        "digest": model.digest(),
        "sources": sources.collect::<Vec<_>>(),
        "inputs": model.given().inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": model.signature().outputs.iter().map(port).collect::<Vec<_>>(),
        "answers": answers.collect::<Vec<_>>(),
        "generates": forms.contains(&Form::Completions) || matches!(skill.as_ref(), crate::serve::Skill::Generates(_)),
        "apis": forms.into_iter().map(Form::name).collect::<Vec<_>>(),
        "waiting": waiting,
        "instances": instances,
        "max_batch_size": model.settings().max_batch_size,
    })
}
