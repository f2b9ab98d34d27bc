//! The table of bad input.

use anyhow::{Context, Result, bail};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use wafleet_protocol::command::{Command, MessageSend};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::id::WorkspaceId;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::signing::{
    EXPIRES_AT_HEADER, ISSUED_AT_HEADER, KEY_HEADER, Keyring, MAX_BODY_BYTES, MAX_LIFETIME_SECS, Role, SESSION_HEADER,
    SIGNATURE_HEADER, Scope, Secret, SigningKey, WORKSPACE_HEADER,
};
use wafleet_protocol::topology;
use wafleet_tests::fleet::{
    Draft, FLEET_KEY, HOST_KEY, Letter, OPERATOR_KEY, RETIRED_KEY, SCOPED_KEY, Target, new_command_id, unix_now,
};

/// One kind of bad input.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) letter: Letter,
    pub(super) reason: &'static str,
    pub(super) told: Told,
}

/// Who learns of the refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is not certain who spoke: nobody is told.
    Nobody,
    /// The signed session's workspace, by a failed result with this code.
    Sender(ErrorCode),
}

/// A genuine refusal that has no code of its own.
const SENDER: Told = Told::Sender(ErrorCode::Rejected);

fn row(name: &'static str, letter: Letter, reason: &'static str, told: Told) -> Row {
    Row { name, letter, reason, told }
}

use Told::Nobody;

/// Makes the rows. Unless a row is about something else, its command asks to stop the session that runs.
pub(super) struct Table<'a> {
    keyring: &'a Keyring,
    host_key: &'a SigningKey,
    /// The session that runs, in workspace 1.
    held: Target,
    /// A session nobody ever started.
    nobody: Target,
    /// The name of the session that runs, in another workspace.
    second_workspace: Target,
    /// A command that stops the session that runs.
    template: Draft,
    message: Command,
    /// A command that was executed.
    first: &'a Letter,
    now: u64,
}

impl<'a> Table<'a> {
    /// For a session that runs, and a command that was executed.
    pub(super) fn new(keyring: &'a Keyring, held: &Target, first: &'a Letter) -> Result<Self> {
        Ok(Self {
            keyring,
            host_key: keyring.get(HOST_KEY).context("the host application has a key")?,
            held: held.clone(),
            nobody: Target::new("nobody")?,
            second_workspace: Target { workspace: WorkspaceId::new(2)?, ..held.clone() },
            template: Draft::new(held, &Command::SessionStop)?,
            message: Command::MessageSend(MessageSend::text("4915112345678".parse()?, "never to be read".try_into()?)),
            first,
            now: unix_now(),
        })
    }

    /// Every row.
    pub(super) fn rows(&self) -> Result<Vec<Row>> {
        let groups = [
            self.who()?,
            self.when()?,
            self.what()?,
            self.headers()?,
            self.names()?,
            self.properties()?,
            self.places()?,
            self.again()?,
        ];
        Ok(groups.into_iter().flatten().collect())
    }

