//! What a registry has: manifests, tags, referrers, blobs.

use std::sync::Arc;

use super::{
    Shared, digest_of,
    serve::split,
    wire::{Answer, Request},
};

pub(super) fn manifests(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, reference)) = split(&request.path, "/manifests/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let mut state = shared.state.lock().unwrap();
    let digest = if reference.contains(':') {
        Some(reference.clone())
    } else {
        state.tags.get(&(repository.clone(), reference.clone())).cloned()
    };
    match request.method.as_str() {
        "GET" | "HEAD" => {
            let found = digest.and_then(|digest| {
                let (media_type, bytes) = state.manifests.get(&(repository, digest.clone()))?;
                Some((digest, media_type.clone(), bytes.clone()))
            });
            match found {
                Some((digest, media_type, bytes)) => Answer::new(200)
                    .with("Content-Type", media_type)
                    .with("Docker-Content-Digest", digest)
                    .body(bytes),
                None => Answer::error(404, "MANIFEST_UNKNOWN"),
            }
        }
        "PUT" => {
            let named = named_digests(&request.body);
            let missing = named.iter().any(|digest| {
                let key = (repository.clone(), digest.clone());
                !state.blobs.contains_key(&key) && !state.manifests.contains_key(&key)
            });
            if missing {
                return Answer::error(404, "MANIFEST_BLOB_UNKNOWN");
            }
            let digest = digest_of(&request.body);
            let media_type = request.header("content-type").unwrap_or_default().to_owned();
            state
                .manifests
                .insert((repository.clone(), digest.clone()), (media_type, request.body.clone()));
            if !reference.contains(':') {
                state.tags.insert((repository.clone(), reference), digest.clone());
            }
            Answer::new(201)
                .with("Docker-Content-Digest", &digest)
                .with("Location", format!("/v2/{repository}/manifests/{digest}"))
        }
        "DELETE" if !shared.profile.no_delete => match digest {
            Some(digest) => {
                state.manifests.remove(&(repository.clone(), digest.clone()));
                state
                    .tags
                    .retain(|(name, _), tagged| *name != repository || *tagged != digest);
                Answer::new(202)
            }
            None => Answer::error(404, "MANIFEST_UNKNOWN"),
        },
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

/// The digests of config, layers and manifests, found by the text alone: a fake needs no more.
fn named_digests(body: &[u8]) -> Vec<String> {
    let Ok(serde_json::Value::Object(manifest)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let lists = ["layers", "manifests"]
        .into_iter()
        .filter_map(|key| manifest.get(key)?.as_array());
    let mut digests: Vec<String> = lists
        .flatten()
        .chain(manifest.get("config"))
        .filter_map(|descriptor| Some(descriptor.get("digest")?.as_str()?.to_owned()))
        .collect();
    digests.dedup();
    digests
}

pub(super) fn blobs(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, digest)) = split(&request.path, "/blobs/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let bytes = shared
        .state
        .lock()
        .unwrap()
        .blobs
        .get(&(repository.clone(), digest.clone()))
        .cloned();
    let Some(bytes) = bytes else {
        return Answer::error(404, "BLOB_UNKNOWN");
    };
    if shared.profile.blob_redirect && request.method == "GET" {
        let to = format!(
            "http://127.0.0.1:{}/{repository}/{digest}?signature=secret",
            shared.cdn_port
        );
        return Answer::new(307).with("Location", to);
    }
    blob_answer(request, bytes).with("Docker-Content-Digest", digest)
}

pub(super) fn cdn(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, digest)) = request.path[1..].rsplit_once('/') else {
        return Answer::error(404, "NOT_FOUND");
    };
    // Object stores refuse a request that is signed twice.
    if request.header("authorization").is_some() {
        return Answer::error(400, "TWO_AUTHORIZATIONS");
    }
    let key = (repository.to_owned(), digest.to_owned());
    let bytes = shared.state.lock().unwrap().blobs.get(&key).cloned();
    match bytes {
        Some(bytes) => blob_answer(request, bytes),
        None => Answer::error(404, "NOT_FOUND"),
    }
}

fn blob_answer(request: &Request, bytes: Arc<Vec<u8>>) -> Answer {
    let total = bytes.len();
    let range = request.header("range").and_then(|text| {
        let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
        let start: usize = start.parse().ok()?;
        let end = end.parse::<usize>().map_or(total, |end| (end + 1).min(total));
        Some(start..end)
    });
    let mut answer = match range {
        Some(range) if range.start >= total => return Answer::error(416, "RANGE_INVALID"),
        Some(range) => {
            let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            let mut answer = Answer::new(206).with("Content-Range", text);
            answer.range = range;
            answer
        }
        None => {
            let mut answer = Answer::new(200);
            answer.range = 0..total;
            answer
        }
    };
    let etag = format!("\"{total}\"");
    answer.body = bytes;
    answer.blob = true;
    answer
        .with("Accept-Ranges", "bytes")
        .with("ETag", etag)
        .with("Content-Type", "application/octet-stream")
}

pub(super) fn tags(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, _)) = split(&request.path, "/tags/list") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let state = shared.state.lock().unwrap();
    let most: usize = request.query.get("n").and_then(|n| n.parse().ok()).unwrap_or(100);
    let last = request.query.get("last").cloned().unwrap_or_default();
    let names: Vec<&str> = state
        .tags
        .keys()
        .filter(|(name, tag)| *name == repository && *tag > last)
        .map(|(_, tag)| tag.as_str())
        .collect();
    if names.is_empty() && last.is_empty() {
        return Answer::error(404, "NAME_UNKNOWN");
    }
    let page = &names[..names.len().min(most)];
    let answer = Answer::new(200)
        .with("Content-Type", "application/json")
        .body(serde_json::json!({"name": repository, "tags": page}).to_string());
    match page.last() {
        Some(tag) if page.len() < names.len() => answer.with(
            "Link",
            format!("</v2/{repository}/tags/list?n={most}&last={tag}>; rel=\"next\""),
        ),
        _ => answer,
    }
}

pub(super) fn referrers(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, digest)) = split(&request.path, "/referrers/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    if !shared.profile.referrers {
        return Answer::error(404, "NOT_FOUND");
    }
    let state = shared.state.lock().unwrap();
    let found: Vec<serde_json::Value> = state
        .manifests
        .iter()
        .filter(|((name, _), _)| *name == repository)
        .filter_map(|((_, own), (media_type, bytes))| {
            let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            (manifest.get("subject")?.get("digest")?.as_str()? == digest).then(|| {
                serde_json::json!({"mediaType": media_type, "digest": own, "size": bytes.len(),
                    "artifactType": manifest.get("artifactType")})
            })
        })
        .collect();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": found});
    Answer::new(200)
        .with("Content-Type", "application/vnd.oci.image.index.v1+json")
        .body(index.to_string())
}
