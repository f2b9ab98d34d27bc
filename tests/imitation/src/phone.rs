//! A phone: what its owner can do to the pages linked to it, and to people who write to him.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::{Cloud, ControlError, DeviceId, Moment, Restrict};
use crate::ids::{Address, GroupId, Number, written};
use crate::options::PasskeyGate;
use crate::passkey::Passkey;
use crate::record::Departure;
use crate::wire::Ban;

/// How long a page may take to store the credentials a scan gave it. A busy machine may need seconds for it.
pub(crate) const CONFIRMATION: Duration = Duration::from_secs(30);

/// A message that is written on a phone: its kind and content in the page's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// `chat` for a text, `location`, `vcard`, `poll_creation`, `image`, ….
    pub kind: String,
    /// The text; of a vCard the card.
    pub body: String,
    /// What a message of this kind holds besides, as an object.
    pub content: Value,
    /// The id it is sent under; a new one when there is none.
    pub id: Option<String>,
}

impl Written {
    /// A plain text.
    pub fn text(text: &str) -> Self {
        Self::new("chat", text, Value::Null)
    }

    /// A message of any kind.
    pub fn new(kind: &str, body: &str, content: Value) -> Self {
        Self { kind: kind.to_owned(), body: body.to_owned(), content, id: None }
    }

    /// A reaction to the message of this id and writer; an empty one takes it back.
    pub fn reaction(id: &str, author: &Number, emoji: &str) -> Self {
        Self::new("reaction", "", json!({ "target": { "id": id, "author": author.lid() }, "reactionText": emoji }))
    }

    /// Another wording of the message of this id and writer.
    pub fn edit(id: &str, author: &Number, text: &str) -> Self {
        let target = json!({ "id": id, "author": author.lid() });
        Self::new("protocol", text, json!({ "target": target, "subtype": "message_edit" }))
    }

    /// Takes the message of this id and writer back for everybody.
    pub fn revocation(id: &str, author: &Number) -> Self {
        let target = json!({ "id": id, "author": author.lid() });
        Self::new("protocol", "", json!({ "target": target, "subtype": "sender_revoke" }))
    }

    /// A vote for these answers, counted from 0, of the poll of this id and writer.
    pub fn vote(id: &str, author: &Number, selected: &[u32]) -> Self {
        let target = json!({ "id": id, "author": author.lid() });
        Self::new("poll_update", "", json!({ "target": target, "selected": selected }))
    }

    /// The same under an id: what the devices could not read comes again under the id it had.
    pub fn under(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }
}

/// A handle on somebody's phone. Several may exist, link pages and write to each other.
///
/// Numbers and addresses are given as text or as ids; text that is no id panics, because it is a mistake of the test.
#[derive(Clone, Debug)]
pub struct Phone {
    cloud: Cloud,
    number: Number,
}

impl Phone {
    pub(crate) fn of(cloud: &Cloud, number: Number) -> Self {
        Self { cloud: cloud.clone(), number }
    }

    /// Its number.
    pub fn number(&self) -> &Number {
        &self.number
    }

    /// Scans a QR code and confirms the link. Returns when the page has stored its credentials and is about to restart
    /// its stream, with the number of the new device.
    ///
    /// # Errors
    /// When no page shows this code, when its keys are not the page's, when the page does not answer, or when a passkey is
    /// asked for and none is given in time.
    pub async fn scan(&self, code: &str) -> Result<DeviceId, ControlError> {
        match self.cloud.change(|state, _| state.scan(&self.number, code))? {
            Some(secret) => self.confirmed(secret).await,
            None => self.linked_by_passkey().await,
        }
    }

    /// Enters a pairing code, with or without its hyphen. Returns like [`Phone::scan`].
    ///
    /// # Errors
    /// When no page waits for this code, when it was made for another number, or when the page does not answer.
    pub async fn enter_code(&self, code: &str) -> Result<DeviceId, ControlError> {
        match self.cloud.change(|state, now| state.enter_code(&self.number, code, now))? {
            Some(secret) => self.confirmed(secret).await,
            None => self.linked_by_passkey().await,
        }
    }

