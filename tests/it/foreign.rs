//! Artifacts of other tools: ModelPack in its packings, ModelKits, files with titles; and tar layers that mean harm.

use std::io::Write as _;

use gpux::oci::{Descriptor, Manifest, MediaType, annotation};

use crate::support::{
    Answer, Gpux,
    artifacts::noise,
    deps::{fixture, program},
    distribution::Distribution,
    registry::{Profile, Registry},
};

fn model() -> Vec<u8> {
    std::fs::read(fixture("digits/model.onnx")).unwrap()
}

/// A tar archive of files.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o4755);
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A tar archive of one entry whose name and kind are written as they are, however wrong.
fn tar_with(name: &[u8], kind: tar::EntryType, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    if !link.is_empty() {
        header.set_link_name(link).unwrap();
    }
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Serves an artifact of one layer, or of several, and pulls and inspects it.
fn inspected(config: &str, layers: &[(Descriptor, Vec<u8>)]) -> (Gpux, String, Answer) {
    let registry = Registry::start(Profile::honest());
    let config = Descriptor::of(config.parse().unwrap(), b"{}");
    registry.put_blob("a", b"{}");
    let mut manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![]);
    manifest.artifact_type = None;
    for (descriptor, bytes) in layers {
        registry.put_blob("a", bytes);
        manifest.layers.push(descriptor.clone());
    }
    registry.put_manifest("a", "1", MediaType::OCI_MANIFEST.as_str(), &manifest.to_bytes());
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    gpux.ok(["pull", &name]);
    let answer = gpux.run(["--json", "inspect", &name]);
    (gpux, name, answer)
}

fn layer(media_type: &str, bytes: Vec<u8>) -> (Descriptor, Vec<u8>) {
    (Descriptor::of(media_type.parse().unwrap(), &bytes), bytes)
}

const PACK: &str = "application/vnd.cncf.model.config.v1+json";

#[test]
fn artifacts_of_other_tools_open_like_our_own() {
    let model = model();
    let archive = tar_of(&[("./digits.onnx", &model), ("deep/labels.txt", b"a\n")]);
    let titled = |bytes: &[u8], media_type: &str, path: &str| {
        let (descriptor, bytes) = layer(media_type, bytes.to_vec());
        (descriptor.with_annotation(annotation::TITLE, path), bytes)
    };
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let cases = [
        (
            PACK,
            vec![layer("application/vnd.cncf.model.weight.v1.tar", archive.clone())],
        ),
        (
            PACK,
            vec![layer("application/vnd.cncf.model.weight.v1.tar+gzip", gzip(&archive))],
        ),
        (
            PACK,
            vec![layer("application/vnd.cncf.model.weight.v1.tar+zstd", zstd(&archive))],
        ),
        (
            "application/vnd.cnai.model.config.v1+json",
            vec![layer("application/vnd.cnai.model.weight.v1.tar", archive.clone())],
        ),
        (
            "application/vnd.kitops.modelkit.config.v1+json",
            vec![
                layer("application/vnd.kitops.modelkit.model.v1.tar+gzip", gzip(&archive)),
                layer(
                    "application/vnd.kitops.modelkit.docs.v1.tar",
                    tar_of(&[("README.md", b"x")]),
                ),
            ],
        ),
        (
            "application/vnd.oci.empty.v1+json",
            vec![titled(&model, tar, "digits.onnx")],
        ),
        (
            "application/vnd.unknown.config.v1+json",
            vec![titled(&model, "application/octet-stream", "x/digits.onnx")],
        ),
    ];
    for (config, layers) in cases {
        let (gpux, name, answer) = inspected(config, &layers);
        assert_eq!(answer.code, Some(0), "{config}: {answer:?}");
        let seen: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(seen["outputs"][1]["name"], "digit", "{config}");
        let folder = gpux.home().join("out");
        gpux.ok(["unpack", &name, "-o", folder.to_str().unwrap()]);
        let files = ["digits.onnx", "x/digits.onnx"];
        let found = files.iter().find_map(|file| std::fs::read(folder.join(file)).ok());
        assert!(found.as_ref() == Some(&model), "{config}");
    }
}

