//! Where credentials are kept: Docker's and Podman's files, and the helpers they name.
//!
//! Source: the config.json of the Docker command line, the credential helper protocol, containers-auth.json(5).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    auth::Credential,
    error::{Error, quote},
};
use crate::fs;
use crate::oci::{Host, Repository};

/// What a helper calls the user when its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Where to look. The caller knows the environment; nothing here reads it.
#[derive(Clone, Default)]
pub struct CredentialSources {
    /// Credentials given for one registry, which come first.
    pub given: Option<(Host, Credential)>,
    /// Docker's `config.json`, which login writes.
    pub docker: Option<PathBuf>,
    /// Podman's `auth.json`, in the order of precedence.
    pub podman: Vec<PathBuf>,
}

/// Finds who we are at a registry; `None` where nothing is said about it.
///
/// Errors: [`Error::Credentials`] and [`Error::CredentialEntry`] for files that cannot be understood; [`Error::Helper`] and
/// [`Error::HelperFailed`].
pub fn find_credential(
    sources: &CredentialSources,
    host: &Host,
    repository: Option<&Repository>,
) -> Result<Option<Credential>, Error> {
    if let Some((given_for, credential)) = &sources.given
        && given_for == host
    {
        return Ok(Some(credential.clone()));
    }
    for path in sources.docker.iter().chain(&sources.podman) {
        if let Some(file) = ConfigFile::read(path)?
            && let Some(found) = file.find(host, repository)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Keeps a credential: with the helper that the file names for the registry, else in the file itself.
///
/// Errors: those of [`find_credential`] and of writing. The name of the helper is given back, if one was used.
pub fn store_credential(path: &Path, host: &Host, credential: &Credential) -> Result<Option<String>, Error> {
    let mut file = ConfigFile::read(path)?.unwrap_or_else(|| ConfigFile::empty(path));
    let key = main_key(host);
    let (username, secret) = match credential {
        Credential::Password { username, password } => (username.as_str(), password),
        Credential::IdentityToken(token) => (TOKEN_USER, token),
    };
    if let Some(helper) = file.helper(host) {
        let entry = json!({"ServerURL": key, "Username": username, "Secret": secret});
        run_helper(&helper, "store", &entry.to_string())?;
        return Ok(Some(helper));
    }
    let entry = match credential {
        Credential::Password { username, password } => {
            json!({"auth": STANDARD.encode(format!("{username}:{password}"))})
        }
        Credential::IdentityToken(token) => json!({"identitytoken": token}),
    };
    file.auths_mut().insert(key, entry);
    file.write()?;
    Ok(None)
}

/// Forgets what is kept about a registry; false when nothing was.
pub fn erase_credential(path: &Path, host: &Host) -> Result<bool, Error> {
    let Some(mut file) = ConfigFile::read(path)? else {
        return Ok(false);
    };
    let mut erased = false;
    if let Some(helper) = file.helper(host) {
        for key in helper_keys(host) {
            if ask_helper(&helper, &key)?.is_some() {
                run_helper(&helper, "erase", &key)?;
                erased = true;
            }
        }
    }
    let keys = keys(host);
    let auths = file.auths_mut();
    let before = auths.len();
    auths.retain(|key, _| !keys.contains(key));
    if auths.len() < before {
        file.write()?;
        erased = true;
    }
    Ok(erased)
}

struct ConfigFile {
    path: PathBuf,
    root: Map<String, Value>,
}

impl ConfigFile {
    fn empty(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            root: Map::new(),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(bytes) = fs::read_if_exists(path)? else {
            return Ok(None);
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self::empty(path)));
        }
        let root = serde_json::from_slice(&bytes).map_err(|source| Error::Credentials {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            root,
        }))
    }

    /// Writes the file for its owner alone.
    fn write(&self) -> Result<(), Error> {
        if let Some(folder) = self.path.parent() {
            fs::create_folders(folder)?;
        }
        let text = format!("{:#}\n", Value::Object(self.root.clone()));
        Ok(fs::replace_private(&self.path, text.as_bytes())?)
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        self.root.get("auths")?.as_object()
    }

    fn auths_mut(&mut self) -> &mut Map<String, Value> {
        let auths = self.root.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if !auths.is_object() {
            *auths = Value::Object(Map::new());
        }
        match auths {
            Value::Object(map) => map,
            _ => unreachable!("it was made an object above"),
        }
    }

    /// The helper for a registry: its own, else the one for all.
    fn helper(&self, host: &Host) -> Option<String> {
        let own = self.root.get("credHelpers").and_then(|helpers| {
            let helpers = helpers.as_object()?;
            keys(host).iter().find_map(|key| helpers.get(key)?.as_str())
        });
        let all = || self.root.get("credsStore").and_then(Value::as_str);
        own.or_else(all).filter(|name| !name.is_empty()).map(str::to_owned)
    }

    fn find(&self, host: &Host, repository: Option<&Repository>) -> Result<Option<Credential>, Error> {
        if let Some(helper) = self.helper(host) {
            for key in helper_keys(host) {
                if let Some(found) = ask_helper(&helper, &key)? {
                    return Ok(Some(found));
                }
            }
        }
        let Some(auths) = self.auths() else {
            return Ok(None);
        };
        let names = narrow_keys(host, repository).into_iter().chain(keys(host));
        for key in names {
            if let Some(entry) = auths.get(&key)
                && let Some(found) = self.read_entry(&key, entry)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn read_entry(&self, key: &str, entry: &Value) -> Result<Option<Credential>, Error> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::IdentityToken(token.to_owned())));
        }
        if let Some(auth) = text("auth") {
            let decoded = STANDARD
                .decode(auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) = pair.ok_or_else(|| Error::CredentialEntry {
                path: self.path.clone(),
                key: key.to_owned(),
            })?;
            return Ok(Some(Credential::Password {
                username: username.to_owned(),
                // Docker pads with NUL.
                password: password.trim_end_matches('\0').to_owned(),
            }));
        }
        let pair = text("username").zip(text("password"));
        Ok(pair.map(|(username, password)| Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }
}