    /// The passkey of its owner, which signs what a page is asked for.
    pub fn passkey(&self) -> Arc<Passkey> {
        self.cloud.change(|state, _| state.passkey(&self.number))
    }

    /// Waits until a page has answered with the owner's passkey, and has stored its credentials.
    async fn linked_by_passkey(&self) -> Result<DeviceId, ControlError> {
        let PasskeyGate::Asks(within) = self.cloud.look(|state| state.options.passkey) else {
            return Err(ControlError::NotConfirmed(CONFIRMATION));
        };
        let secret = |state: &crate::cloud::State| state.newest_device_of(&self.number);
        let before = self.cloud.look(secret);
        let linked = |state: &crate::cloud::State| secret(state).filter(|secret| before.as_ref() != Some(secret));
        self.confirmed(self.cloud.wait_for("the link by passkey", within, linked).await?).await
    }

    async fn confirmed(&self, secret: String) -> Result<DeviceId, ControlError> {
        let signed = |state: &crate::cloud::State| match state.is_signed(&secret) {
            Some(false) => None,
            Some(true) | None => Some(state.device_id(&secret)),
        };
        let device = self.cloud.wait_for("the link", CONFIRMATION, signed).await;
        device.ok().flatten().ok_or(ControlError::NotConfirmed(CONFIRMATION))
    }

    /// Scans a QR code and says no. The page shows its next code.
    ///
    /// # Errors
    /// When no page shows this code.
    pub fn refuse(&self, code: &str) -> Result<(), ControlError> {
        self.cloud.change(|state, now| state.refuse(code, now))
    }

    /// Logs all linked devices out ("Linked devices › Log out").
    pub fn unlink(&self) {
        self.cloud.change(|state, _| state.unlink(&self.number));
    }

    /// The linked devices, and whether each is connected.
    pub fn devices(&self) -> Vec<(DeviceId, bool)> {
        self.cloud.look(|state| state.devices_of(&self.number))
    }

    /// Whether a linked page is connected.
    pub fn is_online(&self) -> bool {
        self.devices().iter().any(|(_, online)| *online)
    }

    /// Waits until a linked page is connected.
    ///
    /// # Errors
    /// [`ControlError::Timeout`].
    pub async fn wait_until_online(&self, within: Duration) -> Result<(), ControlError> {
        let online = |state: &crate::cloud::State| {
            state.devices_of(&self.number).iter().any(|(_, online)| *online).then_some(())
        };
        self.cloud.wait_for("the connection of a linked page", within, online).await
    }

    /// Waits until no linked page is connected.
    ///
    /// # Errors
    /// [`ControlError::Timeout`].
    pub async fn wait_until_offline(&self, within: Duration) -> Result<(), ControlError> {
        let offline = |state: &crate::cloud::State| {
            state.devices_of(&self.number).iter().all(|(_, online)| !online).then_some(())
        };
        self.cloud.wait_for("the end of all connections of linked pages", within, offline).await
    }

    /// Saves a name in the address book. Pages learn it when they connect.
    pub fn save_contact(&self, contact: impl TryInto<Number, Error: Debug>, name: &str) {
        let contact: Number = written(contact);
        self.cloud.change(|state, _| {
            state.introduce(&contact);
            state.introduce(&self.number).address_book.insert(contact, name.to_owned());
        });
    }

    /// The phone has a chat with somebody: so many texts, by turns of the two and a minute apart, the newest a minute old. A
    /// page that is linked from now on gets them as its history; nothing tells of them as new.
    pub fn remember(&self, partner: impl TryInto<Number, Error: Debug>, name: &str, messages: usize) {
        let partner: Number = written(partner);
        self.cloud.change(|state, now| state.remember(&self.number, &partner, name, messages, now));
    }

