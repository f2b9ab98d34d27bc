//! What a session does to the world: each effect of the state, and nothing else, touches it.

use std::time::{Duration, Instant};

use wafleet_protocol::event::{Cause, Event, Health, SessionQr, SessionStatus, SessionStatusChanged};
use wafleet_protocol::id::PhoneNumber;
use wafleet_protocol::timestamp::Timestamp;

use super::lanes::Tier;
use super::opening::Errand;
use super::state::{self, Effect, Input};
use super::{Happening, RETRY_PAUSE, SessionActor, lanes, score, telling};
use crate::database::StatusWrite;
use crate::events::Correlation;
use crate::logging::chain;

/// Window of the workspace's QR budget.
const QR_BUDGET_WINDOW: Duration = Duration::from_secs(3600);

impl SessionActor {
    /// The only place where a session touches the world.
    pub(super) fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Open => self.open(Errand::Start { old: None, after: Duration::ZERO }),
            Effect::Restart { after } => {
                let old = self.live.take();
                self.open(Errand::Start { old, after });
            }
            Effect::Reload => self.with_page(Cause::BrowserExited, async |page| page.reload().await.map(|()| None)),
            Effect::Reopen if self.snapshots.is_some() => {
                if let Some(old) = self.live.take() {
                    self.open(Errand::Settle(old));
                }
            }
            // Without snapshots there is nothing to go back to, but a browser may still do better a second time.
            Effect::GoBack { doubtful: true } if self.snapshots.is_none() => {
                let old = self.live.take();
                self.open(Errand::Start { old, after: RETRY_PAUSE });
            }
            Effect::GoBack { doubtful } => {
                let old = self.live.take();
                self.open(Errand::GoBack { old, doubtful });
            }
            Effect::Copy => {
                self.copies.made(Instant::now(), rand::random());
                if let Some(old) = self.live.take() {
                    self.open(Errand::Copy(old));
                }
            }
            Effect::Reopen => {
                self.with_page(Cause::BrowserExited, async |page| page.reopen().await.map(|()| Some(Input::Reopened)));
            }
            Effect::RefreshQr => self.with_page(Cause::PageHung, async |page| page.refresh_qr().await.map(|()| None)),
            Effect::AskQrPermit => self.ask_qr_permit(),
            Effect::ShowQr { code, generation, attempt, life } => self.show_qr(&code, generation, attempt, life),
            Effect::ShowPasskey(request) => {
                self.emit(self.sink.fresh_id(), Event::SessionPasskey(*request), Correlation::default());
            }
            Effect::Publish => self.publish_status(),
            Effect::Online => {
                self.away_since = None;
                self.helped = false;
                if let Some(absence) = self.absence.take() {
                    absence.abort();
                }
                self.worth_saving = true;
                self.relocations = 0;
                if let Some(snapshots) = &self.snapshots {
                    snapshots.proven();
                }
                self.copies.connected(Instant::now(), rand::random());
                self.catch_up();
                self.receive_media();
                self.open_page_lanes();
            }
            Effect::Offline => {
                self.lanes.offline(); // closes their channels: what they held goes back in order
                self.stop_receiving();
                self.syncing = None; // dropping it ends it; whoever is online next goes on
                self.went_away();
            }
            Effect::StopWanting => {
                let (database, session, fence) =
                    (self.world.database.clone(), self.session.clone(), self.lease.fence());
                self.work.spawn(async move {
                    while let Err(error) = database.stop_as_owner(session.as_str(), fence).await {
                        tracing::warn!(error = %chain(&error), "the end of the session is not recorded yet; trying again");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                    Happening::Nothing
                });
            }
            Effect::Close { politely } => self.close(politely),
        }
    }

    /// The browser cannot send. A session with a number that helps out waits for so long as its policy says.
    pub(super) fn went_away(&mut self) {
        if self.away_since.is_some() {
            return; // it has not been back since
        }
        let absence = *self.away_since.insert(Instant::now());
        let (database, workspace, session) = (self.world.database.clone(), self.workspace.get(), self.session.clone());
        self.absence = Some(self.work.spawn(async move {
            database.available().await;
            match database.cloud_binding(workspace, session.as_str()).await {
                Ok(binding) => match binding.and_then(|binding| binding.after_secs) {
                    Some(secs) => {
                        tokio::time::sleep_until((absence + Duration::from_secs(secs.into())).into()).await;
                        Happening::HelpDue { absence }
                    }
                    None => Happening::Nothing,
                },
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "it is unknown whether the session has a Cloud API number");
                    Happening::Nothing
                }
            }
        }));
    }

    /// Runs a call into the page; a failure means that the page or the browser is not well.
    fn with_page<F>(&mut self, broken: Cause, call: impl FnOnce(wafleet_browser::Page) -> F)
    where
        F: Future<Output = Result<Option<Input>, wafleet_browser::CallError>> + Send + 'static,
    {
        let Some(live) = &self.live else { return };
        let answer = call(live.page());
        self.work.spawn(async move {
            match answer.await {
                Ok(input) => input.map_or(Happening::Nothing, Happening::Input),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the page did not do what it was asked");
                    Happening::Input(Input::Broken { cause: broken })
                }
            }
        });
    }

    fn ask_qr_permit(&mut self) {
        let (world, workspace) = (self.world.clone(), self.workspace);
        self.work.spawn(async move {
            let limit = world.config.qr_generations_per_hour;
            loop {
                match world.leases.spend(&format!("qr:{workspace}"), limit, QR_BUDGET_WINDOW).await {
                    Ok(spent) => {
                        if !spent.granted {
                            tracing::warn!(
                                limit,
                                frees_in_secs = spent.frees_in.as_secs(),
                                "the workspace has used up its QR generations"
                            );
                        }
                        return Happening::Input(Input::QrPermit { granted: spent.granted, used: spent.used });
                    }
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "the QR budget cannot be read; trying again");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        });
    }

    fn show_qr(&mut self, code: &str, generation: u32, attempt: u32, life: Duration) {
        let event = Event::SessionQr(SessionQr {
            qr: code.into(),
            expires_at: Timestamp::from_unix_ms(
                self.world.clock.unix_ms() + u64::try_from(life.as_millis()).unwrap_or(0),
            ),
            generation,
            attempt,
            max: state::QR_CODES_PER_GENERATION,
        });
        self.emit(self.sink.fresh_id(), event, Correlation::default());
        let (database, session, code) = (self.world.database.clone(), self.session.clone(), code.to_owned());
        let fence = self.lease.fence();
        self.work.spawn(async move {
            if let Err(error) = database.write_qr(session.as_str(), fence, &code).await {
                tracing::warn!(error = %chain(&error), "the host's row does not have the new QR");
            }
            Happening::Nothing
        });
        if attempt == 1
            && let Some(phone) = self.pairing_phone.clone()
        {
            self.request_link_code(phone);
        }
    }

    fn request_link_code(&mut self, phone: PhoneNumber) {
        let Some(live) = &self.live else { return };
        let page = live.page();
        self.work.spawn(async move {
            // The code itself comes as an event of the page, and so does each renewal.
            if let Err(error) = page.link_code(phone.as_str()).await {
                tracing::warn!(error = %chain(&error), "no pairing code; the QR is still there");
            }
            Happening::Nothing
        });
    }

    /// Tells the public status: event, row and log line.
    pub(super) fn publish_status(&mut self) {
        let public = self.state.public();
        if public.status == SessionStatus::Disconnected
            && public.previous == Some(SessionStatus::Connected)
            && public.cause != Cause::Released
        {
            self.score.lost_connection(Instant::now());
        }
        let told = self.status_now();
        tracing::info!(status = %told.status, cause = ?told.cause, attempt = told.attempt, "session status");
        self.world.counters.count("sessions.status", told.status.as_str());
        self.score.told(told.health.score, Instant::now());
        self.status.send_replace(told.status);
        self.emit(self.sink.fresh_id(), Event::SessionStatus(told.clone()), Correlation::default());
        if self.row.writing {
            self.row.next = Some(told);
        } else {
            self.write_row(told);
        }
    }

    /// Tells the health if it has changed enough, and not too often.
    pub(super) fn look_at_health(&mut self) {
        let score = self.status_now().health.score;
        if self.score.is_news(score, Instant::now()) {
            self.tell_health();
        }
    }

    /// Tells that the health has changed, and the status has not.
    pub(super) fn tell_health(&mut self) {
        self.tell_health_because(Cause::Health);
    }

    /// Tells the health, because this has changed it.
    pub(super) fn tell_health_because(&mut self, cause: Cause) {
        let now = self.status_now();
        let told = SessionStatusChanged { previous: Some(now.status), cause, ..now };
        self.score.told(told.health.score, Instant::now());
        let (database, session, fence) = (self.world.database.clone(), self.session.clone(), self.lease.fence());
        let score = told.health.score;
        self.work.spawn(async move {
            if let Err(error) = database.write_health(session.as_str(), fence, score).await {
                tracing::warn!(error = %chain(&error), "the host's row does not have the new health");
            }
            Happening::Nothing
        });
        self.emit(self.sink.fresh_id(), Event::SessionStatus(told), Correlation::default());
    }

    pub(super) fn status_now(&self) -> SessionStatusChanged {
        let public = self.state.public();
        let me = self.state.me().filter(|_| public.status == SessionStatus::Connected);
        let parts = self.score.parts(public.status, public.attempt, self.restricted.is_some(), Instant::now());
        SessionStatusChanged {
            status: public.status,
            previous: public.previous,
            since: Timestamp::from_unix_ms(self.world.clock.unix_ms()),
            cause: public.cause,
            attempt: public.attempt,
            health: Health {
                score: score::score(&parts),
                degraded: public.attempt > 0 || self.incompatible.is_some() || self.over_quota,
                restricted: self.restricted.clone().map(Into::into),
                moving: public.cause == Cause::Released || (public.cause == Cause::Claimed && self.arriving),
                parts: Some(parts),
            },
            phone: me.map(|me| telling::phone_digits(&me.id).into()),
            lid: me.and_then(|me| me.lid.as_deref()).map(Into::into),
            name: me.and_then(|me| me.name.as_deref()).map(Into::into),
            budget: None,
            calls: None,
        }
    }

    pub(super) fn write_row(&mut self, told: SessionStatusChanged) {
        self.row.writing = true;
        let (database, session, fence) = (self.world.database.clone(), self.session.clone(), self.lease.fence());
        self.work.spawn(async move {
            let cause = serde_json::to_value(told.cause).ok().and_then(|value| value.as_str().map(str::to_owned));
            let write = StatusWrite {
                session_id: session.as_str(),
                fence,
                status: told.status.as_str(),
                cause: cause.as_deref().unwrap_or_default(),
                attempt: told.attempt,
                phone: told.phone.as_ref().map(|phone| phone.as_str()),
                lid: told.lid.as_ref().map(|lid| lid.as_str()),
                name: told.name.as_ref().map(|name| name.as_str()),
                connected: told.status == SessionStatus::Connected,
                health_score: told.health.score,
            };
            match database.write_status(&write).await {
                Ok(current) => Happening::RowWritten { fenced: !current },
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the status row could not be written; the next status will be");
                    Happening::RowWritten { fenced: false }
                }
            }
        });
    }

    pub(super) fn open_reader(&mut self, tier: Tier, after: Duration) {
        let opened = lanes::open(&self.world, &self.lease, self.workspace, &self.session, tier, after);
        self.work.spawn(async move { Happening::ReaderOpened { tier, reader: opened.await } });
    }

    /// Opens what is read only while messages can be sent.
    pub(super) fn open_page_lanes(&mut self) {
        for tier in Tier::ALL.into_iter().filter(|tier| tier.needs_a_sender()) {
            self.open_reader(tier, Duration::ZERO);
        }
    }
}
