//! What goes wrong on purpose. Tests set these; every send and every new connection asks here first.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::AckTimes;

/// How the cloud treats one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum SendFault {
    /// Refuse it with this code; the page marks the message as failed (ack −1).
    Refuse {
        /// The code of the refusal, for instance 500.
        code: u16,
    },
    /// Take it, and acknowledge only after this long.
    Delay {
        /// Milliseconds until ack 1.
        millis: u64,
    },
    /// Take it, deliver it, and never acknowledge it in any way; the connection stays.
    Swallow,
    /// Take it and cut the connection before the acknowledgement: the message left, and the page cannot know. Receipts
    /// of the recipient still come, after the reconnection, as they do in reality.
    CutAfter,
    /// Cut the connection without taking it: the message did not leave, and the page cannot know.
    CutBefore,
}

/// The faults in force.
#[derive(Clone, Debug)]
pub struct Faults {
    /// When acknowledgements come from now on.
    pub acks: AckTimes,
    /// Faults for the next sends, one each, in order, whichever account sends.
    pub next_sends: VecDeque<SendFault>,
    /// The fault of every send that `next_sends` does not name.
    pub every_send: Option<SendFault>,
    /// New connections are refused, as if WhatsApp were down. Existing ones stay.
    pub refuse_connections: bool,
    /// The media server takes no file and answers with this status.
    pub refuse_uploads: Option<u16>,
    /// The media server gives no file and answers with this status: 404 and 410 for one that is gone.
    pub refuse_downloads: Option<u16>,
    /// How long the answer to a query (number check, pairing code) takes.
    pub answer_after: Duration,
    /// New groups are made, and the page that asked for them never hears of it.
    pub silent_groups: bool,
    /// The acknowledgement times of a healthy site.
    usual_acks: AckTimes,
}

impl Faults {
    pub(crate) fn new(acks: AckTimes) -> Self {
        Self {
            acks,
            next_sends: VecDeque::new(),
            every_send: None,
            refuse_connections: false,
            refuse_uploads: None,
            refuse_downloads: None,
            answer_after: Duration::ZERO,
            silent_groups: false,
            usual_acks: acks,
        }
    }

    /// The next `count` sends go this way.
    pub fn next_sends(&mut self, fault: SendFault, count: usize) {
        self.next_sends.extend(std::iter::repeat_n(fault, count));
    }

    /// Ends every fault; acknowledgements come as they did at the start.
    pub fn clear(&mut self) {
        *self = Self::new(self.usual_acks);
    }

    /// The fault of the send that just came in.
    pub(crate) fn of_this_send(&mut self) -> Option<SendFault> {
        self.next_sends.pop_front().or(self.every_send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_faults_come_first_then_the_standing_one() {
        let mut faults = Faults::new(AckTimes::default());
        faults.next_sends(SendFault::CutAfter, 2);
        faults.every_send = Some(SendFault::Swallow);
        let seen: Vec<_> = (0..3).map(|_| faults.of_this_send()).collect();
        assert_eq!(seen, [Some(SendFault::CutAfter), Some(SendFault::CutAfter), Some(SendFault::Swallow)]);
        faults.clear();
        assert_eq!(faults.of_this_send(), None);
    }
}
