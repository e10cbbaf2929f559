//! The ids of a request, and its place in a trace: W3C Trace Context. Pure but for random numbers.

use axum::http::{HeaderMap, HeaderName};

use super::{REQUEST_ID, TRACEPARENT, TRACESTATE};
use crate::serve::hex::hex;

/// The longest request id that is taken. Units: bytes.
const LONGEST_ID: usize = 128;
/// The longest state of a trace that is handed on. Units: bytes.
const LONGEST_STATE: usize = 512;

/// Says which request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The client's own where it is fit to be printed, else a new one.
    pub request_id: String,
    /// 32 hexadecimal digits: the caller's trace, or a new one.
    pub trace_id: String,
    /// 16 hexadecimal digits: what this server does for the request.
    pub span_id: String,
    /// 16 hexadecimal digits: what the caller does.
    pub parent_id: Option<String>,
    /// What other systems keep in the trace.
    pub state: Option<String>,
    /// Whether the caller, or nobody, says that the trace is to be kept.
    pub is_sampled: bool,
}

impl Identity {
    /// Reads the ids that a request brings, and makes those that it lacks.
    pub fn of(headers: &HeaderMap) -> Identity {
        let own = only(headers, &REQUEST_ID).filter(|id| is_fit(id));
        let parent = only(headers, &TRACEPARENT).and_then(Parent::read);
        let state = only(headers, &TRACESTATE).filter(|state| parent.is_some() && state.len() <= LONGEST_STATE);
        Identity {
            request_id: own.map_or_else(random_id::<16>, str::to_owned),
            trace_id: parent
                .as_ref()
                .map_or_else(random_id::<16>, |parent| parent.trace_id.to_owned()),
            span_id: random_id::<8>(),
            parent_id: parent.as_ref().map(|parent| parent.span_id.to_owned()),
            state: state.map(str::to_owned),
            is_sampled: parent.is_none_or(|parent| parent.is_sampled),
        }
    }

    /// Writes the header for whoever goes on with the trace.
    pub fn traceparent(&self) -> String {
        let flags = if self.is_sampled { "01" } else { "00" };
        ["00", &self.trace_id, &self.span_id, flags].join("-")
    }
}

/// Gives a header's value where it came once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Tells whether a request id may stand in headers, logs and on terminals.
fn is_fit(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_plain)
}

/// Is what a caller's `traceparent` says.
#[derive(Debug, PartialEq, Eq)]
struct Parent<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    is_sampled: bool,
}

impl<'a> Parent<'a> {
    /// Reads `VERSION-TRACE-SPAN-FLAGS`; of versions to come, what stands behind is left alone.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let mut next = |length: usize| {
            let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            parts.next().filter(|part| part.len() == length).filter(is_hex)
        };
        let (version, trace_id, span_id, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        let is_wrong = version == "ff" || (version == "00" && parts.next().is_some());
        if is_wrong || is_zero(trace_id) || is_zero(span_id) {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Parent {
            trace_id,
            span_id,
            is_sampled: flags & 1 == 1,
        })
    }
}

/// Makes an id of random bytes, in hexadecimal digits; it is never all zeros.
pub fn random_id<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    fastrand::fill(&mut bytes);
    bytes[0] |= 1;
    hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn identity(headers: &[(&'static str, &str)]) -> Identity {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Identity::of(&map)
    }

    #[test]
    fn a_request_id_comes_back_where_it_is_plain_and_is_made_anew_where_it_is_not() {
        assert_eq!(identity(&[("x-request-id", "ab-1.2:x")]).request_id, "ab-1.2:x");
        let long = "x".repeat(129);
        for odd in ["", "a b", "a\tb", "a\"b", "{}", "é", long.as_str()] {
            let made = identity(&[("x-request-id", odd)]).request_id;
            assert!(made.len() == 32 && made != odd, "{odd}: {made}");
        }
        let twice = identity(&[("x-request-id", "a"), ("x-request-id", "b")]);
        assert_eq!(twice.request_id.len(), 32);
        assert_ne!(identity(&[]).request_id, identity(&[]).request_id);
    }

    #[test]
    fn a_trace_is_continued_with_a_span_of_our_own() {
        let given = format!("00-{TRACE}-{SPAN}-01");
        let found = identity(&[("traceparent", &given), ("tracestate", "a=1")]);
        assert_eq!(
            (found.trace_id.as_str(), found.parent_id.as_deref()),
            (TRACE, Some(SPAN))
        );
        assert!(found.is_sampled && found.span_id != SPAN);
        assert_eq!(found.state.as_deref(), Some("a=1"));
        assert_eq!(found.traceparent(), format!("00-{TRACE}-{}-01", found.span_id));
        let unsampled = identity(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]);
        assert!(!unsampled.is_sampled && unsampled.traceparent().ends_with("-00"));
        let later = identity(&[("traceparent", &format!("01-{TRACE}-{SPAN}-03-more"))]);
        assert_eq!(later.trace_id, TRACE);
    }

    #[test]
    fn what_is_no_traceparent_starts_a_trace() {
        let (zero, upper) = ("0".repeat(32), TRACE.to_uppercase());
        for wrong in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}{SPAN}-01"),
        ] {
            let found = identity(&[("traceparent", &wrong), ("tracestate", "a=1")]);
            assert!(found.parent_id.is_none() && found.state.is_none(), "{wrong}");
            assert!(found.trace_id != TRACE && found.trace_id.len() == 32, "{wrong}");
        }
    }
}
