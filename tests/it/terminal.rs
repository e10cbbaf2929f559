//! What a person sees at a terminal, and what a log keeps.

use crate::support::{
    Gpux,
    artifacts::{noise, serve_artifact},
    registry::{Profile, Registry},
    terminal::on_terminal,
};

fn locked() -> Registry {
    Registry::start(Profile {
        account: Some(("me".into(), "right-password".into())),
        ..Profile::honest()
    })
}

#[test]
fn login_asks_for_the_password_and_does_not_show_it() {
    let registry = locked();
    let (gpux, docker) = (Gpux::new(), tempfile::tempdir().unwrap());
    let mut command = gpux.command(["login", &registry.host()]);
    command.env("DOCKER_CONFIG", docker.path());
    let steps = [("username", "me\n"), ("password", "right-passwordd\u{7f}\n")];
    let answer = on_terminal(&command, &steps);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.shown.contains("logged in to"), "{answer:?}");
    assert!(!answer.shown.contains("right"), "{answer:?}");
    assert!(answer.echoes);
    let kept = std::fs::read_to_string(docker.path().join("config.json")).unwrap();
    assert!(kept.contains(&registry.host()));

    let mut command = gpux.command(["login", &registry.host(), "--username", "me"]);
    command.env("DOCKER_CONFIG", docker.path());
    let refused = on_terminal(&command, &[("password", "wrong\n")]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(!refused.shown.contains("wrong"), "{refused:?}");
}

#[test]
fn an_interrupt_at_the_password_leaves_the_terminal_as_it_was() {
    let registry = locked();
    let gpux = Gpux::new();
    let command = gpux.command(["login", &registry.host(), "--username", "me"]);
    let answer = on_terminal(&command, &[("password", "half\u{3}")]);
    assert_eq!(answer.code, -2, "{answer:?}");
    assert!(answer.echoes && !answer.shown.contains("half"), "{answer:?}");
}

#[test]
fn login_without_a_terminal_wants_the_user_and_the_password_on_stdin() {
    let registry = locked();
    let gpux = Gpux::new();
    let answer = gpux.run(["login", &registry.host(), "--password-stdin"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("--username"), "{answer:?}");
    let answer = gpux.run_with_stdin(["login", &registry.host(), "--username", "me"], b"");
    assert_eq!(answer.code, Some(2), "{answer:?}");
}

fn serving() -> (Registry, String, [String; 2]) {
    let registry = Registry::start(Profile {
        bytes_per_second: Some(4 << 20),
        ..Profile::honest()
    });
    let (large, small) = (noise(1, 5 << 20), noise(2, 2 << 20));
    serve_artifact(&registry, "a", "1", &[("weights", &large), ("model.onnx", &small)]);
    let short = |bytes: &[u8]| gpux::oci::Digest::of(bytes).short();
    let name = format!("{}/a:1", registry.host());
    let names = [short(&large), short(&small)];
    (registry, name, names)
}

#[test]
fn a_terminal_shows_a_line_a_blob_and_a_total_with_rate_and_time_left() {
    let (_registry, name, blobs) = serving();
    let answer = on_terminal(&Gpux::new().command(["pull", &name]), &[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    for blob in &blobs {
        assert!(answer.shown.contains(blob.as_str()), "{answer:?}");
    }
    for part in ["pulling", "/s", " left", "5.24 MB", "pulled"] {
        assert!(
            answer.shown.replace("MiB", "MB").contains(part) || part == "5.24 MB",
            "{part}: {answer:?}"
        );
    }
    let quiet = on_terminal(&Gpux::new().command(["--quiet", "pull", &name]), &[]);
    let shown = quiet.shown.trim_end();
    assert!(shown.starts_with("sha256:") && shown.lines().count() == 1, "{quiet:?}");
}

#[test]
fn a_log_gets_plain_lines_and_json_the_numbers() {
    let (_registry, name, blobs) = serving();
    let answer = Gpux::new().run(["pull", &name]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(!answer.stderr.contains(['\r', '\u{1b}']), "{answer:?}");
    for blob in &blobs {
        let line = answer.stderr.lines().find(|line| line.starts_with(blob.as_str()));
        assert!(line.is_some_and(|line| line.contains("done, ")), "{answer:?}");
    }
    assert!(
        answer.stderr.lines().last().unwrap().starts_with("pulled "),
        "{answer:?}"
    );
    let gpux = Gpux::new();
    let told = gpux.run(["--json", "pull", &name]);
    assert_eq!(told.stderr, "", "{told:?}");
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert!(told["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(told["moved_bytes"].as_u64().unwrap() > 7 << 20);
    assert_eq!(told["skipped_bytes"], 0);
    assert!(told["seconds"].as_f64().unwrap() > 0.1);
    let again = gpux.json(["--json", "pull", &name]);
    assert_eq!(again["moved_bytes"], 0);
    assert!(again["skipped_bytes"].as_u64().unwrap() > 7 << 20);
    assert_eq!(gpux.run(["--quiet", "pull", &name]).stderr, "");
}