/// The names under which a registry may be kept, the usual one first.
fn keys(host: &Host) -> Vec<String> {
    let mut keys = vec![main_key(host)];
    let names: &[&str] = match host.as_str() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            &["docker.io", "index.docker.io", "registry-1.docker.io"]
        }
        own => &[own],
    };
    for name in names {
        for form in [
            "{}",
            "https://{}",
            "https://{}/",
            "https://{}/v1/",
            "https://{}/v2/",
            "http://{}",
        ] {
            let key = form.replace("{}", name);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// The names under which helpers keep a registry: each costs a process, and more are not in use.
fn helper_keys(host: &Host) -> impl Iterator<Item = String> {
    keys(host).into_iter().take(2)
}

fn main_key(host: &Host) -> String {
    match host.as_str() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/".to_owned(),
        own => own.to_owned(),
    }
}

/// Podman's names for a part of a registry, the narrowest first.
fn narrow_keys(host: &Host, repository: Option<&Repository>) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = repository.map(|repository| repository.as_str());
    while let Some(current) = path {
        keys.push(format!("{}/{current}", host.as_str()));
        path = current.rsplit_once('/').map(|(above, _)| above);
    }
    keys
}

/// Asks a helper about one name; `None` when it knows nothing.
fn ask_helper(helper: &str, key: &str) -> Result<Option<Credential>, Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let output = match run_helper(helper, "get", key) {
        Err(Error::HelperFailed { message, .. }) if message.to_lowercase().contains("not found") => return Ok(None),
        output => output?,
    };
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| Error::HelperFailed {
        helper: program_of(helper),
        message: "its answer is not JSON with Username and Secret".to_owned(),
    })?;
    Ok(match answer.username.as_str() {
        _ if answer.secret.is_empty() => None,
        TOKEN_USER => Some(Credential::IdentityToken(answer.secret)),
        _ => Some(Credential::Password {
            username: answer.username,
            password: answer.secret,
        }),
    })
}

