//! The series of QR codes one connection shows, and what is in a code.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;

use crate::options::QrTimes;

/// Counts the codes of one connection: 60 s, then five times 20 s, then nothing until somebody asks again.
#[derive(Clone, Debug)]
pub(crate) struct QrSeries {
    times: QrTimes,
    shown: u32,
}

impl QrSeries {
    pub(crate) fn new(times: QrTimes) -> Self {
        Self { times, shown: 0 }
    }

    /// How long the next code is valid; `None` when there are no more.
    pub(crate) fn advance(&mut self) -> Option<Duration> {
        if self.shown >= self.times.count {
            return None;
        }
        self.shown += 1;
        Some(if self.shown == 1 { self.times.first } else { self.times.next })
    }

    /// Ends the series early.
    pub(crate) fn exhaust(&mut self) {
        self.shown = self.times.count;
    }
}

/// The public halves a page puts into its QR code. The phone signs them when it links; the imitation compares them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PageKeys {
    pub(crate) noise: String,
    pub(crate) identity: String,
    pub(crate) adv: String,
}

/// What a scanned QR code says: `<reference>,<noise key>,<identity key>,<ADV secret>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScannedCode {
    pub(crate) reference: String,
    pub(crate) keys: PageKeys,
}

impl ScannedCode {
    /// Reads a code; `None` if it is not one.
    pub(crate) fn parse(code: &str) -> Option<Self> {
        let mut parts = code.split(',').map(str::to_owned);
        let (reference, noise, identity, adv) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || [&reference, &noise, &identity, &adv].iter().any(|part| part.is_empty()) {
            return None;
        }
        Some(Self { reference, keys: PageKeys { noise, identity, adv } })
    }

    /// The code as the page shows it.
    pub(crate) fn text(&self) -> String {
        let PageKeys { noise, identity, adv } = &self.keys;
        format!("{},{noise},{identity},{adv}", self.reference)
    }
}

/// A fresh reference in the form of the real ones: `2@` and base64.
pub(crate) fn new_reference(rng: &mut impl RngCore) -> String {
    let mut bytes = [0; 96];
    rng.fill_bytes(&mut bytes);
    format!("2@{}", STANDARD.encode(bytes))
}

/// A fresh pairing code: eight characters of WhatsApp's alphabet, which leaves out `0`, `I`, `O` and `U`.
pub(crate) fn new_pairing_code(rng: &mut impl RngCore) -> String {
    const ALPHABET: &[u8; 32] = b"123456789ABCDEFGHJKLMNPQRSTVWXYZ";
    let mut bytes = [0; 8];
    rng.fill_bytes(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_series_is_one_minute_then_five_times_twenty_seconds() {
        let mut series = QrSeries::new(QrTimes::default());
        let seconds: Vec<_> = std::iter::from_fn(|| series.advance()).map(|validity| validity.as_secs()).collect();
        assert_eq!(seconds, [60, 20, 20, 20, 20, 20]);
    }

    #[test]
    fn an_exhausted_series_shows_nothing_more() {
        let mut series = QrSeries::new(QrTimes::default());
        series.exhaust();
        assert_eq!(series.advance(), None);
    }

    #[test]
    fn a_code_survives_being_shown_and_scanned() {
        let keys = PageKeys { noise: "n==".into(), identity: "i".into(), adv: "a".into() };
        let code = ScannedCode { reference: new_reference(&mut rand::rng()), keys };
        assert_eq!(ScannedCode::parse(&code.text()), Some(code));
    }

    #[test]
    fn half_a_code_is_no_code() {
        for text in ["", "2@abc", "2@abc,n,i", "2@abc,n,i,a,more", ",n,i,a"] {
            assert_eq!(ScannedCode::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn pairing_codes_avoid_the_letters_people_mistake() {
        for _ in 0..200 {
            let code = new_pairing_code(&mut rand::rng());
            assert!(code.len() == 8 && !code.contains(['0', 'I', 'O', 'U']), "{code}");
        }
    }
}
