//! The identity of a campaign.

use super::{IdError, check_text, plain_debug, text_identifier};

/// A campaign of a workspace, named by its sender: `[A-Za-z0-9_-]{1,64}`. It exists from its first message on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignId(String);

impl CampaignId {
    /// The accepted form.
    pub const PATTERN: &'static str = "^[A-Za-z0-9_-]{1,64}$";

    fn check(text: &str) -> Result<Self, IdError> {
        check_text("campaign id", text, 64, "A-Za-z0-9_-", |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')?;
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(CampaignId);
plain_debug!(CampaignId);
