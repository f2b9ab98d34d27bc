//! The identity of an event: a ULID, drawn at random or derived from the fact the event tells.

use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::{IdError, IdFault, plain_debug, text_identifier};

/// The identity of an event: 26 characters of Crockford's base 32, upper case (a ULID). Sorts by time.
///
/// Consumers deduplicate by it. An event that tells of a fact outside the fleet (a WhatsApp message, an acknowledgement)
/// gets a [derived](EventId::derive) id: whoever tells the same fact again, after a crash or on another worker, gives
/// it the same id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(String);

impl EventId {
    /// The accepted form. The first character is at most 7, because 26 characters hold 130 bits and a ULID has 128.
    pub const PATTERN: &'static str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";
    /// The largest time a ULID holds: 48 bits of milliseconds, in the year 10889.
    const MAX_UNIX_MS: u64 = (1 << 48) - 1;

    /// The id of a fact: its time, and 80 bits of SHA-256 over `parts`.
    ///
    /// Each part is hashed behind its length, so `["ab", "c"]` and `["a", "bc"]` differ. `unix_ms` must belong to the
    /// fact (a message's own timestamp), not to the moment of telling, or the id would change with every telling. Times beyond the year 10889
    /// are held at that year.
    pub fn derive(unix_ms: u64, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"wafleet event id 1");
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        Self::random(unix_ms, random)
    }

    /// A fresh id from the time and 80 random bits; the caller brings the randomness.
    pub fn random(unix_ms: u64, random: [u8; 10]) -> Self {
        let bits = random.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        Self(Ulid::from_parts(unix_ms.min(Self::MAX_UNIX_MS), bits).to_string())
    }

    /// The time part, in milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        Ulid::from_string(&self.0).expect("checked when it was made").timestamp_ms()
    }

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "event id";
        let is_digit =
            |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'H' | b'J' | b'K' | b'M' | b'N' | b'P'..=b'T' | b'V'..=b'Z');
        let well_formed = text.len() == 26 && text.as_bytes()[0] <= b'7' && text.bytes().all(is_digit);
        if text.is_empty() {
            Err(IdError { kind: KIND, fault: IdFault::Empty })
        } else if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError { kind: KIND, fault: IdFault::WrongForm { form: "an upper-case ULID of 26 characters" } })
        }
    }
}
text_identifier!(EventId);
plain_debug!(EventId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fact_has_the_same_id_for_ever() {
        let id = EventId::derive(1_795_000_000_000, &["message.received", "support-01", "false_49151@c.us_3A01"]);
        assert_eq!(
            id.as_str(),
            "01M7Q5CQG0KQ9P3C872R0YDQ98",
            "a change here makes every consumer see its messages twice"
        );
        assert_eq!(id.unix_ms(), 1_795_000_000_000);
    }

    #[test]
    fn different_facts_have_different_ids() {
        let facts: [&[&str]; 6] = [&[], &[""], &["", ""], &["ab", "c"], &["a", "bc"], &["abc"]];
        for (index, fact) in facts.iter().enumerate() {
            for other in &facts[..index] {
                assert_ne!(EventId::derive(7, fact), EventId::derive(7, other), "{fact:?} {other:?}");
            }
        }
        assert_ne!(EventId::derive(7, &["a"]), EventId::derive(8, &["a"]));
    }

    #[test]
    fn ids_sort_by_time() {
        let at = |unix_ms| EventId::random(unix_ms, [0xff; 10]);
        assert!(EventId::random(1, [0; 10]) < at(1) && at(1) < EventId::random(2, [0; 10]));
        assert_eq!(EventId::random(0, [0; 10]).as_str(), "00000000000000000000000000");
        assert_eq!(at(u64::MAX).as_str(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }

    #[test]
    fn only_upper_case_ulids_are_event_ids() {
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<EventId>().is_ok());
        for text in [
            "",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
            "01arz3ndektsv4rrffq69g5fav",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FAI",
            "01ARZ3NDEKTSV4RRFFQ69G5FAL",
            "01ARZ3NDEKTSV4RRFFQ69G5FAO",
            "01ARZ3NDEKTSV4RRFFQ69G5FAU",
            "01ARZ3NDEKTSV4RRFFQ69G5F\u{e9}",
            "\u{e9}1ARZ3NDEKTSV4RRFFQ69G5FA",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
