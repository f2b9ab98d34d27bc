//! Accounts and linked devices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ConnectionId;
use crate::ids::Number;
use crate::passkey::Passkey;
use crate::wire::{Ban, Item, Restriction, WireMessage};

/// The number of a linked device within its account. The phone itself is 0.
pub type DeviceId = u32;

/// What a device proves itself with; the page keeps it.
pub(crate) type Secret = String;

/// Somebody with a phone. Whoever has no linked device is a mere contact.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The name the owner gave himself; others see it as the notify name.
    pub(crate) name: Option<String>,
    /// The names he gave others.
    pub(crate) address_book: BTreeMap<Number, String>,
    /// Whom he has exchanged messages with: these are no strangers.
    pub(crate) correspondents: BTreeSet<Number>,
    pub(crate) devices: BTreeSet<Secret>,
    pub(crate) last_device: DeviceId,
    pub(crate) restriction: Option<Restrict>,
    /// Whether it is one of WhatsApp Business.
    pub(crate) business: bool,
    /// Its labels, by their ids.
    pub(crate) labels: BTreeMap<String, Label>,
    /// What its chats held before a page was linked, chat by chat.
    pub(crate) history: Vec<WireMessage>,
    /// Made when it is first asked for.
    pub(crate) passkey: Option<Arc<Passkey>>,
    /// A temporary ban and the unix second at which it ends.
    pub(crate) ban: Option<(Ban, u64)>,
}

/// A mark that a business puts on chats.
#[derive(Debug, Default)]
pub(crate) struct Label {
    pub(crate) name: String,
    /// The number of one of WhatsApp's colors.
    pub(crate) color: u32,
    /// The ids of the chats that have it.
    pub(crate) chats: BTreeSet<String>,
}

/// A restriction of an account: WhatsApp's "reach-out timelock". Sends in scope are refused with code 463.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restrict {
    /// Unix second at which it ends.
    pub until: u64,
    /// Whether it hits everybody. Otherwise only strangers: people this account never exchanged a message with.
    #[serde(default)]
    pub everybody: bool,
    /// Whether the page is told (it then knows that it is restricted), or finds out by a refused send.
    #[serde(default)]
    pub notice: bool,
}

impl Restrict {
    pub(crate) fn notice(&self) -> Option<Restriction> {
        self.notice.then_some(Restriction { until: self.until })
    }
}

/// A linked device, connected or not.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) account: Number,
    pub(crate) id: DeviceId,
    /// The page confirmed that it stored its credentials.
    pub(crate) signed: bool,
    pub(crate) connection: Option<ConnectionId>,
    /// It was told what the account had before it.
    pub(crate) has_history: bool,
    queue: VecDeque<(u64, Item)>,
    last_number: u64,
}

/// A device that has been away for this many items is no longer served. Far above anything a test queues.
const QUEUE_LIMIT: usize = 100_000;

impl Device {
    pub(crate) fn new(account: Number, id: DeviceId) -> Self {
        Self {
            account,
            id,
            signed: false,
            connection: None,
            has_history: false,
            queue: VecDeque::new(),
            last_number: 0,
        }
    }

    /// Keeps an item until the device acknowledges it. Gives its number.
    pub(crate) fn enqueue(&mut self, item: Item) -> u64 {
        self.last_number += 1;
        if self.queue.len() < QUEUE_LIMIT {
            self.queue.push_back((self.last_number, item));
        } else {
            tracing::warn!(device = self.id, limit = QUEUE_LIMIT, "the queue of a device is full, an item is lost");
        }
        self.last_number
    }

    pub(crate) fn queue(&self) -> impl ExactSizeIterator<Item = &(u64, Item)> {
        self.queue.iter()
    }

    /// The device has stored the item with this number.
    pub(crate) fn received(&mut self, number: u64) {
        self.queue.retain(|(queued, _)| *queued != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_stays_until_it_is_acknowledged() {
        let number: Number = "4915112345678".parse().expect("a valid number");
        let mut device = Device::new(number.clone(), 1);
        let receipt = |ack| Item::Receipt {
            chat: crate::ids::Address::Lid(number.lid()),
            ids: vec!["A".to_owned()],
            ack,
            participant: None,
        };
        let first = device.enqueue(receipt(2));
        let second = device.enqueue(receipt(3));
        device.received(first);
        device.received(first);
        assert_eq!(device.queue().map(|(number, _)| *number).collect::<Vec<_>>(), [second]);
    }
}
