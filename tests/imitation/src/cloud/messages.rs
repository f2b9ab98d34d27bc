//! Messages: from a page, from a phone, to devices; acknowledgements, receipts, typing.

use std::time::Duration;

use rand::RngCore;
use serde_json::Value;
use tokio::time::Instant;

use super::account::Restrict;
use super::connection::ConnectionId;
use super::state::{Deed, State};
use super::{ControlError, Moment};
use crate::faults::SendFault;
use crate::ids::{Address, Number};
use crate::phone::Written;
use crate::record::{Chatstate, Departure, Refusal};
use crate::wire::{Item, ToPage, WireMessage};

/// WhatsApp's code for "this account may not start chats at the moment" (reach-out timelock).
const RESTRICTED: u16 = 463;

/// A message as a page hands it in.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) q: u64,
    pub(super) chat: Address,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) body: String,
    pub(super) content: Value,
    pub(super) resent: bool,
}

/// A message on its way to everybody who sees it.
struct Letter<'a> {
    from: &'a Number,
    chat: &'a Address,
    id: &'a str,
    kind: &'a str,
    body: &'a str,
    content: &'a Value,
    /// The device that wrote it and needs no copy.
    written_on: Option<&'a str>,
    /// When ack 1 is due, from which receipts are counted; `None`: no receipts.
    acknowledged: Option<Instant>,
}

impl State {
    pub(super) fn send(&mut self, id: ConnectionId, draft: Draft, now: Moment) {
        let Some((secret, from)) = self.sender_of(id) else { return };
        let to = self.number_of(&draft.chat);
        let fault = self.faults.of_this_send();
        if fault == Some(SendFault::CutBefore) {
            return self.cut(id);
        }
        let refusal = match fault {
            Some(SendFault::Refuse { code }) => Some(code),
            _ => self.restriction_of(&from, to.as_ref(), now).map(|_| RESTRICTED),
        };
        if let Some(code) = refusal {
            self.record.refusals.push(Refusal { id: draft.id, from, chat: draft.chat, code });
            return self.say(id, ToPage::Reply { q: draft.q, ok: None, error: Some(code) });
        }
        let server = match fault {
            Some(SendFault::Swallow) => None,
            Some(SendFault::Delay { millis }) => Some(now.at + Duration::from_millis(millis)),
            Some(SendFault::CutAfter | SendFault::CutBefore | SendFault::Refuse { .. }) | None => {
                Some(now.at + self.faults.acks.server)
            }
        };
        let is_new = self.record.hand_in(Departure {
            id: draft.id.clone(),
            from: from.clone(),
            chat: draft.chat.clone(),
            to: to.clone(),
            kind: draft.kind.clone(),
            text: draft.body.clone(),
            content: draft.content.clone(),
            at_ms: now.unix_ms,
            handed_in: 1,
            resent: u32::from(draft.resent),
            acknowledged: false,
        });
        if is_new {
            let Draft { chat, id, kind, body, content, .. } = &draft;
            let written_on = Some(secret.as_str());
            let letter = Letter { from: &from, chat, id, kind, body, content, written_on, acknowledged: server };
            self.post(&letter, now);
        }
        if fault == Some(SendFault::CutAfter) {
            return self.cut(id);
        }
        if let Some(at) = server {
            self.agenda.plan(at, Deed::Acknowledge { connection: id, q: draft.q, from, id: draft.id, t: now.unix() });
        }
    }

    pub(super) fn acknowledge(&mut self, connection: ConnectionId, q: u64, from: &Number, id: &str, t: u64) {
        if self.connections.contains_key(&connection) {
            self.record.acknowledge(from, id);
            self.say(connection, ToPage::Reply { q, ok: Some(serde_json::json!({ "t": t })), error: None });
        }
    }

    pub(super) fn seen(&mut self, id: ConnectionId, chat: &Address, ids: Vec<String>) {
        let Some((_, reader)) = self.sender_of(id) else { return };
        if let Some(writer) = self.number_of(chat) {
            let receipt = Item::Receipt { chat: Address::Lid(reader.lid()), ids, ack: 3, participant: None };
            self.deliver(&writer, None, &receipt);
        }
    }

    pub(super) fn chatstate(&mut self, id: ConnectionId, chat: Address, state: String, now: Moment) {
        let Some((_, from)) = self.sender_of(id) else { return };
        if let Some(to) = self.number_of(&chat) {
            let presence = ToPage::Presence { chat: Address::Lid(from.lid()), state: state.clone() };
            for connection in self.connections_of(&to).unwrap_or_default() {
                self.say(connection, presence.clone());
            }
        }
        self.record.chatstates.push(Chatstate { from, chat, state, at_ms: now.unix_ms });
    }

    /// A message is typed on a phone. Gives its id.
    pub(crate) fn type_on_phone(&mut self, from: &Number, chat: &Address, text: &str, now: Moment) -> String {
        self.write_on_phone(from, chat, &Written::text(text), now)
    }

    /// A message of any kind is written on a phone. Gives its id.
    pub(crate) fn write_on_phone(&mut self, from: &Number, chat: &Address, written: &Written, now: Moment) -> String {
        let id = match &written.id {
            Some(id) => id.clone(),
            None => {
                let mut bytes = [0; 9];
                self.rng.fill_bytes(&mut bytes);
                std::iter::once("3A".to_owned()).chain(bytes.iter().map(|byte| format!("{byte:02X}"))).collect()
            }
        };
        self.introduce(from);
        let acknowledged = Some(now.at + self.faults.acks.server);
        let Written { kind, body, content, .. } = written;
        self.post(&Letter { from, chat, id: &id, kind, body, content, written_on: None, acknowledged }, now);
        id
    }