    /// A message from somebody else. Gives its id.
    pub fn receive_text(&self, from: impl TryInto<Number, Error: Debug>, name: &str, text: &str) -> String {
        let from: Number = written(from);
        self.cloud.change(|state, now| {
            state.introduce(&from).name = Some(name.to_owned());
            state.introduce(&self.number);
            state.type_on_phone(&from, &Address::Number(self.number.clone()), text, now)
        })
    }

    /// A message of any kind from somebody else. Gives its id.
    pub fn receive(&self, from: impl TryInto<Number, Error: Debug>, name: &str, message: &Written) -> String {
        let from: Number = written(from);
        self.cloud.change(|state, now| {
            state.introduce(&from).name = Some(name.to_owned());
            state.introduce(&self.number);
            state.write_on_phone(&from, &Address::Number(self.number.clone()), message, now)
        })
    }

    /// Somebody else types, or does something else for a moment: `composing`, `recording`, `paused`.
    pub fn see(&self, from: impl TryInto<Number, Error: Debug>, state: &str) {
        let from: Number = written(from);
        self.cloud.change(|cloud, _| cloud.show_on_phone(&from, &self.number, state));
    }

    /// Somebody calls, under this id of the call.
    pub fn ring(&self, from: impl TryInto<Number, Error: Debug>, call: &str, video: bool) {
        let from: Number = written(from);
        self.cloud.change(|state, now| state.call(&from, &self.number, call, video, now));
    }

    /// A message of any kind written on the phone itself. Gives its id.
    pub fn write(&self, to: impl TryInto<Address, Error: Debug>, message: &Written) -> String {
        let to: Address = written(to);
        self.cloud.change(|state, now| state.write_on_phone(&self.number, &to, message, now))
    }

    /// As [`receive_text`](Self::receive_text), with a message that was written so long ago and was on its way until now:
    /// its time is older than that of messages which came before it.
    pub fn receive_late_text(
        &self,
        from: impl TryInto<Number, Error: Debug>,
        name: &str,
        text: &str,
        late_by: Duration,
    ) -> String {
        let from: Number = written(from);
        let late_ms = u64::try_from(late_by.as_millis()).unwrap_or(u64::MAX);
        self.cloud.change(|state, now| {
            state.introduce(&from).name = Some(name.to_owned());
            state.introduce(&self.number);
            let then = Moment { unix_ms: now.unix_ms.saturating_sub(late_ms), ..now };
            state.type_on_phone(&from, &Address::Number(self.number.clone()), text, then)
        })
    }

    /// A message typed on the phone itself. Gives its id.
    pub fn send_text(&self, to: impl TryInto<Address, Error: Debug>, text: &str) -> String {
        let to: Address = written(to);
        self.cloud.change(|state, now| state.type_on_phone(&self.number, &to, text, now))
    }

    /// This phone's owner got a message that a page sent him (ack 2).
    ///
    /// # Errors
    /// [`ControlError::NoSuchMessage`] when no page sent him that.
    pub fn confirm_delivery(&self, id: &str) -> Result<(), ControlError> {
        self.cloud.change(|state, _| state.confirm(&self.number, id, 2))
    }

    /// This phone's owner read a message that a page sent him (ack 3).
    ///
    /// # Errors
    /// [`ControlError::NoSuchMessage`] when no page sent him that.
    pub fn read(&self, id: &str) -> Result<(), ControlError> {
        self.cloud.change(|state, _| state.confirm(&self.number, id, 3))
    }

    /// Creates a group that this phone's owner owns.
    pub fn create_group<N: TryInto<Number, Error: Debug>>(
        &self,
        subject: &str,
        members: impl IntoIterator<Item = N>,
    ) -> GroupId {
        let members: Vec<Number> = members.into_iter().map(written).collect();
        self.cloud.change(|state, _| state.create_group(subject, &self.number, &members))
    }

