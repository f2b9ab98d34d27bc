//! The command line: every flag with its reason.
//!
//! Memory figures are anonymous and shared memory per session, measured with Chromium 156 on a
//! page of WhatsApp Web's size; the sum of what is below brings 274 MB down to 216 MB.

use std::ffi::OsString;
use std::path::Path;

use super::{Flavor, LaunchOptions, Sandbox};

/// Flags of every launch, in reading order.
const FLAGS: &[&str] = &[
    // Commands in on descriptor 3, events out on descriptor 4: no port, no socket, no way in, and
    // Chromium ends in good order, state saved, when the worker's end of the pipe is gone.
    "--remote-debugging-pipe",
    // No crash handlers: they would be two more processes, and outside the process group.
    "--disable-crashpad-for-testing",
    "--disable-breakpad",
    // A keyring on the host must not decide how cookies are encrypted: the profile has to open elsewhere.
    "--password-store=basic",
    // Nobody is there to answer questions.
    "--no-first-run",
    "--no-default-browser-check",
    // No GPU on a server; without the switch Chromium tries one first.
    "--disable-gpu",
    // One process and about 4 MB less; a graphics crash takes one session's browser, not others.
    "--in-process-gpu",
    // One page on one site needs none of them, and each of them starts by itself and calls home.
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-networking",
    // Incoming calls ring.
    "--mute-audio",
    // A page that nobody looks at must keep its timers and its socket at full speed.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    // Its dialog waits for a click that never comes; hangs are found by our own heartbeat.
    "--disable-hang-monitor",
    // `navigator.webdriver` is false in a browser that people use.
    "--disable-blink-features=AutomationControlled",
    // A desktop, as the user agent says.
    "--window-size=1280,800",
    "--screen-info={1920x1080}",
    // A fuse, not a tuning knob: WhatsApp Web uses 70–150 MB; a page that runs away crashes alone.
    "--js-flags=--max-old-space-size=512",
    // The disk cache is disposable and bounded, and stays out of the profile.
    "--disk-cache-size=67108864",
];

/// Switched off in one flag, because a second `--disable-features` would undo the first.
const FEATURES_OFF: &[&str] = &[
    // Two hidden pages that are rendered ahead for an address bar that nobody sees: 35 MB.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    // A spare process for a second site: 6 MB.
    "SpareRendererForSitePerProcess",
    // Work for people in front of the browser.
    "Translate",
    "MediaRouter",
    "OptimizationHints",
    "OptimizationGuideModelDownloading",
];

/// Switched on in one flag.
const FEATURES_ON: &[&str] = &[
    // The network code inside the browser process: one process and 15 MB less, and its shutdown
    // cannot be held up by a stopped child.
    "NetworkServiceInProcess2",
];

/// The whole argument list for one session.
pub(super) fn arguments(options: &LaunchOptions, user_agent: Option<&str>) -> Vec<OsString> {
    let mut off: Vec<&str> = FEATURES_OFF.to_vec();
    let mut on: Vec<&str> = FEATURES_ON.to_vec();
    let mut extra = Vec::new();
    for argument in &options.extra_args {
        if let Some(features) = argument.strip_prefix("--disable-features=") {
            off.extend(features.split(','));
        } else if let Some(features) = argument.strip_prefix("--enable-features=") {
            on.extend(features.split(','));
        } else {
            extra.push(OsString::from(argument));
        }
    }

    let mut arguments: Vec<OsString> = FLAGS.iter().map(Into::into).collect();
    arguments.push(format!("--disable-features={}", off.join(",")).into());
    arguments.push(format!("--enable-features={}", on.join(",")).into());
    if options.flavor == Flavor::Chromium {
        // The full browser without a window; `chromium-headless-shell` is nothing but headless.
        arguments.push("--headless=new".into());
    }
    if options.sandbox == Sandbox::Off {
        // Root has no user namespace to put a renderer into; without this Chromium ends at once.
        arguments.push("--no-sandbox".into());
    }
    if let Some(user_agent) = user_agent {
        // The real version and platform without the word `Headless`, in workers too.
        arguments.push(format!("--user-agent={user_agent}").into());
    }
    arguments.push(with_path("--user-data-dir=", &options.profile_dir()));
    arguments.push(with_path("--disk-cache-dir=", &options.cache_dir()));
    arguments.extend(extra);
    // The first tab: the one that the page is opened in.
    arguments.push("about:blank".into());
    arguments
}

fn with_path(flag: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(flag);
    argument.push(path);
    argument
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(flavor: Flavor, sandbox: Sandbox, extra: &[&str]) -> LaunchOptions {
        LaunchOptions {
            executable: "/chromium".into(),
            flavor,
            sandbox,
            session_dir: "/s".into(),
            extra_args: extra.iter().map(|&e| e.into()).collect(),
        }
    }

    fn line(options: &LaunchOptions) -> Vec<String> {
        arguments(options, Some("Agent/1")).into_iter().map(|a| a.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn no_flag_is_given_twice() {
        let line = line(&options(Flavor::Chromium, Sandbox::Off, &["--lang=de"]));
        let mut names: Vec<_> = line.iter().map(|a| a.split('=').next()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{line:?}");
    }

    #[test]
    fn the_sandbox_is_off_only_when_it_was_asked_for() {
        for (sandbox, expected) in [(Sandbox::Off, true), (Sandbox::Required, false)] {
            let line = line(&options(Flavor::Chromium, sandbox, &[]));
            assert_eq!(line.contains(&"--no-sandbox".to_owned()), expected);
        }
    }

    #[test]
    fn only_the_full_build_is_told_to_be_headless() {
        for (flavor, expected) in [(Flavor::Chromium, true), (Flavor::HeadlessShell, false)] {
            let line = line(&options(flavor, Sandbox::Off, &[]));
            assert_eq!(line.contains(&"--headless=new".to_owned()), expected);
        }
    }

    #[test]
    fn extra_features_join_ours_and_other_extras_come_last_but_for_the_address() {
        let extra = ["--disable-features=A,B", "--enable-features=C", "--lang=de"];
        let line = line(&options(Flavor::Chromium, Sandbox::Off, &extra));
        let off = line.iter().find(|a| a.starts_with("--disable-features=")).expect("there");
        assert!(off.starts_with("--disable-features=WebUIOmniboxPopup,") && off.ends_with(",A,B"));
        assert!(line.contains(&"--enable-features=NetworkServiceInProcess2,C".to_owned()));
        assert_eq!(line[line.len() - 2..], ["--lang=de", "about:blank"]);
    }

    #[test]
    fn no_debugging_port_is_ever_opened() {
        let line = line(&options(Flavor::Chromium, Sandbox::Off, &[]));
        assert!(!line.iter().any(|a| a.starts_with("--remote-debugging-port")));
        assert!(line.contains(&"--remote-debugging-pipe".to_owned()));
    }
}