    /// Who speaks.
    fn who(&self) -> Result<Vec<Row>> {
        let genuine = header_text(&self.fresh().sign(self.host_key), SIGNATURE_HEADER)?;
        let hex = format!("WA1={}", "ab".repeat(32));
        let now = self.now;
        Ok(vec![
            row("unsigned", self.altered(|letter| letter.remove_header(SIGNATURE_HEADER)), "unsigned", Nobody),
            row("signed with another secret", self.fresh().sign(&impostor()?), "bad_signature", Nobody),
            row("one byte of the body altered", self.altered(|letter| letter.body[12] ^= 1), "bad_signature", Nobody),
            row("body replaced", self.altered(|letter| letter.body = b"{}".to_vec()), "bad_signature", Nobody),
            row(
                "session altered",
                self.altered(|letter| letter.set_header_text(SESSION_HEADER, "other")),
                "bad_signature",
                Nobody,
            ),
            row(
                "workspace altered",
                self.altered(|letter| letter.set_header_text(WORKSPACE_HEADER, "2")),
                "bad_signature",
                Nobody,
            ),
            row(
                "life prolonged",
                self.altered(|letter| letter.set_header_text(EXPIRES_AT_HEADER, &(now + 9999).to_string())),
                "bad_signature",
                Nobody,
            ),
            row(
                "type altered",
                self.altered(|letter| letter.type_ = Some("session.logout".to_owned())),
                "bad_signature",
                Nobody,
            ),
            row(
                "given a new id",
                self.altered(|letter| letter.message_id = Some("another-id".to_owned())),
                "bad_signature",
                Nobody,
            ),
            row("signature cut short", self.signature(&genuine[..genuine.len() - 3]), "malformed_signature", Nobody),
            row("signature in hex", self.signature(&hex), "malformed_signature", Nobody),
            row("signature padded", self.signature(&format!("{genuine}=")), "malformed_signature", Nobody),
            row("signature of another version", self.signature("WA2=AAAA"), "malformed_signature", Nobody),
            row("signature empty", self.signature(""), "malformed_signature", Nobody),
            row("signature of another command", self.signature(&genuine), "bad_signature", Nobody),
            row(
                "unknown key",
                self.altered(|letter| letter.set_header_text(KEY_HEADER, "nobody-s-key")),
                "unknown_key",
                Nobody,
            ),
            row(
                "hostile key id",
                self.altered(|letter| letter.set_header_text(KEY_HEADER, "../../etc/passwd")),
                "unknown_key",
                Nobody,
            ),
            row("retired key", self.signed_by(RETIRED_KEY)?, "key_expired", Nobody),
            row("the fleet's own key", self.signed_by(FLEET_KEY)?, "wrong_role", Nobody),
            row(
                "a workspace outside the key's scope",
                Draft::new(&self.second_workspace, &Command::SessionStop)?.sign(self.key(SCOPED_KEY)?),
                "foreign_scope",
                Nobody,
            ),
            row(
                "meant for another audience",
                self.drafted(|draft| draft.audience = "wa.events".to_owned()),
                "wrong_audience",
                Nobody,
            ),
            row(
                "another workspace's session, by an operator's key",
                Draft::new(&self.second_workspace, &Command::SessionStop)?.sign(self.key(OPERATOR_KEY)?),
                "foreign_scope",
                SENDER,
            ),
        ])
    }

    /// When.
    fn when(&self) -> Result<Vec<Row>> {
        let now = self.now;
        Ok(vec![
            row("expired", self.times(now - 600, now - 300), "expired", Told::Sender(ErrorCode::Expired)),
            row("expired before it was issued", self.times(now, now - 1), "expired", Told::Sender(ErrorCode::Expired)),
            row("issued in the future", self.times(now + 3600, now + 7200), "issued_in_future", SENDER),
            row("meant to live too long", self.times(now, now + MAX_LIFETIME_SECS + 1), "lifetime_too_long", SENDER),
            row("time in milliseconds", self.times(now * 1000, now * 1000 + 300), "issued_in_future", SENDER),
            row("time with a sign", self.drafted(|draft| draft.issued_at.insert(0, '+')), "malformed_header", Nobody),
            row(
                "time with a fraction",
                self.drafted(|draft| draft.expires_at.push_str(".5")),
                "malformed_header",
                Nobody,
            ),
            row(
                "time beyond all numbers",
                self.drafted(|draft| draft.expires_at = "99999999999999999999".to_owned()),
                "malformed_header",
                Nobody,
            ),
        ])
    }

