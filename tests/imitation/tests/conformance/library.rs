//! The scripts that go into the page: wa-js as its authors published it, and the conformance list.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What wa-js is told before it starts: no telemetry, no third-party link previews, nothing of its own accord.
const CONFIGURATION: &str = "window.WPPConfig = { disableGoogleAnalytics: true, linkPreviewApiServers: [], \
                             deviceName: false, syncAllStatus: false, poweredBy: null };";

/// True once the modules exist that wa-js must find when it starts.
pub(crate) const PROBE: &str = "(() => { try { const map = window.require && window.require('__debug').modulesMap; \
    return !!map && ['WAWebStreamModel', 'WAWebSocketModel', 'WAWebConnModel', 'WAWebChatCollection', \
    'WAWebMsgCollection', 'WAWebUserPrefsIsLoggedIn', 'WAWebCmd', 'WAWebBackendEventBus'].every((id) => id in map) } \
    catch { return false } })()";

/// The conformance list, in its own scope.
pub(crate) fn assertions() -> String {
    let list = [
        include_str!("../../conformance/harness.js"),
        include_str!("../../conformance/page.js"),
        include_str!("../../conformance/ready.js"),
        include_str!("../../conformance/linking.js"),
        include_str!("../../conformance/account.js"),
        include_str!("../../conformance/sending.js"),
        include_str!("../../conformance/chats.js"),
        include_str!("../../conformance/connection.js"),
    ];
    format!("(() => {{\n{}\n}})()", list.join("\n"))
}

/// The unmodified wa-js, with its configuration before it.
pub(crate) fn wa_js() -> String {
    let installed = installed_packages().join("node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js");
    let text =
        fs::read_to_string(&installed).unwrap_or_else(|error| panic!("cannot read {}: {error}", installed.display()));
    format!("{CONFIGURATION}\n{text}\n;undefined")
}

/// The directory in which the packages of the in-page adapter are installed: its own, or one of ours.
fn installed_packages() -> PathBuf {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../worker/browser/page");
    if page.join("node_modules/@wppconnect/wa-js").is_dir() {
        return page;
    }
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    // Each test is a process of its own and comes here: one installs, the others wait for it.
    fs::create_dir_all(&own).expect("Cargo's directory for tests is writable");
    let turn = fs::File::create(own.join("installing")).expect("Cargo's directory for tests is writable");
    turn.lock().expect("a local file can be locked");
    if !own.join("node_modules/@wppconnect/wa-js").is_dir() {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(page.join(file), own.join(file)).expect("the in-page adapter names its packages");
        }
        let arguments = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
        let status = Command::new("npm").args(arguments).current_dir(&own).status().expect("npm is installed");
        assert!(status.success(), "npm ci failed");
    }
    own
}
