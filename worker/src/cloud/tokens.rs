//! The access tokens of numbers, sealed with the ring of profile keys.
//!
//! The sealed text names its workspace and its number, so a token that was moved to another row does not open there.

use serde::{Deserialize, Serialize};
use wafleet_cloud::token::{MetaId, Token};
use wafleet_profile::keys::Ring;
use wafleet_profile::record::{Records, RecordsError};

/// Why a token cannot be used. Never shows it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("there is no profile key ring (WAFLEET_PROFILE_KEYS_FILE), which seals tokens")]
    NoRing,
    #[error("the sealed token does not open")]
    Sealed(#[from] RecordsError),
    #[error("the sealed token was altered")]
    Altered,
    #[error("the sealed token is of another number")]
    Foreign,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    workspace: u64,
    number: String,
    token: String,
}

/// Seals a token with the ring's sealing key.
pub(crate) fn seal(ring: &Ring, workspace: u64, number: &MetaId, token: &Token) -> Vec<u8> {
    let plain = Sealed { workspace, number: number.to_string(), token: token.expose().to_owned() };
    let plain = serde_json::to_vec(&plain).expect("numbers and strings always serialise");
    let rng = &mut rand::rng();
    let records = Records::begin(ring, rng);
    [records.header(), &records.seal(0, &plain, rng)].concat()
}

/// The reverse of [`seal`].
///
/// # Errors
/// [`TokenError`].
pub(crate) fn open(ring: &Ring, workspace: u64, number: &MetaId, sealed: &[u8]) -> Result<Token, TokenError> {
    let records = Records::read(ring, sealed)?;
    let record = sealed.get(records.header().len()..).unwrap_or_default();
    let plain = records.open(0, record).ok_or(TokenError::Altered)?;
    let plain: Sealed = serde_json::from_slice(&plain).map_err(|_| TokenError::Altered)?;
    if plain.workspace != workspace || plain.number != number.as_str() {
        return Err(TokenError::Foreign);
    }
    Token::new(&plain.token).map_err(|_| TokenError::Altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[&str]) -> Ring {
        let secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let keys: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id, "secret": secret })).collect();
        Ring::parse(&serde_json::json!({ "keys": keys }).to_string()).expect("a ring")
    }

    #[test]
    fn a_token_opens_in_its_own_row_and_nowhere_else() {
        let (number, other): (MetaId, MetaId) = ("106".parse().expect("an id"), "107".parse().expect("an id"));
        let token = Token::new("EAAsecret").expect("a token");
        let sealed = seal(&ring(&["a"]), 7, &number, &token);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let opened = open(&ring(&["b", "a"]), 7, &number, &sealed).expect("the ring has the key");
        assert_eq!(opened.expose(), "EAAsecret");
        assert!(matches!(open(&ring(&["a"]), 8, &number, &sealed), Err(TokenError::Foreign)));
        assert!(matches!(open(&ring(&["a"]), 7, &other, &sealed), Err(TokenError::Foreign)));
        assert!(matches!(open(&ring(&["b"]), 7, &number, &sealed), Err(TokenError::Sealed(_))));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open(&ring(&["a"]), 7, &number, &altered).is_err(), "byte {at}");
        }
    }
}
