//! Who may do what: Basic, and bearer tokens of a scope.

use std::sync::atomic::Ordering;

use super::{
    Kind, Shared,
    serve::split,
    wire::{Answer, Request, percent_decode},
};

fn basic(request: &Request) -> Option<(String, String)> {
    use base64::Engine as _;
    let text = request.header("authorization")?.strip_prefix("Basic ")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

pub(super) fn check_access(shared: &Shared, kind: Kind, request: &Request) -> Option<Answer> {
    if !shared.profile.tokens {
        let account = shared.profile.account.clone()?;
        return (basic(request) != Some(account))
            .then(|| Answer::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"here\""));
    }
    let marker = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
        .into_iter()
        .find(|marker| request.path.contains(marker));
    let scope = match marker.and_then(|marker| split(&request.path, marker)) {
        Some((repository, _)) if matches!(request.method.as_str(), "GET" | "HEAD") && kind != Kind::Upload => {
            format!("repository:{repository}:pull")
        }
        Some((repository, _)) if request.method == "DELETE" => format!("repository:{repository}:delete"),
        Some((repository, _)) => format!("repository:{repository}:pull,push"),
        None => String::new(),
    };
    let mut state = shared.state.lock().unwrap();
    let held = request
        .header("authorization")
        .and_then(|header| header.strip_prefix("Bearer "))
        .map(str::to_owned);
    let uses = shared.profile.token_uses.unwrap_or(u64::MAX);
    if let Some((granted, used)) = held.and_then(|token| state.tokens.get_mut(&token)) {
        let covered = scope.is_empty()
            || *granted == scope
            || (scope.ends_with(":pull") && granted.starts_with(scope.trim_end_matches("pull")));
        if covered && *used < uses {
            *used += 1;
            return None;
        }
    }
    let realm = state
        .realm
        .clone()
        .unwrap_or_else(|| format!("http://127.0.0.1:{}/token", shared.port));
    Some(Answer::error(401, "UNAUTHORIZED").with(
        "WWW-Authenticate",
        format!("Bearer realm=\"{realm}\",service=\"test.registry\",scope=\"{scope}\""),
    ))
}

pub(super) fn token(shared: &Shared, request: &Request) -> Answer {
    if let Some(account) = &shared.profile.account {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let refresh = form.contains("grant_type=refresh_token") && form.contains(&account.1);
        if basic(request).as_ref() != Some(account) && !refresh {
            return Answer::error(401, "UNAUTHORIZED");
        }
    }
    let token = format!("token-{}", shared.counter.fetch_add(1, Ordering::Relaxed));
    let scope = request.query.get("scope").cloned().or_else(|| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        form.split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == "scope")
            .map(|(_, value)| percent_decode(value))
    });
    shared
        .state
        .lock()
        .unwrap()
        .tokens
        .insert(token.clone(), (scope.unwrap_or_default(), 0));
    Answer::new(200)
        .with("Content-Type", "application/json")
        .body(format!(r#"{{"token":"{token}","expires_in":300}}"#))
}
