//! A dead letter becomes a command again, or there is a reason why it never will. Nothing here touches the world.

use std::time::Duration;

use lapin::BasicProperties;
use wafleet_protocol::command::Command;
use wafleet_protocol::id::WorkspaceId;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::signing::{
    Claims, EXPIRES_AT_HEADER, ISSUED_AT_HEADER, KEY_HEADER, Keyring, MAX_LIFETIME_SECS, Role, SIGNATURE_HEADER,
    Verified, sign,
};
use wafleet_protocol::topology;

use crate::broker::message::{json_properties, text_headers};
use crate::database::{ArchivedLetter, Decision, PreparedReplay};
use crate::dead_letter::DeadLetter;
use crate::letter::{ORIGINAL_KEY_HEADER, REPLAY_ID_HEADER, REPLAYED_BY_HEADER, printable};

/// Genuine letters that would be refused again whoever signs them, because what is wrong is what they ask.
const HOPELESS: [&str; 2] = ["body_changed", "foreign_scope"];

/// What a replay needs to know about a letter. Only a letter that proved genuine becomes one.
#[derive(Debug)]
pub(super) struct Reissue<'a> {
    letter: &'a DeadLetter,
    body: &'a [u8],
    verified: Verified,
    command: Command,
    lane: Lane,
}

/// Why a letter cannot be replayed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Nobody knows who wrote it: signing it would make a forgery genuine.
    #[error("it is not genuine ({0}): a letter without a valid signature is never signed")]
    NotGenuine(Rejection),
    /// It was not genuine when it was archived.
    #[error("it was not genuine when it was archived: a letter without a valid signature is never signed")]
    NeverGenuine,
    /// It would only die again.
    #[error("it would be refused again ({0}): the command itself must change, under a new id")]
    Hopeless(String),
    /// It leads nowhere.
    #[error("its routing key {0:?} is none of its session's")]
    Misrouted(String),
    /// No key to sign with.
    #[error("no ops key of the key ring is valid for workspace {0}")]
    NoKey(WorkspaceId),
}

impl<'a> Reissue<'a> {
    /// Checks a letter.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn of(archived: &'a ArchivedLetter, keyring: &Keyring, now: u64) -> Result<Self, Refusal> {
        let letter = &archived.letter;
        // Proven again, with the keys as they were when it was archived: a row of a table is no proof.
        let verified = letter.authenticate(keyring, archived.archived_at).map_err(Refusal::NotGenuine)?;
        if !letter.genuine {
            return Err(Refusal::NeverGenuine);
        }
        if HOPELESS.contains(&letter.reason.as_str()) {
            return Err(Refusal::Hopeless(letter.reason.clone()));
        }
        let body = letter.body.as_deref().unwrap_or_default(); // verified, so it is there
        let (command, _) =
            Command::parse(&verified.type_, body).map_err(|error| Refusal::Hopeless(error.to_string()))?;
        let lane = lane_of(&command, &verified, &letter.routing_key)
            .ok_or_else(|| Refusal::Misrouted(letter.routing_key.clone()))?;
        if keyring.signer(Role::Ops, verified.workspace, now).is_none() {
            return Err(Refusal::NoKey(verified.workspace));
        }
        Ok(Self { letter, body, verified, command, lane })
    }

    /// The times of the replay: those of an interrupted one while at least half of its life is left, so that it goes on as
    /// the same message; otherwise new ones, with the usual life of the command or `valid_for`.
    pub(super) fn times(
        &self,
        earlier: Option<&PreparedReplay>,
        id: &str,
        valid_for: Option<Duration>,
        now: u64,
    ) -> PreparedReplay {
        let half_left = |replay: &&PreparedReplay| {
            let life = replay.expires_at.saturating_sub(replay.issued_at);
            replay.issued_at <= now && replay.expires_at.saturating_sub(now) * 2 >= life && life > 0
        };
        if let Some(replay) = earlier.filter(half_left) {
            return replay.clone();
        }
        let life =
            valid_for.unwrap_or_else(|| self.command.default_lifetime(self.lane)).as_secs().min(MAX_LIFETIME_SECS);
        PreparedReplay { id: id.to_owned(), issued_at: now, expires_at: now + life }
    }

    /// Body, id, type and routing key as they were, signed by the operator's key, with the original signature as evidence.
    ///
    /// # Errors
    /// [`Refusal::NoKey`].
    pub(super) fn signed(
        &self,
        keyring: &Keyring,
        replay: &PreparedReplay,
        decision: &Decision,
        now: u64,
    ) -> Result<BasicProperties, Refusal> {
        let verified = &self.verified;
        let key = keyring.signer(Role::Ops, verified.workspace, now).ok_or(Refusal::NoKey(verified.workspace))?;
        let (issued_at, expires_at) = (replay.issued_at, replay.expires_at);
        let claims = Claims::command(
            &self.command,
            &verified.message_id,
            verified.workspace,
            &verified.session,
            issued_at,
            expires_at,
        );
        let mut headers = sign(key, &claims, self.body).to_pairs().to_vec();
        headers.push((REPLAYED_BY_HEADER, printable(&decision.by, 128)));
        headers.push((REPLAY_ID_HEADER, replay.id.clone()));
        for (evidence, original) in EVIDENCE {
            // Of a letter that was replayed before, the first signature is the original one.
            let kept = self.letter.header(evidence).filter(|_| verified.role == Role::Ops);
            if let Some(text) = kept.or_else(|| self.letter.header(original)) {
                headers.push((evidence, text.to_owned()));
            }
        }
        if let Some(trace) = self.letter.header("traceparent") {
            headers.push(("traceparent", trace.to_owned()));
        }
        Ok(json_properties(verified.message_id.as_str(), self.command.type_name())
            .with_priority(self.lane.amqp_priority())
            .with_headers(text_headers(headers)))
    }

    /// Where it goes, as before.
    pub(super) fn routing_key(&self) -> &'a str {
        &self.letter.routing_key
    }

    /// What goes there, as before.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The name that each part of the original signature gets, and the name it had.
