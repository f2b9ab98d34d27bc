//! Linking and unlinking devices: QR codes, pairing codes, logins, log-outs, conflicts.
//!
//! ```text
//!  greeting ──hello, no secret──▶ linking ──scanned / code entered──▶ (asserting: passkey) ──▶ signing ──device_signed──▶ (515, redials)
//!      └──────hello, secret─────▶ online ──unlinked: 401 / replaced: 440──▶ dismissed
//! ```

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rand::RngCore;
use serde_json::Value;

use super::account::{Device, DeviceId, Secret};
use super::connection::{ConnectionId, Linking, Mode, Pairing, Stage};
use super::state::{Deed, State};
use super::{ControlError, Moment};
use crate::ids::Number;
use crate::options::PasskeyGate;
use crate::passkey::{Passkey, RELYING_PARTY};
use crate::qr::{PageKeys, QrSeries, ScannedCode, new_pairing_code, new_reference};
use crate::wire::{Ban, Me, Person, ToPage};

/// The stream ends because the page must log in with its new credentials.
const RESTART: u16 = 515;
/// The device was removed.
const REMOVED: u16 = 401;
/// The account is temporarily banned.
const BANNED: u16 = 402;
/// Another connection of the same device took over.
const REPLACED: u16 = 440;

impl State {
    pub(super) fn hello(&mut self, id: ConnectionId, keys: PageKeys, secret: Option<Secret>, now: Moment) {
        match secret {
            None => self.start_linking(id, keys, now),
            Some(secret) => self.log_in(id, secret, now),
        }
    }

    fn start_linking(&mut self, id: ConnectionId, keys: PageKeys, now: Moment) {
        let series = QrSeries::new(self.options.qr);
        let linking = Linking { keys, series, reference: None, generation: 0, pairing: None };
        self.set_stage(id, Stage::Linking(linking));
        self.show_next_qr(id, now);
    }

    fn log_in(&mut self, id: ConnectionId, secret: Secret, now: Moment) {
        let Some(device) = self.devices.get_mut(&secret) else {
            self.set_stage(id, Stage::Dismissed);
            return self.say(id, ToPage::Failure { code: REMOVED, ban: None });
        };
        let number = device.account.clone();
        if let Some((ban, until)) = self.account(&number).ban
            && now.unix() < until
        {
            self.set_stage(id, Stage::Dismissed);
            let ban = Ban { seconds: until - now.unix(), ..ban };
            return self.say(id, ToPage::Failure { code: BANNED, ban: Some(ban) });
        }
        let device = self.devices.get_mut(&secret).expect("the device was there a moment ago");
        device.signed = true;
        let previous = device.connection.replace(id);
        let device_id = device.id;
        let has_history = std::mem::replace(&mut device.has_history, true);
        let queue: Vec<_> = device.queue().cloned().collect();
        if let Some(previous) = previous {
            self.dismiss(previous, REPLACED);
        }
        self.set_stage(id, Stage::Online { secret });
        let success = ToPage::Success {
            me: self.me(&number, device_id),
            address_book: self.address_book(&number),
            groups: self.groups_of(&number),
            labels: self.labels_of(&number),
            restriction: self.account(&number).restriction.and_then(|restriction| restriction.notice()),
            queued: queue.len(),
        };
        self.say(id, success);
        if !has_history {
            self.tell_history(id, &number);
        }
        for (n, item) in queue {
            self.say(id, ToPage::Queued { n, item });
        }
        self.say(id, ToPage::OfflineEnd);
    }

    /// Shows the next code of a page that waits to be linked, or tells it that there is none.
    pub(super) fn show_next_qr(&mut self, id: ConnectionId, now: Moment) {
        let reference = new_reference(&mut self.rng);
        let Some(linking) = self.linking_mut(id) else { return };
        linking.generation += 1;
        let generation = linking.generation;
        match linking.series.advance() {
            Some(validity) => {
                linking.reference = Some(reference.clone());
                self.say(id, ToPage::Qr { reference });
                self.agenda.plan(now.at + validity, Deed::QrExpires { connection: id, generation });
            }
            None => {
                linking.reference = None;
                self.say(id, ToPage::QrIdle);
            }
        }
    }

