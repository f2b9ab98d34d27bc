//! Whatever the body: no panic, and what is accepted is written and read back as the same command.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wafleet_protocol::command::{Command, CommandBody};

fuzz_target!(|body: &[u8]| {
    for type_ in Command::TYPE_NAMES {
        if let Ok((command, metadata)) = Command::parse(type_, body) {
            let written = CommandBody::new(&command, metadata.as_ref()).to_bytes();
            assert_eq!(Command::parse(type_, &written), Ok((command, metadata)));
        }
    }
});
