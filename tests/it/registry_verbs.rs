//! The verbs that reach a registry, from the command line to a real one.

use crate::contracts;
use crate::support::{
    Gpux,
    deps::fixture,
    distribution::Distribution,
    registry::{Profile, Registry},
};

#[test]
fn a_model_built_here_runs_there() {
    let registry = Distribution::start();
    let name = format!("{}/team/digits:1", registry.host());
    let (here, there) = (Gpux::new(), Gpux::new().with_onnxruntime());
    let digits = fixture("digits");
    let input = format!("@{}", digits.join("seven.npy").display());
    let built = here.json(["--json", "build", digits.to_str().unwrap(), "-t", "digits:1"]);
    here.ok(["tag", "digits:1", &name]);
    let pushed = here.json(["--json", "push", &name]);
    assert_eq!(pushed["digest"], built["digest"]);
    contracts::command("moved", &pushed);
    contracts::command("tags", &here.json(["--json", "tags", &name]));
    assert_eq!(here.ok(["tags", &name]), "1\n");

    let answer = there.json(["--json", "run", &name, "--input", &input]);
    assert_eq!(answer["outputs"]["digit"]["data"][0], 7);
    assert_eq!(answer["digest"], built["digest"]);
    let again = there.json(["--json", "pull", &name]);
    assert_eq!((&again["moved_bytes"], &again["requests"]), (&0.into(), &1.into()));

    let looked_at = Gpux::new().json(["--json", "inspect", "--remote", &name]);
    assert_eq!(looked_at["digest"], built["digest"]);
    contracts::command("remote", &looked_at);
    assert!(
        looked_at["layers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|layer| layer["path"] == "GPUXfile")
    );
    here.ok(["rm", "--remote", &name]);
    let gone = Gpux::new().run(["pull", &name]);
    assert_eq!(gone.code, Some(3), "{gone:?}");
    assert_eq!(there.run(["run", "127.0.0.1:1/no:1"]).code, Some(5));
}

#[test]
fn a_container_image_is_refused_by_name() {
    let registry = Registry::start(Profile::honest());
    let config = registry.put_blob("app", b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":
        "application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":
        "application/vnd.oci.image.layer.v1.tar+gzip","digest":"{config}","size":2}}]}}"#
    );
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("app", "1", media_type, manifest.as_bytes());
    let answer = Gpux::new().run(["pull", &format!("{}/app:1", registry.host())]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer
            .stderr
            .contains("is not a gpux artifact: it is a container image"),
        "{answer:?}"
    );
}

#[test]
fn login_keeps_good_credentials_and_refuses_bad_ones() {
    let registry = Registry::start(Profile {
        account: Some(("me".into(), "right".into())),
        ..Profile::honest()
    });
    let (gpux, docker) = (Gpux::new(), tempfile::tempdir().unwrap());
    let login = |password: &str| {
        let mut command = gpux.command(["login", &registry.host(), "--username", "me", "--password-stdin"]);
        command.env("DOCKER_CONFIG", docker.path());
        let (mut child, mut stdin) = {
            let mut child = command
                .stdin(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let stdin = child.stdin.take().unwrap();
            (child, stdin)
        };
        std::io::Write::write_all(&mut stdin, password.as_bytes()).unwrap();
        drop(stdin);
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
        (child.wait().unwrap().code(), stderr)
    };
    let refused = login("wrong\n");
    assert_eq!(refused.0, Some(4), "{refused:?}");
    assert!(!docker.path().join("config.json").exists());
    let accepted = login("right\n");
    assert_eq!(accepted.0, Some(0), "{accepted:?}");
    assert!(!accepted.1.contains("right"));

    let name = format!("{}/x:1", registry.host());
    let tags = |config: bool| {
        let mut command = gpux.command(["tags", &name]);
        if config {
            command.env("DOCKER_CONFIG", docker.path());
        }
        command.output().unwrap().status.code()
    };
    // The name is unknown, but we are known.
    assert_eq!((tags(true), tags(false)), (Some(3), Some(4)));
    let mut logout = gpux.command(["logout", &registry.host()]);
    assert!(logout.env("DOCKER_CONFIG", docker.path()).status().unwrap().success());
    assert_eq!(tags(true), Some(4));
}

#[test]
fn credentials_of_the_environment_are_for_their_registry_alone() {
    let registry = Registry::start(Profile {
        account: Some(("me".into(), "right".into())),
        ..Profile::honest()
    });
    let gpux = Gpux::new();
    let tags = |registry_name: Option<&str>| {
        let mut command = gpux.command(["tags", &format!("{}/x:1", registry.host())]);
        command
            .env("GPUX_REGISTRY_USERNAME", "me")
            .env("GPUX_REGISTRY_PASSWORD", "right");
        if let Some(name) = registry_name {
            command.env("GPUX_REGISTRY", name);
        }
        command.output().unwrap().status.code()
    };
    assert_eq!(tags(Some(&registry.host())), Some(3));
    assert_eq!(tags(Some("ghcr.io")), Some(4));
    assert_eq!(tags(None), Some(2));
    assert!(
        registry
            .seen()
            .iter()
            .filter(|seen| seen.header("authorization").is_some())
            .count()
            == 1
    );
}

#[test]
fn a_local_name_never_touches_the_network() {
    let answer = Gpux::new().run(["push", "digits:1"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("docker.io/digits:1"), "{answer:?}");
    assert_eq!(Gpux::new().run(["run", "digits:1"]).code, Some(3));
}
