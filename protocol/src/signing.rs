//! Who may say what: HMAC-SHA256 over one canonical string, with a ring of keys.
//!
//! What is signed is the **raw bytes** of the body, by their SHA-256; JSON is never re-encoded to be verified. The
//! canonical string has one field a line, in UTF-8, and a control character in any of them is refused:
//!
//! ```text
//! WA1 \n key \n audience \n type \n message_id \n workspace \n session \n issued_at \n expires_at \n content_type \n hex(sha256(body)) \n
//! ```
//!
//! The audience is a logical name and never an exchange or routing key, because dead-lettering rewrites those.
//! `WA1` names the algorithm: another one will have another prefix.

use std::fmt;

use crate::command::Command;
use crate::event::Envelope;
use crate::id::{CommandId, KeyId, SessionId, WorkspaceId};

mod canonical;
mod keyring;
mod verify;

pub use canonical::{CanonicalFields, ControlCharacter, canonical_string};
pub use keyring::{Keyring, KeyringError, KeyringProblem, Role, Scope, Secret, SecretError, SigningKey};
pub use verify::{HeaderValue, RawProperties, Signed, Verified};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-wa-signature";
/// The header that carries the key's id.
pub const KEY_HEADER: &str = "x-wa-key";
/// The header that carries the audience.
pub const AUDIENCE_HEADER: &str = "x-wa-audience";
/// The header that carries the workspace id.
pub const WORKSPACE_HEADER: &str = "x-wa-workspace";
/// The header that carries the session id.
pub const SESSION_HEADER: &str = "x-wa-session";
/// The header that carries the moment of signing, in unix seconds.
pub const ISSUED_AT_HEADER: &str = "x-wa-issued-at";
/// The header that carries the end of the message's life, in unix seconds.
pub const EXPIRES_AT_HEADER: &str = "x-wa-expires-at";

/// The only content type.
pub const CONTENT_TYPE: &str = "application/json";
/// The longest header or property, in bytes.
pub const MAX_HEADER_BYTES: usize = 512;
/// The longest body, in bytes.
pub const MAX_BODY_BYTES: usize = crate::json::MAX_BODY_BYTES;
/// The longest life of a message, in seconds: 30 days.
pub const MAX_LIFETIME_SECS: u64 = 30 * 24 * 60 * 60;
/// How far ahead of the verifier's clock a message may be issued, in seconds: 5 minutes.
pub const MAX_CLOCK_SKEW_SECS: u64 = 5 * 60;

/// Whom a message is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The fleet's workers.
    Commands,
    /// The host application.
    Events,
}

impl Audience {
    /// The name in the header and in the canonical string.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "wa.commands",
            Self::Events => "wa.events",
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is to be signed beside the body. Made from a typed message, so it cannot hold a character that breaks a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    audience: Audience,
    type_: &'static str,
    message_id: String,
    workspace: WorkspaceId,
    session: SessionId,
    issued_at: u64,
    expires_at: u64,
}

impl Claims {
    /// A command for a session; times in unix seconds.
    pub fn command(
        command: &Command,
        id: &CommandId,
        workspace: WorkspaceId,
        session: &SessionId,
        issued_at: u64,
        expires_at: u64,
    ) -> Self {
        Self {
            audience: Audience::Commands,
            type_: command.type_name(),
            message_id: id.to_string(),
            workspace,
            session: session.clone(),
            issued_at,
            expires_at,
        }
    }

    /// An event, issued at this moment in unix seconds; it lives for 30 days.
    pub fn event(envelope: &Envelope, issued_at: u64) -> Self {
        Self {
            audience: Audience::Events,
            type_: envelope.event.type_name(),
            message_id: envelope.id.to_string(),
            workspace: envelope.workspace_id,
            session: envelope.session_id.clone(),
            issued_at,
            expires_at: issued_at.saturating_add(MAX_LIFETIME_SECS),
        }
    }
}

/// The signed headers of one message, ready to be published: every one of them as an AMQP long string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// `x-wa-signature`.
    pub signature: String,
    /// `x-wa-key`.
    pub key: KeyId,
    /// `x-wa-audience`.
    pub audience: Audience,
    /// `x-wa-workspace`.
    pub workspace: WorkspaceId,
    /// `x-wa-session`.
    pub session: SessionId,
    /// `x-wa-issued-at`.
    pub issued_at: u64,
    /// `x-wa-expires-at`.
    pub expires_at: u64,
}

impl Headers {
    /// Name and text of every header.
    pub fn to_pairs(&self) -> [(&'static str, String); 7] {
        [
            (SIGNATURE_HEADER, self.signature.clone()),
            (KEY_HEADER, self.key.to_string()),
            (AUDIENCE_HEADER, self.audience.to_string()),
            (WORKSPACE_HEADER, self.workspace.to_string()),
            (SESSION_HEADER, self.session.to_string()),
            (ISSUED_AT_HEADER, self.issued_at.to_string()),
            (EXPIRES_AT_HEADER, self.expires_at.to_string()),
        ]
    }
}

/// Signs a body. Publish exactly these bytes, with these headers, the message id and type of the claims, and
/// [`CONTENT_TYPE`].
pub fn sign(key: &SigningKey, claims: &Claims, body: &[u8]) -> Headers {
    let canonical = canonical_string(
        &CanonicalFields {
            key: key.id().as_str(),
            audience: claims.audience.as_str(),
            type_: claims.type_,
            message_id: &claims.message_id,
            workspace: &claims.workspace.to_string(),
            session: claims.session.as_str(),
            issued_at: &claims.issued_at.to_string(),
            expires_at: &claims.expires_at.to_string(),
            content_type: CONTENT_TYPE,
        },
        body,
    )
    .expect("identifiers and numbers hold no control characters");
    Headers {
        signature: key.signature(&canonical),
        key: key.id().clone(),
        audience: claims.audience,
        workspace: claims.workspace,
        session: claims.session.clone(),
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
    }
}