const EVIDENCE: [(&str, &str); 4] = [
    ("x-wa-original-signature", SIGNATURE_HEADER),
    (ORIGINAL_KEY_HEADER, KEY_HEADER),
    ("x-wa-original-issued-at", ISSUED_AT_HEADER),
    ("x-wa-original-expires-at", EXPIRES_AT_HEADER),
];

/// The lane that the routing key names, if the command may go there. Control commands have no lane; those that need the
/// page are passed on to the urgent one.
fn lane_of(command: &Command, verified: &Verified, routing_key: &str) -> Option<Lane> {
    let lane = Lane::ALL.into_iter().find(|lane| topology::lane_key(&verified.session, *lane) == routing_key);
    match command {
        Command::MessageSend(_) if verified.session.is_any() => {
            let passed_on = routing_key.ends_with(".campaign"); // to the session that was chosen
            (passed_on || routing_key == topology::campaign_key(verified.workspace)).then_some(Lane::Campaign)
        }
        Command::MessageSend(_) | Command::StatusPost(_) | Command::Action(_) => lane,
        Command::SessionLogout | Command::SessionLinkCode(_) | Command::SessionMove(_)
            if lane == Some(Lane::Urgent) =>
        {
            lane
        }
        _ => (routing_key == topology::CONTROL_KEY).then_some(Lane::Normal),
    }
}

#[cfg(test)]
mod tests {
    use wafleet_protocol::signing::{Audience, HeaderValue, RawProperties, Signed};

    use super::*;
    use crate::dead_letter::tests::{delivery, keyring};

    const NOW: u64 = 5_000;

    fn archived(command: &Command, routing_key: &str, reason: &str) -> ArchivedLetter {
        let delivery = delivery(command, routing_key, &[("x-wa-reason", reason), ("traceparent", "00-1-2-01")]);
        ArchivedLetter {
            id: 1,
            letter: DeadLetter::of(&delivery, &keyring(), 1_600),
            archived_at: 1_600,
            state: "new".to_owned(),
            prepared: None,
            replays: 0,
            settled_at: None,
            settled_by: None,
            settled_why: None,
        }
    }

    fn message() -> Command {
        let body = br#"{"type":"message.send","version":1,"data":{"to":"49151","kind":"text","text":"x"}}"#;
        Command::parse("message.send", body).expect("a message").0
    }

