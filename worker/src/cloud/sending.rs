//! One message by the Cloud API, at most once: Meta has no idempotency key, so the ledger is asked before and told after,
//! and whatever may have gone out is never sent again.

use std::time::Duration;

use wafleet_cloud::client::Accepted;
use wafleet_cloud::fault::{Fault, Reason, Verdict, Wait};
use wafleet_cloud::message::{Body, MediaKind, Outgoing};
use wafleet_protocol::command::MessageSend;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{
    Ack, AckName, Authoritative, CommandError, Event, Message, MessageSent, MessageSource, ResultData, Sender,
    SentMessage,
};
use wafleet_protocol::id::{EventId, PhoneNumber};
use wafleet_protocol::personal::Personal;
use wafleet_protocol::provider::Provider;
use wafleet_protocol::timestamp::Timestamp;

use super::{breaker_of_number, content};
use crate::database::CloudNumber;
use crate::events::EventSink;
use crate::intake::{IntakeError, Order};
use crate::lease::Lease;
use crate::logging::chain;
use crate::media::{self, Fetched};
use crate::settle::Outcome;
use crate::world::{World, unix_secs};

/// A limit that frees a message so soon is waited for in place, so that the lane keeps its order.
const WAIT_IN_PLACE: Duration = Duration::from_secs(2);
/// Waits in place before a message is deferred after all: other workers may be faster each time.
const WAITS: u32 = 10;

/// What a session needs to send by its number.
pub(crate) struct Way<'a> {
    pub(crate) world: &'a World,
    pub(crate) lease: &'a Lease,
    pub(crate) sink: &'a EventSink,
    pub(crate) number: &'a CloudNumber,
}

