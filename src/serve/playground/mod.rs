//! The page at `/`: one document with its style and script inside, which speaks to this server alone.
//!
//! What the server answers is put on it as text and never as markup; its policy lets it load nothing and run nothing else.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("index.html");
const STYLE: &str = include_str!("style.css");
/// In the order in which they need each other.
const SCRIPT: &str = concat!(
    include_str!("calls.js"),
    include_str!("answers.js"),
    include_str!("plot.js"),
    include_str!("page.js")
);

static PAGE: LazyLock<String> =
    LazyLock::new(|| DOCUMENT.replacen("{style}", STYLE, 1).replacen("{script}", SCRIPT, 1));

/// What a browser may do for the page: run and load what stands in it, and call this server.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let of = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        of(SCRIPT),
        of(STYLE)
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// Answers with the page.
pub(super) async fn page() -> impl IntoResponse {
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::CACHE_CONTROL, "no-cache"),
        fixed(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        fixed(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, Html(PAGE.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_all_it_needs_and_is_small() {
        assert!(PAGE.len() < 64 << 10, "{} bytes", PAGE.len());
        assert!(!PAGE.contains("{style}") && !PAGE.contains("{script}"));
        let addresses = PAGE.match_indices("http").map(|(at, _)| &PAGE[at..]);
        let foreign: Vec<&str> = addresses
            .filter(|address| address.starts_with("http://") || address.starts_with("https://"))
            .map(|address| address.split(['"', '\'', ' ']).next().unwrap_or_default())
            // The name of a form of markup, which nobody fetches.
            .filter(|address| *address != "http://www.w3.org/2000/svg")
            .collect();
        assert_eq!(foreign, [""; 0]);
    }

    #[test]
    fn what_the_server_says_never_becomes_markup_or_code() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "srcdoc",
        ] {
            assert!(!SCRIPT.contains(way), "{way}");
        }
        let markup = DOCUMENT.replace("<script type=\"module\">{script}</script>", "");
        assert!(!markup.contains("<script") && !markup.contains(" style=") && !markup.contains(" onclick="));
    }

    #[test]
    fn the_policy_names_the_page_s_own_style_and_script_and_nothing_unsafe() {
        let policy = POLICY.to_str().unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
