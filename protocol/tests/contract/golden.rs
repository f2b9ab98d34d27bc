//! What we wrote last year still parses, and what we write has not drifted.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use wafleet_protocol::command::{Command, CommandBody};
use wafleet_protocol::event::{Envelope, Event};
use wafleet_protocol::rejection::Rejection;

use crate::samples;
use crate::{check_file, crate_path, file_names};

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("samples serialise") + "\n"
}

fn type_of(text: &str) -> String {
    let body: Value = serde_json::from_str(text).expect("a golden file holds JSON");
    body["type"].as_str().expect("a golden file names its type").to_owned()
}

#[test]
fn commands_are_written_as_recorded() {
    for (name, command, metadata) in samples::commands() {
        check_file(
            &format!("tests/golden/command/{name}.json"),
            &pretty(&CommandBody::new(&command, metadata.as_ref())),
        );
    }
}

#[test]
fn events_are_written_as_recorded() {
    for (name, envelope) in samples::events() {
        check_file(&format!("tests/golden/event/{name}.json"), &pretty(&envelope));
    }
}

#[test]
fn recorded_commands_parse_and_are_written_back_byte_for_byte() {
    let mut types = BTreeSet::new();
    for name in file_names("tests/golden/command") {
        let text = fs::read_to_string(crate_path(&format!("tests/golden/command/{name}"))).expect("just listed");
        let (command, metadata) =
            Command::parse(&type_of(&text), text.as_bytes()).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(pretty(&CommandBody::new(&command, metadata.as_ref())), text, "{name}");
        types.insert(command.type_name());
    }
    assert_eq!(types, BTreeSet::from(Command::TYPE_NAMES), "every type has a golden file");
}

#[test]
fn recorded_events_parse_and_are_written_back_byte_for_byte() {
    let mut types = BTreeSet::new();
    for name in file_names("tests/golden/event") {
        let text = fs::read_to_string(crate_path(&format!("tests/golden/event/{name}"))).expect("just listed");
        let envelope =
            Envelope::parse(&type_of(&text), text.as_bytes()).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(pretty(&envelope), text, "{name}");
        types.insert(envelope.event.type_name());
    }
    assert_eq!(types, BTreeSet::from(Event::TYPE_NAMES), "every type has a golden file");
}

#[test]
fn samples_survive_the_wire_unchanged() {
    for (name, command, metadata) in samples::commands() {
        let body = CommandBody::new(&command, metadata.as_ref()).to_bytes();
        assert_eq!(Command::parse(command.type_name(), &body), Ok((command, metadata)), "{name}");
    }
    for (name, envelope) in samples::events() {
        let body = envelope.to_bytes();
        assert_eq!(Envelope::parse(envelope.event.type_name(), &body), Ok(envelope), "{name}");
    }
}

#[test]
fn debug_output_shows_nothing_personal() {
    let mut output = String::new();
    for (_, command, metadata) in samples::commands() {
        output += &format!("{command:?} {metadata:?} {:?}", CommandBody::new(&command, metadata.as_ref()));
    }
    for (_, envelope) in samples::events() {
        output += &format!("{envelope:?}");
    }
    let personal =
        ["4915112345678", "4915187654321", "@c.us", "@g.us", "@lid", "Grüße", "Hallo", "kommt", "Anna", "Bernd"];
    let secret = ["2@AbCdEf", "ABCD1234", "order-4711", "tags", ":1.0"];
    for canary in personal.iter().chain(&secret) {
        assert!(!output.contains(canary), "{canary} shows in {output}");
    }
}

#[test]
fn the_readme_explains_every_reason_and_shows_the_published_php() {
    let readme = fs::read_to_string(crate_path("README.md")).expect("the front page");
    for reason in Rejection::REASONS {
        assert!(readme.contains(&format!("\n| `{reason}` | ")), "{reason}");
    }
    let php = fs::read_to_string(crate_path("vectors/sign.php")).expect("published");
    let (_, function) = php.split_once("\nfunction ").expect("one function");
    assert!(readme.contains(&format!("\nfunction {}", function.trim_end())), "the README shows another function");
}