fn program_of(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// Runs a helper with one line of input. What it prints is a secret and appears in no message but for its refusals.
fn run_helper(helper: &str, verb: &str, input: &str) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Helper {
        helper: program_of(helper),
        source,
    };
    let mut child = Command::new(program_of(helper))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read says why in its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = if output.stderr.iter().all(u8::is_ascii_whitespace) {
        &output.stdout
    } else {
        &output.stderr
    };
    // The protocol says "not found" on stdout, whatever else is on stderr.
    let words = match String::from_utf8_lossy(&output.stdout) {
        text if text.to_lowercase().contains("not found") => text.trim().to_owned(),
        _ => String::from_utf8_lossy(said).trim().to_owned(),
    };
    Err(Error::HelperFailed {
        helper: program_of(helper),
        message: quote(&words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    fn password(username: &str, password: &str) -> Credential {
        Credential::Password {
            username: username.into(),
            password: password.into(),
        }
    }

    fn sources(folder: &Path, docker: &str, podman: &str) -> CredentialSources {
        let (config, auth) = (folder.join("config.json"), folder.join("auth.json"));
        fs::replace(&config, docker.as_bytes()).unwrap();
        fs::replace(&auth, podman.as_bytes()).unwrap();
        CredentialSources {
            given: Some((host("given.example"), password("env", "x"))),
            docker: Some(config),
            podman: vec![auth],
        }
    }

    #[test]
    fn credentials_are_found_for_their_host_alone() {
        let folder = tempfile::tempdir().unwrap();
        let me = STANDARD.encode("me:p:w");
        let hub = STANDARD.encode("hub:secret");
        let sources = sources(
            folder.path(),
            &format!(
                r#"{{"auths":{{"ghcr.io":{{"auth":"{me}"}},"https://index.docker.io/v1/":{{"auth":"{hub}"}},
                "token.example":{{"identitytoken":"t"}},"empty.example":{{}},"https://old.example/v2/":{{"username":"u","password":"p"}}}}}}"#
            ),
            &format!(r#"{{"auths":{{"quay.io":{{"auth":"{hub}"}},"quay.io/team/x":{{"auth":"{me}"}}}}}}"#),
        );
        let find = |name: &str, repository: &str| {
            let repository = (!repository.is_empty()).then(|| repository.parse().unwrap());
            find_credential(&sources, &host(name), repository.as_ref()).unwrap()
        };
        assert_eq!(find("ghcr.io", ""), Some(password("me", "p:w")));
        assert_eq!(find("docker.io", ""), Some(password("hub", "secret")));
        assert_eq!(find("token.example", ""), Some(Credential::IdentityToken("t".into())));
        assert_eq!(find("old.example", ""), Some(password("u", "p")));
        assert_eq!(find("given.example", ""), Some(password("env", "x")));
        assert_eq!(find("quay.io", "team/x/deep"), Some(password("me", "p:w")));
        assert_eq!(find("quay.io", "team/y"), Some(password("hub", "secret")));
        for unknown in ["empty.example", "io", "evil.ghcr.io", "ghcr.io:443"] {
            assert_eq!(find(unknown, ""), None, "{unknown}");
        }
    }

    #[test]
    fn a_broken_file_is_an_error_and_shows_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["{", "[]", r#"{"auths":{"ghcr.io":{"auth":"%%hunter2"}}}"#] {
            let sources = sources(folder.path(), text, "{}");
            let error = find_credential(&sources, &host("ghcr.io"), None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn login_keeps_the_rest_of_the_file_and_logout_takes_only_its_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config.json");
        store_credential(&path, &host("a.example"), &password("me", "pw")).unwrap();
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        let with_more = text.replacen('{', "{\"psFormat\":\"x\",", 1);
        fs::replace(&path, with_more.as_bytes()).unwrap();
        store_credential(&path, &host("b.example"), &Credential::IdentityToken("t".into())).unwrap();
        let sources = CredentialSources {
            docker: Some(path.clone()),
            ..CredentialSources::default()
        };
        assert_eq!(
            find_credential(&sources, &host("a.example"), None).unwrap(),
            Some(password("me", "pw"))
        );
        assert!(erase_credential(&path, &host("a.example")).unwrap());
        assert!(!erase_credential(&path, &host("a.example")).unwrap());
        assert_eq!(find_credential(&sources, &host("a.example"), None).unwrap(), None);
        assert!(find_credential(&sources, &host("b.example"), None).unwrap().is_some());
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        assert!(text.contains("psFormat"));
        #[cfg(unix)]
        assert_eq!(fs::stat(&path).unwrap().unwrap().mode & 0o077, 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_helper_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path(), r#"{"credsStore":"no-such-helper-here"}"#, "{}");
        let error = find_credential(&sources, &host("ghcr.io"), None).unwrap_err();
        assert!(
            error.to_string().contains("docker-credential-no-such-helper-here"),
            "{error}"
        );
    }
}