#[test]
fn what_was_unpacked_goes_with_its_layer() {
    let archive = tar_of(&[("digits.onnx", &model())]);
    let (gpux, name, answer) = inspected(PACK, &[layer("application/vnd.cncf.model.weight.v1.tar", archive)]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let unpacked = gpux.home().join("cache/unpacked");
    let count = || std::fs::read_dir(&unpacked).unwrap().count();
    assert_eq!(count(), 1);
    gpux.ok(["prune"]);
    assert_eq!(count(), 1);
    gpux.ok(["rm", &name]);
    gpux.ok(["prune"]);
    assert_eq!(count(), 0);
}

#[test]
fn tar_layers_that_mean_harm_are_refused() {
    use tar::EntryType;
    let long = "a/".repeat(2500);
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(600 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    let zeros = std::io::Read::take(std::io::repeat(0), 600 << 20);
    let bomb = zstd::encode_all(std::io::Read::chain(&header.as_bytes()[..], zeros), 1).unwrap();
    let weight = "application/vnd.cncf.model.weight.v1.tar";
    let plain = |bytes: Vec<u8>| layer(weight, bytes);
    let cases = [
        ("parent", plain(tar_with(b"../evil", EntryType::Regular, "", b"x"))),
        (
            "deep parent",
            plain(tar_with(b"a/../../evil", EntryType::Regular, "", b"x")),
        ),
        ("absolute", plain(tar_with(b"/tmp/evil", EntryType::Regular, "", b"x"))),
        ("empty", plain(tar_with(b"", EntryType::Regular, "", b"x"))),
        ("escape", plain(tar_with(b"a\x1b[31m", EntryType::Regular, "", b"x"))),
        ("long", plain(tar_of(&[(&format!("{long}x"), b"x")]))),
        (
            "symbolic link",
            plain(tar_with(b"link", EntryType::Symlink, "/etc/passwd", b"")),
        ),
        (
            "hard link",
            plain(tar_with(b"link", EntryType::Link, "/etc/passwd", b"")),
        ),
        ("device", plain(tar_with(b"device", EntryType::Char, "", b""))),
        ("FIFO", plain(tar_with(b"pipe", EntryType::Fifo, "", b""))),
        ("sparse", plain(tar_with(b"sparse", EntryType::GNUSparse, "", b""))),
        ("file over folder", plain(tar_of(&[("a/b", b"x"), ("a", b"x")]))),
        (
            "one file twice",
            plain(tar_of(&[("model.onnx", b"x"), ("MODEL.onnx", b"x")])),
        ),
        (
            "cut",
            plain(tar_of(&[("model.onnx", &noise(1, 5000))])[..3000].to_vec()),
        ),
        ("noise", plain(noise(2, 5000))),
        ("bomb", layer(&format!("{weight}+zstd"), bomb)),
        ("not gzip", layer(&format!("{weight}+gzip"), noise(3, 5000))),
        ("not zstd", layer(&format!("{weight}+zstd"), noise(3, 5000))),
        (
            "unknown",
            layer("application/vnd.cncf.model.weight.v1.tar+brotli", noise(3, 5000)),
        ),
    ];
    for (what, layer) in cases {
        let (gpux, _, answer) = inspected(PACK, &[layer]);
        assert_eq!(answer.code, Some(1), "{what}: {answer:?}");
        assert!(!answer.stderr.contains('\u{1b}'), "{what}: {answer:?}");
        let unpacked = gpux.home().join("cache/unpacked");
        let left = std::fs::read_dir(&unpacked).map_or(0, |names| names.count());
        assert_eq!(left, 0, "{what}: nothing stays");
        assert!(
            !gpux.home().join("evil").exists() && !gpux.home().join("cache/evil").exists(),
            "{what}"
        );
    }
}

#[test]
fn an_image_that_skopeo_knows_is_no_artifact_of_ours() {
    let registry = Distribution::start();
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = gpux::oci::Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
    };
    let image = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = Descriptor::of("application/vnd.oci.image.config.v1+json".parse().unwrap(), image);
    let mut manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![]);
    manifest.artifact_type = None;
    let manifest = manifest.to_bytes();
    put(image);
    put(&manifest);
    let named = Descriptor::of(MediaType::OCI_MANIFEST, &manifest).with_annotation(annotation::REF_NAME, "image");
    std::fs::write(
        folder.path().join("index.json"),
        gpux::oci::Index::new(vec![named]).to_bytes(),
    )
    .unwrap();
    std::fs::write(folder.path().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let name = format!("{}/image:1", registry.host());
    let status = std::process::Command::new(program("skopeo"))
        .args(["copy", "-q", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:image", folder.path().display()))
        .arg(format!("docker://{name}"))
        .status()
        .unwrap();
    assert!(status.success());
    let answer = Gpux::new().run(["pull", &name]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("a container image"), "{answer:?}");
}

#[test]
fn a_kitfile_says_which_model_of_a_kit_runs() {
    let digits = tar_of(&[("models/digits.onnx", &model()), ("models/labels.txt", b"a\n")]);
    let other = tar_of(&[("other.onnx", b"no model at all")]);
    let kitfile = |path: &str| {
        format!(
            r#"{{"manifestVersion":"1.0.0","package":{{"name":"digits"}},"model":{{"name":"digits","path":"{path}"}}}}"#
        )
    };
    for (config, code) in [
        (kitfile("./models/digits.onnx"), 0),
        (kitfile("models"), 0),
        (kitfile("."), 1),
        (kitfile("../digits.onnx"), 1),
        ("not JSON".to_owned(), 1),
        ("{}".to_owned(), 1),
    ] {
        let registry = Registry::start(Profile::honest());
        let kit = "application/vnd.kitops.modelkit.config.v1+json".parse().unwrap();
        let mut manifest = Manifest::new(
            MediaType::MODEL_ARTIFACT,
            Descriptor::of(kit, config.as_bytes()),
            vec![],
        );
        manifest.artifact_type = None;
        registry.put_blob("kit", config.as_bytes());
        for (kind, archive) in [("model", &digits), ("modelpart", &other)] {
            let (layer, bytes) = layer(
                &format!("application/vnd.kitops.modelkit.{kind}.v1.tar+gzip"),
                gzip(archive),
            );
            registry.put_blob("kit", &bytes);
            manifest.layers.push(layer);
        }
        registry.put_manifest("kit", "1", MediaType::OCI_MANIFEST.as_str(), &manifest.to_bytes());
        let (gpux, name) = (Gpux::new(), format!("{}/kit:1", registry.host()));
        let input = format!("@{}", fixture("digits/seven.npy").display());
        let answer = gpux.run(["--json", "run", &name, "--input", &input]);
        assert_eq!(answer.code, Some(code), "{config}: {answer:?}");
        match code {
            0 => assert!(answer.stdout.contains("\"digit\""), "{answer:?}"),
            _ => assert!(answer.stderr.contains("2 ONNX files"), "{answer:?}"),
        }
    }
}

/// A tar archive whose extended header gives a file another size than its own header.
fn tar_of_two_sizes(own: u64, extended: u64) -> Vec<u8> {
    let record = format!("size={extended}\n");
    let record = format!("{} {record}", record.len() + 3);
    let mut archive = tar_with(b"pax", tar::EntryType::XHeader, "", record.as_bytes());
    archive.truncate(archive.len() - 1024);
    let mut header = tar::Header::new_ustar();
    header.set_path("model.onnx").unwrap();
    header.set_size(own);
    header.set_mode(0o644);
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(&[7; 1024]);
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn a_size_in_an_extended_header_is_the_size_for_all() {
    let weight = "application/vnd.cncf.model.weight.v1.tar";
    let (gpux, name, _) = inspected(PACK, &[layer(weight, tar_of_two_sizes(0, 1024))]);
    let folder = gpux.home().join("out");
    let answer = gpux.run(["unpack", &name, "-o", folder.to_str().unwrap()]);
    // What one reader takes for content, another would take for the next header: one of the two, never both.
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(std::fs::read(folder.join("model.onnx")).unwrap() == [7; 1024]);
    let (gpux, name, _) = inspected(PACK, &[layer(weight, tar_of_two_sizes(0, 1 << 40))]);
    let answer = gpux.run(["unpack", &name, "-o", gpux.home().join("out").to_str().unwrap()]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
}

#[test]
fn archives_without_measure_are_refused_and_no_rights_are_taken_over() {
    let weight = "application/vnd.cncf.model.weight.v1.tar";
    // A frame that wants a window of 2 GiB, and one empty block.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    let mut folders = Vec::new();
    for n in 0..210_000 {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("folder{n}")).unwrap();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        header.set_cksum();
        folders.extend_from_slice(header.as_bytes());
    }
    for (what, bytes, words) in [
        ("window", window, "cannot be unpacked"),
        ("entries", zstd(&folders), "too many entries"),
    ] {
        let (_, _, answer) = inspected(PACK, &[layer(&format!("{weight}+zstd"), bytes)]);
        assert_eq!(answer.code, Some(1), "{what}: {answer:?}");
        assert!(answer.stderr.contains(words), "{what}: {answer:?}");
    }
    // Set-user-ID, as `tar_of` has it, stays in the archive.
    let (gpux, _, answer) = inspected(PACK, &[layer(weight, tar_of(&[("digits.onnx", &model())]))]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    #[cfg(unix)]
    for folder in std::fs::read_dir(gpux.home().join("cache/unpacked")).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = folder.unwrap().path().join("digits.onnx");
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o7000, 0);
    }
}
