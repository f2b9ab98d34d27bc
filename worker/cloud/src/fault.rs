//! Why a request did not yield what was asked for, and what that allows. The table is in the crate's description.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

/// Wait after a rate limit without a `Retry-After`.
const RATE_PAUSE: Duration = Duration::from_secs(60);
/// Wait after Meta's limit of messages a second: it is over soon.
const THROUGHPUT_PAUSE: Duration = Duration::from_secs(5);
/// Wait before a token, or a number's registration, is tried again: somebody has to mend it.
const CREDENTIALS_PAUSE: Duration = Duration::from_secs(60);
/// Wait after Meta restricted the account. Its own figures are from an hour to days.
const RESTRICTED_PAUSE: Duration = Duration::from_secs(3600);
/// Longest wait that is believed from a `Retry-After`.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// A request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// What the caller may do now.
    pub verdict: Verdict,
    /// Meta's own code, verbatim; with a `/` and the subcode behind it, if there is one.
    pub code: Option<String>,
    /// What went wrong, for people, in our words: Meta's may quote the message.
    pub what: &'static str,
    /// Meta's id of the request, for its support.
    pub trace: Option<String>,
}

/// What a fault allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing went out. It may be tried again after a pause.
    Retry,
    /// Nothing went out. It may be tried again, not before so long.
    Defer {
        /// So long.
        after: Duration,
        /// What for.
        why: Wait,
    },
    /// Nothing went out, and nothing will.
    Failed(Reason),
    /// It may have gone out. Never to be tried again.
    Unknown,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A limit on requests.
    RateLimited,
    /// The limit on messages to one recipient; Meta advises 4^n seconds.
    PairRate,
    /// The end of a restriction.
    Restricted,
    /// Another token, or another registration of the number.
    Credentials,
}

/// Why nothing will go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Meta refuses the message or its recipient.
    Refused,
    /// The recipient has not written within 24 hours: only a template may be sent.
    WindowClosed,
    /// Meta refuses the template.
    TemplateRefused,
}

/// An error as Meta writes it.
#[derive(Debug, Deserialize)]
struct Answer {
    error: Error,
}

#[derive(Debug, Deserialize)]
struct Error {
    code: i64,
    error_subcode: Option<i64>,
    fbtrace_id: Option<String>,
}

impl Fault {
    /// From a request that got no answer.
    pub(crate) fn of_transport(error: &reqwest::Error) -> Self {
        let (verdict, what) = if error.is_connect() || error.is_builder() {
            (Verdict::Retry, "Meta could not be reached")
        } else if error.is_timeout() {
            (Verdict::Unknown, "Meta did not answer in time")
        } else {
            (Verdict::Unknown, "the connection to Meta broke")
        };
        Self { verdict, code: None, what, trace: None }
    }

    /// An answer of success that says nothing.
    pub(crate) fn unreadable() -> Self {
        Self { verdict: Verdict::Unknown, code: None, what: "Meta's answer cannot be read", trace: None }
    }

    /// From an answer that is no success.
    pub(crate) fn of_answer(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let error = serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.error);
        let number = error.as_ref().map(|error| error.code);
        let (verdict, what) = judge(status, number);
        let verdict = match (verdict, retry_after) {
            (Verdict::Defer { why: Wait::RateLimited, .. }, Some(after)) => {
                Verdict::Defer { after: after.min(LONGEST_PAUSE), why: Wait::RateLimited }
            }
            (verdict, _) => verdict,
        };
        let code = match &error {
            Some(Error { code, error_subcode: Some(subcode), .. }) => format!("{code}/{subcode}"),
            Some(Error { code, .. }) => code.to_string(),
            None => format!("HTTP {}", status.as_u16()),
        };
        Self { verdict, code: Some(code), what, trace: error.and_then(|error| error.fbtrace_id) }
    }

    /// Whether it says something of Meta's well-being, and not of the request: for a circuit breaker.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self.verdict, Verdict::Retry | Verdict::Unknown)
    }
}