    /// Changes a group that this phone's owner administrates: `add`, `remove`, `promote`, `demote`; or `leave`s one. False
    /// when that is not allowed.
    pub fn change_group<N: TryInto<Number, Error: Debug>>(
        &self,
        group: &GroupId,
        change: &str,
        people: impl IntoIterator<Item = N>,
    ) -> bool {
        let people: Vec<Number> = people.into_iter().map(written).collect();
        self.cloud
            .change(|state, now| state.change_group_on_phone(&self.number, group, change, &people, Value::Null, now))
    }

    /// Sets something of a group that this phone's owner administrates: `subject`, `description`, `announce`,
    /// `restrict`, `ephemeral`.
    /// False when that is not allowed.
    pub fn set_in_group(&self, group: &GroupId, setting: &str, value: impl Into<Value>) -> bool {
        let value = value.into();
        self.cloud.change(|state, now| state.change_group_on_phone(&self.number, group, setting, &[], value, now))
    }

    /// From now on nobody but its owner's friends can add this phone to groups: others get the code 403.
    pub fn refuse_groups(&self) {
        self.cloud.change(|state, _| state.keep_out_of_groups(&self.number));
    }

    /// What the pages linked to this phone sent.
    pub fn sent(&self) -> Vec<Departure> {
        self.cloud.look(|state| {
            state.record.departures().iter().filter(|departure| departure.from == self.number).cloned().collect()
        })
    }

    /// Cuts the connections of the linked pages; they redial by themselves.
    ///
    /// # Errors
    /// [`ControlError::NotConnected`].
    pub fn drop_connection(&self) -> Result<(), ControlError> {
        self.cloud.change(|state, _| state.drop_connections(&self.number))
    }

    /// Stops reading from and writing to the linked pages while TCP stays up, or resumes.
    ///
    /// # Errors
    /// [`ControlError::NotConnected`].
    pub fn set_silent(&self, silent: bool) -> Result<(), ControlError> {
        self.cloud.change(|state, _| state.set_silent(&self.number, silent))
    }

    /// Another window takes over: the linked pages are told, and stay away.
    ///
    /// # Errors
    /// [`ControlError::NotConnected`].
    pub fn conflict(&self) -> Result<(), ControlError> {
        self.cloud.change(|state, _| state.conflict(&self.number))
    }

    /// From now on this is a phone with WhatsApp Business. Pages learn it when they connect.
    pub fn do_business(&self) {
        self.cloud.change(|state, _| state.make_business(&self.number));
    }

    /// A label of this id is there, called so and in the `color`th of WhatsApp's colors; one that was there changes.
    pub fn set_label(&self, id: &str, name: &str, color: u32) {
        self.cloud.change(|state, _| state.set_label(&self.number, id, name, color));
    }

    /// A label is deleted.
    pub fn delete_label(&self, id: &str) {
        self.cloud.change(|state, _| state.delete_label(&self.number, id));
    }

    /// A chat gets a label, or loses it. False when there is no such label.
    pub fn label_chat(&self, id: &str, chat: impl TryInto<Address, Error: Debug>, labelled: bool) -> bool {
        let chat: Address = written(chat);
        self.cloud.change(|state, _| state.label_chat(&self.number, id, &chat, labelled))
    }

    /// Restricts the account.
    pub fn restrict(&self, restriction: Restrict) {
        self.cloud.change(|state, _| state.restrict(&self.number, Some(restriction)));
    }

    /// Ends the restriction.
    pub fn lift_restriction(&self) {
        self.cloud.change(|state, _| state.restrict(&self.number, None));
    }

    /// Bans the account for a while (`reason` 101 too many people, 102 blocked by users, 103 too many groups, 104 same
    /// message to many, 106 broadcast list). Its pages are thrown out and refused until then.
    pub fn ban(&self, reason: u16, seconds: u64) {
        self.cloud.change(|state, now| state.ban(&self.number, Ban { reason, seconds }, now));
    }
}
