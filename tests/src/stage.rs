//! A fleet beside an imitation of WhatsApp Web: where sessions are linked and messages go out and come in.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use wafleet_imitation::{Imitation, Options, Phone};
use wafleet_protocol::command::{Command, MessageSend, SessionStart};
use wafleet_protocol::event::{Envelope, Event, Outcome, SessionQr, SessionStatus, SessionStatusChanged};

use crate::fleet::{Fleet, Host, PATIENCE, Target, WorkerBuilder};
use crate::services::Addresses;

/// Starts a session, to be linked by QR.
pub const START: Command = Command::SessionStart(SessionStart { pairing_phone: None, calls: None });

/// A fleet, its host application, and the far end. Declare workers after it: they have to go first.
pub struct Stage {
    /// The host application.
    pub host: Host,
    /// The fleet.
    pub fleet: Fleet,
    /// The far end.
    pub site: Imitation,
}

impl Stage {
    /// Sets everything up but the workers.
    ///
    /// # Errors
    /// When a service refuses or the far end cannot listen.
    pub async fn set(options: Options) -> anyhow::Result<Self> {
        Self::set_on(options, &Addresses::from_env()?).await
    }

    /// As [`set`](Self::set), on the servers at these addresses, which the test may stop: the host application dials
    /// again when its broker comes back.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub async fn set_on(options: Options, addresses: &Addresses) -> anyhow::Result<Self> {
        let site = Imitation::start(options).await?;
        let fleet = Fleet::on(addresses).await?;
        let of_the_run = Addresses::from_env().is_ok_and(|run| run == *addresses);
        let host = if of_the_run { fleet.host().await? } else { fleet.lasting_host().await? };
        Ok(Self { host, fleet, site })
    }

    /// A worker that opens the imitation, with leases short enough for a test to see them end.
    pub fn worker(&self, name: &str) -> WorkerBuilder {
        let worker = self.fleet.worker(name).env("WAFLEET_SITE_URL", self.site.url());
        worker.env("WAFLEET_CLAIM_INTERVAL_MS", "200").env("WAFLEET_LEASE_TTL_SECS", "6")
    }

    /// The directory of a session's browser.
    pub fn session_dir(&self, target: &Target) -> PathBuf {
        self.fleet.profile_root().join(target.workspace.to_string()).join(target.session.as_str())
    }

    /// Waits for a QR of a session, among the events after the first `mark`, that `wanted` accepts.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn wait_for_qr(
        &self,
        mark: usize,
        target: &Target,
        mut wanted: impl FnMut(&SessionQr) -> bool,
    ) -> anyhow::Result<(Envelope, SessionQr)> {
        let find = |envelope: &Envelope| match &envelope.event {
            Event::SessionQr(qr) if envelope.session_id == target.session && wanted(qr) => {
                Some((envelope.clone(), qr.clone()))
            }
            _ => None,
        };
        self.host.events().wait_from(mark, &format!("a QR of {}", target.session), 2 * PATIENCE, find).await
    }

    /// Starts a session, scans its QR with the phone, and waits until it is connected.
    ///
    /// # Errors
    /// When one of these does not happen.
    pub async fn link(&self, target: &Target, phone: &Phone) -> anyhow::Result<SessionStatusChanged> {
        let mark = self.host.events().len();
        self.host.send(target, &START).await?;
        let (_, qr) = self.wait_for_qr(mark, target, |_| true).await?;
        phone.scan(qr.qr.as_str()).await.context("scanning the QR")?;
        Ok(self.host.wait_for_status(mark, target, SessionStatus::Connected).await?.1)
    }

    /// A text goes out from the session of this phone, and another one comes in.
    ///
    /// # Errors
    /// When one of these does not happen.
    pub async fn lives(&self, target: &Target, phone: &Phone, other: &str, words: &str) -> anyhow::Result<()> {
        let mark = self.host.events().len();
        let result = self.host.ask(target, &text(other, words)?).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{words}: {result:?}");
        let answer = format!("{words}?");
        phone.receive_text(other, "Bert", &answer);
        let heard = |envelope: &Envelope| match &envelope.event {
            Event::MessageReceived(message) => {
                message.text.as_ref().is_some_and(|text| text.as_str() == answer).then_some(())
            }
            _ => None,
        };
        self.host.events().wait_from(mark, "the answer", 2 * PATIENCE, heard).await
    }
}

/// A command that sends a text.
///
/// # Errors
/// When `to` is no address or the text is none.
pub fn text(to: &str, text: &str) -> anyhow::Result<Command> {
    Ok(Command::MessageSend(MessageSend::text(to.parse()?, text.try_into()?)))
}

/// As [`text`], with the caller's own name for the message.
///
/// # Errors
/// As for [`text`], or when the name is none.
pub fn text_with_reference(to: &str, text: &str, reference: &str) -> anyhow::Result<Command> {
    let reference = Some(reference.to_owned().try_into()?);
    Ok(Command::MessageSend(MessageSend { reference, ..MessageSend::text(to.parse()?, text.try_into()?) }))
}