    pub(super) fn qr_expires(&mut self, id: ConnectionId, generation: u64, now: Moment) {
        if self.linking_mut(id).is_some_and(|linking| linking.generation == generation) {
            self.show_next_qr(id, now);
        }
    }

    pub(super) fn link_code(&mut self, id: ConnectionId, q: u64, phone: Number, now: Moment) {
        let code = new_pairing_code(&mut self.rng);
        let until = now.at + self.options.pairing_code.valid;
        let Some(linking) = self.linking_mut(id) else {
            return self.answer_with(id, ToPage::Reply { q, ok: None, error: Some(400) }, now);
        };
        linking.pairing = Some(Pairing { code: code.clone(), phone, until });
        self.answer(id, q, serde_json::json!({ "code": code }), now);
    }

    pub(super) fn device_signed(&mut self, id: ConnectionId) {
        let Some(Stage::Signing { secret }) = self.connections.get(&id).map(|connection| &connection.stage) else {
            return;
        };
        if let Some(device) = self.devices.get_mut(secret) {
            device.signed = true;
        }
        self.dismiss(id, RESTART);
    }

    pub(super) fn logout(&mut self, id: ConnectionId, q: u64, now: Moment) {
        let Some((secret, _)) = self.sender_of(id) else { return };
        self.answer(id, q, serde_json::Value::Null, now);
        self.remove_device(&secret);
    }

    /// A phone scans a code. Gives the secret of the new device, which is not confirmed yet; none while a passkey is asked
    /// for.
    pub(crate) fn scan(&mut self, phone: &Number, code: &str) -> Result<Option<Secret>, ControlError> {
        let code = ScannedCode::parse(code).ok_or(ControlError::NoSuchQr)?;
        let (id, linking) = self
            .linkings()
            .find(|(_, linking)| linking.reference.as_ref() == Some(&code.reference))
            .ok_or(ControlError::NoSuchQr)?;
        if linking.keys != code.keys {
            return Err(ControlError::WrongKeys);
        }
        Ok(self.accept(id, phone))
    }

    /// A pairing code is entered on a phone.
    pub(crate) fn enter_code(
        &mut self,
        phone: &Number,
        code: &str,
        now: Moment,
    ) -> Result<Option<Secret>, ControlError> {
        let entered: String = code.chars().filter(|c| *c != '-').collect::<String>().to_uppercase();
        let (id, pairing) = self
            .linkings()
            .filter_map(|(id, linking)| Some((id, linking.pairing.as_ref()?)))
            .find(|(_, pairing)| pairing.code == entered && now.at < pairing.until)
            .ok_or(ControlError::NoSuchPairingCode)?;
        if pairing.phone != *phone {
            return Err(ControlError::ForeignPairingCode);
        }
        Ok(self.accept(id, phone))
    }

    /// A phone scanned a code and its owner said no: the code is spent, the page shows the next one.
    pub(crate) fn refuse(&mut self, code: &str, now: Moment) -> Result<(), ControlError> {
        let code = ScannedCode::parse(code).ok_or(ControlError::NoSuchQr)?;
        let (id, _) = self
            .linkings()
            .find(|(_, linking)| linking.reference.as_ref() == Some(&code.reference))
            .ok_or(ControlError::NoSuchQr)?;
        self.show_next_qr(id, now);
        Ok(())
    }

    /// Every page that waits to be linked shows its next code now.
    pub(crate) fn rotate_qr(&mut self, now: Moment) {
        let waiting: Vec<_> = self.linkings().map(|(id, _)| id).collect();
        for id in waiting {
            self.show_next_qr(id, now);
        }
    }

