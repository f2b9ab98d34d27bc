//! Why a command did not succeed: stable codes, each in one of four classes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a command that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErrorClass {
    /// Nothing happened; the fleet tries again by itself, with the same ids.
    Retryable,
    /// Nothing happened; the fleet waits for something it knows of (a budget, a link, a restriction) and then goes on.
    Deferred,
    /// Nothing happened and nothing will: final.
    Failed,
    /// It may have happened. The fleet looks for the message by its id; it is never sent again under another id.
    Unknown,
}

impl ErrorClass {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// What went wrong, as a stable word. A code never changes its meaning or its [class](ErrorCode::class).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(Self::$variant),+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

error_codes! {
    /// The browser or its page is starting, restarting or gone, and the action had not begun.
    PageUnavailable = "page_unavailable",
    /// The page did not answer in time, and the action has no effect that could be lost.
    PageTimeout = "page_timeout",
    /// The database, Redis or another service the fleet needs is away.
    DependencyUnavailable = "dependency_unavailable",
    /// The file of a message could not be fetched just now.
    MediaUnavailable = "media_unavailable",

    /// The session is not connected yet, or is recovering.
    SessionNotReady = "session_not_ready",
    /// The session is moving to another worker.
    SessionMoving = "session_moving",
    /// The session's budget or the key's command rate is used up for now.
    RateLimited = "rate_limited",
    /// Meta refuses the token of the Cloud API number, or its registration: an operator has to set a new token.
    CredentialsRefused = "credentials_refused",
    /// WhatsApp restricts the account for a while.
    AccountRestricted = "account_restricted",

    /// The campaign is paused.
    CampaignPaused = "campaign_paused",
    /// It is a quiet hour where the recipient is.
    QuietHours = "quiet_hours",

    /// The command expired before it could be executed.
    Expired = "expired",
    /// The command was refused; the message says why, in the words of the dead letter.
    Rejected = "rejected",
    /// The command id was used before with another body.
    BodyChanged = "body_changed",
    /// The workspace has no such session.
    UnknownSession = "unknown_session",
    /// The session was stopped by command; start it first.
    SessionStopped = "session_stopped",
    /// The session is not linked to a phone (any more).
    LoggedOut = "logged_out",
    /// The session is linked already; log out first.
    AlreadyLinked = "already_linked",
    /// The QR was not scanned within the generations that one session may show.
    LinkAttemptsExhausted = "link_attempts_exhausted",
    /// WhatsApp refused the phone number for linking by code.
    LinkRefused = "link_refused",
    /// The passkey's answer fits no open request: another challenge, another origin, another passkey, or too late.
    PasskeyRefused = "passkey_refused",
    /// The session cannot move to this worker: the fleet has no such worker, or it is shutting down.
    UnknownWorker = "unknown_worker",
    /// The session cannot move to this worker: it owns as many sessions as it can.
    WorkerFull = "worker_full",
    /// The session is on this worker already.
    AlreadyThere = "already_there",
    /// The session was released for a worker that did not take it; another one, perhaps the same as before, has it.
    NotTaken = "not_taken",
    /// The contact wants no campaigns of this workspace.
    OptedOut = "opted_out",
    /// The campaign was cancelled.
    CampaignCancelled = "campaign_cancelled",
    /// The fleet has seen nothing of this campaign.
    UnknownCampaign = "unknown_campaign",
    /// The quiet hours name a time zone that does not exist.
    UnknownZone = "unknown_zone",
    /// Another command replaced this one before it took effect.
    Superseded = "superseded",
    /// The recipient is not on WhatsApp.
    RecipientNotFound = "recipient_not_found",
    /// The command names a message that this session does not have.
    MessageNotFound = "message_not_found",
    /// The command names a chat or group that this session does not have.
    ChatNotFound = "chat_not_found",
    /// The command names a label that this account does not have.
    LabelNotFound = "label_not_found",
    /// WhatsApp does not allow this here: not an own message, too late, not an administrator, ….
    NotAllowed = "not_allowed",
    /// The file of a message cannot be sent: it is not there, too large, of the wrong type, or where no worker may look.
    MediaRefused = "media_refused",
    /// WhatsApp refused the message.
    MessageRefused = "message_refused",
    /// The provider that was asked for cannot send this message: the session has no such provider, or the provider has no
    /// such message.
    ProviderUnavailable = "provider_unavailable",
    /// The recipient has not written to the Cloud API number within 24 hours, so only a template can be sent.
    WindowClosed = "window_closed",
    /// Meta refused the template.
    TemplateRefused = "template_refused",
    /// WhatsApp's page, as it is today, lacks what this command needs; see `runtime.incompatible`.
    Incompatible = "incompatible",
    /// The fleet's own fault. Its log has more, under the command's id.
    Internal = "internal",

    /// The message was handed to the page, and WhatsApp's acknowledgement did not come in time.
    AckTimeout = "ack_timeout",
    /// The page or its worker went away after the action had begun.
    Interrupted = "interrupted",
}

impl ErrorCode {
    /// What becomes of a command that ends with this code.
    pub fn class(self) -> ErrorClass {
        match self {
            Self::PageUnavailable | Self::PageTimeout | Self::DependencyUnavailable | Self::MediaUnavailable => {
                ErrorClass::Retryable
            }
            Self::SessionNotReady
            | Self::SessionMoving
            | Self::RateLimited
            | Self::CredentialsRefused
            | Self::AccountRestricted
            | Self::CampaignPaused
            | Self::QuietHours => ErrorClass::Deferred,
            Self::Expired
            | Self::Rejected
            | Self::BodyChanged
            | Self::UnknownSession
            | Self::SessionStopped
            | Self::LoggedOut
            | Self::AlreadyLinked
            | Self::LinkAttemptsExhausted
            | Self::LinkRefused
            | Self::PasskeyRefused
            | Self::UnknownWorker
            | Self::WorkerFull
            | Self::AlreadyThere
            | Self::NotTaken
            | Self::OptedOut
            | Self::CampaignCancelled
            | Self::UnknownCampaign
            | Self::UnknownZone
            | Self::Superseded
            | Self::RecipientNotFound
            | Self::MessageNotFound
            | Self::ChatNotFound
            | Self::LabelNotFound
            | Self::NotAllowed
            | Self::MediaRefused
            | Self::MessageRefused
            | Self::ProviderUnavailable
            | Self::WindowClosed
            | Self::TemplateRefused
            | Self::Incompatible
            | Self::Internal => ErrorClass::Failed,
            Self::AckTimeout | Self::Interrupted => ErrorClass::Unknown,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_words_and_the_same_in_text_and_json() {
        let words: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("a word"), code.as_str());
            assert_eq!(serde_json::to_value(code.class()).expect("a word"), code.class().as_str());
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
        }
    }

    #[test]
    fn whatever_may_have_happened_is_unknown_and_never_retried() {
        let unknown: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.class() == ErrorClass::Unknown).collect();
        assert_eq!(unknown, [&ErrorCode::AckTimeout, &ErrorCode::Interrupted]);
    }
}
