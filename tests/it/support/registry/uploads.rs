//! Blobs on their way in.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Shared, State, Upload, digest_of,
    serve::split,
    wire::{Answer, Request},
};

pub(super) fn upload_start(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, _)) = split(&request.path, "/blobs/uploads/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let mut state = shared.state.lock().unwrap();
    let asked = request.query.get("mount").zip(request.query.get("from"));
    let found = asked.and_then(|(digest, from)| {
        let bytes = state.blobs.get(&(from.clone(), digest.clone()))?;
        Some((digest.clone(), Arc::clone(bytes)))
    });
    if let Some(status) = shared.profile.mount_status.filter(|_| asked.is_some()) {
        return Answer::error(status, "UNSUPPORTED");
    }
    if let Some((digest, bytes)) = found.filter(|_| !shared.profile.no_mount) {
        state.blobs.insert((repository.clone(), digest.clone()), bytes);
        return Answer::new(201).with("Location", format!("/v2/{repository}/blobs/{digest}"));
    }
    let id = format!("u{}", shared.counter.fetch_add(1, Ordering::Relaxed));
    state.uploads.insert(id.clone(), Upload::default());
    Answer::new(202)
        .with("Location", format!("/v2/{repository}/blobs/uploads/{id}?_state=opaque"))
        .with("Range", "0-0")
}

pub(super) fn upload(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, id)) = split(&request.path, "/blobs/uploads/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let mut state = shared.state.lock().unwrap();
    let State { uploads, blobs, .. } = &mut *state;
    let Some(upload) = uploads.get_mut(&id).filter(|upload| !upload.broken) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let too_large = shared
        .profile
        .largest_body_bytes
        .is_some_and(|most| request.body.len() as u64 > most);
    if too_large {
        return Answer::error(413, "TOO_LARGE");
    }
    if shared.profile.creeps && !request.body.is_empty() {
        upload.bytes.extend_from_slice(&request.body[..1]);
        return Answer::error(503, "SLOWLY");
    }
    let gone = request.dropped || (request.cut && shared.profile.forgets_broken);
    let location = format!("/v2/{repository}/blobs/uploads/{id}?_state=opaque");
    let status = |status: u16, held: usize| {
        Answer::new(status)
            .with("Location", &location)
            .with("Range", format!("0-{}", held.saturating_sub(1)))
    };
    match request.method.as_str() {
        "GET" if shared.profile.overstates => status(204, upload.bytes.len() + 4096),
        "GET" => status(204, upload.bytes.len()),
        "PATCH" if shared.profile.no_patch => Answer::error(405, "UNSUPPORTED"),
        "PATCH" => {
            let start = request
                .header("content-range")
                .and_then(|text| text.split('-').next()?.parse::<usize>().ok());
            let large = shared
                .profile
                .largest_patch_bytes
                .is_some_and(|most| request.body.len() as u64 > most);
            if start.is_some_and(|start| start != upload.bytes.len() || large) {
                return status(416, upload.bytes.len());
            }
            upload.bytes.extend_from_slice(&request.body);
            upload.broken = gone;
            status(if shared.profile.patch_created { 201 } else { 202 }, upload.bytes.len())
        }
        "PUT" => {
            upload.bytes.extend_from_slice(&request.body);
            upload.broken = gone;
            if request.cut {
                return Answer::error(400, "CUT");
            }
            let digest = digest_of(&upload.bytes);
            if request.query.get("digest") != Some(&digest) {
                return Answer::error(400, "DIGEST_INVALID");
            }
            blobs.insert(
                (repository.clone(), digest.clone()),
                Arc::new(std::mem::take(&mut upload.bytes)),
            );
            uploads.remove(&id);
            Answer::new(201)
                .with("Docker-Content-Digest", &digest)
                .with("Location", format!("/v2/{repository}/blobs/{digest}"))
        }
        "DELETE" => {
            uploads.remove(&id);
            Answer::new(204)
        }
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}
