//! The published JSON Schemas: made from the types, true of what we write, and of one mind with the parser.

use std::cell::Cell;
use std::collections::BTreeSet;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use wafleet_protocol::command::{Command, CommandBody};
use wafleet_protocol::event::{Envelope, Event};
use wafleet_protocol::schema;

use crate::samples;
use crate::{check_file, file_names};

fn validator(path: &str) -> Validator {
    let document = schema::documents().into_iter().find(|document| document.path == path);
    let document = document.unwrap_or_else(|| panic!("no schema {path}"));
    jsonschema::validator_for(&document.schema).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn command_body(command: &Command, metadata: Option<&wafleet_protocol::metadata::Metadata>) -> Value {
    serde_json::from_slice(&CommandBody::new(command, metadata).to_bytes()).expect("we write JSON")
}

fn event_body(envelope: &Envelope) -> Value {
    serde_json::from_slice(&envelope.to_bytes()).expect("we write JSON")
}

#[test]
fn schemas_are_as_published() {
    let mut published = BTreeSet::new();
    for document in schema::documents() {
        let text = serde_json::to_string_pretty(&document.schema).expect("a schema is JSON") + "\n";
        check_file(&format!("schemas/{}", document.path), &text);
        published.insert(document.path);
    }
    let files = |directory: &str| {
        let names = file_names(&format!("schemas/{directory}"));
        names.into_iter().map(|name| format!("{directory}/{name}")).collect::<Vec<_>>()
    };
    let found: BTreeSet<_> = files("command").into_iter().chain(files("event")).collect();
    assert_eq!(found, published, "every file is a schema of today");
    let commands = Command::TYPE_NAMES.map(|type_| format!("command/{type_}.v1.json"));
    let events = Event::TYPE_NAMES.map(|type_| format!("event/{type_}.v1.json"));
    assert_eq!(published, commands.into_iter().chain(events).collect(), "every type has a schema");
}

#[test]
fn what_we_write_fits_its_schema() {
    for (name, command, metadata) in samples::commands() {
        let body = command_body(&command, metadata.as_ref());
        let validator = validator(&format!("command/{}.v1.json", command.type_name()));
        assert!(validator.is_valid(&body), "{name}: {:?}", validator.iter_errors(&body).collect::<Vec<_>>());
    }
    for (name, envelope) in samples::events() {
        let body = event_body(&envelope);
        let validator = validator(&format!("event/{}.v1.json", envelope.event.type_name()));
        assert!(validator.is_valid(&body), "{name}: {:?}", validator.iter_errors(&body).collect::<Vec<_>>());
    }
}

/// Values that a field might wrongly hold, and a few that it might rightly hold.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!({ "unheard": "of" })),
        Just(json!([1])),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!(1)),
        Just(json!(1.5)),
        "[a-z]{0,3}".prop_map(Value::from),
        Just(json!("text")),
        Just(json!("4915112345678")),
        Just(json!("4915112345678@c.us")),
        Just(json!("49151@lid")),
        Just(json!("120363012345678901@g.us")),
        Just(json!("12345-67890@g.us")),
        Just(json!("a".repeat(255))),
        Just(json!("ü".repeat(256))),
    ]
}

/// One field of a body, or of its data, removed, replaced or added.
fn mutate(body: &mut Value, pick: usize, value: Option<Value>) {
    let in_body = ["version", "metadata", "data", "extra"];
    let in_data = ["to", "kind", "text", "reference", "phone", "pairing_phone", "extra"];
    let pick = pick % (in_body.len() + in_data.len());
    let (object, name) = match in_body.get(pick) {
        Some(name) => (body.as_object_mut(), *name),
        None => (body["data"].as_object_mut(), in_data[pick - in_body.len()]),
    };
    let Some(object) = object else { return };
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
}

#[test]
fn parser_and_schema_accept_the_same_commands() {
    let samples: Vec<_> = samples::commands()
        .into_iter()
        .map(|(_, command, metadata)| {
            let type_ = command.type_name();
            (type_, command_body(&command, metadata.as_ref()), validator(&format!("command/{type_}.v1.json")))
        })
        .collect();
    let mutations = prop::collection::vec((any::<usize>(), prop::option::weighted(0.8, any_value())), 0..3);
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let cases = (any::<prop::sample::Index>(), mutations);
    let outcome = runner.run(&cases, |(index, mutations)| {
        let (type_, body, validator) = index.get(&samples);
        let mut body = body.clone();
        for (pick, value) in mutations {
            mutate(&mut body, pick, value);
        }
        let parsed = Command::parse(type_, body.to_string().as_bytes());
        prop_assert_eq!(parsed.is_ok(), validator.is_valid(&body), "{} {:?}", body, parsed);
        let side = if parsed.is_ok() { &accepted } else { &refused };
        side.set(side.get() + 1);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (accepted, refused) = (accepted.get(), refused.get());
    assert!(accepted > 100 && refused > 100, "both sides were tried: {accepted} accepted, {refused} refused");
}
