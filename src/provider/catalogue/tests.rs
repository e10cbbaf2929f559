use super::*;
use crate::provider::{Arch, LOCK};

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[test]
fn every_row_has_its_wheels_in_the_lock_and_every_wheel_its_row() {
    for row in CATALOGUE {
        assert!(LOCK.wheels(row.name).next().is_some(), "{} has no wheel", row.name);
        for (pack, _) in row.needed_packs(&ProviderKind::ALL) {
            assert!(super::row(pack).is_some(), "{pack} is no row");
        }
    }
    for wheel in &LOCK.packs {
        assert!(row(&wheel.pack).is_some(), "{} is no row", wheel.pack);
    }
}

#[test]
fn every_kind_but_the_embedded_engine_comes_with_some_pack() {
    let platforms = ["linux-x86_64", "linux-aarch64", "macos-aarch64", "windows-x86_64"].map(platform);
    for kind in ProviderKind::ALL {
        let found = platforms
            .iter()
            .any(|&it| row_for(kind, it, &Hardware::default()).is_some());
        assert_eq!(found, kind != ProviderKind::Embedded, "{kind}");
    }
    let mac = platform("macos-aarch64");
    let name = |kind, platform| row_for(kind, platform, &Hardware::default()).map(|row| row.name);
    assert_eq!(name(ProviderKind::CoreMl, mac), Some("cpu"));
    assert_eq!(name(ProviderKind::CoreMl, platform("linux-x86_64")), None);
    assert_eq!(
        name(ProviderKind::DirectMl, platform("windows-x86_64")),
        Some("directml")
    );
}

#[test]
fn the_driver_decides_between_cuda_13_and_12() {
    let linux = platform("linux-x86_64");
    for (driver, expected) in [
        (Some("580.65.06"), Some("cuda")),
        (Some("575.57.08"), Some("cuda12")),
        (Some("470.82.01"), None),
        (None, Some("cuda")),
    ] {
        let hardware = Hardware {
            nvidia_driver: driver.map(str::to_owned),
            ..Hardware::default()
        };
        for kind in [ProviderKind::Cuda, ProviderKind::TensorRt] {
            assert_eq!(
                row_for(kind, linux, &hardware).map(|row| row.name),
                expected,
                "{driver:?}"
            );
        }
    }
}

/// A file of no content.
fn file(path: &str) -> LibraryFile {
    LibraryFile {
        path: path.to_owned(),
        digest: crate::oci::Digest::of(b""),
        size_bytes: 0,
    }
}

#[test]
fn a_pack_names_what_is_loaded_in_the_order_in_which_libraries_need_each_other() {
    let linux = platform("linux-x86_64");
    let names = ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"];
    let pack = row("cuda")
        .unwrap()
        .pack(linux, parsed("1.31.1"), names.map(file).into())
        .unwrap();
    let cuda = pack.provided(ProviderKind::Cuda).unwrap();
    let loads: Vec<&str> = cuda.loads.iter().map(|needed| needed.library.as_str()).collect();
    let order = [
        "libcudart.so.13",
        "libnvrtc.so.13",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libcurand.so.10",
        "libcufft.so.12",
        "libcudnn.so.9",
    ];
    assert_eq!(loads, order);
    assert!(
        pack.provided(ProviderKind::TensorRt).is_none(),
        "its bridge is not among the files"
    );
    assert_eq!(pack.core().unwrap().version.as_str(), "1.31.1");
}

#[test]
fn files_that_make_no_pack_are_refused_with_what_is_missing() {
    let linux = platform("linux-x86_64");
    for (name, files, missing) in [
        ("cpu", &[][..], "libonnxruntime.so"),
        (
            "cuda",
            &["libonnxruntime.so.1.31.1"],
            "libonnxruntime_providers_cuda.so",
        ),
        ("webgpu", &["libx.so"], "libonnxruntime_providers_webgpu.so"),
        ("nvidia-curand", &[], "any library"),
        (
            "tensorrt-rtx",
            &["libonnxruntime_providers_nv_tensorrt_rtx.so", "libcudart.so.13.4.36"],
            "libtensorrt_rtx.so.1*",
        ),
    ] {
        let files = files.iter().copied().map(file).collect();
        let refused = row(name).unwrap().pack(linux, parsed("1.0"), files).unwrap_err();
        assert_eq!(refused.library, missing, "{name}");
    }
}

#[test]
fn the_name_of_the_core_has_its_version() {
    let linux = platform("linux-x86_64");
    let windows = Platform {
        os: Os::Windows,
        arch: Arch::X86_64,
    };
    let version = |name, platform| core_version(name, platform).map(|it| it.map(|it| it.to_string()));
    assert_eq!(
        version("libonnxruntime.so.1.31.1", linux),
        Some(Some("1.31.1".to_owned()))
    );
    assert_eq!(version("libonnxruntime.so", linux), Some(None));
    assert_eq!(version("onnxruntime.dll", windows), Some(None));
    assert_eq!(
        version("libonnxruntime.1.32.0.dylib", platform("macos-aarch64")),
        Some(Some("1.32.0".to_owned()))
    );
    for other in [
        "libonnxruntime_providers_shared.so",
        "libonnxruntime.so.old",
        "libx.so.1",
    ] {
        assert_eq!(version(other, linux), None, "{other}");
    }
}