    /// Every page that waits to be linked runs out of codes now.
    pub(crate) fn expire_qr(&mut self, now: Moment) {
        let waiting: Vec<_> = self.linkings().map(|(id, _)| id).collect();
        for id in waiting {
            if let Some(linking) = self.linking_mut(id) {
                linking.series.exhaust();
            }
            self.show_next_qr(id, now);
        }
    }

    /// The codes on display, oldest connection first.
    pub(crate) fn qr_codes(&self) -> Vec<String> {
        self.linkings().filter_map(|(_, linking)| linking.qr()).collect()
    }

    /// Whether the page of this new device confirmed the link; `None` when the device is gone.
    pub(crate) fn is_signed(&self, secret: &str) -> Option<bool> {
        self.devices.get(secret).map(|device| device.signed)
    }

    /// The number of a device within its account.
    pub(crate) fn device_id(&self, secret: &str) -> Option<DeviceId> {
        self.devices.get(secret).map(|device| device.id)
    }

    /// The credential of the device that an account linked last.
    pub(crate) fn newest_device_of(&self, number: &Number) -> Option<Secret> {
        let devices = self.devices.iter().filter(|(_, device)| device.account == *number);
        devices.max_by_key(|(_, device)| device.id).map(|(secret, _)| secret.clone())
    }

    /// The linked devices of an account: number, and whether it is connected.
    pub(crate) fn devices_of(&self, number: &Number) -> Vec<(DeviceId, bool)> {
        let devices = self.devices.values().filter(|device| device.account == *number);
        devices.map(|device| (device.id, device.connection.is_some())).collect()
    }

    /// Logs all devices of an account out, as the phone's "Log out" does.
    pub(crate) fn unlink(&mut self, number: &Number) {
        for secret in self.account(number).devices.clone() {
            self.remove_device(&secret);
        }
    }

    /// Cuts the connections of an account's devices.
    pub(crate) fn drop_connections(&mut self, number: &Number) -> Result<(), ControlError> {
        for id in self.connections_of(number)? {
            self.cut(id);
        }
        Ok(())
    }

    /// Makes the connections of an account's devices go silent, or wakes them.
    pub(crate) fn set_silent(&mut self, number: &Number, silent: bool) -> Result<(), ControlError> {
        for id in self.connections_of(number)? {
            let mode = if silent { Mode::Silent } else { Mode::Open };
            if let Some(connection) = self.connections.get(&id) {
                connection.set_mode(mode);
            }
        }
        Ok(())
    }

    /// Tells the pages of an account that another one took over ("WhatsApp is open in another window").
    pub(crate) fn conflict(&mut self, number: &Number) -> Result<(), ControlError> {
        for id in self.connections_of(number)? {
            self.dismiss(id, REPLACED);
        }
        Ok(())
    }

    /// Bans an account for a while: its pages are thrown out and refused until then.
    pub(crate) fn ban(&mut self, number: &Number, ban: Ban, now: Moment) {
        self.account(number).ban = Some((ban, now.unix() + ban.seconds));
        for id in self.connections_of(number).unwrap_or_default() {
            self.cut(id);
        }
    }

    pub(super) fn connections_of(&self, number: &Number) -> Result<Vec<ConnectionId>, ControlError> {
        let devices = self.devices.values().filter(|device| device.account == *number);
        let connections: Vec<_> = devices.filter_map(|device| device.connection).collect();
        if connections.is_empty() { Err(ControlError::NotConnected(number.clone())) } else { Ok(connections) }
    }

    /// The code is good. The device is linked, or its owner's passkey is asked for.
    fn accept(&mut self, id: ConnectionId, phone: &Number) -> Option<Secret> {
        let PasskeyGate::Asks(timeout) = self.options.passkey else { return Some(self.pair(id, phone)) };
        let credential = self.passkey(phone).id();
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        let challenge = BASE64URL.encode(bytes);
        let connection = self.connections.get_mut(&id)?;
        if let Stage::Linking(linking) = std::mem::replace(&mut connection.stage, Stage::Dismissed) {
            connection.stage = Stage::Asserting { linking, phone: phone.clone(), challenge: challenge.clone() };
        }
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let relying_party = RELYING_PARTY.to_owned();
        self.say(id, ToPage::Passkey { challenge, relying_party, credential, timeout });
        None
    }

