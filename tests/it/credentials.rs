//! Credential helpers that answer, and a real registry that keeps people out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    Answer, Gpux,
    artifacts::{noise, store_artifact},
    distribution::Distribution,
    registry::{Kind, Profile, Registry},
};

/// Keeps what it is given in a file a server, in the folder that HELPER_FOLDER names, and counts nothing else.
const HELPER: &str = r#"#!/bin/sh
name() { printf '%s' "$1" | tr '/:' '__'; }
printf '%s\n' "$1" >>"$HELPER_FOLDER/calls"
case "$1" in
get)
    read -r server
    cat "$HELPER_FOLDER/$(name "$server")" 2>/dev/null && exit
    echo "credentials not found in native keychain"
    exit 1 ;;
store)
    entry=$(cat)
    server=$(printf '%s' "$entry" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
    printf '%s' "$entry" >"$HELPER_FOLDER/$(name "$server")" ;;
erase)
    read -r server
    rm "$HELPER_FOLDER/$(name "$server")" ;;
esac
"#;

/// A place with Docker's config.json and a helper named `test` on the path.
struct Desk {
    gpux: Gpux,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(config: &str, helper: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        let program = folder.path().join("docker-credential-test");
        fs::write(&program, helper).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            gpux: Gpux::new(),
            folder,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = self.gpux.command(arguments);
        command
            .env("DOCKER_CONFIG", self.folder.path())
            .env("HELPER_FOLDER", self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().display()));
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.gpux.answer(self.command(arguments).output().unwrap())
    }

    fn login(&self, host: &str, password: &str) -> Answer {
        let mut command = self.command(&["login", host, "--username", "me", "--password-stdin"]);
        self.gpux.answer_with_stdin(&mut command, password.as_bytes())
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(name)).ok()
    }
}

fn locked() -> Registry {
    Registry::start(Profile {
        account: Some(("me".into(), "right-password".into())),
        ..Profile::honest()
    })
}

#[test]
fn a_helper_keeps_gives_and_forgets_the_password() {
    let registry = locked();
    let host = registry.host();
    let for_one = format!(r#"{{"credHelpers":{{"{host}":"test"}},"credsStore":"no-such-helper"}}"#);
    for config in [r#"{"credsStore":"test"}"#.to_owned(), for_one] {
        let desk = Desk::new(&config, HELPER);
        let tags = || desk.run(&["tags", &format!("{host}/x:1")]).code;
        assert_eq!(tags(), Some(4), "{config}");
        assert_eq!(desk.login(&host, "wrong\n").code, Some(4));
        let kept = desk.login(&host, "right-password\n");
        assert_eq!(kept.code, Some(0), "{kept:?}");
        assert!(kept.stderr.contains("`test`"), "{kept:?}");
        assert_eq!(desk.read("config.json").unwrap(), config, "the file stays as it is");
        // The name is unknown, but we are known.
        assert_eq!(tags(), Some(3), "{config}");
        assert_eq!(desk.run(&["logout", &host]).code, Some(0));
        assert_eq!(tags(), Some(4));
        assert_eq!(desk.run(&["logout", &host]).code, Some(3));
        assert!(desk.read(&host.replace(':', "_")).is_none());
        let calls = desk.read("calls").unwrap();
        assert!(calls.contains("store\n") && calls.contains("erase\n"));
    }
}

#[test]
fn a_helpers_identity_token_is_exchanged() {
    let registry = Registry::start(Profile::ghcr());
    let host = registry.host();
    let desk = Desk::new(r#"{"credsStore":"test"}"#, HELPER);
    let entry = format!(r#"{{"ServerURL":"{host}","Username":"<token>","Secret":"cat-secret"}}"#);
    fs::write(desk.folder.path().join(host.replace(':', "_")), entry).unwrap();
    let answer = desk.run(&["tags", &format!("{host}/x:1")]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert_eq!(registry.count(Kind::Token, "POST"), 1);
    assert_eq!(registry.count(Kind::Token, "GET"), 0);
}

#[test]
fn a_helper_that_fails_is_told_and_gives_no_secret_away() {
    let registry = locked();
    let name = format!("{}/x:1", registry.host());
    for (script, words) in [
        ("#!/bin/sh\necho 'hunter2 {'\n", "not JSON"),
        (
            "#!/bin/sh\necho hunter2; printf 'locked\\n\\033[31m' >&2; exit 3\n",
            "locked",
        ),
        ("#!/bin/sh\nkill -9 $$\n", "failed"),
        ("no script\n", "docker-credential-test"),
    ] {
        let desk = Desk::new(r#"{"credsStore":"test"}"#, script);
        let answer = desk.run(&["tags", &name]);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.stderr.contains(words), "{answer:?}");
        assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
        assert!(!answer.stderr.contains('\u{1b}'), "{answer:?}");
    }
    assert!(registry.seen().is_empty(), "nobody is asked as nobody instead");
}

/// `me` with the password `right-password`: bcrypt at cost 5, the only form that docker-registry reads.
const HTPASSWD: &str = "me:$2b$05$vfxDfS3x0TjLkkkZeS1nNeSD3N6H9fF.vdU3LHEv2YGflBBy0DVB6\n";

fn with_htpasswd(folder: &Path) -> Distribution {
    let file: PathBuf = folder.join("htpasswd");
    fs::write(&file, HTPASSWD).unwrap();
    Distribution::with(&format!(
        "auth: {{htpasswd: {{realm: here, path: '{}'}}}}\n",
        file.display()
    ))
}

#[test]
fn a_real_registry_with_passwords_lets_in_who_knows_one() {
    let folder = tempfile::tempdir().unwrap();
    let registry = with_htpasswd(folder.path());
    let host = registry.host();
    let desk = Desk::new("{}", HELPER);
    let name = format!("{host}/team/model:1");
    let store = gpux::store::Store::open(desk.gpux.home()).unwrap();
    let digest = store_artifact(
        &store,
        &name,
        &[("weights", &noise(1, 9 << 20)), ("model.onnx", b"graph")],
    );
    let anonymous = desk.run(&["push", &name]);
    assert_eq!(anonymous.code, Some(4), "{anonymous:?}");
    assert!(anonymous.stderr.contains("gpux login"), "{anonymous:?}");
    assert_eq!(desk.login(&host, "wrong-password\n").code, Some(4));
    assert_eq!(desk.login(&host, "right-password\n").code, Some(0));
    let pushed = desk.run(&["--json", "push", &name]);
    assert_eq!(pushed.code, Some(0), "{pushed:?}");

    // Podman keeps the same entry in another file.
    let auth = desk.folder.path().join("auth.json");
    fs::copy(desk.folder.path().join("config.json"), &auth).unwrap();
    let there = Gpux::new();
    assert_eq!(there.run(["pull", &name]).code, Some(4));
    let mut command = there.command(["pull", &name]);
    let pulled = there.answer(command.env("REGISTRY_AUTH_FILE", &auth).output().unwrap());
    assert_eq!(
        (pulled.code, pulled.stdout.trim()),
        (Some(0), digest.to_string().as_str()),
        "{pulled:?}"
    );

    assert_eq!(desk.run(&["logout", &host]).code, Some(0));
    assert_eq!(desk.run(&["tags", &name]).code, Some(4));
}
