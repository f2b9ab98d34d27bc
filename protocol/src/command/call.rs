//! What a session can be asked to do with a call.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Line;
use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `call.reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RejectCall {
    /// The id of a call that rings, as `call.received` tells it.
    pub call: Line<128>,
}

impl RejectCall {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { call: data.parsed("call")? })
    }
}
