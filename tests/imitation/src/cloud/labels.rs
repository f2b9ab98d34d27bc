//! Labels of business accounts: marks that an account puts on its chats, on whatever device.

use super::state::State;
use crate::ids::{Address, Number};
use crate::wire::{LabelOfAccount, ToPage};

impl State {
    /// From now on this is the account of a business.
    pub(crate) fn make_business(&mut self, number: &Number) {
        self.introduce(number).business = true;
    }

    /// There is a label of this id, called so and in this of WhatsApp's colors.
    pub(crate) fn set_label(&mut self, number: &Number, id: &str, name: &str, color: u32) {
        let label = self.introduce(number).labels.entry(id.to_owned()).or_default();
        (label.name, label.color) = (name.to_owned(), color);
        self.tell_labels(number);
    }

    /// There is no such label any more.
    pub(crate) fn delete_label(&mut self, number: &Number, id: &str) {
        self.introduce(number).labels.remove(id);
        self.tell_labels(number);
    }

    /// A chat has the label, or has it no more. False when there is no such label.
    pub(crate) fn label_chat(&mut self, number: &Number, id: &str, chat: &Address, labelled: bool) -> bool {
        // A 1:1 chat of a migrated account is keyed by LID.
        let chat = match chat {
            Address::Number(number) => Address::Lid(number.lid()),
            chat => chat.clone(),
        };
        let Some(label) = self.introduce(number).labels.get_mut(id) else { return false };
        if labelled {
            label.chats.insert(chat.wid())
        } else {
            label.chats.remove(&chat.wid())
        };
        self.tell_labels(number);
        true
    }

    /// The account's labels, as its devices are told.
    pub(super) fn labels_of(&mut self, number: &Number) -> Vec<LabelOfAccount> {
        let labels = &self.account(number).labels;
        let told = labels.iter().map(|(id, label)| LabelOfAccount {
            id: id.clone(),
            name: label.name.clone(),
            color: label.color,
            chats: label.chats.iter().cloned().collect(),
        });
        told.collect()
    }

    fn tell_labels(&mut self, number: &Number) {
        let labels = self.labels_of(number);
        for connection in self.connections_of(number).unwrap_or_default() {
            self.say(connection, ToPage::Labels { labels: labels.clone() });
        }
    }
}
