//! Deciding whether a message from outside is what it says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::canonical::{CanonicalFields, VERSION, body_hash, with_body_hash};
use super::keyring::{Keyring, Role};
use super::{
    AUDIENCE_HEADER, Audience, CONTENT_TYPE, EXPIRES_AT_HEADER, ISSUED_AT_HEADER, KEY_HEADER, MAX_BODY_BYTES,
    MAX_CLOCK_SKEW_SECS, MAX_HEADER_BYTES, MAX_LIFETIME_SECS, SESSION_HEADER, SIGNATURE_HEADER, WORKSPACE_HEADER,
};
use crate::id::{CommandId, EventId, IdError, KeyId, SessionId, WorkspaceId};
use crate::rejection::Rejection;

/// A header's value, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// A short or long string in UTF-8.
    Text(&'a str),
    /// Anything else; never accepted in an `x-wa-*` header.
    Other,
}

/// A delivery's properties as plain data, whatever client library they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawProperties<'a> {
    /// The property `message_id`.
    pub message_id: Option<&'a str>,
    /// The property `type`.
    pub type_: Option<&'a str>,
    /// The property `content_type`.
    pub content_type: Option<&'a str>,
    /// All headers. Where a name occurs twice the first one counts, for the signature and for everything after it.
    pub headers: &'a [(&'a str, HeaderValue<'a>)],
}

/// A message that claims to be signed: nothing of it is to be believed before [`verify`](Signed::verify).
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    properties: RawProperties<'a>,
    body: &'a [u8],
}

/// What is known for certain about a message whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key: KeyId,
    /// What that key may do.
    pub role: Role,
    /// Whom the message is meant for.
    pub audience: Audience,
    /// The signed type. Not necessarily one that exists.
    pub type_: String,
    /// The message's id; the same alphabet for commands and events.
    pub message_id: CommandId,
    /// The workspace the key spoke for.
    pub workspace: WorkspaceId,
    /// The session.
    pub session: SessionId,
    /// When it was issued, in unix seconds.
    pub issued_at: u64,
    /// When its life ends, in unix seconds.
    pub expires_at: u64,
    /// SHA-256 of the body: two messages of one id are the same command only if this is the same.
    pub body_sha256: [u8; 32],
}

impl Verified {
    /// The message's id as an event's.
    pub fn event_id(&self) -> Result<EventId, IdError> {
        self.message_id.as_str().parse()
    }

    /// Refuses a message that is not to be acted upon at this moment, in unix seconds: issued more than 5 minutes ahead,
    /// made to live for more than 30 days, or expired.
    pub fn check_freshness(&self, now: u64) -> Result<(), Rejection> {
        if self.issued_at > now.saturating_add(MAX_CLOCK_SKEW_SECS) {
            return Err(Rejection::IssuedInFuture);
        }
        if self.expires_at.saturating_sub(self.issued_at) > MAX_LIFETIME_SECS {
            return Err(Rejection::LifetimeTooLong { max_secs: MAX_LIFETIME_SECS });
        }
        if self.expires_at <= now || self.expires_at <= self.issued_at {
            return Err(Rejection::Expired);
        }
        Ok(())
    }
}

impl<'a> Signed<'a> {
    /// A delivery that is still to be verified.
    pub fn new(properties: RawProperties<'a>, body: &'a [u8]) -> Self {
        Self { properties, body }
    }

    /// Verifies everything: [`authenticate`](Signed::authenticate), then [`Verified::check_freshness`]. `now` in unix seconds.
    pub fn verify(&self, keyring: &Keyring, audience: Audience, now: u64) -> Result<Verified, Rejection> {
        let verified = self.authenticate(keyring, audience, now)?;
        verified.check_freshness(now)?;
        Ok(verified)
    }

