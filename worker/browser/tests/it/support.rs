//! What the tests share: a session's directory, a site on loopback, a look at processes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wafleet_browser::{Cdp, Chromium, Flavor, LaunchOptions, Sandbox};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything here takes on a busy machine; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A session's directory, removed at the end of its test.
pub(crate) struct SessionDir(pub(crate) PathBuf);

impl SessionDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("session-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        SessionDir(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub(crate) fn options(&self) -> LaunchOptions {
        options(self.0.clone())
    }
}

impl Drop for SessionDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn options(session_dir: PathBuf) -> LaunchOptions {
    let executable = std::env::var_os("WAFLEET_CHROMIUM_PATH")
        .map_or_else(|| Flavor::Chromium.debian_executable().to_owned(), PathBuf::from);
    let sandbox = if rustix::process::geteuid().is_root() { Sandbox::Off } else { Sandbox::Required };
    LaunchOptions {
        executable,
        flavor: match std::env::var("WAFLEET_CHROMIUM_FLAVOR").as_deref() {
            Ok("headless-shell") => Flavor::HeadlessShell,
            _ => Flavor::Chromium,
        },
        sandbox,
        session_dir,
        // Nothing of a test leaves the machine.
        extra_args: vec!["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost".into()],
    }
}

/// A site on loopback that answers every request with the same page.
pub(crate) async fn site(html: &'static str) -> SocketAddr {
    site_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), html)
}

pub(crate) fn site_on(listener: TcpListener, html: &'static str) -> SocketAddr {
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{html}",
                    html.len()
                );
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// A tab driven by hand, for what the page driver does not offer.
pub(crate) struct Tab {
    cdp: Cdp,
    pub(crate) session: String,
}

impl Tab {
    pub(crate) async fn open(cdp: &Cdp, url: &str) -> Self {
        let call = |session: Option<String>, method: &'static str, params: Value| async move {
            cdp.call_raw(session.as_deref(), method, params, PATIENCE)
                .await
                .unwrap_or_else(|error| panic!("{method}: {error}"))
        };
        let target = call(None, "Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session =
            call(None, "Target.attachToTarget", attach).await["sessionId"].as_str().expect("a session").to_owned();
        let mut events = cdp.subscribe(Some(&session), &["Page.loadEventFired"]);
        call(Some(session.clone()), "Page.enable", json!({})).await;
        call(Some(session.clone()), "Page.navigate", json!({ "url": url })).await;
        events.next().await.expect("the page loads");
        Tab { cdp: cdp.clone(), session }
    }

    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer =
            self.cdp.call_raw(Some(&self.session), "Runtime.evaluate", params, PATIENCE).await.expect("an answer");
        assert_eq!(answer.get("exceptionDetails"), None, "{answer}");
        answer["result"]["value"].clone()
    }
}

/// The debugging session of the tab, from a second look at the browser.
pub(crate) async fn attach(chromium: &Chromium) -> String {
    let call = |method: &'static str, params| chromium.cdp().call_raw(None, method, params, PATIENCE);
    let targets = call("Target.getTargets", json!({})).await.expect("targets");
    let page = targets["targetInfos"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|target| target["type"] == "page")
        .expect("a page")["targetId"]
        .clone();
    let attached = call("Target.attachToTarget", json!({ "targetId": page, "flatten": true })).await.expect("attached");
    attached["sessionId"].as_str().expect("a session").to_owned()
}

/// Every process whose command line names this directory.
pub(crate) fn processes_of(session_dir: &Path) -> BTreeSet<u32> {
    let wanted = session_dir.to_str().expect("UTF-8");
    let entries = std::fs::read_dir("/proc").expect("proc");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            (pid != std::process::id() && String::from_utf8_lossy(&line).contains(wanted)).then_some(pid)
        })
        .collect()
}

/// Every process of a group.
pub(crate) fn group_of(leader: u32) -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").expect("proc");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // `pid (name) state parent group …`; the name may hold brackets.
            let group: u32 = stat[stat.rfind(')')? + 1..].split_whitespace().nth(2)?.parse().ok()?;
            (group == leader).then_some(pid)
        })
        .collect()
}

/// Waits for a fact that nothing announces.
pub(crate) async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let waiting = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// As `until`, for a fact that has to be asked for.
pub(crate) async fn until_async(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !fact().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
