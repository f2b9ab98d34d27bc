//! Everything the far end knows, and the two ways in: a frame from a page, and time passing.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::time::Instant;

use super::Moment;
use super::account::{Account, Device, Secret};
use super::agenda::Agenda;
use super::connection::{Connection, ConnectionId, Conversation, Mode, Stage};
use crate::faults::Faults;
use crate::ids::{Address, GroupId, Lid, Number};
use crate::media::Shelf;
use crate::options::Options;
use crate::record::Record;
use crate::wire::{FromPage, Group, Item, ToPage};

/// The far end.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    pub(crate) shelf: Shelf,
    pub(super) accounts: BTreeMap<Number, Account>,
    pub(super) devices: BTreeMap<Secret, Device>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Numbers that are not on WhatsApp.
    pub(super) nobody: BTreeSet<Number>,
    /// Numbers that do not let themselves be added to groups.
    pub(super) shy: BTreeSet<Number>,
    /// The numbers behind the LIDs that were ever told.
    pub(super) numbers: BTreeMap<Lid, Number>,
    pub(super) agenda: Agenda<Deed>,
    pub(super) rng: StdRng,
    last_connection: ConnectionId,
}

/// Something the cloud will do at a planned time.
#[derive(Debug)]
pub(super) enum Deed {
    /// The code of this generation is no longer valid.
    QrExpires { connection: ConnectionId, generation: u64 },
    /// Answer a request.
    Answer { connection: ConnectionId, reply: ToPage },
    /// Tell the page that its message is on the server.
    Acknowledge { connection: ConnectionId, q: u64, from: Number, id: String, t: u64 },
    /// Tell all devices of an account about a receipt.
    Receipt { account: Number, receipt: Item },
}

impl State {
    pub(crate) fn new(options: Options, seed: u64) -> Self {
        Self {
            faults: Faults::new(options.acks),
            options,
            record: Record::default(),
            shelf: Shelf::default(),
            accounts: BTreeMap::new(),
            devices: BTreeMap::new(),
            connections: BTreeMap::new(),
            groups: BTreeMap::new(),
            nobody: BTreeSet::new(),
            shy: BTreeSet::new(),
            numbers: BTreeMap::new(),
            agenda: Agenda::new(),
            rng: StdRng::seed_from_u64(seed),
            last_connection: 0,
        }
    }

    /// A page dialled in.
    pub(crate) fn connect(&mut self) -> Conversation {
        self.last_connection += 1;
        let (connection, conversation) = Connection::open(self.last_connection);
        self.connections.insert(conversation.id, connection);
        conversation
    }

    /// The socket of a connection is gone.
    pub(crate) fn disconnected(&mut self, id: ConnectionId) {
        if let Some(Connection { stage: Stage::Online { secret }, .. }) = self.connections.remove(&id)
            && let Some(device) = self.devices.get_mut(&secret)
            && device.connection == Some(id)
        {
            device.connection = None;
        }
    }

    /// A page said something.
    pub(crate) fn hear(&mut self, id: ConnectionId, frame: FromPage, now: Moment) {
        if !self.connections.contains_key(&id) {
            return; // the connection was cut while the frame was on its way
        }
        match frame {
            FromPage::Hello { keys, secret } => self.hello(id, keys, secret, now),
            FromPage::DeviceSigned => self.device_signed(id),
            FromPage::Passkey { assertion, origin } => self.passkey_answered(id, assertion.as_ref(), &origin, now),
            FromPage::LinkCode { q, phone } => self.link_code(id, q, phone, now),
            FromPage::Exists { q, wid } => {
                let answer = self.exists(&wid);
                self.answer(id, q, answer, now);
            }
            FromPage::Ping => self.say(id, ToPage::Pong),
            FromPage::Received { n } => {
                if let Some(device) = self.device_of_mut(id) {
                    device.received(n);
                }
            }
            FromPage::Send { q, chat, id: message, kind, body, content, resent } => {
                let draft = super::messages::Draft { q, chat, id: message, kind, body, content, resent };
                self.send(id, draft, now);
            }
            FromPage::GroupCreate { q, subject, participants } => self.make_group(id, q, &subject, &participants, now),
            FromPage::GroupInvite { q, group, revoke } => self.invite_to_group(id, q, &group, revoke, now),
            FromPage::GroupChange { q, group, change, participants, value } => {
                let wanted = super::groups::GroupChange { q, group, change, participants, value };
                self.change_group(id, wanted, now);
            }
            FromPage::Set { q, setting, of, value } => {
                self.set(id, super::happenings::Wish { q, setting, of, value }, now);
            }
            FromPage::Seen { chat, ids } => self.seen(id, &chat, ids),
            FromPage::Chatstate { chat, state } => self.chatstate(id, chat, state, now),
            FromPage::Logout { q } => self.logout(id, q, now),
        }
    }

