//! The ring of profile keys, and the key that each session has of its own.
//!
//! A snapshot opens with **both**: the ring's key, which only workers have, and the session's key, which lies wrapped
//! beside the snapshots. So the ring can be rotated without touching data, and a session's data can be made unreadable
//! by destroying one small row, whatever copies of the snapshots exist.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::CryptoRng;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::wrap::{self, Pair, WRAP};

/// Longest key id: it has to fit one length byte with room to spare, and a VARCHAR(64).
const KEY_ID: usize = 64;
/// Marks a wrapped session key; the last byte is the version.
const SESSION_KEY_MAGIC: &[u8; 8] = b"WASKEY\0\x01";
const SALT: usize = 16;

/// 32 bytes nobody else may see: never printed, cleared when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// A new secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        Self(secret)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return None;
        }
        secret.copy_from_slice(bytes);
        Some(Self(secret))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a key ring cannot be used. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Not JSON of the expected form.
    #[error(
        "the profile key ring is not JSON of the form {{\"keys\":[{{\"id\":…,\"secret\":…}}]}} (line {line}, column {column})"
    )]
    Json {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A ring without a key can seal nothing.
    #[error("the profile key ring has no key")]
    Empty,
    /// The id is not `[A-Za-z0-9_.-]{1,64}`.
    #[error("profile key {position} has an id that is not 1 to 64 letters, digits, '.', '_' or '-'")]
    Id {
        /// Counted from 1.
        position: usize,
    },
    /// Two keys have one id.
    #[error("two profile keys have the id {id}")]
    Twice {
        /// Which.
        id: String,
    },
    /// The secret is not the base64 text of 32 bytes.
    #[error("the secret of profile key {id} is not the base64 text of 32 bytes")]
    Secret {
        /// Whose.
        id: String,
    },
}

/// The profile keys: the first seals, all of them open.
#[derive(Debug, Clone)]
pub struct Ring {
    keys: Vec<RingKey>,
}

/// A key of the ring.
#[derive(Debug, Clone)]
pub(crate) struct RingKey {
    pub(crate) id: String,
    pub(crate) secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    keys: Vec<KeyFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    id: String,
    secret: String,
}

impl Ring {
    /// Reads `{"keys":[{"id":"profile-2026-11","secret":"<base64 of 32 bytes>"}]}`.
    ///
    /// # Errors
    /// [`RingError`], without any part of a secret.
    pub fn parse(json: &str) -> Result<Self, RingError> {
        let file: RingFile = serde_json::from_str(json)
            .map_err(|error| RingError::Json { line: error.line(), column: error.column() })?;
        let mut keys: Vec<RingKey> = Vec::with_capacity(file.keys.len());
        for (index, KeyFile { id, secret }) in file.keys.into_iter().enumerate() {
            if !is_key_id(&id) {
                return Err(RingError::Id { position: index + 1 });
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(RingError::Twice { id });
            }
            let bytes = STANDARD.decode(Zeroizing::new(secret).as_bytes()).map(Zeroizing::new);
            match bytes.ok().and_then(|bytes| Secret::from_slice(&bytes)) {
                Some(secret) => keys.push(RingKey { id, secret }),
                None => return Err(RingError::Secret { id }),
            }
        }
        if keys.is_empty() { Err(RingError::Empty) } else { Ok(Self { keys }) }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing_id(&self) -> &str {
        &self.sealing().id
    }

    /// All ids, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The same ring, sealing with another of its keys. `None` when it has no such key.
    #[must_use]
    pub fn sealing_with(mut self, id: &str) -> Option<Self> {
        let position = self.keys.iter().position(|key| key.id == id)?;
        self.keys[..=position].rotate_right(1);
        Some(self)
    }

    pub(crate) fn sealing(&self) -> &RingKey {
        &self.keys[0] // `parse` refuses an empty ring
    }

    pub(crate) fn get(&self, id: &str) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

pub(crate) fn is_key_id(id: &str) -> bool {
    (1..=KEY_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Why a session's key does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionKeyError {
    /// The bytes are no wrapped session key.
    #[error("these bytes are no wrapped session key")]
    Malformed,
    /// The ring has no key of this id.
    #[error("the profile key ring has no key {key_id}")]
    KeyMissing {
        /// The key that is needed.
        key_id: String,
    },
    /// The key of this id is another one, the row belongs to another session, or it was changed.
    #[error("the session key does not open with profile key {key_id}: another secret, another session, or damage")]
    Refused {
        /// The key that was tried.
        key_id: String,
    },
}

/// The key that one session has of its own. Destroyed, it takes every snapshot of the session with it.
#[derive(Debug, Clone)]
pub struct SessionKey(pub(crate) Secret);

impl SessionKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(Secret::generate(rng))
    }

    /// The key wrapped by the ring's sealing key and bound to its session, for storing: magic and version, length and id
    /// of the ring's key, salt, initialisation vector, wrapped key, tag.
    pub fn wrap(&self, ring: &Ring, workspace: u64, session: &str, rng: &mut impl CryptoRng) -> Vec<u8> {
        let key = ring.sealing();
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        let mut bytes = SESSION_KEY_MAGIC.to_vec();
        bytes.push(u8::try_from(key.id.len()).expect("a key id has at most 64 bytes"));
        bytes.extend_from_slice(key.id.as_bytes());
        bytes.extend_from_slice(&salt);
        let pair = Pair::derive(&salt, &[&key.secret], "waskey/1");
        let wrapped = wrap::wrap(&pair, &[&bytes, &workspace.to_be_bytes(), session.as_bytes()], &self.0, rng);
        bytes.extend_from_slice(&wrapped);
        bytes
    }

    /// The reverse of [`wrap`](Self::wrap).
    ///
    /// # Errors
    /// [`SessionKeyError`].
    pub fn unwrap(ring: &Ring, workspace: u64, session: &str, bytes: &[u8]) -> Result<Self, SessionKeyError> {
        let (key_id, head, wrapped) = Self::parts(bytes).ok_or(SessionKeyError::Malformed)?;
        let key = ring.get(key_id).ok_or_else(|| SessionKeyError::KeyMissing { key_id: key_id.to_owned() })?;
        let pair = Pair::derive(&head[head.len() - SALT..], &[&key.secret], "waskey/1");
        let context: [&[u8]; 3] = [head, &workspace.to_be_bytes(), session.as_bytes()];
        let secret = wrap::unwrap(&pair, &context, wrapped);
        secret.map(Self).map_err(|_| SessionKeyError::Refused { key_id: key_id.to_owned() })
    }

    /// Ring key id, everything before the wrap, and the wrap.
    fn parts(bytes: &[u8]) -> Option<(&str, &[u8], &[u8; WRAP])> {
        let rest = bytes.strip_prefix(SESSION_KEY_MAGIC)?;
        let (&length, rest) = rest.split_first()?;
        let key_id = std::str::from_utf8(rest.get(..usize::from(length))?).ok().filter(|id| is_key_id(id))?;
        let head = SESSION_KEY_MAGIC.len() + 1 + usize::from(length) + SALT;
        let wrapped = bytes.get(head..)?.try_into().ok()?;
        Some((key_id, &bytes[..head], wrapped))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn ring(keys: &[(&str, u8)]) -> Ring {
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, fill)| serde_json::json!({"id": id, "secret": STANDARD.encode([*fill; 32])}))
            .collect();
        Ring::parse(&serde_json::json!({ "keys": keys }).to_string()).expect("a ring")
    }

