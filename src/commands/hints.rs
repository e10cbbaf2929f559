use std::error::Error;

use crate::bundle;
use crate::fs;
use crate::oci;
use crate::provider::PackError;
use crate::provider::install::InstallError;
use crate::registry;
use crate::runtime;
use crate::store;
use crate::transfer;

use super::Code;
use super::failure::chain;

/// Decides from an error and its causes which exit code it has and what the user can do.
///
/// Errors themselves say what, where and why; only this file says what to do.
pub fn advise(error: &(dyn Error + 'static)) -> (Code, Vec<String>) {
    let mut code = Code::Failed;
    let mut hints: Vec<String> = Vec::new();
    for cause in chain(Some(error)) {
        let (its_code, its_hints) = advise_one(cause);
        if let Some(its_code) = its_code {
            code = its_code;
        }
        for hint in its_hints {
            if !hints.iter().any(|known| known == *hint) {
                hints.push((*hint).to_owned());
            }
        }
    }
    (code, hints)
}

type Advice = (Option<Code>, &'static [&'static str]);

const NONE: Advice = (None, &[]);

fn advise_one(error: &(dyn Error + 'static)) -> Advice {
    if let Some(error) = error.downcast_ref::<bundle::Error>() {
        return of_bundle(error);
    }
    if let Some(crate::export::Error::Bundle(error)) = error.downcast_ref() {
        return of_bundle(error);
    }
    if let Some(crate::export::Error::File(error)) = error.downcast_ref() {
        return of_file(error);
    }
    if let Some(error) = error.downcast_ref::<Box<crate::gpuxfile::Error>>() {
        return of_gpuxfile(error);
    }
    if let Some(error) = error.downcast_ref::<runtime::Error>() {
        return of_runtime(error);
    }
    if let Some(error) = error.downcast_ref::<transfer::Error>() {
        return of_transfer(error);
    }
    if let Some(error) = error.downcast_ref::<registry::Error>() {
        return of_registry(error);
    }
    if let Some(error) = error.downcast_ref::<InstallError>() {
        return of_install(error);
    }
    if let Some(error) = error.downcast_ref::<store::Error>() {
        return of_store(error);
    }
    if let Some(error) = error.downcast_ref::<oci::Error>() {
        return of_reference(error);
    }
    if let Some(error) = error.downcast_ref::<fs::Error>() {
        return of_file(error);
    }
    NONE
}

fn of_bundle(error: &bundle::Error) -> Advice {
    match error {
        // These print as their source does, and are not links of the chain of their own.
        bundle::Error::Gpuxfile(error) => of_gpuxfile(error),
        bundle::Error::Oci(error) => of_reference(error),
        bundle::Error::File(error) => of_file(error),
        bundle::Error::Store(error) => of_store(error),
        bundle::Error::NoGpuxfile(_) => (
            Some(Code::NotFound),
            &["`gpux init MODEL.onnx` writes a GPUXfile from the model's own signature"],
        ),
        bundle::Error::External { .. } => (
            None,
            &["a model's external data lies beside it, and both in the folder of the build"],
        ),
        bundle::Error::Changed(_) => (None, &["wait until nobody writes the file, and build again"]),
        bundle::Error::Variants { .. } => (
            None,
            &["name one of them by its digest, NAME@sha256:…, or by a tag of its own"],
        ),
        bundle::Error::ShardPath(_) => (None, &["give the file another name, or leave it out of `files`"]),
        bundle::Error::NotAnArtifact(..) => (
            None,
            &["gpux runs ONNX models packed as ModelPack artifacts; `gpux build` makes one"],
        ),
        _ => NONE,
    }
}

fn of_gpuxfile(error: &crate::gpuxfile::Error) -> Advice {
    use crate::gpuxfile::Problem;
    match error.problem() {
        Problem::FileMissing { .. } | Problem::NoMatch { .. } => {
            (None, &["paths are relative to the folder of the build"])
        }
        Problem::LeavesContext { .. } => (None, &["--follow-links takes what such a link leads to"]),
        Problem::UnknownKey { .. } => (
            None,
            &["GPUXfile.example shows every key; free data goes under `metadata`"],
        ),
        _ => NONE,
    }
}

fn of_runtime(error: &runtime::Error) -> Advice {
    match error {
        runtime::Error::NoProvider(refusals) if refusals.lack_onnx_runtime() => (
            None,
            &[
                "`gpux provider install cpu` brings ONNX Runtime; `pip install onnxruntime` in an active environment, or its \
               library in ORT_DYLIB_PATH, will do as well",
                "`gpux doctor` tells what this machine can use and lacks",
            ],
        ),
        runtime::Error::NoProvider(_) => (None, &["`gpux doctor` tells what this machine can use and lacks"]),
        runtime::Error::Requirement { .. } => (
            Some(Code::Requirement),
            &[
                "`gpux doctor` tells what this machine can use and lacks",
                "`gpux run -v` without --require tells why each provider does not run the model",
            ],
        ),
        _ => NONE,
    }
}

fn of_install(error: &InstallError) -> Advice {
    match error {
        // These print as their source does, and are not links of the chain of their own.
        InstallError::File(error) | InstallError::Pack(PackError::File(error)) => of_file(error),
        InstallError::Store(error) => of_store(error),
        InstallError::Oci(error) => of_reference(error),
        InstallError::NotInstalled(_) => (
            Some(Code::NotFound),
            &["`gpux provider list` has those that are installed"],
        ),
        InstallError::Busy { .. } => (None, &["wait for the other command, or end it"]),
        InstallError::NoVersion { .. } => (
            None,
            &["name the library with its version, as `libonnxruntime.so.1.31.1` is"],
        ),
        InstallError::UnknownWheel { .. } => (None, &["`gpux provider list --all` has the packs that there are"]),
        _ => NONE,
    }
}

fn of_reference(error: &oci::Error) -> Advice {
    match error {
        oci::Error::Reference { .. } => (
            Some(Code::Usage),
            &["a reference is NAME[:TAG], HOST/NAME[:TAG] or HOST/NAME@sha256:HEX, in lower case"],
        ),
        _ => NONE,
    }
}

fn of_store(error: &store::Error) -> Advice {
    match error {
        store::Error::Fs(error) => of_file(error),
        store::Error::NotFound { reference } if reference.is_local() => (
            Some(Code::NotFound),
            &[
                "`gpux images` lists what is there",
                "a name without a host is local; for Docker Hub write docker.io/NAME",
            ],
        ),
        store::Error::NotFound { .. } | store::Error::NoSuchEntry { .. } => {
            (Some(Code::NotFound), &["`gpux images` lists what is there"])
        }
        store::Error::MissingBlob { .. } | store::Error::Damaged { .. } => (
            None,
            &[
                "`gpux pull` or `gpux build` of the artifact brings it again",
                "`gpux store verify --repair` removes what is damaged and says which artifacts need it",
            ],
        ),
        store::Error::Newer { .. } => (None, &["use a newer gpux, or another GPUX_HOME"]),
        store::Error::OthersCanWrite { .. } => {
            (None, &["`chmod go-w` the folder, or set GPUX_HOME to one of your own"])
        }
        store::Error::Busy { .. } => (None, &["wait for the other command, or end it"]),
        _ => NONE,
    }
}

fn of_transfer(error: &transfer::Error) -> Advice {
    use transfer::Error::{
        Corrupt, File, Local, NotAnArtifact, Overtaken, Registry, Restless, Store, TooLargeForRegistry, Unnamed,
    };
    match error {
        // These print as their source does, and are not links of the chain of their own.
        Registry(error) => of_registry(error),
        Store(error) => of_store(error),
        File(error) => of_file(error),
        Local { .. } => (
            Some(Code::Usage),
            &["a registry is the first part of the name, with a dot or a port, such as ghcr.io/USER/NAME"],
        ),
        NotAnArtifact { .. } => (
            None,
            &["gpux pulls ONNX models packed as ModelPack artifacts, ModelKits or files with titles"],
        ),
        Unnamed { .. } => (None, &["`gpux load FILE -t NAME` names what an archive does not"]),
        Corrupt { .. } | Restless { .. } => (
            Some(Code::Network),
            &["the registry, or something between it and here, changes what it sends; nothing of it was stored"],
        ),
        Overtaken { .. } => (
            Some(Code::Network),
            &["push again if this artifact is the one that should be there"],
        ),
        TooLargeForRegistry { .. } => (None, &["`gpux build` without --no-shard makes smaller layers"]),
        _ => NONE,
    }
}

fn of_registry(error: &registry::Error) -> Advice {
    use registry::ErrorKind;
    match error {
        registry::Error::Unauthorized { anonymous: true, .. } => (
            Some(Code::Authentication),
            &["`gpux login HOST` keeps credentials for a registry"],
        ),
        registry::Error::Status { status: 405, .. } => (
            Some(Code::Network),
            &["the registry does not offer this; some do in their web pages"],
        ),
        registry::Error::NotFound { .. } => (
            Some(Code::NotFound),
            &["`gpux tags HOST/NAME` lists what a registry has; a private name is often hidden until `gpux login`"],
        ),
        registry::Error::File(error) => of_file(error),
        other => match other.kind() {
            ErrorKind::NotFound => (Some(Code::NotFound), &[]),
            ErrorKind::Authentication => (
                Some(Code::Authentication),
                &["log in again with `gpux login`, and see that the account may read or write there"],
            ),
            ErrorKind::Registry => (Some(Code::Network), &[]),
            ErrorKind::Local => NONE,
        },
    }
}

fn of_file(error: &fs::Error) -> Advice {
    match error.source.kind() {
        std::io::ErrorKind::NotFound => (Some(Code::NotFound), &[]),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => (
            None,
            &["free some space, for example with `gpux prune`, and try again: nothing was lost"],
        ),
        std::io::ErrorKind::PermissionDenied => (None, &["the user who runs gpux needs the right to do this"]),
        _ => NONE,
    }
}