    /// The passkey of a phone's owner.
    pub(crate) fn passkey(&mut self, phone: &Number) -> Arc<Passkey> {
        Arc::clone(self.account(phone).passkey.get_or_insert_with(|| Arc::new(Passkey::new())))
    }

    /// The page has the passkey's answer, or none. A wrong one costs the code: the page shows the next.
    pub(super) fn passkey_answered(&mut self, id: ConnectionId, assertion: Option<&Value>, origin: &str, now: Moment) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !matches!(connection.stage, Stage::Asserting { .. }) {
            return;
        }
        let Stage::Asserting { linking, phone, challenge } = std::mem::replace(&mut connection.stage, Stage::Dismissed)
        else {
            return;
        };
        let passkey = self.passkey(&phone);
        if assertion.and_then(|assertion| passkey.verify(assertion, &challenge, origin)).is_some() {
            self.pair(id, &phone);
        } else {
            self.set_stage(id, Stage::Linking(linking));
            self.show_next_qr(id, now);
        }
    }

    fn pair(&mut self, id: ConnectionId, phone: &Number) -> Secret {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let secret: Secret = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let account = self.account(phone);
        account.last_device += 1;
        account.devices.insert(secret.clone());
        let device = Device::new(phone.clone(), account.last_device);
        let me = self.me(phone, device.id);
        self.devices.insert(secret.clone(), device);
        self.set_stage(id, Stage::Signing { secret: secret.clone() });
        self.say(id, ToPage::Paired { me, secret: secret.clone() });
        secret
    }

    fn remove_device(&mut self, secret: &str) {
        let Some(device) = self.devices.remove(secret) else { return };
        self.account(&device.account).devices.remove(secret);
        if let Some(id) = device.connection {
            self.dismiss(id, REMOVED);
        }
    }

    /// Ends the stream of a connection. The page closes the socket.
    fn dismiss(&mut self, id: ConnectionId, code: u16) {
        self.set_stage(id, Stage::Dismissed);
        self.say(id, ToPage::StreamError { code });
        for device in self.devices.values_mut().filter(|device| device.connection == Some(id)) {
            device.connection = None;
        }
    }

    fn me(&mut self, number: &Number, device: DeviceId) -> Me {
        let account = self.account(number);
        let name = account.name.clone().unwrap_or_default();
        let platform = if account.business { "smba" } else { "android" };
        Me { number: number.clone(), lid: number.lid(), device, name, platform: platform.to_owned() }
    }

    fn address_book(&mut self, number: &Number) -> Vec<Person> {
        let people = self.account(number).address_book.clone();
        people.into_iter().map(|(number, name)| Person { lid: number.lid(), number, name }).collect()
    }

    fn linkings(&self) -> impl Iterator<Item = (ConnectionId, &Linking)> {
        self.connections.iter().filter_map(|(id, connection)| match &connection.stage {
            Stage::Linking(linking) => Some((*id, linking)),
            Stage::Greeting
            | Stage::Asserting { .. }
            | Stage::Signing { .. }
            | Stage::Online { .. }
            | Stage::Dismissed => None,
        })
    }

    fn linking_mut(&mut self, id: ConnectionId) -> Option<&mut Linking> {
        match &mut self.connections.get_mut(&id)?.stage {
            Stage::Linking(linking) => Some(linking),
            Stage::Greeting
            | Stage::Asserting { .. }
            | Stage::Signing { .. }
            | Stage::Online { .. }
            | Stage::Dismissed => None,
        }
    }

    fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = stage;
        }
    }
}
