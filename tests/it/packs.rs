//! Packs come from every source, are checked, travel as artifacts, and go; and nothing that is not what it must be stays.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contracts;
use crate::support::distribution::Distribution;
use crate::support::terminal::on_terminal;
use crate::support::{Answer, Gpux, deps};

const MLP: [&str; 6] = ["run", "fixtures/mlp", "--input", "x=[[1,2,3,4]]", "--provider", "cpu"];

/// Runs gpux where pip and uv take wheels from the folder that `make test-deps` filled, and reach no network.
fn with_wheels(gpux: &Gpux, arguments: &[&str]) -> Answer {
    gpux.finish(wheels_command(gpux, arguments))
}

fn wheels_command(gpux: &Gpux, arguments: &[&str]) -> Command {
    let wheels = deps::wheels();
    let programs = [
        deps::python_environment().join("bin"),
        wheels.join("uv/bin"),
        "/usr/bin".into(),
        "/bin".into(),
    ];
    let path = std::env::join_paths(programs).unwrap();
    let variables: [(&str, OsString); 8] = [
        ("PATH", path),
        ("PIP_NO_INDEX", "1".into()),
        ("PIP_FIND_LINKS", wheels.clone().into()),
        ("PIP_CONFIG_FILE", "/dev/null".into()),
        ("UV_NO_CONFIG", "1".into()),
        ("UV_OFFLINE", "1".into()),
        ("UV_NO_INDEX", "true".into()),
        ("UV_FIND_LINKS", wheels.into()),
    ];
    let mut command = gpux.command(arguments);
    command.envs(variables).env("UV_CACHE_DIR", gpux.home().join("uv"));
    command
}

