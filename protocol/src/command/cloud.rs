//! Commands about a session's number at Meta's Cloud API.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::json::Fields;
use crate::provider::ProviderChoice;
use crate::rejection::Rejection;

/// Data of `session.provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionProvider {
    /// By whom messages go that say `auto` or nothing; `auto` gives the choice back to the session's policy.
    pub provider: ProviderChoice,
}

/// Data of `cloud.webhook`. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CloudWebhook {
    /// The body of Meta's webhook as it came, its `X-Hub-Signature-256` checked by the host application.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub body: Value,
}

impl SessionProvider {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { provider: data.parsed("provider")? })
    }
}

impl CloudWebhook {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        match data.take("body") {
            Some(body @ Value::Object(_)) => Ok(Self { body }),
            Some(_) => Err(data.invalid("body", "must be an object")),
            None => Err(data.invalid("body", "is missing")),
        }
    }
}

impl fmt::Debug for CloudWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CloudWebhook(redacted)")
    }
}
