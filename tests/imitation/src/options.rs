//! What can be chosen before a start: the far end's times, and how the page behaves.
//!
//! Defaults are the real page's where they are known. Tests shorten them; nothing else tells the imitation apart from
//! the real thing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything [`Imitation::start`](crate::Imitation::start) needs to know.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The loopback port to listen on; 0 lets the kernel choose.
    pub port: u16,
    /// How long QR codes live.
    pub qr: QrTimes,
    /// When acknowledgements come.
    pub acks: AckTimes,
    /// How long a pairing code can be entered.
    pub pairing_code: PairingCodeTimes,
    /// Whether a link wants the passkey of the phone's owner after the code: WhatsApp asks so since the middle of 2026.
    pub passkey: PasskeyGate,
    /// How the page behaves. Each field can be overridden for one load by a query parameter of the same name.
    pub page: PageOptions,
}

/// The life of the QR codes of one connection.
///
/// WhatsApp Web gets six references per connection. The first is valid for 60 s, the others for 20 s each; then the
/// page waits for a click (`UNPAIRED_IDLE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QrTimes {
    /// How long the first code is shown.
    pub first: Duration,
    /// How long each further code is shown.
    pub next: Duration,
    /// How many codes there are before the page goes idle.
    pub count: u32,
}

impl Default for QrTimes {
    fn default() -> Self {
        Self { first: Duration::from_secs(60), next: Duration::from_secs(20), count: 6 }
    }
}

/// Whether linking ends with a passkey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasskeyGate {
    /// The code is enough.
    #[default]
    Open,
    /// The owner's passkey is asked for, and this long waited for.
    Asks(Duration),
}

/// When a sent message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckTimes {
    /// From the moment the cloud took it to ack 1, "the server has it".
    pub server: Duration,
    /// From ack 1 to ack 2, "delivered"; `None`: the recipient's phone is off.
    pub delivered: Option<Duration>,
    /// From ack 1 to ack 3, "read"; `None`: nobody reads it.
    pub read: Option<Duration>,
}

impl Default for AckTimes {
    fn default() -> Self {
        Self { server: Duration::from_millis(30), delivered: Some(Duration::from_millis(120)), read: None }
    }
}

/// The life of a pairing code ("link with phone number").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairingCodeTimes {
    /// How long the phone accepts the code. wa-js renews codes after 3 min 15 s, so the real ones live at least as long.
    pub valid: Duration,
}

impl Default for PairingCodeTimes {
    fn default() -> Self {
        Self { valid: Duration::from_secs(195) }
    }
}

/// How the page behaves. Times are in milliseconds because they travel to the page as JSON and by query string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageOptions {
    /// Modules registered before the useful ones, to make registration and wa-js' search as slow as on the real page,
    /// which registers some 12,000 of them. 0: none.
    pub filler_modules: u32,
    /// A pause between the first module bundle (runtime, ids, enums) and the rest. From about 750 ms on, wa-js injected
    /// at document start never becomes ready; the real page does that on a cold load.
    pub bundle_pause_ms: u64,
    /// Never load the rest of the modules: a page that hangs while starting.
    pub never_ready: bool,
    /// How long the page prepares itself (storage, keys) before it opens its socket.
    pub before_socket_ms: u64,
    /// How long the page stays in `SYNCING` after login. The real one takes seconds, depending on history.
    pub syncing_ms: u64,
    /// From log-out by the phone to the next QR. Seventeen seconds on the real page.
    pub qr_after_logout_ms: u64,
    /// From a request for a new QR to the code. About three seconds on the real page.
    pub qr_refresh_ms: u64,
    /// The first wait before the page redials a lost socket; doubled up to 5 s.
    pub redial_ms: u64,
    /// The page pings a quiet socket this often.
    pub ping_ms: u64,
    /// An unanswered ping for this long means the socket is dead.
    pub dead_socket_ms: u64,
    /// The version the page claims to be.
    pub version: String,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            filler_modules: 0,
            bundle_pause_ms: 0,
            never_ready: false,
            before_socket_ms: 0,
            syncing_ms: 0,
            qr_after_logout_ms: 17_000,
            qr_refresh_ms: 3_000,
            redial_ms: 200,
            ping_ms: 25_000,
            dead_socket_ms: 20_000,
            version: "2.3000.1044822804".to_owned(),
        }
    }
}

impl PageOptions {
    /// The number of filler modules that makes the page as heavy as the real one of August 2026.
    pub const REAL_MODULE_COUNT: u32 = 12_000;

    /// These options with the overrides of a query string.
    ///
    /// # Errors
    /// When a parameter is unknown or its value does not fit; the text names it.
    pub fn overridden<'a>(&self, query: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut fields = serde_json::to_value(self).expect("options are plain data");
        for (name, value) in query {
            let field = fields.get_mut(name).ok_or_else(|| format!("no page option is called {name:?}"))?;
            *field = match field {
                serde_json::Value::String(_) => value.into(),
                _ => serde_json::from_str(value).map_err(|_| format!("{name} cannot be {value:?}"))?,
            };
        }
        serde_json::from_value(fields).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_real_pages_qr_times() {
        let qr = Options::default().qr;
        assert_eq!((qr.first.as_secs(), qr.next.as_secs(), qr.count), (60, 20, 6));
    }

    #[test]
    fn a_query_string_overrides_page_options_by_name() {
        let page = PageOptions::default()
            .overridden([("filler_modules", "12"), ("never_ready", "true"), ("version", "2.3000.1")].into_iter())
            .expect("valid overrides");
        assert_eq!((page.filler_modules, page.never_ready, page.version.as_str()), (12, true, "2.3000.1"));
    }

    #[test]
    fn a_misspelt_or_misfit_override_is_named() {
        for (name, value) in [("filer_modules", "1"), ("filler_modules", "-1"), ("never_ready", "perhaps")] {
            assert!(PageOptions::default().overridden([(name, value)].into_iter()).is_err(), "{name}={value}");
        }
    }
}