/// Parses what a command that must succeed printed.
#[track_caller]
fn json(answer: &Answer) -> Value {
    assert_eq!(answer.code, Some(0), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The names of what lies in the folder of packs, but the lock.
fn on_disk(gpux: &Gpux) -> Vec<String> {
    let entries = std::fs::read_dir(gpux.home().join("providers"))
        .map(|it| it.collect())
        .unwrap_or_else(|_| Vec::new());
    let mut names: Vec<String> = entries
        .into_iter()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

fn version_of(pack: &str) -> String {
    let platform = gpux::provider::Platform::current();
    gpux::provider::LOCK.wheel(pack, platform).unwrap().version.clone()
}

#[test]
fn pip_brings_the_processors_pack_which_then_runs_models_without_python() {
    let gpux = Gpux::new();
    let installed = json(&with_wheels(
        &gpux,
        &["provider", "install", "cpu", "--source", "pip", "--json"],
    ));
    contracts::command("packs_installed", &installed);
    assert_eq!(on_disk(&gpux), [format!("cpu-{}", version_of("cpu"))]);
    let list = gpux.json(["provider", "list", "--json"]);
    contracts::command("packs", &list);
    assert!(list[0]["source"].as_str().unwrap().ends_with(".whl, pip"), "{list}");
    assert_eq!(gpux.json(MLP)["provider"], "cpu");
    let verified = gpux.json(["provider", "verify", "--json"]);
    contracts::command("packs_verified", &verified);
    assert_eq!(verified["packs"][0]["damaged"], json!([]));
    let all = gpux.json(["provider", "list", "--all", "--json"]);
    contracts::command("packs_known", &all);
    let again = with_wheels(&gpux, &["provider", "install", "cpu"]);
    assert!(
        again.stderr.contains("is installed, with all that it needs"),
        "{again:?}"
    );
    let removed = gpux.json(["provider", "remove", "cpu", "--json"]);
    contracts::command("packs_removed", &removed);
    assert_eq!(on_disk(&gpux), [""; 0]);
    assert_eq!(gpux.run(MLP).code, Some(1));
}

#[test]
fn uv_brings_a_pack_where_pip_is_not_wanted() {
    let gpux = Gpux::new();
    let installed = json(&with_wheels(
        &gpux,
        &["provider", "install", "cpu", "--source", "uv", "--json"],
    ));
    let pack = &installed["installed"][0];
    assert!(pack["source"].as_str().unwrap().ends_with(", uv"), "{pack}");
    assert_eq!(gpux.json(MLP)["provider"], "cpu");
}

#[test]
fn what_the_machine_has_is_taken_before_anything_is_downloaded() {
    let gpux = Gpux::new();
    let mut command = gpux.command(["provider", "install", "cpu", "--json"]);
    command
        .env("VIRTUAL_ENV", deps::python_environment())
        .env("PATH", "/nowhere");
    let installed = json(&gpux.finish(command));
    let library = deps::onnxruntime_library();
    let source = installed["installed"][0]["source"].as_str().unwrap();
    assert_eq!(
        source,
        library
            .parent()
            .unwrap()
            .to_str()
            .unwrap()
            .replace(deps::repository().to_str().unwrap(), "$REPO")
    );
    assert_eq!(gpux.json(MLP)["provider"], "cpu");
}

#[test]
fn with_no_source_the_error_names_all_of_them() {
    let gpux = Gpux::new();
    let mut command = gpux.command(["provider", "install", "cpu"]);
    command.env("PATH", "/nowhere");
    let answer = gpux.finish(command);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in [
        "this machine: ",
        "GPUX_PACKS: it is not set",
        "pip: pip is not there",
        "uv: uv is not there",
        "--from",
    ] {
        assert!(answer.stderr.contains(part), "`{part}` is missing: {answer:?}");
    }
    assert_eq!(on_disk(&gpux), [""; 0]);
}

#[test]
fn a_large_download_is_not_begun_unasked() {
    let gpux = Gpux::new();
    let answer = with_wheels(&gpux, &["provider", "install", "cuda12", "--source", "pip"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in [
        "nvidia-cudnn-cu12",
        "GB to download",
        "were not downloaded",
        "--yes downloads without asking",
    ] {
        assert!(answer.stderr.contains(part), "`{part}` is missing: {answer:?}");
    }
}

#[test]
fn a_wheel_by_hand_is_held_to_the_lock() {
    let folder = TempDir::new().unwrap();
    let wheel = deps::wheel("webgpu");
    let gpux = Gpux::new();
    let installed = json(&gpux.run(["provider", "install", "--json", "--from", wheel.to_str().unwrap()]));
    assert_eq!(installed["installed"][0]["providers"], json!(["webgpu"]));
    let broken = folder.path().join(wheel.file_name().unwrap());
    let mut bytes = std::fs::read(&wheel).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&broken, bytes).unwrap();
    let other = Gpux::new();
    let answer = other.run(["provider", "install", "--from", broken.to_str().unwrap()]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("is expected"), "{answer:?}");
    assert_eq!(on_disk(&other), [""; 0]);
}

/// Writes a small core library where nothing looks for one; a pack can be made of it, and nothing can be run.
fn small_core(folder: &Path) -> PathBuf {
    let core = folder.join("libonnxruntime.so.1.30.0");
    std::fs::write(&core, "not a library").unwrap();
    core
}

#[test]
fn a_damaged_pack_is_found_by_verify_and_refused_before_it_is_loaded() {
    let folder = TempDir::new().unwrap();
    small_core(folder.path());
    let gpux = Gpux::new();
    gpux.ok(["provider", "install", "cpu", "--from", folder.path().to_str().unwrap()]);
    let library = gpux.home().join("providers/cpu-1.30.0/libonnxruntime.so.1.30.0");
    std::fs::remove_file(&library).unwrap();
    std::fs::write(&library, "NOT a library").unwrap();
    let verified = gpux.run(["provider", "verify"]);
    assert_eq!(verified.code, Some(6), "{verified:?}");
    assert!(
        verified.stdout.contains("cpu-1.30.0: DAMAGED") && verified.stdout.contains("sha256:"),
        "{verified:?}"
    );
    let doctor = gpux.json(["doctor", "--json"]);
    let cpu = doctor["providers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["provider"] == "cpu")
        .unwrap();
    assert_eq!(cpu["state"], "refused", "{cpu}");
    assert!(
        cpu["reason"].as_str().unwrap().contains("is not what was packed"),
        "{cpu}"
    );
    std::fs::remove_dir_all(gpux.home().join("providers/cpu-1.30.0")).unwrap();
    std::fs::create_dir(gpux.home().join("providers/stray-1.0")).unwrap();
    let verified = gpux.run(["provider", "verify", "--json"]);
    assert_eq!(verified.code, Some(6), "{verified:?}");
    contracts::command("packs_verified", &serde_json::from_str(&verified.stdout).unwrap());
}

#[test]
fn packs_travel_as_artifacts_through_a_registry_and_through_a_file() {
    let registry = Distribution::start();
    let prefix = format!("{}/packs", registry.host());
    let folder = TempDir::new().unwrap();
    small_core(folder.path());
    let gpux = Gpux::new();
    gpux.ok(["provider", "install", "cpu", "--from", folder.path().to_str().unwrap()]);
    let pushed = json(&gpux.run(["provider", "push", "cpu", "--to", &prefix, "--json"]));
    contracts::command("packs_pushed", &pushed);
    let reference = pushed["pushed"][0]["reference"].as_str().unwrap().to_owned();
    let platform = gpux::provider::Platform::current();
    assert_eq!(reference, format!("{prefix}/cpu:1.30.0-{platform}"));

    let other = Gpux::new();
    let installed = json(&other.run(["provider", "install", "--json", "--from", &reference]));
    assert_eq!(installed["installed"][0]["source"], json!(reference));
    assert_eq!(
        other.json(["images", "--json"]),
        json!([]),
        "the artifact is not kept twice"
    );
    assert_eq!(
        other.json(["provider", "verify", "--json"])["packs"][0]["damaged"],
        json!([])
    );

    let archive = folder.path().join("packs.tar");
    gpux.ok(["provider", "push", "cpu", "--to", "packs"]);
    gpux.ok([
        "save",
        &format!("packs/cpu:1.30.0-{platform}"),
        "-o",
        archive.to_str().unwrap(),
    ]);
    let third = Gpux::new();
    third.ok(["load", archive.to_str().unwrap()]);
    third.ok(["provider", "install", "--from", &format!("packs/cpu:1.30.0-{platform}")]);
    assert_eq!(on_disk(&third), ["cpu-1.30.0"]);
    let model = third.run(["provider", "install", "--from", "nowhere:1"]);
    assert_eq!(model.code, Some(3), "{model:?}");
}

#[test]
fn gpux_packs_is_where_packs_are_looked_for_before_pip() {
    let registry = Distribution::start();
    let prefix = format!("{}/team", registry.host());
    let gpux = Gpux::new();
    json(&with_wheels(
        &gpux,
        &["provider", "install", "cpu", "--source", "pip", "--json"],
    ));
    gpux.ok(["provider", "push", "cpu", "--to", &prefix]);
    let other = Gpux::new();
    let mut command = other.command(["provider", "install", "cpu", "--json"]);
    command.env("GPUX_PACKS", &prefix).env("PATH", "/nowhere");
    let installed = json(&other.finish(command));
    assert!(
        installed["installed"][0]["source"]
            .as_str()
            .unwrap()
            .starts_with(&prefix),
        "{installed}"
    );
    assert_eq!(other.json(MLP)["provider"], "cpu");
    let absent = Gpux::new();
    let mut command = absent.command(["provider", "install", "webgpu"]);
    command.env("GPUX_PACKS", &prefix).env("PATH", "/nowhere");
    let answer = absent.finish(command);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("GPUX_PACKS: cannot pull"), "{answer:?}");
}

#[test]
fn names_that_are_none_are_told_apart() {
    let gpux = Gpux::new();
    for (arguments, code, part) in [
        (&["provider", "install", "gpu"][..], 3, "no provider or pack `gpu`"),
        (&["provider", "install", "embedded"], 2, "part of gpux"),
        (&["provider", "install", "coreml"], 1, "CoreML is for macOS"),
        (
            &["provider", "install", "--from", "../no/such/folder"],
            3,
            "no/such/folder",
        ),
        (&["provider", "remove", "cpu"], 3, "there is no pack `cpu`"),
        (&["provider", "verify", "../x"], 3, "there is no pack"),
        (&["provider", "push", "cpu"], 2, "where to is not said"),
    ] {
        let answer = gpux.run(arguments);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        assert!(answer.stderr.contains(part), "`{part}` is missing: {answer:?}");
    }
}

#[test]
fn two_installations_do_not_disturb_each_other() {
    let folder = TempDir::new().unwrap();
    small_core(folder.path());
    let gpux = Gpux::new();
    let from = folder.path().to_str().unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = gpux.command(["provider", "install", "cpu", "--from", from]);
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("another gpux is changing the packs"), "{told}");
    }
    assert_eq!(on_disk(&gpux), ["cpu-1.30.0"]);
    gpux.ok(["provider", "verify"]);
}

#[test]
fn a_plugin_brings_the_core_that_it_needs_where_none_is_new_enough() {
    let gpux = Gpux::new();
    let old = deps::wheel("openvino");
    gpux.ok(["provider", "install", "--from", old.to_str().unwrap()]);
    json(&with_wheels(
        &gpux,
        &["provider", "install", "webgpu", "--source", "pip", "--json"],
    ));
    let expected = ["cpu", "openvino", "webgpu"].map(|pack| format!("{pack}-{}", version_of(pack)));
    assert_eq!(on_disk(&gpux), expected);
}

#[test]
fn what_gpux_provision_says_is_one_of_its_words() {
    let gpux = Gpux::new();
    for (word, code) in [("maybe", 2), ("off", 0), ("tell", 0)] {
        let mut command = gpux.command(["run", "fixtures/mlp", "--input", "x=[[1,2,3,4]]"]);
        command.env("GPUX_PROVISION", word);
        assert_eq!(gpux.finish(command).code, Some(code), "{word}");
    }
}

#[test]
fn gpux_packs_may_be_a_folder_of_wheels_packs_or_libraries() {
    let folder = TempDir::new().unwrap();
    let wheel = deps::wheel("webgpu");
    std::fs::copy(&wheel, folder.path().join(wheel.file_name().unwrap())).unwrap();
    small_core(folder.path());
    let install = |gpux: &Gpux, pack: &str| {
        let mut command = gpux.command(["provider", "install", pack, "--source", "packs"]);
        command.env("GPUX_PACKS", folder.path()).env("PATH", "/nowhere");
        gpux.finish(command)
    };
    let gpux = Gpux::new();
    assert_eq!(install(&gpux, "cpu").code, Some(0));
    assert_eq!(install(&gpux, "webgpu").code, Some(0));
    assert_eq!(
        on_disk(&gpux),
        ["cpu-1.30.0".to_owned(), format!("webgpu-{}", version_of("webgpu"))]
    );
    std::fs::remove_file(folder.path().join("libonnxruntime.so.1.30.0")).unwrap();
    let pack = gpux.home().join("providers/cpu-1.30.0");
    let copied = Command::new("cp").arg("-r").arg(&pack).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let other = Gpux::new();
    assert_eq!(install(&other, "cpu").code, Some(0));
    assert_eq!(on_disk(&other), ["cpu-1.30.0"]);
    let absent = install(&Gpux::new(), "openvino");
    assert_eq!(absent.code, Some(1), "{absent:?}");
    assert!(
        absent.stderr.contains("nothing that becomes the pack `openvino`"),
        "{absent:?}"
    );
}

/// The files by which a machine with a graphics card describes itself.
#[cfg(target_os = "linux")]
fn machine_with_a_card() -> TempDir {
    let root = TempDir::new().unwrap();
    let card = root.path().join("sys/bus/pci/devices/0000:03:00.0");
    std::fs::create_dir_all(&card).unwrap();
    for (name, content) in [("vendor", "0x8086\n"), ("device", "0x56a0\n"), ("class", "0x030000\n")] {
        std::fs::write(card.join(name), content).unwrap();
    }
    std::fs::create_dir_all(root.path().join("dev/dri")).unwrap();
    root
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_first_run_tells_what_a_card_lacks_and_installs_it_where_that_is_wished() {
    let root = machine_with_a_card();
    let gpux = Gpux::new();
    let run = |word: &str| {
        let mut command = wheels_command(&gpux, &["run", "fixtures/mlp", "--input", "x=[[1,2,3,4]]"]);
        command.env("GPUX_SYSTEM_ROOT", root.path()).env("GPUX_PROVISION", word);
        gpux.finish(command)
    };
    let told = run("tell");
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(
        told.stderr
            .contains("is not used yet: `gpux provider install webgpu` ("),
        "{told:?}"
    );
    assert_eq!(on_disk(&gpux), [""; 0], "telling installs nothing");
    assert!(!run("off").stderr.contains("provider install"));
    let first = run("auto");
    assert_eq!(first.code, Some(0), "{first:?}");
    let expected = ["cpu", "webgpu"].map(|pack| format!("{pack}-{}", version_of(pack)));
    assert_eq!(on_disk(&gpux), expected);
    let answer: Value = serde_json::from_str(&first.stdout).unwrap();
    // Where the card is none, the build for it is tried, told, and not chosen.
    if answer["provider"] != "webgpu" {
        assert!(first.stderr.contains("webgpu is not usable: "), "{first:?}");
        assert_eq!(answer["provider"], "embedded", "{first:?}");
    }
    let second = run("auto");
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(
        !second.stderr.contains("MB"),
        "what is installed is not brought again: {second:?}"
    );
}

#[test]
fn a_large_download_is_asked_for_on_a_terminal() {
    let gpux = Gpux::new();
    let command = wheels_command(&gpux, &["provider", "install", "cuda12", "--source", "pip"]);
    let refused = on_terminal(&command, &[("download? [y/N]", "n\n")]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.shown.contains("GB to download"), "{refused:?}");
    assert!(refused.shown.contains("were not downloaded"), "{refused:?}");
    let agreed = on_terminal(&command, &[("download? [y/N]", "y\n")]);
    assert_eq!(agreed.code, 1, "{agreed:?}");
    assert!(!agreed.shown.contains("were not downloaded"), "{agreed:?}");
    assert!(
        agreed.shown.contains("no source has it"),
        "the wheels are not here: {agreed:?}"
    );
}
