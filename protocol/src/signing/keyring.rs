//! Keys: who may sign what, for whom, until when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::Audience;
use super::canonical::VERSION;
use crate::id::{KeyId, WorkspaceId};
use crate::json::{self, Nul};
use crate::rejection::Rejection;
use crate::timestamp::Timestamp;

/// Standard base64 with or without padding: `openssl rand -base64 32` and PHP's `base64_encode` pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sign commands: the host application's keys.
    Commands,
    /// Sign events: the fleet's own key.
    Events,
    /// Sign commands again that an operator replays from the dead letters.
    Ops,
}

impl Role {
    /// The word in the key ring.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Events => "events",
            Self::Ops => "ops",
        }
    }

    /// Whether a key of this role may sign for this audience.
    pub fn may_sign(self, audience: Audience) -> bool {
        match self {
            Self::Commands | Self::Ops => audience == Audience::Commands,
            Self::Events => audience == Audience::Events,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For which workspaces a key may speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// For all: `["*"]`.
    All,
    /// For these.
    Only(BTreeSet<WorkspaceId>),
}

impl Scope {
    /// Whether the workspace is among them.
    pub fn covers(&self, workspace: WorkspaceId) -> bool {
        match self {
            Self::All => true,
            Self::Only(workspaces) => workspaces.contains(&workspace),
        }
    }
}

/// At least 32 secret bytes. `Debug` hides them.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Why a text is not a secret. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not standard base64.
    #[error("is not base64")]
    NotBase64,
    /// Fewer than 32 bytes.
    #[error("is shorter than {min} bytes")]
    TooShort {
        /// The fewest bytes that are accepted.
        min: usize,
    },
}

impl Secret {
    /// As many bytes as SHA-256 yields: fewer would be the weakest part (RFC 2104, section 3).
    pub const MIN_BYTES: usize = 32;

    /// Secret bytes, at least 32 of them.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SecretError> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(SecretError::TooShort { min: Self::MIN_BYTES });
        }
        Ok(Self(bytes))
    }

    /// Secret bytes in standard base64, with or without padding.
    pub fn from_base64(text: &str) -> Result<Self, SecretError> {
        BASE64.decode(text).map_err(|_| SecretError::NotBase64).and_then(Self::from_bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// One key of the ring.
#[derive(Debug, Clone)]
pub struct SigningKey {
    id: KeyId,
    role: Role,
    secret: Secret,
    scope: Scope,
    not_after: Option<Timestamp>,
}

impl SigningKey {
    /// A key with everything that bounds it.
    pub fn new(id: KeyId, role: Role, secret: Secret, scope: Scope, not_after: Option<Timestamp>) -> Self {
        Self { id, role, secret, scope, not_after }
    }

    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// For whom it may speak.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// When its life ends, if it does.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Whether its life has not ended at this moment, in unix seconds.
    pub fn is_valid_at(&self, now: u64) -> bool {
        self.not_after.is_none_or(|not_after| now <= not_after.unix_secs())
    }

    /// The value of `x-wa-signature` for a canonical string: `WA1=` and 43 characters of unpadded base64url.
    ///
    /// It signs what it is given. [`sign`](super::sign) is the way to sign a message; this is for tools that make test
    /// vectors and messages that must be refused.
    pub fn signature(&self, canonical: &str) -> String {
        let tag = self.mac(canonical).finalize().into_bytes();
        format!("{VERSION}={}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether `tag` is the HMAC of the canonical string, compared in constant time.
    pub(super) fn verify(&self, canonical: &str, tag: &[u8; 32]) -> bool {
        self.mac(canonical).verify_slice(tag).is_ok()
    }

    fn mac(&self, canonical: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret.0).expect("HMAC takes keys of any length");
        mac.update(canonical.as_bytes());
        mac
    }
}

/// Several keys, so that they can be rotated: all of them verify, the first one of a role that is still valid signs.
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<SigningKey>,
}

/// Everything that is wrong with a key ring. Names places, never secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringError {
    /// All problems, in the order of the document.
    pub problems: Vec<KeyringProblem>,
}

/// One thing that is wrong with a key ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {why}")]
pub struct KeyringProblem {
    /// Where, for example `keys[1].secret`.
    pub path: String,
    /// What is wrong, to be read after the path.
    pub why: String,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key ring is not usable")?;
        for (index, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for KeyringError {}

impl Keyring {
    /// A ring of these keys, in this order.
    ///
    /// # Errors
    /// When two keys have the same id, or keys of different roles the same secret.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, KeyringError> {
        let problems = conflicts(keys.iter().enumerate());
        if problems.is_empty() { Ok(Self { keys }) } else { Err(KeyringError { problems }) }
    }

    /// Reads a ring from JSON:
    ///
    /// ```json
    /// {"keys": [{"id": "cmd-1", "role": "commands", "secret": "<base64, at least 32 bytes>",
    ///            "workspaces": ["*"], "not_after": "2027-01-01T00:00:00Z"}]}
    /// ```
    ///
    /// `role` is `commands`, `events` or `ops`; `workspaces` is `["*"]` or a list of ids; `not_after` may be `null` or absent.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse(json: &str) -> Result<Self, KeyringError> {
        let mut problems = Problems::default();
        let keys = problems.read_keys(json);
        problems.list.extend(conflicts(keys.iter().map(|(index, key)| (*index, key))));
        if problems.list.is_empty() {
            Ok(Self { keys: keys.into_iter().map(|(_, key)| key).collect() })
        } else {
            Err(KeyringError { problems: problems.list })
        }
    }

    /// The keys, in the order of the ring.
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// The key of this name.
    pub fn get(&self, id: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id.as_str() == id)
    }

    /// The key that signs in this role for this workspace at this moment, in unix seconds.
    pub fn signer(&self, role: Role, workspace: WorkspaceId, now: u64) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.role == role && key.is_valid_at(now) && key.scope.covers(workspace))
    }
}