    #[test]
    fn a_letter_is_replayed_only_if_it_is_genuine_and_may_help() {
        let forged = |change: fn(&mut DeadLetter)| {
            let mut letter = archived(&message(), "s1.normal", "unknown_session");
            change(&mut letter.letter);
            letter
        };
        let cases = [
            (archived(&message(), "s1.normal", "unknown_session"), Ok(Lane::Normal)),
            (archived(&message(), "s1.campaign", "expired"), Ok(Lane::Campaign)),
            (archived(&Command::SessionStatus, "control", "delivery_limit"), Ok(Lane::Normal)),
            (archived(&Command::SessionLogout, "s1.urgent", "expired"), Ok(Lane::Urgent)),
            (archived(&message(), "s2.normal", "misrouted"), Err(Refusal::Misrouted("s2.normal".to_owned()))),
            (archived(&message(), "control", "misrouted"), Err(Refusal::Misrouted("control".to_owned()))),
            (archived(&message(), "s1.normal", "body_changed"), Err(Refusal::Hopeless("body_changed".to_owned()))),
            (archived(&message(), "s1.normal", "foreign_scope"), Err(Refusal::Hopeless("foreign_scope".to_owned()))),
            (forged(|letter| letter.genuine = false), Err(Refusal::NeverGenuine)),
            (forged(|letter| letter.body = Some(b"{}".to_vec())), Err(Refusal::NotGenuine(Rejection::BadSignature))),
            (
                forged(|letter| letter.headers = serde_json::json!({"x-wa-reason": "unsigned"})),
                Err(Refusal::NotGenuine(Rejection::Unsigned)),
            ),
            (
                forged(|letter| letter.body = None),
                Err(Refusal::NotGenuine(Rejection::TooLarge { max: wafleet_protocol::signing::MAX_BODY_BYTES })),
            ),
        ];
        for (letter, expected) in cases {
            let found = Reissue::of(&letter, &keyring(), NOW).map(|reissue| reissue.lane);
            assert_eq!(found, expected, "{} {}", letter.letter.reason, letter.letter.routing_key);
        }
    }

    #[test]
    fn a_replay_is_the_same_command_under_the_operators_signature_with_the_first_one_as_evidence() {
        let letter = archived(&message(), "s1.normal", "expired");
        let keyring = keyring();
        let reissue = Reissue::of(&letter, &keyring, NOW).expect("genuine");
        let times = reissue.times(None, "R1", None, NOW);
        assert_eq!((times.issued_at, times.expires_at), (NOW, NOW + 86_400), "the usual life of a message");
        let decision = Decision { by: "anna".to_owned(), why: "ticket".to_owned() };
        let properties = reissue.signed(&keyring, &times, &decision, NOW).expect("a key");

        let table = properties.headers().clone().expect("headers");
        let texts: Vec<(String, String)> = table
            .inner()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    crate::letter::text_header(&properties, name.as_str()).unwrap_or_else(|| panic!("{value:?}")),
                )
            })
            .collect();
        let headers: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), HeaderValue::Text(text))).collect();
        let raw = RawProperties {
            message_id: Some("c1"),
            type_: Some("message.send"),
            content_type: Some("application/json"),
            headers: &headers,
        };
        let verified = Signed::new(raw, reissue.body()).verify(&keyring, Audience::Commands, NOW).expect("verifies");
        assert_eq!((verified.role, verified.key.as_str()), (Role::Ops, "operator"));
        let header = |name: &str| texts.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str());
        assert_eq!(header("x-wa-original-key"), Some("host"));
        assert_eq!(header("x-wa-original-signature"), letter.letter.header("x-wa-signature"));
        assert_eq!(header("x-wa-original-issued-at"), Some("1000"));
        assert_eq!((header("x-wa-replayed-by"), header("x-wa-replay-id")), (Some("anna"), Some("R1")));
        assert_eq!((header("x-wa-reason"), header("traceparent")), (None, Some("00-1-2-01")));
        assert_eq!(reissue.routing_key(), "s1.normal");
    }

    #[test]
    fn an_interrupted_replay_goes_on_with_its_times_while_half_of_its_life_is_left() {
        let letter = archived(&Command::SessionStatus, "control", "expired");
        let reissue = Reissue::of(&letter, &keyring(), NOW).expect("genuine");
        let earlier = |issued_at, expires_at| PreparedReplay { id: "old".to_owned(), issued_at, expires_at };
        let cases = [
            (None, "new"),
            (Some(earlier(NOW - 10, NOW + 290)), "old"),
            (Some(earlier(NOW - 150, NOW + 150)), "old"),
            (Some(earlier(NOW - 151, NOW + 149)), "new"),
            (Some(earlier(NOW - 400, NOW - 100)), "new"),
            (Some(earlier(NOW + 5, NOW + 305)), "new"),
        ];
        for (earlier, expected) in cases {
            let times = reissue.times(earlier.as_ref(), "new", None, NOW);
            assert_eq!(times.id, expected, "{earlier:?}");
            assert!(times.expires_at > NOW);
        }
        let asked = reissue.times(None, "new", Some(Duration::from_secs(60)), NOW);
        assert_eq!(asked.expires_at, NOW + 60);
    }
}
