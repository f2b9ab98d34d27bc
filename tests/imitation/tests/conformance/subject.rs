//! What is put to the test: the imitation with a far end that obeys, or a page of which we only have the address and a
//! person with a phone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wafleet_browser::{Chromium, Flavor, LaunchOptions, Sandbox};
use wafleet_imitation::{Imitation, Options, PageOptions};

use crate::far_end::FarEnd;
use crate::library;
use crate::tab::Tab;

/// The numbers of a run against the imitation.
pub(crate) const ME: &str = "4915112345678";
pub(crate) const CONTACT: &str = "4915187654321";
const FRIEND: &str = "4915100000001";
const STRANGER: &str = "4915100000002";
const MISSING: &str = "4915100000003";

/// A page under test, in a browser of its own.
pub(crate) struct Subject {
    browser: Arc<Chromium>,
    pub(crate) tab: Tab,
    url: String,
    people: Value,
    site: Option<Arc<Imitation>>,
    directory: Option<PathBuf>,
    far_end: tokio::task::JoinHandle<()>,
}

impl Subject {
    /// The page at `CONFORMANCE_URL`, else the imitation.
    pub(crate) async fn open() -> Self {
        let elsewhere = std::env::var("CONFORMANCE_URL").ok();
        let site = match elsewhere {
            Some(_) => None,
            None => Some(Arc::new(Imitation::start(imitation_options()).await.expect("a loopback port is free"))),
        };
        if let Some(site) = &site {
            site.phone(ME, "Me");
            site.phone(CONTACT, "Conny");
            site.nobody(MISSING);
        }
        let number = |name: &str, of_the_imitation: &str| match site {
            Some(_) => of_the_imitation.to_owned(),
            None => std::env::var(name).unwrap_or_else(|_| panic!("{name} names the phone number of that person")),
        };
        let people = json!({
            "me": number("CONFORMANCE_ME", ME),
            "contact": number("CONFORMANCE_CONTACT", CONTACT),
            "friend": number("CONFORMANCE_FRIEND", FRIEND),
            "stranger": number("CONFORMANCE_STRANGER", STRANGER),
            "missing": number("CONFORMANCE_MISSING", MISSING),
        });
        let (profile, directory) = match std::env::var_os("CONFORMANCE_PROFILE") {
            Some(profile) => (PathBuf::from(profile), None),
            None => {
                let own = scratch_directory("list");
                (own.clone(), Some(own))
            }
        };
        let browser = Arc::new(launch(profile).await);
        let tab = Tab::open(browser.cdp(), false).await;
        let url = elsewhere.or_else(|| site.as_ref().map(|site| site.url())).expect("there is a page");
        let far_end = FarEnd { site: site.clone(), browser: Arc::clone(&browser), tab: tab.clone(), url: url.clone() };
        let far_end = tokio::spawn(far_end.serve());
        Self { browser, tab, url, people, site, directory, far_end }
    }

    /// Whether an assertion with this need can run here.
    pub(crate) fn offers(&self, need: &str) -> bool {
        need == "far end" || self.site.is_some()
    }

    /// Brings the page to the beginning of a stage.
    pub(crate) async fn enter(&self, stage: &str) {
        match stage {
            "page" => self.load().await,
            "ready" => self.inject().await,
            "returning" => {
                self.tab.leave().await;
                if let Some(site) = &self.site {
                    let phone = site.phone(ME, "Me");
                    phone.wait_until_offline(Duration::from_secs(10)).await.expect("the page is closed");
                    phone.receive_text(CONTACT, "Conny", "while you were closed");
                }
                self.load().await;
                self.inject().await;
            }
            _ => {}
        }
    }

    /// Loads the page, with the list in it, before there is any library.
    async fn load(&self) {
        self.tab.load(&self.url).await;
        self.tab.run(&library::assertions()).await;
        let patience_ms = if self.site.is_some() { 20_000 } else { 120_000 }; // people are slower than programs
        let settings = json!({ "people": self.people, "patience": patience_ms });
        self.tab.run(&format!("conformance.configure({settings})")).await;
    }

    /// Injects wa-js and records its events from the first on.
    async fn inject(&self) {
        self.tab.run(&library::wa_js()).await;
        self.tab.run("conformance.listen()").await;
    }

    pub(crate) async fn close(self) {
        self.far_end.abort();
        let _ = self.far_end.await; // it was aborted; its handle on the browser is gone now
        if let Ok(browser) = Arc::try_unwrap(self.browser) {
            browser.close().await;
        }
        if let Some(directory) = self.directory {
            // Left behind in a temporary directory at worst.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// A headless Chromium on the profile in this directory.
pub(crate) async fn launch(session_dir: PathBuf) -> Chromium {
    let options = LaunchOptions {
        executable: Flavor::Chromium.debian_executable().to_owned(),
        flavor: Flavor::Chromium,
        sandbox: Sandbox::Off,
        session_dir,
        extra_args: Vec::new(),
    };
    Chromium::launch(&options).await.expect("chromium starts")
}

/// A directory of this process for one purpose.
pub(crate) fn scratch_directory(purpose: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wafleet-conformance-{}-{purpose}", std::process::id()))
}

/// Everything as by default, but with waits that a test can afford, and late enough to see connecting from its beginning.
fn imitation_options() -> Options {
    let page = PageOptions {
        before_socket_ms: 6_000,
        syncing_ms: 1_500,
        qr_after_logout_ms: 2_000,
        qr_refresh_ms: 300,
        ping_ms: 2_000,
        dead_socket_ms: 1_000,
        ..PageOptions::default()
    };
    Options { page, ..Options::default() }
}