impl Way<'_> {
    /// Whether Meta takes the message now, as far as it is known: with a template, or within the 24 hours.
    pub(crate) async fn is_open(&self, message: &MessageSend) -> bool {
        if message.route.template.is_some() {
            return true;
        }
        let Some(phone) = message.to.phone() else { return false };
        match self.world.cloud.limits.is_open(&self.number.number_id, phone.as_str()).await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "it is unknown to whom free messages may go; only templates do");
                false
            }
        }
    }

    /// Sends, or says what became of what an earlier attempt sent.
    ///
    /// # Errors
    /// [`IntakeError`]: the delivery is still unacknowledged.
    pub(crate) async fn send(&self, order: &mut Order, message: &MessageSend) -> Result<Outcome, IntakeError> {
        order.provider = Some(Provider::Cloud);
        let Some(phone) = message.to.phone() else {
            let why = "the Cloud API reaches phone numbers only";
            return Ok(Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why)));
        };
        if order.attempted {
            return self.earlier(order, &phone).await;
        }
        // Before anything is recorded: a file that cannot be had is no message that may have gone out.
        let body = match self.body(order, message).await {
            Ok(body) => body,
            Err(outcome) => return Ok(outcome),
        };
        if let Some(until) = self.wait_for_the_limits(&phone).await {
            let error = CommandError::new(ErrorCode::RateLimited, "the limits of the Cloud API number are used up");
            return Ok(Outcome::Deferred(error, until));
        }
        let caller = match self.world.cloud.caller(self.number) {
            Ok(caller) => caller,
            Err(error) => {
                tracing::error!(error = %chain(&error), "the token of a Cloud API number cannot be used");
                let error = CommandError::new(ErrorCode::CredentialsRefused, "the number's token cannot be read");
                return Ok(Outcome::Deferred(error, self.in_(Duration::from_secs(60))));
            }
        };
        if self.lease.prove().is_err()
            || !self.world.database.begin_cloud_attempt(&order.record, self.lease.fence()).await?
        {
            return Ok(Outcome::Wait); // another owner goes on with it
        }
        order.attempted = true;
        let (kind, text) = described(&body);
        let mut outgoing = Outgoing::new(phone.as_str(), body, &order.record.command_id);
        // A key of the browser's means nothing to Meta: a reply that fails over goes without what it answers.
        let quoted = message.reply_to.as_ref().filter(|key| key.is_metas());
        if let Some(key) = quoted {
            outgoing = outgoing.in_reply_to(key.as_str());
        }
        // Asked last, right before the one thing that cannot be taken back.
        if self.lease.prove().is_err() {
            self.world.database.nothing_went_out(&order.record, self.lease.fence()).await?;
            return Ok(Outcome::Wait); // another owner goes on with it
        }
        let answer = self.world.cloud.graph.send(&caller.token, &caller.number, &outgoing).await;
        let breaker = breaker_of_number(&self.number.number_id);
        match &answer {
            Err(fault) if fault.is_outage() => self.world.cloud.failed(&breaker),
            _ => self.world.cloud.succeeded(&breaker),
        }
        self.world.counters.count("cloud.sends", answer.as_ref().map_or_else(word, |_| "accepted"));
        match answer {
            Ok(accepted) => self.accepted(order, message, &phone, &accepted, kind, text).await,
            Err(fault) => self.faulted(order, &phone, &fault).await,
        }
    }

    fn in_(&self, wait: Duration) -> Timestamp {
        let until = self.world.clock.unix_ms() + u64::try_from(wait.as_millis()).unwrap_or(0);
        Timestamp::from_unix_secs(until.div_ceil(1000))
    }

    async fn body(&self, order: &Order, message: &MessageSend) -> Result<Body, Outcome> {
        let Some(template) = &message.route.template else { return self.content(order, message).await };
        let known = match message.to.phone() {
            Some(phone) => self.world.cloud.limits.is_open(&self.number.number_id, phone.as_str()).await,
            None => Ok(false),
        };
        if known.unwrap_or(false)
            && let Ok(body) = self.content(order, message).await
        {
            return Ok(body);
        }
        Ok(content::of_template(template))
    }

    /// The content, its file uploaded.
    async fn content(&self, order: &Order, message: &MessageSend) -> Result<Body, Outcome> {
        let failed = |code, why: &str| Outcome::Failed(CommandError::new(code, why));
        let Some((kind, medium)) = message.content.media() else {
            return content::of_content(&message.content).map_err(|why| failed(ErrorCode::ProviderUnavailable, why));
        };
        content::kind_of(kind, "").map_err(|why| failed(ErrorCode::ProviderUnavailable, why))?;
        let (config, workspace) = (&self.world.config, order.verified.workspace.get());
        let fetched = media::fetch(&config.media, self.world.objects.as_deref(), workspace, kind, medium).await;
        let Fetched { file, mime, size } = fetched.map_err(|error| {
            self.world.counters.count("media.not_fetched", kind.as_str());
            tracing::warn!(kind = kind.as_str(), error = %chain(&error), "the file of a message was not fetched");
            error.outcome()
        })?;
        let (kind, most) = content::kind_of(kind, &mime).map_err(|why| failed(ErrorCode::MediaRefused, why))?;
        if size > most {
            return Err(failed(ErrorCode::MediaRefused, "the file is larger than the Cloud API takes"));
        }
        let bytes = tokio::fs::read(file.path()).await.map_err(|error| {
            tracing::error!(%error, "a fetched file could not be read");
            Outcome::Retry(CommandError::new(ErrorCode::MediaUnavailable, "the fetched file could not be read"))
        })?;
        let caller = self.world.cloud.caller(self.number).map_err(|error| {
            tracing::error!(error = %chain(&error), "the token of a Cloud API number cannot be used");
            let error = CommandError::new(ErrorCode::CredentialsRefused, "the number's token cannot be read");
            Outcome::Deferred(error, self.in_(Duration::from_secs(60)))
        })?;
        let filename = medium.filename.as_ref().map_or("file", |name| name.as_str());
        // Meta wants the type without what stands behind it, but for Opus.
        let uploaded = self.world.cloud.graph.upload(&caller.token, &caller.number, &mime, filename, bytes).await;
        match uploaded {
            Ok(id) => Ok(content::of_upload(kind, id, medium)),
            // Nothing was sent, so whatever it was may be tried again, unless Meta will not have the file.
            Err(fault) => {
                tracing::warn!(provider_code = fault.code, trace = fault.trace, "{fault}");
                let refused = matches!(fault.verdict, Verdict::Failed(_));
                let code = if refused { ErrorCode::MediaRefused } else { ErrorCode::MediaUnavailable };
                let error = CommandError::new(code, "Meta did not take the file");
                let error = match &fault.code {
                    Some(provider_code) => error.with_provider_code(provider_code),
                    None => error,
                };
                Err(match fault.verdict {
                    Verdict::Failed(_) => Outcome::Failed(error),
                    Verdict::Defer { after, .. } => Outcome::Deferred(
                        CommandError { class: ErrorCode::RateLimited.class(), code: ErrorCode::RateLimited, ..error },
                        self.in_(after),
                    ),
                    Verdict::Retry | Verdict::Unknown => Outcome::Retry(error),
                })
            }
        }
    }

    /// An attempt was begun before, and its end is not recorded. Only what Meta has told can say more.
    async fn earlier(&self, order: &Order, phone: &PhoneNumber) -> Result<Outcome, IntakeError> {
        Ok(match self.world.database.cloud_traces(&order.record).await? {
            Some((_, Some(-1))) => {
                Outcome::Failed(CommandError::new(ErrorCode::MessageRefused, "Meta could not deliver the message"))
            }
            Some((id, ack)) => {
                let ack = Ack::from_number(ack.unwrap_or(0).into());
                Outcome::Succeeded(Some(ResultData::Message(sent(&id, phone.as_str(), ack))))
            }
            None => Outcome::Unknown(CommandError::new(
                ErrorCode::Interrupted,
                "the send to Meta was cut short: the message may have gone out",
            )),
        })
    }

    /// Takes a message's worth of the limits. The answer is a moment before which there is none.
    async fn wait_for_the_limits(&self, phone: &PhoneNumber) -> Option<Timestamp> {
        for _ in 0..WAITS {
            let number = self.number;
            match self.world.cloud.limits.take(&number.number_id, number.per_second, phone.as_str()).await {
                Ok(None) => return None,
                Ok(Some(wait)) if wait <= WAIT_IN_PLACE => tokio::time::sleep(wait).await,
                Ok(Some(wait)) => return Some(self.in_(wait)),
                Err(error) => {
                    // Meta counts as well, and refuses without harm.
                    tracing::warn!(error = %chain(&error), "the limits of a Cloud API number cannot be counted");
                    return None;
                }
            }
        }
        Some(self.in_(WAIT_IN_PLACE))
    }

    async fn accepted(
        &self,
        order: &Order,
        message: &MessageSend,
        phone: &PhoneNumber,
        accepted: &Accepted,
        kind: &str,
        text: Option<String>,
    ) -> Result<Outcome, IntakeError> {
        let fence = self.lease.fence();
        self.world.database.note_cloud_message(&order.record, fence, &accepted.message_id).await?;
        let recipient = accepted.wa_id.as_deref().unwrap_or(phone.as_str());
        let sent = sent(&accepted.message_id, recipient, AckName::Pending.into());
        let own = Personal::from(format!("{}@cloud", self.number.number_id));
        let told = MessageSent {
            message: Message {
                key: sent.key.clone(),
                id: sent.id.clone(),
                chat_id: sent.chat_id.clone(),
                sender: Sender { id: own, phone: None, lid: None, authoritative: Authoritative::Phone },
                kind: kind.to_owned(),
                text: text.map(Personal::from),
                timestamp: sent.timestamp,
                has_media: message.content.media().is_some(),
                quoted_id: message.reply_to.as_ref().filter(|key| key.is_metas()).map(ToString::to_string),
                notify_name: None,
                location: None,
                contacts: Vec::new(),
                poll: None,
                media: None,
                mentions: Vec::new(),
                forwarded: None,
                quoted: None,
                provider: Some(Provider::Cloud),
            },
            source: MessageSource::ThisSession,
            reference: message.reference.clone(),
            command_id: Some(order.verified.message_id.clone()),
        };
        let id = EventId::derive(0, &["message.sent", order.verified.session.as_str(), &sent.id]);
        self.sink.emit(id, Event::MessageSent(told), order.correlation())?.wait().await?;
        Ok(Outcome::Succeeded(Some(ResultData::Message(sent))))
    }

    async fn faulted(&self, order: &mut Order, phone: &PhoneNumber, fault: &Fault) -> Result<Outcome, IntakeError> {
        tracing::warn!(
            command_id = order.record.command_id,
            verdict = word(fault),
            provider_code = fault.code,
            trace = fault.trace,
            "{fault}"
        );
        if fault.is_outage() || matches!(fault.verdict, Verdict::Defer { why: Wait::Credentials, .. }) {
            self.world.cloud.suspect(order.verified.session.as_str());
        }
        let error = |code| {
            let error = CommandError::new(code, fault.what);
            match &fault.code {
                Some(provider_code) => error.with_provider_code(provider_code),
                None => error,
            }
        };
        let outcome = match fault.verdict {
            Verdict::Unknown => return Ok(Outcome::Unknown(error(ErrorCode::Interrupted))),
            Verdict::Retry => Outcome::Retry(error(ErrorCode::DependencyUnavailable)),
            Verdict::Failed(Reason::Refused) => Outcome::Failed(error(ErrorCode::MessageRefused)),
            Verdict::Failed(Reason::WindowClosed) => Outcome::Failed(error(ErrorCode::WindowClosed)),
            Verdict::Failed(Reason::TemplateRefused) => Outcome::Failed(error(ErrorCode::TemplateRefused)),
            Verdict::Defer { after, why: Wait::PairRate } => {
                let told = self.world.cloud.limits.refused_for_rate(&self.number.number_id, phone.as_str()).await;
                let after = told.unwrap_or_else(|error| {
                    tracing::warn!(error = %chain(&error), "a limit of Meta's cannot be remembered");
                    after
                });
                Outcome::Deferred(error(ErrorCode::RateLimited), self.in_(after))
            }
            Verdict::Defer { after, why: Wait::RateLimited } => {
                Outcome::Deferred(error(ErrorCode::RateLimited), self.in_(after))
            }
            Verdict::Defer { after, why: Wait::Restricted } => {
                Outcome::Deferred(error(ErrorCode::AccountRestricted), self.in_(after))
            }
            Verdict::Defer { after, why: Wait::Credentials } => {
                Outcome::Deferred(error(ErrorCode::CredentialsRefused), self.in_(after))
            }
        };
        self.world.database.nothing_went_out(&order.record, self.lease.fence()).await?;
        order.attempted = false;
        Ok(outcome)
    }
}