    /// When the next planned deed is due.
    pub(crate) fn next_deed(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// Does everything that is due.
    pub(crate) fn do_what_is_due(&mut self, now: Moment) {
        while let Some(deed) = self.agenda.take_due(now.at) {
            match deed {
                Deed::QrExpires { connection, generation } => self.qr_expires(connection, generation, now),
                Deed::Answer { connection, reply } => self.say(connection, reply),
                Deed::Acknowledge { connection, q, from, id, t } => self.acknowledge(connection, q, &from, &id, t),
                Deed::Receipt { account, receipt } => self.deliver(&account, None, &receipt),
            }
        }
    }

    /// Cuts every connection: the end of the site.
    pub(crate) fn cut_everybody(&mut self) {
        let everybody: Vec<_> = self.connections.keys().copied().collect();
        for id in everybody {
            self.cut(id);
        }
    }

    /// Ends a connection without a word.
    pub(super) fn cut(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(&id) {
            connection.set_mode(Mode::Cut);
        }
        self.disconnected(id);
    }

    /// Says something to a page, if it is still there.
    pub(super) fn say(&self, id: ConnectionId, frame: ToPage) {
        if let Some(connection) = self.connections.get(&id) {
            connection.say(frame);
        }
    }

    /// Answers a request, after the delay the faults ask for.
    pub(super) fn answer(&mut self, id: ConnectionId, q: u64, answer: Value, now: Moment) {
        let reply = ToPage::Reply { q, ok: Some(answer), error: None };
        self.answer_with(id, reply, now);
    }

    pub(super) fn answer_with(&mut self, id: ConnectionId, reply: ToPage, now: Moment) {
        if self.faults.answer_after.is_zero() {
            self.say(id, reply);
        } else {
            self.agenda.plan(now.at + self.faults.answer_after, Deed::Answer { connection: id, reply });
        }
    }

    /// Somebody who certainly exists from now on.
    pub(crate) fn introduce(&mut self, number: &Number) -> &mut Account {
        self.nobody.remove(number);
        self.account(number)
    }

    /// The account with this number.
    pub(super) fn account(&mut self, number: &Number) -> &mut Account {
        self.numbers.insert(number.lid(), number.clone());
        self.accounts.entry(number.clone()).or_default()
    }

    /// From now on nobody has this number.
    pub(crate) fn remove_number(&mut self, number: &Number) {
        self.nobody.insert(number.clone());
    }

    /// The number an address stands for; `None` for groups and for LIDs nobody was ever told.
    pub(super) fn number_of(&self, address: &Address) -> Option<Number> {
        match address {
            Address::Number(number) => Some(number.clone()),
            Address::Lid(lid) => self.numbers.get(lid).cloned(),
            Address::Group(_) | Address::Status => None,
        }
    }

    /// The device that speaks on a connection, and its account.
    pub(super) fn sender_of(&self, id: ConnectionId) -> Option<(Secret, Number)> {
        let Stage::Online { secret } = &self.connections.get(&id)?.stage else { return None };
        Some((secret.clone(), self.devices.get(secret)?.account.clone()))
    }

    fn device_of_mut(&mut self, id: ConnectionId) -> Option<&mut Device> {
        let Stage::Online { secret } = &self.connections.get(&id)?.stage else { return None };
        self.devices.get_mut(secret)
    }

    /// Is this number or LID on WhatsApp, and what is its other identity? Asking teaches the LID.
    fn exists(&mut self, wid: &Address) -> Value {
        let known = self.number_of(wid).filter(|number| !self.nobody.contains(number));
        match known {
            Some(number) => {
                self.numbers.insert(number.lid(), number.clone());
                serde_json::json!({ "exists": true, "number": number.wid(), "lid": number.lid() })
            }
            None => serde_json::json!({ "exists": false }),
        }
    }

    /// A description of the far end for people: accounts, devices, pages waiting.
    pub(crate) fn describe(&self) -> Value {
        let accounts = self.accounts.iter().map(|(number, account)| {
            serde_json::json!({
                "number": number,
                "lid": number.lid(),
                "name": account.name,
                "restricted": account.restriction,
                "devices": self.devices_of(number).iter().map(|(id, online)| serde_json::json!({"id": id, "online": online})).collect::<Vec<_>>(),
            })
        });
        serde_json::json!({
            "accounts": accounts.collect::<Vec<_>>(),
            "groups": self.groups.values().collect::<Vec<_>>(),
            "waiting_to_be_linked": self.qr_codes().len(),
            "connections": self.connections.len(),
        })
    }
}
