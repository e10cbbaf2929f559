//! Small artifacts for tests that move them.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gpux::{
    oci::{Descriptor, Digest, FilePath, Manifest, MediaType, annotation},
    registry::{self, Retries},
    store::Store,
    transfer::{Progress, Remote, Silent},
};

use super::registry::Registry;

/// Bytes that do not repeat, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn layer(path: &str, bytes: &[u8]) -> Descriptor {
    let path: FilePath = path.parse().unwrap();
    Descriptor::of(MediaType::MODEL_WEIGHT_RAW, bytes)
        .with_annotation(annotation::FILE_PATH, path.as_str())
        .with_annotation(annotation::TITLE, path.as_str())
}

/// The manifest of an artifact of these files, and its config.
pub fn manifest(files: &[(&str, &[u8])]) -> (Manifest, Vec<u8>) {
    let config = br#"{"descriptor":{},"config":{"format":"onnx"},"modelfs":{"type":"layers","diffIds":[]}}"#.to_vec();
    let layers = files.iter().map(|(path, bytes)| layer(path, bytes)).collect();
    let config_descriptor = Descriptor::of(MediaType::MODEL_CONFIG, &config);
    (
        Manifest::new(MediaType::MODEL_ARTIFACT, config_descriptor, layers),
        config,
    )
}

/// Puts an artifact of these files into a store and gives its digest.
pub fn store_artifact(store: &Store, reference: &str, files: &[(&str, &[u8])]) -> Digest {
    let lease = store.lease(&[]).unwrap();
    let (manifest, config) = manifest(files);
    for bytes in files.iter().map(|(_, bytes)| *bytes).chain([config.as_slice()]) {
        store.ingest_bytes(&lease, bytes).unwrap();
    }
    let bytes = manifest.to_bytes();
    let descriptor = store
        .ingest_bytes(&lease, &bytes)
        .unwrap()
        .descriptor(MediaType::OCI_MANIFEST);
    store.tag(&reference.parse().unwrap(), &descriptor, EPOCH).unwrap();
    descriptor.digest
}

/// Puts an artifact of these files into a registry and gives its digest.
pub fn serve_artifact(registry: &Registry, repository: &str, tag: &str, files: &[(&str, &[u8])]) -> Digest {
    let (manifest, config) = manifest(files);
    for bytes in files.iter().map(|(_, bytes)| *bytes).chain([config.as_slice()]) {
        registry.put_blob(repository, bytes);
    }
    let digest = registry.put_manifest(repository, tag, MediaType::OCI_MANIFEST.as_str(), &manifest.to_bytes());
    digest.parse().unwrap()
}

/// Options that lose patience soon.
pub fn hasty() -> Remote {
    Remote {
        options: registry::Options {
            retries: Retries {
                attempts: 4,
                first_wait: std::time::Duration::from_millis(5),
                longest_wait: std::time::Duration::from_millis(50),
                longest_retry_after: std::time::Duration::from_millis(1500),
            },
            stall_timeout: std::time::Duration::from_millis(800),
            connect_timeout: std::time::Duration::from_secs(2),
            ..registry::Options::default()
        },
        credential: None,
    }
}

/// When everything in these tests happens.
pub const EPOCH: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

/// Waits for `done`, for at most half a minute.
pub fn until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "this takes too long");
        thread::sleep(Duration::from_millis(2));
    }
}
