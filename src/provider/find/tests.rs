use std::path::Path;

use super::places::implied;
use super::*;
use crate::provider::pack::{LibraryFile, PACK_FILE};
use crate::provider::row;

/// Makes an empty file that is named as the library of `version` is on this system.
fn library(folder: &Path, version: &str) -> PathBuf {
    let name = format!("{}{version}", Platform::current().library("onnxruntime"));
    file(folder, &name)
}

fn file(folder: &Path, name: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), "x").unwrap();
    std::fs::canonicalize(folder.join(name)).unwrap()
}

/// Installs a pack of a row with these files, one byte each.
fn install(packs: &Path, name: &str, version: &str, files: &[&str]) -> PathBuf {
    let listed = files.iter().map(|path| LibraryFile {
        path: (*path).to_owned(),
        digest: Digest::of(b"x"),
        size_bytes: 1,
    });
    let pack = row(name)
        .unwrap()
        .pack(Platform::current(), version.parse().unwrap(), listed.collect())
        .unwrap();
    let folder = packs.join(pack.id());
    for name in files {
        file(&folder, name);
    }
    std::fs::write(folder.join(PACK_FILE), pack.to_bytes()).unwrap();
    folder
}

#[test]
fn places_are_searched_in_the_documented_order_and_newest_first() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let beside = library(&at("bin"), "");
    let suffix = Platform::current().library("onnxruntime");
    let old = install(&at("providers"), "cpu", "1.9.0", &[&suffix]).join(&suffix);
    let new = install(&at("providers"), "cpu", "1.31.1", &[&suffix]).join(&suffix);
    let older = library(&at("venv/lib/python3.11/site-packages/onnxruntime/capi"), "");
    let system = library(&at("usr/lib"), "");
    let mut sources = Sources {
        packs: Some(at("providers")),
        executable: Some(at("bin")),
        python: vec![at("venv")],
        system: vec![at("usr/lib"), at("usr/lib64")],
        ..Sources::default()
    };
    let cores = |sources: &Sources| -> Vec<_> {
        let plans = sources.find(ProviderKind::Cpu).plans.into_iter();
        plans.map(|plan| (plan.origin, plan.core)).collect()
    };
    let expected = [
        (Origin::Pack, new),
        (Origin::Pack, old),
        (Origin::Executable, beside),
        (Origin::Python, older.clone()),
        (Origin::System, system),
    ];
    assert_eq!(cores(&sources), expected);
    sources.explicit = older.parent().map(Path::to_owned);
    assert_eq!(
        cores(&sources),
        [(Origin::Explicit, older)],
        "a folder stands for the library in it"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_folder_gives_its_newest_library_first() {
    let root = tempfile::tempdir().unwrap();
    library(root.path(), ".1.9.0");
    library(root.path(), ".1.31.1");
    let sources = Sources {
        system: vec![root.path().to_owned()],
        ..Sources::default()
    };
    let plans = sources.find(ProviderKind::Cpu).plans;
    let versions: Vec<&str> = plans.iter().map(|plan| plan.version.as_str()).collect();
    assert_eq!(versions, ["1.31.1", "1.9.0"]);
}

#[test]
fn every_place_that_gives_nothing_is_named_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let packs = root.path().join("providers");
    std::fs::create_dir_all(packs.join("cpu-1.0")).unwrap();
    std::fs::create_dir_all(packs.join(".cpu-2.0.1.tmp")).unwrap();
    let sources = Sources {
        packs: Some(packs.clone()),
        executable: Some(root.path().to_owned()),
        ..Sources::default()
    };
    let found = sources.find(ProviderKind::Cpu);
    assert!(found.plans.is_empty());
    let [pack, beside] = &found.looked[..] else {
        panic!("two places: {found:?}");
    };
    assert!(
        matches!((pack.origin, &pack.refusal), (Origin::Pack, Refusal::NoPack(_))),
        "{pack}"
    );
    assert_eq!(pack.path, packs.join("cpu-1.0"));
    assert!(matches!(beside.refusal, Refusal::Missing));
    let found = Sources::default().find(ProviderKind::Embedded);
    assert!(found.plans.is_empty() && found.looked.is_empty());
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use super::*;

    const CORE: [&str; 2] = ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"];
    const CUDA: [&str; 4] = [
        "libcudart.so.13",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libcurand.so.10",
    ];

    /// Surroundings in which the user names a folder of libraries.
    fn given(folder: &Path) -> Surroundings {
        Surroundings {
            root: folder.join("root"),
            library_path: vec![folder.to_owned()],
            ..Surroundings::default()
        }
    }

    #[test]
    fn dependencies_are_found_in_packs_before_the_system_and_in_the_order_of_the_pack() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        let system = root.path().join("cuda/lib64");
        install(&packs, "cuda", "1.31.1", &CORE);
        let runtime = install(&packs, "nvidia-cuda-runtime", "13.0.96", &[CUDA[0]]);
        for name in CUDA {
            file(&system, name);
        }
        let cudnn = file(&system, "libcudnn.so.9");
        let sources = Sources {
            packs: Some(packs),
            surroundings: given(&system),
            ..Sources::default()
        };
        let plan = sources.find(ProviderKind::Cuda).plans.remove(0);
        let mut expected = vec![runtime.join(CUDA[0])];
        expected.extend(CUDA[1..].iter().map(|name| system.join(name)));
        expected.push(cudnn);
        assert_eq!(plan.dependencies, expected);
        assert_eq!(plan.missing, ["libnvrtc.so.13", "libcufft.so.12"], "both are lazy");
        assert_eq!(
            (plan.pack.as_str(), plan.ep_name.as_str()),
            ("cuda-1.31.1", "CUDAExecutionProvider")
        );
        assert_eq!(plan.library.unwrap().file_name().unwrap(), CORE[1]);
        assert_eq!(
            sources.find(ProviderKind::Cpu).plans.len(),
            1,
            "its core runs on the processor too"
        );
    }

    #[test]
    fn a_missing_dependency_is_named_with_every_folder_that_was_searched() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        let folder = install(&packs, "cuda", "1.31.1", &CORE);
        let system = root.path().join("lib");
        file(&system, CUDA[0]);
        let sources = Sources {
            packs: Some(packs),
            surroundings: given(&system),
            ..Sources::default()
        };
        let found = sources.find(ProviderKind::Cuda);
        let [looked] = &found.looked[..] else {
            panic!("{found:?}")
        };
        let Refusal::NoDependency { library, looked } = &looked.refusal else {
            panic!("{looked}");
        };
        assert_eq!((library.as_str(), looked), (CUDA[1], &vec![folder, system]));
    }

    #[test]
    fn an_old_driver_passes_over_the_pack_that_needs_a_newer_one() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        install(&packs, "cuda", "1.31.1", &CORE);
        let sources = Sources {
            packs: Some(packs),
            nvidia_driver: Some("575.57.08".to_owned()),
            ..Sources::default()
        };
        let found = sources.find(ProviderKind::Cuda);
        assert!(
            matches!(found.looked[0].refusal, Refusal::OldDriver { .. }),
            "{found:?}"
        );
    }

    #[test]
    fn a_plugin_takes_the_first_core_that_is_new_enough_for_it() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        let plugin = "libonnxruntime_providers_webgpu.so";
        let pack = install(&packs, "webgpu", "0.4.0", &[plugin]);
        let mut sources = Sources {
            packs: Some(packs.clone()),
            ..Sources::default()
        };
        let refused = sources.find(ProviderKind::WebGpu).looked.remove(0).refusal;
        assert!(matches!(refused, Refusal::NoCore { .. }), "{refused}");
        install(&packs, "cpu", "1.24.1", &["libonnxruntime.so.1.24.1"]);
        assert!(
            sources.find(ProviderKind::WebGpu).plans.is_empty(),
            "1.24.4 is the oldest"
        );
        let core = install(&packs, "cpu", "1.32.0", &["libonnxruntime.so.1.32.0"]);
        let plan = sources.find(ProviderKind::WebGpu).plans.remove(0);
        assert_eq!(plan.core, core.join("libonnxruntime.so.1.32.0"));
        assert_eq!((plan.plugin, plan.library), (Some(pack.join(plugin)), None));
        let explicit = library(&root.path().join("own"), ".1.30.0");
        sources.explicit = Some(explicit.clone());
        assert_eq!(sources.find(ProviderKind::WebGpu).plans.remove(0).core, explicit);
    }

    #[test]
    fn a_half_copied_pack_and_one_for_another_system_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        let core = "libonnxruntime.so.1.32.0";
        let folder = install(&packs, "cpu", "1.32.0", &[core]);
        let sources = Sources {
            packs: Some(packs),
            ..Sources::default()
        };
        std::fs::write(folder.join(core), "longer").unwrap();
        let refused = sources.find(ProviderKind::Cpu).looked.remove(0).refusal;
        assert!(
            matches!(&refused, Refusal::Incomplete(file) if file == core),
            "{refused}"
        );
        let document = std::fs::read_to_string(folder.join(PACK_FILE)).unwrap();
        std::fs::write(
            folder.join(PACK_FILE),
            document.replace("linux-x86_64", "macos-aarch64"),
        )
        .unwrap();
        let refused = sources.find(ProviderKind::Cpu).looked.remove(0).refusal;
        assert!(matches!(refused, Refusal::OtherPlatform { .. }), "{refused}");
    }

    #[test]
    fn a_python_package_for_a_gpu_is_told_by_what_lies_beside_its_core() {
        let root = tempfile::tempdir().unwrap();
        let capi = root.path().join("lib/python3.12/site-packages/onnxruntime/capi");
        for (version, cudart) in [("1.31.1", "libcudart.so.13"), ("1.26.0", "libcudart.so.12")] {
            let core = file(&capi, &format!("libonnxruntime.so.{version}"));
            file(&capi, "libonnxruntime_providers_cuda.so");
            let place = implied(Origin::Python, &core).remove(0);
            let cuda = place.pack.provided(ProviderKind::Cuda).unwrap();
            assert_eq!(cuda.loads[0].library, cudart);
            assert!(place.pack.provided(ProviderKind::Cpu).is_some());
            assert!(place.pack.provided(ProviderKind::OpenVino).is_none());
        }
    }

    #[test]
    fn the_key_changes_with_any_library() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        let core = "libonnxruntime.so.1.32.0";
        let folder = install(&packs, "cpu", "1.32.0", &[core]);
        let sources = Sources {
            packs: Some(packs),
            ..Sources::default()
        };
        let key = || sources.find(ProviderKind::Cpu).plans.remove(0).key;
        let before = key();
        assert_eq!(key(), before);
        let file = std::fs::File::options().write(true).open(folder.join(core)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(key(), before);
    }
}