/// What is wrong between keys that are each well-formed.
fn conflicts<'a>(keys: impl Iterator<Item = (usize, &'a SigningKey)>) -> Vec<KeyringProblem> {
    let mut problems = Vec::new();
    let (mut ids, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for (index, key) in keys {
        if let Some(first) = ids.insert(key.id.clone(), index) {
            problems.push(problem(format!("keys[{index}].id"), format!("is the id of keys[{first}] too")));
        }
        if let Some((first, role)) = secrets.insert(key.secret.0.clone(), (index, key.role))
            && role != key.role
        {
            let why = format!("is the secret of keys[{first}] too, which has another role");
            problems.push(problem(format!("keys[{index}].secret"), why));
        }
    }
    problems
}

fn problem(path: impl Into<String>, why: impl Into<String>) -> KeyringProblem {
    KeyringProblem { path: path.into(), why: why.into() }
}

/// Reads on after a problem, to report all of them at once.
#[derive(Default)]
struct Problems {
    list: Vec<KeyringProblem>,
}

impl Problems {
    fn add<T>(&mut self, path: &str, why: impl fmt::Display) -> Option<T> {
        self.list.push(problem(path, why.to_string()));
        None
    }

    fn read_keys(&mut self, text: &str) -> Vec<(usize, SigningKey)> {
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                let why = format!("is not valid JSON (line {}, column {})", error.line(), error.column());
                self.add::<()>("the file", why);
                return Vec::new();
            }
        };
        if let Err(Rejection::DuplicateField { path }) = json::parse(text.as_bytes(), Nul::Refused) {
            self.add::<()>(&path, "occurs twice");
        }
        let Value::Object(mut document) = document else {
            self.add::<()>("the file", "must hold a JSON object");
            return Vec::new();
        };
        let keys = match document.remove("keys") {
            Some(Value::Array(keys)) if !keys.is_empty() => keys,
            _ => {
                self.add::<()>("keys", "must be a list of at least one key");
                return Vec::new();
            }
        };
        for name in document.keys() {
            self.add::<()>(name, "is unknown");
        }
        keys.into_iter()
            .enumerate()
            .filter_map(|(index, key)| Some((index, self.read_key(&format!("keys[{index}]"), key)?)))
            .collect()
    }

    fn read_key(&mut self, path: &str, value: Value) -> Option<SigningKey> {
        let Value::Object(mut fields) = value else {
            return self.add(path, "must be an object");
        };
        let at = |name: &str| format!("{path}.{name}");
        let id = self.read_text(&at("id"), fields.remove("id"), |text| KeyId::try_from(text));
        let role = self.read_text(&at("role"), fields.remove("role"), |text| match text {
            "commands" => Ok(Role::Commands),
            "events" => Ok(Role::Events),
            "ops" => Ok(Role::Ops),
            _ => Err("must be commands, events or ops"),
        });
        let secret = self.read_text(&at("secret"), fields.remove("secret"), Secret::from_base64);
        let scope = self.read_scope(&at("workspaces"), fields.remove("workspaces"));
        let not_after = match fields.remove("not_after") {
            None | Some(Value::Null) => Some(None),
            value => self.read_text(&at("not_after"), value, str::parse::<Timestamp>).map(Some),
        };
        for name in fields.keys() {
            self.add::<()>(&at(name), "is unknown");
        }
        Some(SigningKey::new(id?, role?, secret?, scope?, not_after?))
    }

    fn read_text<T, E: fmt::Display>(
        &mut self,
        path: &str,
        value: Option<Value>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match value {
            Some(Value::String(text)) => parse(&text).map_err(|error| self.add::<()>(path, error)).ok(),
            Some(_) => self.add(path, "must be a string"),
            None => self.add(path, "is missing"),
        }
    }

    fn read_scope(&mut self, path: &str, value: Option<Value>) -> Option<Scope> {
        let items = match value {
            Some(Value::Array(items)) if !items.is_empty() => items,
            _ => return self.add(path, "must be [\"*\"] or a list of workspace ids"),
        };
        if items == [Value::from("*")] {
            return Some(Scope::All);
        }
        let ids = items.iter().map(|item| item.as_u64().and_then(|number| WorkspaceId::new(number).ok()));
        match ids.collect::<Option<BTreeSet<_>>>() {
            Some(ids) => Some(Scope::Only(ids)),
            None => self.add(path, "must be [\"*\"] or a list of workspace ids"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(byte: u8) -> String {
        BASE64.encode([byte; 32])
    }

    fn problems(ring: &Value) -> Vec<String> {
        let error = Keyring::parse(&ring.to_string()).expect_err("refused");
        error.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let ring = json!({ "keys": [
            { "id": "a/b", "role": "admin", "secret": "c2hvcnQ=", "workspaces": [], "not_after": "tomorrow" },
            { "id": 7, "secret": "not base64!", "workspaces": [0], "expires": 1 },
            "cmd-1",
            { "id": "a", "role": "commands", "secret": secret(1), "workspaces": ["*"] },
            { "id": "a", "role": "events", "secret": secret(1), "workspaces": ["*", 7], "not_after": null },
            { "id": "b", "role": "events", "secret": secret(1), "workspaces": ["*"] },
            { "id": "b", "role": "ops", "secret": secret(2), "workspaces": ["*"] },
        ], "version": 2 });
        assert_eq!(
            problems(&ring),
            [
                "version is unknown",
                "keys[0].id not a key id: it holds a character outside A-Za-z0-9._-",
                "keys[0].role must be commands, events or ops",
                "keys[0].secret is shorter than 32 bytes",
                "keys[0].workspaces must be [\"*\"] or a list of workspace ids",
                "keys[0].not_after not a time: expected RFC 3339, from 1970 to 9999",
                "keys[1].id must be a string",
                "keys[1].role is missing",
                "keys[1].secret is not base64",
                "keys[1].workspaces must be [\"*\"] or a list of workspace ids",
                "keys[1].expires is unknown",
                "keys[2] must be an object",
                "keys[4].workspaces must be [\"*\"] or a list of workspace ids",
                "keys[5].secret is the secret of keys[3] too, which has another role",
                "keys[6].id is the id of keys[5] too",
            ]
        );
    }

    #[test]
    fn what_is_no_ring_at_all_is_refused() {
        for (text, expected) in [
            ("", "the file is not valid JSON (line 1, column 0)"),
            ("{", "the file is not valid JSON (line 1, column 1)"),
            ("[]", "the file must hold a JSON object"),
            ("{}", "keys must be a list of at least one key"),
            (r#"{"keys":[]}"#, "keys must be a list of at least one key"),
            (r#"{"keys":{}}"#, "keys must be a list of at least one key"),
        ] {
            let error = Keyring::parse(text).expect_err(expected);
            assert_eq!(error.to_string(), format!("the key ring is not usable: {expected}"), "{text}");
        }
        let twice =
            format!(r#"{{"keys":[{{"id":"a","id":"b","role":"ops","secret":"{}","workspaces":["*"]}}]}}"#, secret(1));
        assert_eq!(Keyring::parse(&twice).expect_err("twice").problems[0].to_string(), "keys[0].id occurs twice");
    }

    #[test]
    fn neither_errors_nor_debug_output_show_a_secret() {
        let canary = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ";
        let ring = json!({ "keys": [{ "id": "a", "role": "ops", "secret": canary, "workspaces": ["*"] }] });
        let debug = format!("{:?}", Keyring::parse(&ring.to_string()).expect("a valid ring"));
        let broken = Keyring::parse(&ring.to_string().replace("}]", "")).expect_err("broken JSON");
        let shown =
            format!("{debug} {broken} {:?}", problems(&json!({ "keys": [{ "secret": format!("{canary}!") }] })));
        assert!(!shown.contains("CANARY") && !shown.contains("Q0FOQVJZ") && !shown.contains("67, 65, 78"), "{shown}");
    }

    #[test]
    fn the_first_key_that_is_valid_and_covers_the_workspace_signs() {
        let ring = json!({ "keys": [
            { "id": "old", "role": "commands", "secret": secret(1), "workspaces": ["*"], "not_after": "2026-01-01T00:00:00Z" },
            { "id": "tenant", "role": "commands", "secret": secret(2), "workspaces": [7, 7, 8] },
            { "id": "all", "role": "commands", "secret": secret(3), "workspaces": ["*"], "not_after": null },
            { "id": "fleet", "role": "events", "secret": secret(4), "workspaces": [7] },
        ] });
        let ring = Keyring::parse(&ring.to_string()).expect("a valid ring");
        let end_of_old = 1_767_225_600;
        let cases = [
            (Role::Commands, 7, end_of_old, Some("old")),
            (Role::Commands, 7, end_of_old + 1, Some("tenant")),
            (Role::Commands, 9, end_of_old + 1, Some("all")),
            (Role::Events, 7, end_of_old, Some("fleet")),
            (Role::Events, 9, end_of_old, None),
            (Role::Ops, 7, end_of_old, None),
        ];
        for (role, workspace, now, expected) in cases {
            let workspace = WorkspaceId::new(workspace).expect("a workspace");
            let signer = ring.signer(role, workspace, now).map(|key| key.id().as_str());
            assert_eq!(signer, expected, "{role} {workspace} {now}");
        }
        assert_eq!(ring.keys().len(), 4);
        assert!(ring.get("tenant").is_some() && ring.get("TENANT").is_none());
    }

    #[test]
    fn secrets_are_standard_base64_with_or_without_padding() {
        let bytes = [0xfb; 32];
        let padded = BASE64.encode(bytes);
        for text in [padded.as_str(), padded.trim_end_matches('=')] {
            assert_eq!(Secret::from_base64(text).expect(text).0, bytes);
        }
        assert_eq!(Secret::from_base64(&padded.replace('+', "-")).err(), Some(SecretError::NotBase64));
        assert_eq!(Secret::from_bytes(vec![1; 31]).err(), Some(SecretError::TooShort { min: 32 }));
    }
}
