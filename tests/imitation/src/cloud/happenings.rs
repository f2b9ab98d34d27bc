//! What people do besides writing: settings of an account, typing on a phone, calls.

use serde_json::{Value, json};

use super::Moment;
use super::connection::ConnectionId;
use super::groups::NOT_FOUND;
use super::state::State;
use crate::ids::{Address, Number};
use crate::record::Setting;
use crate::wire::ToPage;

/// What a page sets in its account.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) q: u64,
    pub(super) setting: String,
    pub(super) of: String,
    pub(super) value: Value,
}

impl State {
    pub(super) fn set(&mut self, id: ConnectionId, wish: Wish, now: Moment) {
        let Some((_, from)) = self.sender_of(id) else { return };
        let Wish { q, setting, of, value } = wish;
        if let ("label", Some((label, chat))) = (setting.as_str(), of.split_once(' '))
            && let Ok(chat) = chat.parse()
            && !self.label_chat(&from, label, &chat, value == json!(true))
        {
            return self.answer_with(id, ToPage::Reply { q, ok: None, error: Some(NOT_FOUND) }, now);
        }
        self.record.settings.push(Setting { from, setting, of, value, at_ms: now.unix_ms });
        self.answer(id, q, json!({}), now);
    }

    /// Somebody types on a phone, or does something else for a moment.
    pub(crate) fn show_on_phone(&self, from: &Number, to: &Number, state: &str) {
        let presence = ToPage::Presence { chat: Address::Lid(from.lid()), state: state.to_owned() };
        for connection in self.connections_of(to).unwrap_or_default() {
            self.say(connection, presence.clone());
        }
    }

    /// Somebody calls an account. Nobody hears of it later who was not there.
    pub(crate) fn call(&mut self, from: &Number, to: &Number, call: &str, video: bool, now: Moment) {
        self.introduce(from);
        let ring = ToPage::Call { id: call.to_owned(), from: from.lid(), video, began: now.unix() };
        for connection in self.connections_of(to).unwrap_or_default() {
            self.say(connection, ring.clone());
        }
    }
}