/// The message as a result names it. Its key is Meta's id: there is no other.
pub(crate) fn sent(message_id: &str, recipient: &str, ack: Ack) -> SentMessage {
    SentMessage {
        key: message_id.into(),
        id: message_id.to_owned(),
        chat_id: format!("{recipient}@c.us").into(),
        timestamp: Timestamp::from_unix_secs(unix_secs()),
        ack,
    }
}

/// What was sent, in the words of the events: a text is `chat`.
fn described(body: &Body) -> (&'static str, Option<String>) {
    match body {
        Body::Text { text, .. } => ("chat", Some(text.clone())),
        Body::Template(_) => ("template", None),
        Body::Media { kind, caption, .. } => (word_of(*kind), caption.clone()),
        Body::Contacts { .. } => ("vcard", None),
        Body::Buttons { text, .. } | Body::List { text, .. } => ("interactive", Some(text.clone())),
        Body::Location { .. } => ("location", None),
        Body::Reaction { .. } => ("reaction", None),
    }
}

/// The browser's words for kinds of media, which events go by.
fn word_of(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Voice => "ptt",
        MediaKind::Document => "document",
        MediaKind::Sticker => "sticker",
    }
}

fn word(fault: &Fault) -> &'static str {
    match fault.verdict {
        Verdict::Retry => "retry",
        Verdict::Defer { .. } => "deferred",
        Verdict::Failed(_) => "failed",
        Verdict::Unknown => "unknown",
    }
}
