//! What a phone has from before a page was linked. A page gets it once, after its first login.

use serde_json::Value;

use super::Moment;
use super::connection::ConnectionId;
use super::state::State;
use crate::ids::{Address, Number};
use crate::wire::{ToPage, WireMessage};

/// Messages of one frame.
const AT_ONCE: usize = 1_000;

impl State {
    /// The phone has a chat with somebody: so many texts, by turns of the two and a minute apart, the newest a minute old.
    pub(crate) fn remember(&mut self, number: &Number, partner: &Number, name: &str, messages: usize, now: Moment) {
        self.introduce(partner).name = Some(name.to_owned());
        let own_name = self.introduce(number).name.clone();
        let account = self.account(number);
        account.correspondents.insert(partner.clone());
        for n in 0..messages {
            let from_me = n % 2 == 1;
            let minutes = u64::try_from(messages - n).unwrap_or(u64::MAX);
            account.history.push(WireMessage {
                id: format!("3A{partner}{n:06}"),
                chat: Address::Lid(partner.lid()),
                from_me,
                sender: if from_me { number.lid() } else { partner.lid() },
                number: partner.clone(),
                name: if from_me { own_name.clone() } else { Some(name.to_owned()) },
                kind: "chat".to_owned(),
                body: format!("message {n} of the past with {name}"),
                content: Value::Null,
                t: now.unix().saturating_sub(60 * minutes),
            });
        }
    }

    /// Tells a device what its account had before it.
    pub(super) fn tell_history(&mut self, id: ConnectionId, number: &Number) {
        let history = self.account(number).history.clone();
        for messages in history.chunks(AT_ONCE) {
            self.say(id, ToPage::History { messages: messages.to_vec() });
        }
    }
}
