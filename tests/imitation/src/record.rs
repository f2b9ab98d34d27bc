//! What left: every message a page handed to the cloud, counted per id, so that tests can prove "none lost, none twice".

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::ids::{Address, Number};

/// One message that left a page. Messages the cloud refused did not leave and are in [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Departure {
    /// The message id, for instance `3EB0…`.
    pub id: String,
    /// Who sent it.
    pub from: Number,
    /// The chat it was sent to, as the page named it.
    pub chat: Address,
    /// The number behind a 1:1 chat.
    pub to: Option<Number>,
    /// `chat` for text.
    pub kind: String,
    /// What it says.
    pub text: String,
    /// What a message of its kind holds besides, as the page handed it in: `lat` and `lng` of a place, `pollName` and
    /// `pollOptions` of a poll, `mentionedJidList`, `quotedStanzaID`, `isForwarded`, ….
    pub content: Value,
    /// Unix milliseconds at which it left first.
    pub at_ms: u64,
    /// How often a page handed this id in, its own repetitions included.
    pub handed_in: u32,
    /// How many of these were the page's own repetition, after a reconnection, of a message that had left before. A
    /// repetition of one that was cut off on its way is the first to leave, and no copy.
    pub resent: u32,
    /// Whether the cloud acknowledged it to the page.
    pub acknowledged: bool,
}

impl Departure {
    /// How often it was sent on purpose, at least 1: anything else is a message sent twice.
    pub fn copies(&self) -> u32 {
        self.handed_in - self.resent
    }
}

/// A message the cloud refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The message id.
    pub id: String,
    /// Who tried to send it.
    pub from: Number,
    /// The chat.
    pub chat: Address,
    /// Why: 463 for a restricted account, else the code of the fault.
    pub code: u16,
}

/// A typing state that a page showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chatstate {
    /// Who typed.
    pub from: Number,
    /// In which chat.
    pub chat: Address,
    /// `composing`, `recording` or `paused`.
    pub state: String,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// Something that a page set in its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Whose account.
    pub from: Number,
    /// `star`, `archive`, `mute`, `pin`, `block`, `available` or `reject_call`.
    pub setting: String,
    /// What it is about: a message key, a chat, a contact, or nothing.
    pub of: String,
    /// What it was set to.
    pub value: Value,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// Everything that left, in order.
#[derive(Debug, Default)]
pub(crate) struct Record {
    departures: Vec<Departure>,
    by_id: BTreeMap<(Number, String), usize>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) chatstates: Vec<Chatstate>,
    pub(crate) settings: Vec<Setting>,
}

impl Record {
    /// Notes a message that was handed in. True when this id left for the first time.
    pub(crate) fn hand_in(&mut self, departure: Departure) -> bool {
        let key = (departure.from.clone(), departure.id.clone());
        if let Some(index) = self.by_id.get(&key) {
            let known = &mut self.departures[*index];
            known.handed_in += departure.handed_in;
            known.resent += departure.resent;
            return false;
        }
        self.by_id.insert(key, self.departures.len());
        self.departures.push(Departure { resent: 0, ..departure });
        true
    }

    pub(crate) fn acknowledge(&mut self, from: &Number, id: &str) {
        if let Some(index) = self.by_id.get(&(from.clone(), id.to_owned())) {
            self.departures[*index].acknowledged = true;
        }
    }

    pub(crate) fn departures(&self) -> &[Departure] {
        &self.departures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departure(id: &str, resent: u32) -> Departure {
        let number: Number = "4915112345678".parse().expect("a valid number");
        Departure {
            id: id.to_owned(),
            chat: Address::Lid(number.lid()),
            to: Some(number.clone()),
            from: number,
            kind: "chat".to_owned(),
            text: "hello".to_owned(),
            content: Value::Null,
            at_ms: 0,
            handed_in: 1,
            resent,
            acknowledged: false,
        }
    }

    #[test]
    fn a_repetition_by_the_page_is_not_a_second_copy() {
        let mut record = Record::default();
        assert!(record.hand_in(departure("A", 0)));
        assert!(!record.hand_in(departure("A", 1)));
        let seen = &record.departures()[0];
        assert_eq!((seen.handed_in, seen.resent, seen.copies()), (2, 1, 1));
    }

    #[test]
    fn a_message_that_leaves_only_by_the_pages_own_repetition_left_once() {
        let mut record = Record::default();
        assert!(record.hand_in(departure("A", 1)));
        assert_eq!(record.departures()[0].copies(), 1);
        record.hand_in(departure("A", 1));
        assert_eq!(record.departures()[0].copies(), 1);
        record.hand_in(departure("A", 0));
        assert_eq!(record.departures()[0].copies(), 2);
    }

    #[test]
    fn the_same_id_sent_again_is_a_second_copy() {
        let mut record = Record::default();
        record.hand_in(departure("A", 0));
        record.hand_in(departure("A", 0));
        assert_eq!((record.departures().len(), record.departures()[0].copies()), (1, 2));
    }

    #[test]
    fn an_acknowledgement_finds_its_departure() {
        let mut record = Record::default();
        record.hand_in(departure("A", 0));
        record.hand_in(departure("B", 0));
        record.acknowledge(&departure("A", 0).from, "B");
        let acknowledged: Vec<_> = record.departures().iter().map(|departure| departure.acknowledged).collect();
        assert_eq!(acknowledged, [false, true]);
    }
}