    /// What.
    fn what(&self) -> Result<Vec<Row>> {
        Ok(vec![
            row("not JSON", self.body(b"{\"type\":"), "not_json", SENDER),
            row("empty body", self.body(b""), "not_json", SENDER),
            row(
                "byte-order mark",
                self.body(&[b"\xef\xbb\xbf".as_slice(), &self.template.body].concat()),
                "not_json",
                SENDER,
            ),
            row("UTF-16", self.body(&utf16(&self.template.body)), "not_json", SENDER),
            row(
                "two documents",
                self.body(&[self.template.body.as_slice(), &self.template.body].concat()),
                "not_json",
                SENDER,
            ),
            row("depth bomb of arrays", self.body("[".repeat(10_000).as_bytes()), "too_deep", SENDER),
            row("depth bomb of objects", self.body(r#"{"a":"#.repeat(10_000).as_bytes()), "too_deep", SENDER),
            row(
                "a field twice",
                self.body(br#"{"type":"session.stop","version":1,"data":{},"data":{}}"#),
                "duplicate_field",
                SENDER,
            ),
            row("not an object", self.body(b"[]"), "invalid_field", SENDER),
            row(
                "unknown type",
                self.drafted(|draft| {
                    draft.type_ = "session.explode".to_owned();
                    draft.body = br#"{"type":"session.explode","version":1,"data":{}}"#.to_vec();
                }),
                "unknown_type",
                SENDER,
            ),
            row(
                "unknown version",
                self.body(br#"{"type":"session.stop","version":2,"data":{}}"#),
                "unknown_version",
                SENDER,
            ),
            row(
                "version of another JSON type",
                self.body(br#"{"type":"session.stop","version":"1","data":{}}"#),
                "invalid_field",
                SENDER,
            ),
            row(
                "another type inside",
                self.body(br#"{"type":"session.logout","version":1,"data":{}}"#),
                "type_mismatch",
                SENDER,
            ),
            row(
                "unknown field",
                self.body(br#"{"type":"session.stop","version":1,"data":{"force":true}}"#),
                "invalid_field",
                SENDER,
            ),
            row("a field missing", self.body(br#"{"type":"session.stop","version":1}"#), "invalid_field", SENDER),
            row(
                "a phone number that is none",
                self.drafted(|draft| {
                    draft.type_ = "session.start".to_owned();
                    draft.body =
                        br#"{"type":"session.start","version":1,"data":{"pairing_phone":"1; DROP TABLE"}}"#.to_vec();
                }),
                "invalid_field",
                SENDER,
            ),
            row(
                "content type of a form",
                self.drafted(|draft| draft.content_type = "text/plain".to_owned()),
                "bad_content_type",
                Nobody,
            ),
            row("no content type", self.altered(|letter| letter.content_type = None), "missing_header", Nobody),
            row("no type", self.altered(|letter| letter.type_ = None), "missing_header", Nobody),
            row("one byte too long", self.body(&vec![b' '; MAX_BODY_BYTES + 1]), "too_large", Nobody),
            row("some MiB too long", self.body(&vec![b'x'; 4 * MAX_BODY_BYTES]), "too_large", Nobody),
            row(
                "JSON of just the longest size",
                self.body(&padded(&self.template.body, r#""force":1"#)),
                "invalid_field",
                SENDER,
            ),
        ])
    }

    /// Headers.
    fn headers(&self) -> Result<Vec<Row>> {
        Ok(vec![
            row(
                "a header as an integer",
                self.altered(|letter| letter.set_header(EXPIRES_AT_HEADER, AMQPValue::LongLongInt(1_900_000_000))),
                "header_not_text",
                Nobody,
            ),
            row(
                "a header as a table",
                self.altered(|letter| letter.set_header(SESSION_HEADER, AMQPValue::FieldTable(FieldTable::default()))),
                "header_not_text",
                Nobody,
            ),
            row(
                "a header that is not UTF-8",
                self.altered(|letter| {
                    letter.set_header(SESSION_HEADER, AMQPValue::LongString(b"s\xff\xfe".to_vec().into()))
                }),
                "header_not_text",
                Nobody,
            ),
            row(
                "a header of 10 kB",
                self.altered(|letter| letter.set_header_text(KEY_HEADER, &"k".repeat(10_000))),
                "header_too_long",
                Nobody,
            ),
            row("no session", self.altered(|letter| letter.remove_header(SESSION_HEADER)), "missing_header", Nobody),
            row(
                "no time of issue",
                self.altered(|letter| letter.remove_header(ISSUED_AT_HEADER)),
                "missing_header",
                Nobody,
            ),
            row(
                "1,500 headers more, unsigned",
                self.altered(|letter| {
                    letter.remove_header(SIGNATURE_HEADER);
                    add_junk(letter);
                }),
                "unsigned",
                Nobody,
            ),
        ])
    }

    /// Hostile names.
    fn names(&self) -> Result<Vec<Row>> {
        Ok(vec![
            row("session ../../etc", self.session("../../etc"), "bad_id", Nobody),
            row("session with a slash", self.session("a/b"), "bad_id", Nobody),
            row("session ..", self.session(".."), "bad_id", Nobody),
            row("session with a NUL", self.session("held\0"), "malformed_header", Nobody),
            row("session with a line break", self.session("held\n1795000000"), "malformed_header", Nobody),
            row("session of 10 kB", self.session(&"s".repeat(10_000)), "header_too_long", Nobody),
            row("session of 65 characters", self.session(&"s".repeat(65)), "bad_id", Nobody),
            row("session in look-alike letters", self.session("h\u{435}ld"), "bad_id", Nobody),
            row("session in full-width letters", self.session("\u{ff48}eld"), "bad_id", Nobody),
            row("session with wildcards", self.session("held.#"), "bad_id", Nobody),
            row("session with SQL", self.session("held' OR '1'='1"), "bad_id", Nobody),
            row("session auto", self.session("auto"), "misrouted", SENDER),
            row("no name for the session", self.session(""), "bad_id", Nobody),
            row("workspace 0", self.workspace("0"), "bad_id", Nobody),
            row("workspace below 0", self.workspace("-1"), "bad_id", Nobody),
            row("workspace 01", self.workspace("01"), "bad_id", Nobody),
            row("workspace as a wildcard", self.workspace("*"), "bad_id", Nobody),
            row("workspace beyond all numbers", self.workspace("18446744073709551617"), "bad_id", Nobody),
            row("command ../x", self.command_id("../x"), "bad_id", Nobody),
            row("command with a NUL", self.command_id("c\0"), "malformed_header", Nobody),
            row("command of 255 bytes", self.command_id(&"c".repeat(255)), "bad_id", Nobody),
            row("command in look-alike letters", self.command_id("\u{441}1"), "bad_id", Nobody),
            row("command without an id", self.altered(|letter| letter.message_id = None), "missing_header", Nobody),
        ])
    }

    /// Properties that would act on a broker.
    fn properties(&self) -> Result<Vec<Row>> {
        Ok(vec![
            row(
                "user, expiry and copies chosen by the sender",
                self.altered(|letter| {
                    letter.remove_header(SIGNATURE_HEADER);
                    letter.user_id = Some("wafleet".to_owned());
                    letter.expiration = Some("3600000".to_owned());
                    let copies =
                        |key: &str| AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongString(key.into())]));
                    letter.set_header("CC", copies("nowhere.urgent"));
                    letter.set_header("BCC", copies("nowhere.high"));
                }),
                "unsigned",
                Nobody,
            ),
            row(
                "the broker's own history, made up",
                self.altered(|letter| {
                    letter.remove_header(SIGNATURE_HEADER);
                    letter.set_header("x-death", AMQPValue::LongString("forged".into()));
                    letter.set_header_text(topology::REASON_HEADER, "expired");
                    letter.set_header_text(topology::WORKER_HEADER, "somebody else");
                }),
                "unsigned",
                Nobody,
            ),
        ])
    }

    /// Where.
    fn places(&self) -> Result<Vec<Row>> {
        Ok(vec![
            row(
                "a message on another session's lane",
                self.sent_to("held.urgent", &self.nobody, &self.message)?,
                "misrouted",
                SENDER,
            ),
            row(
                "another workspace's message on a lane",
                self.sent_to("held.urgent", &self.second_workspace, &self.message)?,
                "foreign_scope",
                SENDER,
            ),
            row(
                "a control command on a lane",
                self.sent_to("held.urgent", &self.held, &Command::SessionStop)?,
                "misrouted",
                SENDER,
            ),
            row(
                "a message on the control queue",
                self.sent_to("control", &self.held, &self.message)?,
                "misrouted",
                SENDER,
            ),
            row(
                "a message on a lane of nobody",
                self.sent_to("stranger.normal", &self.held, &self.message)?,
                "misrouted",
                SENDER,
            ),
            row(
                "a message on a lane that is none",
                self.sent_to("held.express", &self.held, &self.message)?,
                "misrouted",
                SENDER,
            ),
            row(
                "a control command to nobody",
                self.sent_to("nowhere", &self.nobody, &Command::SessionStop)?,
                "unknown_session",
                Told::Sender(ErrorCode::UnknownSession),
            ),
            row(
                "a message for an unknown session",
                self.sent_to("nobody.normal", &self.nobody, &self.message)?,
                "unknown_session",
                Told::Sender(ErrorCode::UnknownSession),
            ),
            row(
                "unsigned on a lane",
                self.altered(|letter| {
                    letter.remove_header(SIGNATURE_HEADER);
                    letter.routing_key = topology::lane_key(&self.held.session, Lane::Urgent);
                }),
                "unsigned",
                Nobody,
            ),
            row(
                "unsigned to nobody",
                self.altered(|letter| {
                    letter.remove_header(SIGNATURE_HEADER);
                    letter.routing_key = "nobody.high".to_owned();
                }),
                "unsigned",
                Nobody,
            ),
        ])
    }

    /// Again, but not the same.
    fn again(&self) -> Result<Vec<Row>> {
        Ok(vec![
            row(
                "the id of an earlier command with another body",
                self.drafted(|draft| {
                    draft.message_id = self.first.message_id.clone().unwrap_or_default();
                    draft.type_ = "session.start".to_owned();
                    draft.body =
                        br#"{"type":"session.start","version":1,"data":{"pairing_phone":"4915112345678"}}"#.to_vec();
                }),
                "body_changed",
                Told::Sender(ErrorCode::BodyChanged),
            ),
            row(
                "the id and the body of an earlier command for another session",
                self.drafted(|draft| {
                    draft.message_id = self.first.message_id.clone().unwrap_or_default();
                    draft.type_ = "session.start".to_owned();
                    draft.session = "other".to_owned();
                    draft.body.clone_from(&self.first.body);
                }),
                "body_changed",
                Told::Sender(ErrorCode::BodyChanged),
            ),
        ])
    }

    fn key(&self, id: &str) -> Result<&SigningKey> {
        self.keyring.get(id).with_context(|| format!("no key {id}"))
    }

    /// The template under an id of its own.
    fn fresh(&self) -> Draft {
        let id = new_command_id().expect("a new id has the form of one");
        Draft { message_id: id.to_string(), ..self.template.clone() }
    }

    fn signed_by(&self, key: &str) -> Result<Letter> {
        Ok(self.fresh().sign(self.key(key)?))
    }

    /// Wrong before it is signed, by somebody who holds the key.
    fn drafted(&self, change: impl FnOnce(&mut Draft)) -> Letter {
        let mut draft = self.fresh();
        change(&mut draft);
        draft.sign(self.host_key)
    }

    /// Changed after it was signed, by somebody who does not.
    fn altered(&self, change: impl FnOnce(&mut Letter)) -> Letter {
        let mut letter = self.fresh().sign(self.host_key);
        change(&mut letter);
        letter
    }

    fn signature(&self, text: &str) -> Letter {
        self.altered(|letter| letter.set_header_text(SIGNATURE_HEADER, text))
    }

    fn body(&self, body: &[u8]) -> Letter {
        self.drafted(|draft| draft.body = body.to_vec())
    }

    fn session(&self, text: &str) -> Letter {
        self.drafted(|draft| draft.session = text.to_owned())
    }

    fn workspace(&self, text: &str) -> Letter {
        self.drafted(|draft| draft.workspace = text.to_owned())
    }

    fn command_id(&self, text: &str) -> Letter {
        self.drafted(|draft| draft.message_id = text.to_owned())
    }

    fn times(&self, issued_at: u64, expires_at: u64) -> Letter {
        self.drafted(|draft| (draft.issued_at, draft.expires_at) = (issued_at.to_string(), expires_at.to_string()))
    }

    /// Without a fault but for where it is sent.
    fn sent_to(&self, routing_key: &str, target: &Target, command: &Command) -> Result<Letter> {
        let draft = Draft::new(target, command)?;
        Ok(Draft { routing_key: routing_key.to_owned(), ..draft }.sign(self.host_key))
    }
}

/// A key that says it is the host application's.
fn impostor() -> Result<SigningKey> {
    let secret = Secret::from_bytes(vec![0x5a; Secret::MIN_BYTES])?;
    Ok(SigningKey::new(HOST_KEY.parse()?, Role::Commands, secret, Scope::All, None))
}

fn add_junk(letter: &mut Letter) {
    for n in 0..1500 {
        letter.set_header_text(&format!("x-wa-junk-{n}"), "ten bytes.");
    }
}

/// A header of a letter that is text.
pub(super) fn header_text(letter: &Letter, name: &str) -> Result<String> {
    match letter.headers.iter().find(|(found, _)| found == name) {
        Some((_, AMQPValue::LongString(text))) => Ok(String::from_utf8(text.as_bytes().to_vec())?),
        other => bail!("{name} is {other:?}"),
    }
}

fn utf16(body: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(body).encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A body of just the longest size, with a field that is not known.
fn padded(body: &[u8], field: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(body).replacen("\"data\":{}", &format!("\"data\":{{{field}}}"), 1);
    format!("{text}{}", " ".repeat(MAX_BODY_BYTES - text.len())).into_bytes()
}