    /// Verifies who speaks, for whom and to whom, but not whether it is still to be acted upon: to answer an expired
    /// command one has to know that it was genuine.
    ///
    /// Sizes are checked before anything is hashed. What the headers say is judged only after the signature, except for
    /// the key's id, so that every forgery is a [`BadSignature`](Rejection::BadSignature), whatever else is wrong with it.
    pub fn authenticate(&self, keyring: &Keyring, audience: Audience, now: u64) -> Result<Verified, Rejection> {
        if self.body.len() > MAX_BODY_BYTES {
            return Err(Rejection::TooLarge { max: MAX_BODY_BYTES });
        }
        let signature = match self.header(SIGNATURE_HEADER) {
            Err(Rejection::MissingHeader { .. }) => return Err(Rejection::Unsigned),
            signature => signature?,
        };
        let fields = CanonicalFields {
            key: self.header(KEY_HEADER)?,
            audience: self.header(AUDIENCE_HEADER)?,
            type_: property("type", self.properties.type_)?,
            message_id: property("message_id", self.properties.message_id)?,
            workspace: self.header(WORKSPACE_HEADER)?,
            session: self.header(SESSION_HEADER)?,
            issued_at: self.header(ISSUED_AT_HEADER)?,
            expires_at: self.header(EXPIRES_AT_HEADER)?,
            content_type: property("content_type", self.properties.content_type)?,
        };
        let tag = decode_signature(signature)?;
        let key = keyring.get(fields.key).ok_or(Rejection::UnknownKey)?;
        let body_sha256 = body_hash(self.body);
        let canonical =
            with_body_hash(&fields, &body_sha256).map_err(|error| Rejection::MalformedHeader { name: error.name })?;
        if !key.verify(&canonical, &tag) {
            return Err(Rejection::BadSignature);
        }

        if !key.is_valid_at(now) {
            return Err(Rejection::KeyExpired);
        }
        if fields.audience != audience.as_str() {
            return Err(Rejection::WrongAudience);
        }
        if !key.role().may_sign(audience) {
            return Err(Rejection::WrongRole);
        }
        let workspace = id(WORKSPACE_HEADER, fields.workspace.parse::<WorkspaceId>())?;
        if !key.scope().covers(workspace) {
            return Err(Rejection::ForeignScope);
        }
        if fields.content_type != CONTENT_TYPE {
            return Err(Rejection::BadContentType);
        }
        let verified = Verified {
            key: key.id().clone(),
            role: key.role(),
            audience,
            type_: fields.type_.to_owned(),
            message_id: id("message_id", fields.message_id.parse::<CommandId>())?,
            workspace,
            session: id(SESSION_HEADER, SessionId::or_any(fields.session))?,
            issued_at: unix_secs(ISSUED_AT_HEADER, fields.issued_at)?,
            expires_at: unix_secs(EXPIRES_AT_HEADER, fields.expires_at)?,
            body_sha256,
        };
        if audience == Audience::Events {
            id("message_id", verified.event_id())?;
        }
        Ok(verified)
    }

    fn header(&self, name: &'static str) -> Result<&'a str, Rejection> {
        match self.properties.headers.iter().find(|(other, _)| *other == name) {
            None => Err(Rejection::MissingHeader { name }),
            Some((_, HeaderValue::Other)) => Err(Rejection::HeaderNotText { name }),
            Some((_, HeaderValue::Text(text))) => property(name, Some(text)),
        }
    }
}

fn property<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, Rejection> {
    let text = value.ok_or(Rejection::MissingHeader { name })?;
    if text.len() > MAX_HEADER_BYTES {
        return Err(Rejection::HeaderTooLong { name, max: MAX_HEADER_BYTES });
    }
    Ok(text)
}

fn id<T>(name: &'static str, parsed: Result<T, IdError>) -> Result<T, Rejection> {
    parsed.map_err(|_| Rejection::BadId { name })
}

/// Decimal digits in their one canonical spelling.
fn unix_secs(name: &'static str, text: &str) -> Result<u64, Rejection> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|_| canonical).ok_or(Rejection::MalformedHeader { name })
}

/// `WA1=` and the 32 bytes in unpadded base64url, in their one canonical spelling.
fn decode_signature(text: &str) -> Result<[u8; 32], Rejection> {
    let encoded =
        text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('=')).ok_or(Rejection::MalformedSignature)?;
    let tag = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Rejection::MalformedSignature)?;
    tag.try_into().map_err(|_| Rejection::MalformedSignature)
}

#[cfg(test)]
mod tests {
    use super::super::{Claims, Scope, Secret, SigningKey, sign};
    use super::*;
    use crate::command::Command;

    #[test]
    fn an_expired_command_is_still_known_to_be_genuine() {
        let secret = Secret::from_bytes(vec![7; 32]).expect("long enough");
        let key = SigningKey::new("cmd-1".parse().expect("a key id"), Role::Commands, secret, Scope::All, None);
        let (id, session) = ("c1".parse().expect("a command"), "s1".parse().expect("a session"));
        let workspace = WorkspaceId::new(7).expect("a workspace");
        let headers = sign(&key, &Claims::command(&Command::SessionStop, &id, workspace, &session, 100, 200), b"{}");
        let pairs = headers.to_pairs();
        let mut headers: Vec<_> = pairs.iter().map(|(name, text)| (*name, HeaderValue::Text(text))).collect();
        let ring = Keyring::new(vec![key]).expect("one key");
        let verify = |headers: &[(&str, HeaderValue<'_>)], now| {
            let properties = RawProperties {
                message_id: Some("c1"),
                type_: Some("session.stop"),
                content_type: Some(CONTENT_TYPE),
                headers,
            };
            let signed = Signed::new(properties, b"{}");
            let genuine = signed.authenticate(&ring, Audience::Commands, now).map(|verified| verified.message_id);
            (genuine, signed.verify(&ring, Audience::Commands, now).map(|verified| verified.session))
        };
        assert_eq!(verify(&headers, 199), (Ok(id.clone()), Ok(session)));
        assert_eq!(verify(&headers, 200), (Ok(id), Err(Rejection::Expired)));

        headers.insert(0, (SESSION_HEADER, HeaderValue::Text("s2")));
        assert_eq!(verify(&headers, 199).1, Err(Rejection::BadSignature), "the first of two headers counts");
    }
}