    /// The owner of a phone confirms a message that a page sent him: 2 delivered, 3 read.
    pub(crate) fn confirm(&mut self, reader: &Number, id: &str, ack: i8) -> Result<(), ControlError> {
        let departure = self.record.departures().iter().find(|departure| departure.id == id);
        let departure = departure.ok_or(ControlError::NoSuchMessage)?;
        let (chat, participant) = match (&departure.chat, &departure.to) {
            (Address::Group(_), _) => (departure.chat.clone(), Some(reader.lid())),
            (_, Some(to)) if to == reader => (departure.chat.clone(), None),
            _ => return Err(ControlError::NoSuchMessage),
        };
        let writer = departure.from.clone();
        self.deliver(&writer, None, &Item::Receipt { chat, ids: vec![id.to_owned()], ack, participant });
        Ok(())
    }

    /// Restricts an account, or lifts the restriction, and tells its pages if they are to know.
    pub(crate) fn restrict(&mut self, number: &Number, restriction: Option<Restrict>) {
        let before = self.account(number).restriction.and_then(|known| known.notice());
        self.account(number).restriction = restriction;
        let notice = restriction.and_then(|restriction| restriction.notice());
        if notice != before {
            for connection in self.connections_of(number).unwrap_or_default() {
                self.say(connection, ToPage::Restriction { restriction: notice });
            }
        }
    }

    /// The restriction that forbids this send, if one does.
    fn restriction_of(&mut self, from: &Number, to: Option<&Number>, now: Moment) -> Option<Restrict> {
        let account = self.account(from);
        let restriction = account.restriction.filter(|restriction| now.unix() < restriction.until)?;
        let is_stranger = to.is_some_and(|to| !account.correspondents.contains(to));
        (restriction.everybody || is_stranger).then_some(restriction)
    }

    /// Brings a message to the other devices of the writer and to everybody it is for, and plans the receipts.
    fn post(&mut self, letter: &Letter<'_>, now: Moment) {
        let own = self.as_seen(letter, letter.chat.clone(), true, now);
        let own_chat = own.chat.clone();
        self.deliver(letter.from, letter.written_on, &Item::Message { message: own });
        match letter.chat {
            Address::Group(id) => {
                let Some(group) = self.groups.get(id) else { return };
                let others = group.participants.iter().map(|person| person.number.clone());
                let others: Vec<_> = others.filter(|number| number != letter.from).collect();
                for reader in others {
                    let message = self.as_seen(letter, letter.chat.clone(), false, now);
                    self.deliver(&reader, None, &Item::Message { message });
                    self.plan_receipts(letter, &own_chat, Some(&reader));
                }
            }
            Address::Status => {} // who may see it is nobody's concern here
            Address::Number(_) | Address::Lid(_) => {
                let Some(reader) = self.number_of(letter.chat).filter(|number| !self.nobody.contains(number)) else {
                    return; // nobody has this number: it is never delivered
                };
                self.account(letter.from).correspondents.insert(reader.clone());
                self.account(&reader).correspondents.insert(letter.from.clone());
                let message = self.as_seen(letter, Address::Lid(letter.from.lid()), false, now);
                self.deliver(&reader, None, &Item::Message { message });
                self.plan_receipts(letter, &own_chat, None);
            }
        }
    }

    fn plan_receipts(&mut self, letter: &Letter<'_>, chat: &Address, participant: Option<&Number>) {
        let Some(acknowledged) = letter.acknowledged else { return };
        for (ack, delay) in [(2, self.faults.acks.delivered), (3, self.faults.acks.read)] {
            let Some(delay) = delay else { continue };
            let receipt = Item::Receipt {
                chat: chat.clone(),
                ids: vec![letter.id.to_owned()],
                ack,
                participant: participant.map(Number::lid),
            };
            self.agenda.plan(acknowledged + delay, Deed::Receipt { account: letter.from.clone(), receipt });
        }
    }

    fn as_seen(&mut self, letter: &Letter<'_>, chat: Address, from_me: bool, now: Moment) -> WireMessage {
        // A 1:1 chat of a migrated account is keyed by LID, whatever the writer called it.
        let partner = self.number_of(&chat);
        let chat = match (&chat, &partner) {
            (Address::Number(number), _) if !self.nobody.contains(number) => Address::Lid(number.lid()),
            _ => chat,
        };
        WireMessage {
            id: letter.id.to_owned(),
            number: partner.unwrap_or_else(|| letter.from.clone()),
            chat,
            from_me,
            sender: letter.from.lid(),
            name: self.account(letter.from).name.clone(),
            kind: letter.kind.to_owned(),
            body: letter.body.to_owned(),
            content: letter.content.clone(),
            t: now.unix(),
        }
    }

    /// Queues an item for every device of an account but one, and sends it to those that are connected.
    pub(super) fn deliver(&mut self, number: &Number, except: Option<&str>, item: &Item) {
        for secret in self.account(number).devices.clone() {
            if Some(secret.as_str()) == except {
                continue;
            }
            let Some(device) = self.devices.get_mut(&secret) else { continue };
            let n = device.enqueue(item.clone());
            if let Some(connection) = device.connection {
                self.say(connection, ToPage::Queued { n, item: item.clone() });
            }
        }
    }
}