    #[test]
    fn a_ring_says_what_is_wrong_with_it_and_shows_no_secret() {
        let good = STANDARD.encode([7; 32]);
        let short = STANDARD.encode([7; 31]);
        let cases = [
            ("{".to_owned(), RingError::Json { line: 1, column: 1 }),
            (r#"{"keys":[]}"#.to_owned(), RingError::Empty),
            (format!(r#"{{"keys":[{{"id":"a b","secret":"{good}"}}]}}"#), RingError::Id { position: 1 }),
            (format!(r#"{{"keys":[{{"id":"a","secret":"{short}"}}]}}"#), RingError::Secret { id: "a".into() }),
            (r#"{"keys":[{"id":"a","secret":"hunter2"}]}"#.to_owned(), RingError::Secret { id: "a".into() }),
            (
                format!(r#"{{"keys":[{{"id":"a","secret":"{good}"}},{{"id":"a","secret":"{good}"}}]}}"#),
                RingError::Twice { id: "a".into() },
            ),
        ];
        for (json, expected) in cases {
            let error = Ring::parse(&json).expect_err(&json);
            assert_eq!(error, expected, "{json}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let ring = Ring::parse(&format!(r#"{{"keys":[{{"id":"a","secret":"{good}"}}]}}"#)).expect("a ring");
        assert!(!format!("{ring:?}").contains(&good));
    }

    #[test]
    fn the_first_key_seals_unless_another_is_named() {
        let ring = ring(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(ring.sealing_id(), "a");
        let ring = ring.sealing_with("c").expect("it has c");
        assert_eq!(ring.ids().collect::<Vec<_>>(), ["c", "a", "b"]);
        assert!(ring.sealing_with("d").is_none());
    }

    #[test]
    fn a_session_key_opens_for_its_session_under_its_ring_key_only() {
        let rng = &mut StdRng::seed_from_u64(1);
        let old = ring(&[("a", 1)]);
        let key = SessionKey::generate(rng);
        let wrapped = key.wrap(&old, 7, "shop", rng);
        let both = ring(&[("b", 2), ("a", 1)]);
        assert_eq!(SessionKey::unwrap(&both, 7, "shop", &wrapped).expect("opens").0.expose(), key.0.expose());
        let refused = SessionKeyError::Refused { key_id: "a".into() };
        let cases = [
            (ring(&[("b", 2)]), 7, "shop", SessionKeyError::KeyMissing { key_id: "a".into() }),
            (ring(&[("a", 9)]), 7, "shop", refused.clone()),
            (both.clone(), 8, "shop", refused.clone()),
            (both.clone(), 7, "Shop", refused),
        ];
        for (ring, workspace, session, expected) in cases {
            let error = SessionKey::unwrap(&ring, workspace, session, &wrapped).expect_err("refused");
            assert_eq!(error, expected);
        }
        for position in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[position] ^= 1;
            assert!(SessionKey::unwrap(&both, 7, "shop", &changed).is_err(), "byte {position}");
        }
        for length in 0..wrapped.len() {
            assert!(SessionKey::unwrap(&both, 7, "shop", &wrapped[..length]).is_err(), "cut to {length}");
        }
    }
}
