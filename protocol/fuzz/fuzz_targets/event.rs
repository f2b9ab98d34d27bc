//! Whatever the body: no panic, and what is accepted is written and read back as the same event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wafleet_protocol::event::{Envelope, Event};

fuzz_target!(|body: &[u8]| {
    for type_ in Event::TYPE_NAMES {
        if let Ok(envelope) = Envelope::parse(type_, body) {
            assert_eq!(Envelope::parse(type_, &envelope.to_bytes()), Ok(envelope));
        }
    }
});