/// The verdict on a code of a webhook's `failed` status, where nothing is left open.
#[must_use]
pub fn of_status(code: i64) -> (Reason, &'static str) {
    match judge(StatusCode::BAD_REQUEST, Some(code)) {
        (Verdict::Failed(reason), what) => (reason, what),
        (_, what) => (Reason::Refused, what),
    }
}

fn judge(status: StatusCode, code: Option<i64>) -> (Verdict, &'static str) {
    let defer = |after, why| Verdict::Defer { after, why };
    match code {
        Some(4 | 80007) => (defer(RATE_PAUSE, Wait::RateLimited), "too many requests to Meta"),
        Some(130_429) => (defer(THROUGHPUT_PAUSE, Wait::RateLimited), "too many messages a second from this number"),
        Some(131_056) => (defer(RATE_PAUSE, Wait::PairRate), "too many messages to this recipient in a short time"),
        Some(131_048) => (defer(RESTRICTED_PAUSE, Wait::Restricted), "Meta restricts this number for spam"),
        Some(368) => {
            (defer(RESTRICTED_PAUSE, Wait::Restricted), "Meta blocks the account for a violation of its policies")
        }
        Some(131_031) => (defer(RESTRICTED_PAUSE, Wait::Restricted), "Meta has locked the account"),
        Some(131_042) => (defer(RESTRICTED_PAUSE, Wait::Restricted), "the account's payment is not in order"),
        Some(131_057) => (Verdict::Retry, "the account is in maintenance"),
        Some(1 | 2 | 131_000 | 131_016 | 133_004) if status.is_server_error() => {
            (Verdict::Unknown, "something failed at Meta's")
        }
        Some(1 | 2 | 131_000 | 131_016 | 133_004) => (Verdict::Retry, "something failed at Meta's"),
        Some(0 | 3 | 10 | 102 | 190 | 200..=299 | 131_005) => {
            (defer(CREDENTIALS_PAUSE, Wait::Credentials), "Meta refuses the token")
        }
        Some(131_045 | 133_005 | 133_006 | 133_008..=133_010) => {
            (defer(CREDENTIALS_PAUSE, Wait::Credentials), "the number is not registered with Meta as it should be")
        }
        Some(131_047) => (
            Verdict::Failed(Reason::WindowClosed),
            "the recipient has not written within 24 hours: a template is needed",
        ),
        Some(132_000..=132_999) => (Verdict::Failed(Reason::TemplateRefused), "Meta refuses the template"),
        Some(131_026) => (Verdict::Failed(Reason::Refused), "the message cannot be delivered to this recipient"),
        Some(131_049) => {
            (Verdict::Failed(Reason::Refused), "Meta holds marketing back from this recipient; not to be tried soon")
        }
        Some(131_050) => (Verdict::Failed(Reason::Refused), "the recipient has stopped marketing messages"),
        Some(131_051) => (Verdict::Failed(Reason::Refused), "Meta does not know this kind of message"),
        Some(131_052 | 131_053) => (Verdict::Failed(Reason::Refused), "Meta could not fetch the medium"),
        None if status == StatusCode::TOO_MANY_REQUESTS => {
            (defer(RATE_PAUSE, Wait::RateLimited), "too many requests to Meta")
        }
        None if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN => {
            (defer(CREDENTIALS_PAUSE, Wait::Credentials), "Meta refuses the token")
        }
        // A gateway on the way may answer so after Meta has taken the message.
        _ if !status.is_client_error() => (Verdict::Unknown, "Meta's answer leaves it open"),
        _ if status == StatusCode::TOO_MANY_REQUESTS => {
            (defer(RATE_PAUSE, Wait::RateLimited), "too many requests to Meta")
        }
        _ => (Verdict::Failed(Reason::Refused), "Meta refuses the message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: Option<i64>) -> Fault {
        let body = code.map_or_else(String::new, |code| {
            format!(
                r#"{{"error":{{"message":"(#{code}) …","type":"OAuthException","code":{code},"fbtrace_id":"Abc"}}}}"#
            )
        });
        Fault::of_answer(StatusCode::from_u16(status).expect("a status"), None, body.as_bytes())
    }

    #[test]
    fn every_documented_code_has_its_verdict() {
        use Reason::{Refused, TemplateRefused, WindowClosed};
        use Wait::{Credentials, PairRate, RateLimited, Restricted};
        let defer = |secs, why| Verdict::Defer { after: Duration::from_secs(secs), why };
        let cases = [
            (400, Some(130_429), defer(5, RateLimited)),
            (429, Some(130_429), defer(5, RateLimited)),
            (400, Some(80007), defer(60, RateLimited)),
            (400, Some(4), defer(60, RateLimited)),
            (429, None, defer(60, RateLimited)),
            (429, Some(99_999), defer(60, RateLimited)),
            (400, Some(131_056), defer(60, PairRate)),
            (400, Some(131_048), defer(3600, Restricted)),
            (403, Some(368), defer(3600, Restricted)),
            (403, Some(131_031), defer(3600, Restricted)),
            (400, Some(131_042), defer(3600, Restricted)),
            (401, Some(190), defer(60, Credentials)),
            (401, None, defer(60, Credentials)),
            (403, Some(200), defer(60, Credentials)),
            (400, Some(133_010), defer(60, Credentials)),
            (400, Some(131_057), Verdict::Retry),
            (500, Some(131_057), Verdict::Retry),
            (400, Some(131_016), Verdict::Retry),
            (500, Some(131_016), Verdict::Unknown),
            (500, Some(131_000), Verdict::Unknown),
            (503, Some(2), Verdict::Unknown),
            (500, None, Verdict::Unknown),
            (502, None, Verdict::Unknown),
            (302, None, Verdict::Unknown),
            (400, Some(131_047), Verdict::Failed(WindowClosed)),
            (404, Some(132_001), Verdict::Failed(TemplateRefused)),
            (400, Some(132_000), Verdict::Failed(TemplateRefused)),
            (400, Some(131_026), Verdict::Failed(Refused)),
            (400, Some(131_049), Verdict::Failed(Refused)),
            (400, Some(131_050), Verdict::Failed(Refused)),
            (400, Some(131_051), Verdict::Failed(Refused)),
            (400, Some(131_052), Verdict::Failed(Refused)),
            (400, Some(131_053), Verdict::Failed(Refused)),
            (400, Some(100), Verdict::Failed(Refused)),
            (400, None, Verdict::Failed(Refused)),
        ];
        for (status, code, verdict) in cases {
            assert_eq!(fault(status, code).verdict, verdict, "status {status}, code {code:?}");
        }
    }

    #[test]
    fn a_server_error_is_never_an_invitation_to_send_again() {
        let named = [131_057, 130_429, 80007, 4, 131_056, 131_048, 368, 131_031, 131_042, 190];
        for code in (0..1000).chain(130_000..134_000).filter(|code| !named.contains(code)) {
            let verdict = fault(500, Some(code)).verdict;
            let open = !matches!(verdict, Verdict::Retry | Verdict::Defer { why: Wait::RateLimited, .. });
            assert!(open, "{code}: {verdict:?}");
        }
    }

    #[test]
    fn metas_code_stays_as_it_is_and_its_words_are_left_out() {
        let body = br#"{"error":{"message":"to +49151 secret","code":190,"error_subcode":463,"fbtrace_id":"Tr"}}"#;
        let fault = Fault::of_answer(StatusCode::UNAUTHORIZED, None, body);
        assert_eq!((fault.code.as_deref(), fault.trace.as_deref()), (Some("190/463"), Some("Tr")));
        assert!(!format!("{fault} {fault:?}").contains("secret"));
        assert_eq!(super::Fault::of_answer(StatusCode::BAD_GATEWAY, None, b"<html>").code.as_deref(), Some("HTTP 502"));
    }

    #[test]
    fn retry_after_is_heard_within_a_bound() {
        let after = |secs| {
            let answer = Fault::of_answer(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(secs)), b"");
            answer.verdict
        };
        let defer = |secs| Verdict::Defer { after: Duration::from_secs(secs), why: Wait::RateLimited };
        assert_eq!((after(7), after(1_000_000)), (defer(7), defer(86_400)));
    }
}
