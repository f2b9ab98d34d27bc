//! The decisions on which one ownership at a time rests, without clocks, Redis or MySQL. `interleaving.rs` tries them in
//! every order of steps.

use std::time::Duration;

use super::Renewal;

/// How long after the moment a renewal was asked for ownership counts as proven: two thirds of the TTL, so that the page is
/// stopped and the browser killed before anybody else can claim.
pub(super) fn provable(ttl: Duration) -> Duration {
    ttl * 2 / 3
}

/// What a keeper does with the answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ownership is proven for longer: from before the request on, because Redis cannot have counted from an earlier moment.
    Extend,
    /// Redis forgot the lease (a flush, a fail-over).
    Reassert,
    /// Somebody else has it.
    Lose,
}

/// What an answer means.
pub(super) fn verdict(renewal: Renewal) -> Verdict {
    match renewal {
        Renewal::Renewed => Verdict::Extend,
        Renewal::Missing => Verdict::Reassert,
        Renewal::Lost => Verdict::Lose,
    }
}

/// Whether a lease that Redis forgot may be taken again: while it is still proven, and while MySQL knows no newer fence.
pub(super) fn may_reassert(proven: bool, newest_fence: bool) -> bool {
    proven && newest_fence
}
