//! The published vectors for bodies: what the parser of commands refuses although the signature is good, and why.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wafleet_protocol::command::Command;
use wafleet_protocol::rejection::Rejection;

use crate::check_file;

const FILE: &str = "vectors/bodies.json";

/// A body in pieces, each to be repeated, so that a bomb fits on a line.
#[derive(Clone)]
struct Body(Vec<(Vec<u8>, usize)>);

impl Body {
    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(piece, times)| piece.repeat(*times)).collect()
    }

    fn to_json(&self) -> Value {
        let piece = |(piece, times): &(Vec<u8>, usize)| match std::str::from_utf8(piece) {
            Ok(text) => json!({ "text": text, "times": times }),
            Err(_) => json!({ "base64": STANDARD.encode(piece), "times": times }),
        };
        self.0.iter().map(piece).collect()
    }
}

struct Case {
    name: &'static str,
    type_: &'static str,
    body: Body,
    reason: &'static str,
    path: Option<&'static str>,
}

fn case(name: &'static str, type_: &'static str, body: Body, reason: &'static str) -> Case {
    Case { name, type_, body, reason, path: None }
}

fn text(text: &str) -> Body {
    Body(vec![(text.as_bytes().to_vec(), 1)])
}

fn nested(open: &str, close: &str, times: usize) -> Body {
    Body(vec![
        (br#"{"type":"session.stop","version":1,"data":"#.to_vec(), 1),
        (open.as_bytes().to_vec(), times),
        (b"1".to_vec(), 1),
        (close.as_bytes().to_vec(), times),
        (b"}".to_vec(), 1),
    ])
}

/// The body of a `message.send` with this data.
fn send(data: &str) -> Body {
    text(&format!(r#"{{"type":"message.send","version":1,"data":{data}}}"#))
}

/// A field of a body, refused.
fn field(name: &'static str, type_: &'static str, body: Body, path: &'static str) -> Case {
    Case { path: Some(path), ..case(name, type_, body, "invalid_field") }
}

fn malformed() -> Vec<Case> {
    let stop = |body| move |name, reason| case(name, "session.stop", body, reason);
    vec![
        stop(text(""))("an empty body", "not_json"),
        stop(text("   "))("only space", "not_json"),
        stop(text("{"))("cut off", "not_json"),
        stop(text("{} {}"))("two documents", "not_json"),
        stop(text("{\"type\":\"session.stop\",}"))("a trailing comma", "not_json"),
        stop(text("{'type':'session.stop'}"))("single quotes", "not_json"),
        stop(text("\u{feff}{\"type\":\"session.stop\",\"version\":1,\"data\":{}}"))("a byte-order mark", "not_json"),
        stop(Body(vec![(vec![0xff, 0xfe, b'{', 0, b'}', 0], 1)]))("UTF-16", "not_json"),
        stop(Body(vec![(b"{\"a\":\"\xc3\x28\"}".to_vec(), 1)]))("broken UTF-8", "not_json"),
        stop(Body(vec![(b"{\"a\":\"\xed\xa0\x80\"}".to_vec(), 1)]))("half a surrogate pair in UTF-8", "not_json"),
        stop(text(r#"{"a":"\ud800"}"#))("half a surrogate pair, escaped", "not_json"),
        stop(text(r#"{"a":"\udc00\ud800"}"#))("a surrogate pair the wrong way round", "not_json"),
        stop(text(r#"{"a":NaN}"#))("NaN", "not_json"),
        stop(text(r#"{"a":-Infinity}"#))("infinity", "not_json"),
        stop(text(r#"{"a":1e999}"#))("a number beyond all bounds", "not_json"),
        stop(text(r#"{"a":01}"#))("a leading zero", "not_json"),
        stop(text("{\"a\":\"\n\"}"))("a raw line break in a string", "not_json"),
        stop(Body(vec![(vec![0], 1)]))("a NUL byte", "not_json"),
        stop(Body(vec![(b" ".to_vec(), (1 << 20) + 1)]))("one byte too long", "too_large"),
        stop(nested("[", "]", 32))("33 levels", "too_deep"),
        stop(nested("{\"a\":", "}", 32))("33 levels of objects", "too_deep"),
        stop(nested("[", "]", 10_000))("10,000 levels", "too_deep"),
        stop(Body(vec![(b"[".to_vec(), 1 << 20)]))("a million open brackets", "too_deep"),
        stop(text(r#"{"type":"session.stop","type":"session.logout","version":1,"data":{}}"#))(
            "a field twice",
            "duplicate_field",
        ),
        stop(text(r#"{"type":"session.stop","version":1,"data":{},"d\u0061ta":{}}"#))(
            "a field twice, once escaped",
            "duplicate_field",
        ),
        case(
            "a field twice, deep inside",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"metadata":{"a":[{"b":1,"b":2}]},"data":{}}"#),
            "duplicate_field",
        ),
    ]
}

fn mistyped() -> Vec<Case> {
    vec![
        case(
            "the body says another type",
            "session.stop",
            text(r#"{"type":"session.logout","version":1,"data":{}}"#),
            "type_mismatch",
        ),
        case(
            "no such type",
            "session.explode",
            text(r#"{"type":"session.explode","version":1,"data":{}}"#),
            "unknown_type",
        ),
        case(
            "a type in other letters",
            "Session.Stop",
            text(r#"{"type":"Session.Stop","version":1,"data":{}}"#),
            "unknown_type",
        ),
        case(
            "a later version",
            "session.stop",
            text(r#"{"type":"session.stop","version":2,"data":{}}"#),
            "unknown_version",
        ),
        case("version 0", "session.stop", text(r#"{"type":"session.stop","version":0,"data":{}}"#), "unknown_version"),
        field("not an object", "session.stop", text("[1]"), "body"),
        field("an empty list", "session.stop", text("[]"), "type"),
        field("a number", "session.stop", text("7"), "body"),
        field("no type", "session.stop", text(r#"{"version":1,"data":{}}"#), "type"),
        field("a type that is no text", "session.stop", text(r#"{"type":7,"version":1,"data":{}}"#), "type"),
        field("no version", "session.stop", text(r#"{"type":"session.stop","data":{}}"#), "version"),
        field(
            "a version as text",
            "session.stop",
            text(r#"{"type":"session.stop","version":"1","data":{}}"#),
            "version",
        ),
        field(
            "a version as a fraction",
            "session.stop",
            text(r#"{"type":"session.stop","version":1.5,"data":{}}"#),
            "version",
        ),
        field("no data", "session.stop", text(r#"{"type":"session.stop","version":1}"#), "data"),
        field("data as null", "session.stop", text(r#"{"type":"session.stop","version":1,"data":null}"#), "data"),
        field("data as text", "session.stop", text(r#"{"type":"session.stop","version":1,"data":"{}"}"#), "data"),
        field("data as a list", "session.stop", text(r#"{"type":"session.stop","version":1,"data":[{}]}"#), "data"),
        field(
            "an unknown field",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"data":{},"retries":3}"#),
            "retries",
        ),
        field(
            "an unknown field of data",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"data":{"force":true}}"#),
            "data.force",
        ),
        field(
            "a field with a hostile name",
            "session.stop",
            text("{\"type\":\"session.stop\",\"version\":1,\"data\":{\"\\u001b[2J\\n\":1}}"),
            "data.?",
        ),
        field(
            "metadata as text",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"metadata":"x","data":{}}"#),
            "metadata",
        ),
        field(
            "metadata as a list",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"metadata":[1],"data":{}}"#),
            "metadata",
        ),
        field(
            "metadata over 8 KiB",
            "session.stop",
            Body(vec![
                (br#"{"type":"session.stop","version":1,"metadata":{"a":""#.to_vec(), 1),
                (b"x".to_vec(), 8192),
                (br#""},"data":{}}"#.to_vec(), 1),
            ]),
            "metadata",
        ),
        field(
            "U+0000 in metadata",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"metadata":{"a":["\u0000"]},"data":{}}"#),
            "metadata.a[0]",
        ),
        field(
            "U+0000 in a name",
            "session.stop",
            text(r#"{"type":"session.stop","version":1,"metadata":{"\u0000":1},"data":{}}"#),
            "metadata.?",
        ),
    ]
}

fn misfilled() -> Vec<Case> {
    let to = |to: &str| send(&format!(r#"{{"to":{to},"kind":"text","text":"x"}}"#));
    let refused_to = |name, value| field(name, "message.send", to(value), "data.to");
    vec![
        refused_to("a recipient as a number", "4915112345678"),
        refused_to("an empty recipient", r#""""#),
        refused_to("a recipient with a plus", r#""+4915112345678""#),
        refused_to("a recipient with spaces", r#""49 151 12345678""#),
        refused_to("a recipient that begins with 0", r#""015112345678""#),
        refused_to("a recipient that is too short", r#""1234""#),
        refused_to("a recipient that is too long", r#""1234567890123456""#),
        refused_to("a recipient in other digits", r#""٤٩١٥١١٢٣٤٥٦٧٨""#),
        refused_to("a recipient on another server", r#""4915112345678@s.whatsapp.net""#),
        refused_to("a recipient with a device", r#""4915112345678:3@c.us""#),
        refused_to("everybody's status", r#""status@broadcast""#),
        refused_to("a list of recipients", r#"["4915112345678"]"#),
        field("no recipient", "message.send", send(r#"{"kind":"text","text":"x"}"#), "data.to"),
        field("data as an empty list where something is needed", "message.send", send("[]"), "data.to"),
        field("no kind", "message.send", send(r#"{"to":"4915112345678","text":"x"}"#), "data.kind"),
        field(
            "an unknown kind",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"telegram","text":"x"}"#),
            "data.kind",
        ),
        field("no text", "message.send", send(r#"{"to":"4915112345678","kind":"text"}"#), "data.text"),
        field("an empty text", "message.send", send(r#"{"to":"4915112345678","kind":"text","text":""}"#), "data.text"),
        field(
            "a text as a number",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"text","text":7}"#),
            "data.text",
        ),
        field(
            "U+0000 in a text",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"text","text":"a\u0000b"}"#),
            "data.text",
        ),
        field(
            "a text too long",
            "message.send",
            Body(vec![
                (
                    br#"{"type":"message.send","version":1,"data":{"to":"4915112345678","kind":"text","text":""#
                        .to_vec(),
                    1,
                ),
                ("ü".as_bytes().to_vec(), 65_537),
                (br#""}}"#.to_vec(), 1),
            ]),
            "data.text",
        ),
        field(
            "a misspelt optional field",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"text","text":"x","referense":"r"}"#),
            "data.referense",
        ),
        field(
            "an empty reference",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"text","text":"x","reference":""}"#),
            "data.reference",
        ),
        field(
            "a line break in a reference",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"text","text":"x","reference":"a\nb"}"#),
            "data.reference",
        ),
        field(
            "a reference as a number",
            "message.send",
            send(r#"{"to":"4915112345678","kind":"text","text":"x","reference":7}"#),
            "data.reference",
        ),
        field(
            "no phone to link",
            "session.link_code",
            text(r#"{"type":"session.link_code","version":1,"data":{}}"#),
            "data.phone",
        ),
        field(
            "a chat where a phone is needed",
            "session.link_code",
            text(r#"{"type":"session.link_code","version":1,"data":{"phone":"4915112345678@c.us"}}"#),
            "data.phone",
        ),
        field(
            "a worker with a blank in its name",
            "session.move",
            text(r#"{"type":"session.move","version":1,"data":{"to":"worker 2"}}"#),
            "data.to",
        ),
        field(
            "a limit of nothing at all",
            "session.limits",
            text(r#"{"type":"session.limits","version":1,"data":{"per_minute":0}}"#),
            "data.per_minute",
        ),
        field(
            "a limit as text",
            "session.limits",
            text(r#"{"type":"session.limits","version":1,"data":{"per_day":"100"}}"#),
            "data.per_day",
        ),
        field(
            "a misspelt limit",
            "session.limits",
            text(r#"{"type":"session.limits","version":1,"data":{"per_minutes":10}}"#),
            "data.per_minutes",
        ),
        field(
            "calls that are neither rejected nor rung",
            "session.settings",
            text(r#"{"type":"session.settings","version":1,"data":{"calls":"mute"}}"#),
            "data.calls",
        ),
        field(
            "settings without any",
            "session.settings",
            text(r#"{"type":"session.settings","version":1,"data":{}}"#),
            "data.calls",
        ),
        field(
            "a pairing phone as a number",
            "session.start",
            text(r#"{"type":"session.start","version":1,"data":{"pairing_phone":4915112345678}}"#),
            "data.pairing_phone",
        ),
    ]
}

/// Kinds of messages, each with something wrong.
fn misfilled_kinds() -> Vec<Case> {
    let of = |kind: &str, rest: &str| send(&format!(r#"{{"to":"4915112345678","kind":"{kind}"{rest}}}"#));
    let refused = |name, kind: &str, rest: &str, path| field(name, "message.send", of(kind, rest), path);
    let many = |count: usize| vec![r#""4915112345678""#; count].join(",");
    vec![
        refused("a text above no buttons", "buttons", r#","text":"x""#, "data.buttons"),
        refused("a list of nothing", "list", r#","text":"x","button":"y""#, "data.sections"),
        refused(
            "a mention of a group",
            "text",
            r#","text":"x","mentions":["120363012345678901@g.us"]"#,
            "data.mentions",
        ),
        refused(
            "a mention of nobody",
            "text",
            r#","text":"x","mentions":["4915112345678","Bert"]"#,
            "data.mentions[1]",
        ),
        refused("mentions as a text", "text", r#","text":"x","mentions":"4915112345678""#, "data.mentions"),
        refused(
            "more mentions than a group has members",
            "text",
            &format!(r#","text":"x","mentions":[{}]"#, many(1_025)),
            "data.mentions",
        ),
        refused("a preview of something", "text", r#","text":"x","link_preview":"yes""#, "data.link_preview"),
        refused(
            "an answer to an id alone",
            "text",
            r#","text":"x","reply_to":"3EB009448147C432ACD440""#,
            "data.reply_to",
        ),
        refused("a picture without a file", "image", "", "data.url"),
        refused(
            "a picture from two places",
            "image",
            r#","url":"https://example.com/a.jpg","object":"media/7/a.jpg""#,
            "data.url",
        ),
        refused("a picture from the disk", "image", r#","url":"file:///etc/passwd""#, "data.url"),
        refused("a picture with a password", "image", r#","url":"https://u:p@example.com/a.jpg""#, "data.url"),
        refused("a saved profile as a file", "document", r#","object":"profiles/7/shop/1.wasnap""#, "data.object"),
        refused("a way out of the workspace", "document", r#","object":"media/7/../8/a""#, "data.object"),
        refused("a file that is no base64", "sticker", r#","inline":"%%%""#, "data.inline"),
        refused(
            "a caption that nobody sees",
            "voice",
            r#","url":"https://example.com/a.ogg","caption":"x""#,
            "data.caption",
        ),
        refused(
            "a name with a directory",
            "document",
            r#","url":"https://example.com/a","filename":"../a""#,
            "data.filename",
        ),
        refused("a type that is none", "image", r#","url":"https://example.com/a","mime":"jpeg""#, "data.mime"),
        refused("no latitude", "location", r#","longitude":1"#, "data.latitude"),
        refused("a latitude beyond the pole", "location", r#","latitude":90.1,"longitude":1"#, "data.latitude"),
        refused("a longitude as a text", "location", r#","latitude":1,"longitude":"1""#, "data.longitude"),
        refused(
            "a place that opens a script",
            "location",
            r#","latitude":1,"longitude":1,"url":"javascript:x""#,
            "data.url",
        ),
        refused("a place on two lines", "location", r#","latitude":1,"longitude":1,"name":"a\nb""#, "data.name"),
        refused("no cards", "contact", r#","contacts":[]"#, "data.contacts"),
        refused("a card as a text", "contact", r#","contacts":["Anna"]"#, "data.contacts[0]"),
        refused("a card without a number", "contact", r#","contacts":[{"name":"Anna"}]"#, "data.contacts[0].phone"),
        refused(
            "a card with a number and a vCard",
            "contact",
            r#","contacts":[{"name":"A","phone":"4915112345678"},{"name":"B","phone":"4915112345678","vcard":"BEGIN:VCARD\nEND:VCARD"}]"#,
            "data.contacts[1].phone",
        ),
        refused(
            "a vCard that is none",
            "contact",
            r#","contacts":[{"name":"A","vcard":"VERSION:3.0"}]"#,
            "data.contacts[0].vcard",
        ),
        refused(
            "a card with too much",
            "contact",
            r#","contacts":[{"name":"A","phone":"4915112345678","fax":"1"}]"#,
            "data.contacts[0].fax",
        ),
        refused("a question without answers", "poll", r#","question":"x""#, "data.options"),
        refused("a question with one answer", "poll", r#","question":"x","options":["a"]"#, "data.options"),
        refused("the same answer twice", "poll", r#","question":"x","options":["a","a"]"#, "data.options"),
        refused("an empty answer", "poll", r#","question":"x","options":["a",""]"#, "data.options[1]"),
        refused("nothing to pass on", "forward", "", "data.message"),
        refused(
            "an answer that is passed on",
            "forward",
            r#","message":"true_1@lid_AA","reply_to":"true_1@lid_AA""#,
            "data.reply_to",
        ),
    ]
}

/// What a session is asked besides sending, each with something wrong.
fn misfilled_actions() -> Vec<Case> {
    let refused = |name, type_: &'static str, data: &str, path| {
        field(name, type_, text(&format!(r#"{{"type":"{type_}","version":1,"data":{data}}}"#)), path)
    };
    vec![
        refused("a reaction to nothing", "message.react", r#"{"emoji":"x"}"#, "data.message"),
        refused(
            "an essay as a reaction",
            "message.react",
            &format!(r#"{{"message":"true_1@lid_A","emoji":"{}"}}"#, "x".repeat(33)),
            "data.emoji",
        ),
        refused("another's words changed", "message.edit", r#"{"message":"false_1@lid_A","text":"x"}"#, "data.message"),
        refused("words taken away", "message.edit", r#"{"message":"true_1@lid_A","text":""}"#, "data.text"),
        refused("a star as a number", "message.star", r#"{"message":"true_1@lid_A","star":1}"#, "data.star"),
        refused("typing to nobody", "chat.typing", "{}", "data.chat"),
        refused("quiet until some day", "chat.mute", r#"{"chat":"4915112345678","until":"tomorrow"}"#, "data.until"),
        refused(
            "noise until some day",
            "chat.mute",
            r#"{"chat":"4915112345678","mute":false,"until":"2026-11-18T11:06:40Z"}"#,
            "data.until",
        ),
        refused("present or not", "presence.set", "{}", "data.available"),
        refused("a group as a person", "contact.check", r#"{"contact":"120363012345678901@g.us"}"#, "data.contact"),
        refused("a page of nothing", "chat.list", r#"{"limit":0}"#, "data.limit"),
        refused("a page of everything", "contact.list", r#"{"limit":101}"#, "data.limit"),
        refused(
            "a history that goes on anywhere",
            "chat.history",
            r#"{"chat":"4915112345678","cursor":"x"}"#,
            "data.cursor",
        ),
        refused(
            "nobody to add",
            "group.participants",
            r#"{"group":"120363012345678901@g.us","change":"add"}"#,
            "data.participants",
        ),
        refused(
            "people blessed",
            "group.participants",
            r#"{"group":"120363012345678901@g.us","change":"bless","participants":["4915112345678"]}"#,
            "data.change",
        ),
        refused(
            "a group in a group",
            "group.participants",
            r#"{"group":"120363012345678901@g.us","change":"add","participants":["120363012345678902@g.us"]}"#,
            "data.participants",
        ),
        refused("a group of nobody", "group.create", r#"{"subject":"x","participants":[]}"#, "data.participants"),
        refused("a group without name", "group.create", r#"{"participants":["4915112345678"]}"#, "data.subject"),
        refused("a link to a person", "group.invite", r#"{"group":"4915112345678"}"#, "data.group"),
        refused(
            "pinned for ever",
            "message.pin",
            r#"{"message":"true_987654321098765@lid_3EB009448147C432ACD440","duration":"99d"}"#,
            "data.duration",
        ),
        refused(
            "an answer of last week",
            "contact.check",
            r#"{"contact":"4915112345678","max_age":604800}"#,
            "data.max_age",
        ),
        refused("a call without id", "call.reject", r"{}", "data.call"),
        refused(
            "messages that disappear in an hour",
            "group.settings",
            r#"{"group":"120363012345678901@g.us","ephemeral":3600}"#,
            "data.ephemeral",
        ),
        refused(
            "a picture that is there and not",
            "group.picture",
            r#"{"group":"120363012345678901@g.us","url":"https://shop.example.com/logo.png","remove":true}"#,
            "data.url",
        ),
        refused("no picture", "group.picture", r#"{"group":"120363012345678901@g.us"}"#, "data.url"),
        refused(
            "a picture that stays",
            "group.picture",
            r#"{"group":"120363012345678901@g.us","remove":false}"#,
            "data.remove",
        ),
        refused("nothing to set", "group.settings", r#"{"group":"120363012345678901@g.us"}"#, "data.subject"),
        refused("a person to leave", "group.leave", r#"{"group":"4915112345678"}"#, "data.group"),
        refused("a sync of no chats", "session.sync", r#"{"chats":0}"#, "data.chats"),
        refused("a sync of all days by a word", "session.sync", r#"{"days":"all"}"#, "data.days"),
        refused("a person as a group", "group.info", r#"{"group":"4915112345678"}"#, "data.group"),
    ]
}

fn cases() -> Vec<Case> {
    malformed()
        .into_iter()
        .chain(mistyped())
        .chain(misfilled())
        .chain(misfilled_kinds())
        .chain(misfilled_actions())
        .collect()
}

#[test]
fn every_body_is_refused_for_the_recorded_reason() {
    for case in cases() {
        let refusal = Command::parse(case.type_, &case.body.bytes()).expect_err(case.name);
        assert_eq!(refusal.reason(), case.reason, "{}", case.name);
        if let Some(expected) = case.path {
            let Rejection::InvalidField { path, .. } = &refusal else { panic!("{}: {refusal:?}", case.name) };
            assert_eq!(path, expected, "{}", case.name);
        }
    }
}

#[test]
fn every_reason_that_a_body_can_give_has_a_vector() {
    let recorded: BTreeSet<_> = cases().iter().map(|case| case.reason).collect();
    let expected = BTreeSet::from([
        "too_large",
        "not_json",
        "too_deep",
        "duplicate_field",
        "unknown_type",
        "unknown_version",
        "type_mismatch",
        "invalid_field",
    ]);
    assert_eq!(recorded, expected);
}

#[test]
fn a_refusal_repeats_nothing_of_the_body() {
    let canary = "Zwiebelkuchen";
    for body in [
        format!(r#"{{"type":"message.send","version":1,"data":{{"to":"{canary}","kind":"text","text":"x"}}}}"#),
        format!(r#"{{"type":"message.send","version":1,"data":{{"to":"49151","kind":"{canary}","text":"x"}}}}"#),
        format!(r#"{{"type":"message.send","version":1,"data":{{"to":"49151","kind":"text","text":["{canary}"]}}}}"#),
        format!(
            r#"{{"type":"message.send","version":1,"data":{{"to":"49151","kind":"text","text":"{canary}\u0000"}}}}"#
        ),
        format!(r#"{{"type":"{canary}","version":1,"data":{{}}}}"#),
        format!(r#"{{"type":"message.send","version":"{canary}","data":{{}}}}"#),
        format!(r#"{{"type":"message.send","version":1,"data":"{canary}"}}"#),
        format!(r#"{{"type":"message.send","version":1,"data":{{"{canary} 49151":1}}}}"#),
        format!(r#"{{"type" {canary}"#),
    ] {
        let refusal = Command::parse("message.send", body.as_bytes()).expect_err("refused");
        assert!(!format!("{refusal} {refusal:?}").contains(canary), "{refusal:?}");
    }
}

#[test]
fn vectors_are_as_published() {
    let cases = cases().into_iter().map(|case| {
        let mut json =
            json!({ "name": case.name, "type": case.type_, "body": case.body.to_json(), "reason": case.reason });
        if let Some(path) = case.path {
            json["path"] = path.into();
        }
        json
    });
    let document = json!({
        "about": "Bodies of commands that are refused although their signature is good. A body is the concatenation of its pieces, each repeated.",
        "refused": cases.collect::<Vec<_>>(),
    });
    check_file(FILE, &(serde_json::to_string_pretty(&document).expect("JSON") + "\n"));
}
