//! Events about a session itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use crate::command::Calls;
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// Where a session stands, for people and for the host's database: one list for Rust, SQL and PHP.
///
/// ```text
/// initializing → qr_required → authenticating → connected
///              ↘ passkey_required ↗                │
/// connected ⇄ disconnected (recovering)  → logged_out | failed | stopped
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// The browser starts, or the page loads.
    Initializing,
    /// A person has to scan a QR, or type a code into the phone.
    QrRequired,
    /// WhatsApp asks for a passkey, which only the person has.
    PasskeyRequired,
    /// Linked, and not ready yet: WhatsApp hands over the keys and chats.
    Authenticating,
    /// Ready to send and to receive; the own number is known and the credentials are on disk.
    Connected,
    /// Was connected, and recovers by itself.
    Disconnected,
    /// Not linked any more. Linking anew takes a `session.start`.
    LoggedOut,
    /// Given up. The cause says why; a `session.start` tries again.
    Failed,
    /// Stopped by command; the credentials are kept.
    Stopped,
}

impl SessionStatus {
    /// Every status.
    pub const ALL: [SessionStatus; 9] = [
        Self::Initializing,
        Self::QrRequired,
        Self::PasskeyRequired,
        Self::Authenticating,
        Self::Connected,
        Self::Disconnected,
        Self::LoggedOut,
        Self::Failed,
        Self::Stopped,
    ];

    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::QrRequired => "qr_required",
            Self::PasskeyRequired => "passkey_required",
            Self::Authenticating => "authenticating",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::LoggedOut => "logged_out",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for SessionStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// The word names no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session status")]
pub struct UnknownStatus;

/// Why a session's status or health changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A command asked for it.
    Command,
    /// A worker claimed the session, first or after another one.
    Claimed,
    /// The worker is shutting down or hands the session to another.
    Released,
    /// WhatsApp shows a QR or waits for a code.
    LinkRequired,
    /// The person scanned the QR or typed the code.
    Linked,
    /// WhatsApp asks for a passkey.
    PasskeyRequired,
    /// WhatsApp did not take the passkey's answer, and asks for a new link.
    PasskeyRefused,
    /// WhatsApp's page is ready and in sync.
    Ready,
    /// The connection to WhatsApp is gone.
    ConnectionLost,
    /// The page crashed.
    PageCrashed,
    /// The page stopped answering.
    PageHung,
    /// The page did not load, or did not finish synchronising, in time.
    PageTimeout,
    /// The browser ended.
    BrowserExited,
    /// The browser or the page could not be started.
    StartFailed,
    /// The session's profile was damaged, and an older saved one took its place. What came in between is caught up with as far
    /// as WhatsApp still has it.
    ProfileDamaged,
    /// Another WhatsApp Web took this session over.
    Conflict,
    /// The device was unlinked on the phone, or by WhatsApp.
    Unlinked,
    /// WhatsApp banned the number.
    Banned,
    /// WhatsApp restricts the account, or lifted the restriction.
    Restricted,
    /// WhatsApp refuses this version of its page or of the browser.
    Outdated,
    /// Nobody scanned within the QR generations that may be shown.
    LinkAttemptsExhausted,
    /// All steps of recovery were tried.
    RecoveryExhausted,
    /// The page lacks something the fleet uses.
    Incompatible,
    /// Meta refuses the token of the Cloud API number, or its registration.
    CredentialsRefused,
    /// Only the health changed.
    Health,
}

/// Data of `session.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionStatusChanged {
    /// The status now.
    pub status: SessionStatus,
    /// The status before; `null` for the first of a session. Equal to `status` when only the health changed.
    pub previous: Option<SessionStatus>,
    /// Since when `status` holds.
    pub since: Timestamp,
    /// Why it changed.
    pub cause: Cause,
    /// Which attempt of starting or recovering this is, from 1; 0 where nothing is being attempted.
    pub attempt: u32,
    /// How well the session does beside its status.
    pub health: Health,
    /// The own number, in E.164 digits; known from `connected` on.
    pub phone: Option<Personal>,
    /// The own `…@lid` identity.
    pub lid: Option<Personal>,
    /// The own display name.
    pub name: Option<Personal>,
    /// What it has sent and may send; in the results of `session.status` and `session.limits` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What becomes of calls; in the results of `session.start`, `.stop`, `.status`, `.settings` and `.limits` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
}

/// How well a session does beside its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// 0 (useless) to 100 (perfect).
    #[schemars(range(min = 0, max = 100))]
    pub score: u8,
    /// Works with less than everything (see `runtime.incompatible`), is recovering, or keeps more on the disk than its quota.
    pub degraded: bool,
    /// WhatsApp's restriction of the account, if there is one.
    pub restricted: Option<Restriction>,
    /// Is being moved to another worker.
    pub moving: bool,
    /// What the score is made of, if the session's owner says so. The score is the least of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<HealthParts>,
}

/// What a health score is made of, each from 0 (useless) to 100 (perfect). Only the last half hour counts (for the connection
/// the last hour), and a quiet session has 100 of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthParts {
    /// How stable the connection is.
    #[schemars(range(max = 100))]
    pub connection: u8,
    /// How soon WhatsApp acknowledges.
    #[schemars(range(max = 100))]
    pub acks: u8,
    /// How many sends end well.
    #[schemars(range(max = 100))]
    pub sends: u8,
    /// Whether WhatsApp restricts the account.
    #[schemars(range(max = 100))]
    pub restriction: u8,
}

/// A restriction that WhatsApp put on the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restriction {
    /// WhatsApp's own word for it.
    pub kind: String,
    /// When it ends, if WhatsApp says so.
    pub until: Option<Timestamp>,
}

/// Data of `session.qr`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionQr {
    /// The text to draw as a QR.
    pub qr: Personal,
    /// After this it is dead: do not show it.
    pub expires_at: Timestamp,
    /// Which series of QRs, from 1. WhatsApp Web shows six in a row, then waits to be asked for the next series.
    pub generation: u32,
    /// Which one of the series, from 1.
    pub attempt: u32,
    /// How many a series has.
    pub max: u32,
}

/// Data of `session.code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionCode {
    /// The code to be typed into the phone, without hyphen.
    pub code: Personal,
    /// The phone it is for, in E.164 digits.
    pub phone: Personal,
    /// After this it is dead, if that is known.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_same_words_in_text_and_json() {
        for status in SessionStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).expect("a word"), status.as_str());
        }
        assert_eq!("online".parse::<SessionStatus>(), Err(UnknownStatus));
    }
}
