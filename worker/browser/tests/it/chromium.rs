//! Start, ends of every kind, and what is left after them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use wafleet_browser::{CdpError, Chromium, End, Flavor, LaunchError, Sandbox};

use crate::support::{PATIENCE, SECOND, SessionDir, Tab, options, processes_of, site, until};

const WRITE: &str = "new Promise((done, failed) => {
    localStorage.setItem('key', 'kept');
    const open = indexedDB.open('base', 1);
    open.onupgradeneeded = () => open.result.createObjectStore('store');
    open.onerror = () => failed(open.error);
    open.onsuccess = () => {
        const write = open.result.transaction('store', 'readwrite');
        write.objectStore('store').put('kept', 'key');
        write.oncomplete = () => done('written');
    };
})";

const READ: &str = "new Promise((done, failed) => {
    const open = indexedDB.open('base', 1);
    open.onupgradeneeded = () => open.transaction.abort();
    open.onerror = () => done([localStorage.getItem('key'), null]);
    open.onsuccess = () => {
        const read = open.result.transaction('store').objectStore('store').get('key');
        read.onsuccess = () => done([localStorage.getItem('key'), read.result]);
    };
})";

fn pid(chromium: &Chromium) -> Pid {
    Pid::from_raw(i32::try_from(chromium.pid()).expect("a pid")).expect("not 0")
}

#[tokio::test]
async fn a_closed_browser_keeps_its_state_and_leaves_nothing_behind() {
    let dir = SessionDir::new();
    let url = format!("http://{}/", site("<title>page</title>").await);
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let tab = Tab::open(chromium.cdp(), &url).await;
    assert_eq!(tab.evaluate(WRITE).await, "written");
    assert!(!processes_of(&dir.0).is_empty());
    assert_eq!(chromium.close().await, End::Clean);
    assert!(processes_of(&dir.0).is_empty());
    assert!(!dir.0.join("unclean").exists() && !dir.0.join("aside").exists());

    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let tab = Tab::open(chromium.cdp(), &url).await;
    assert_eq!(tab.evaluate(READ).await, json!(["kept", "kept"]));
    assert_eq!(chromium.close().await, End::Clean);
}

#[tokio::test]
async fn a_killed_browser_takes_its_whole_group_along_and_the_next_start_guards_the_database() {
    let dir = SessionDir::new();
    let url = format!("http://{}/", site("<title>page</title>").await);
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let tab = Tab::open(chromium.cdp(), &url).await;
    tab.evaluate(WRITE).await;
    chromium.kill();
    let exit = chromium.exited().await;
    assert_eq!(exit.signal, Some(9));
    assert_eq!(chromium.exited().await, exit, "as often as one likes");
    chromium.cdp().closed().await;
    until("the group is gone", || processes_of(&dir.0).is_empty()).await;
    assert!(!Path::new(&format!("/proc/{}", chromium.pid())).exists(), "it was waited for, no zombie is left");
    assert_eq!(chromium.close().await, End::Killed);

    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let aside: Vec<_> = fs::read_dir(dir.0.join("aside")).expect("there").collect();
    assert_eq!(aside.len(), 1);
    let copy = aside[0].as_ref().expect("an entry").path().join("IndexedDB");
    assert!(fs::read_dir(copy).expect("copied").count() > 0);
    let tab = Tab::open(chromium.cdp(), &url).await;
    assert_eq!(tab.evaluate(READ).await[1], "kept");
    chromium.close().await;
}

#[tokio::test]
async fn a_stopped_browser_is_killed() {
    // A stopped process answers neither `Browser.close` nor SIGINT; the third rung ends it.
    let dir = SessionDir::new();
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    kill_process(pid(&chromium), Signal::STOP).expect("stopped");
    let begun = Instant::now();
    assert_eq!(chromium.close().await, End::Killed);
    assert!(begun.elapsed() < 12 * SECOND, "{:?}", begun.elapsed());
    assert!(processes_of(&dir.0).is_empty());
}

#[tokio::test]
async fn dropping_a_browser_ends_it_in_good_order() {
    let dir = SessionDir::new();
    let url = format!("http://{}/", site("<title>page</title>").await);
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let cdp = chromium.cdp().clone();
    Tab::open(&cdp, &url).await.evaluate(WRITE).await;
    drop(chromium);
    cdp.closed().await;
    until("it is gone", || processes_of(&dir.0).is_empty()).await;
    until("its end is noted", || !dir.0.join("unclean").exists()).await;
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    assert!(!dir.0.join("aside").exists(), "it was a good end");
    let tab = Tab::open(chromium.cdp(), &url).await;
    assert_eq!(tab.evaluate(READ).await, json!(["kept", "kept"]));
    chromium.close().await;
}

#[tokio::test]
async fn the_end_of_the_browser_fails_calls_at_once() {
    let dir = SessionDir::new();
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let cdp = chromium.cdp().clone();
    let url = format!("http://{}/", site("<title>page</title>").await);
    let tab = Tab::open(&cdp, &url).await;
    let never = tokio::spawn(async move {
        cdp.call_raw(
            Some(&tab.session),
            "Runtime.evaluate",
            json!({ "expression": "new Promise(() => {})", "awaitPromise": true }),
            PATIENCE,
        )
        .await
    });
    chromium.kill();
    let answer = tokio::time::timeout(2 * SECOND, never).await.expect("at once");
    assert!(matches!(answer.expect("no panic"), Err(CdpError::Gone { .. })));
    chromium.close().await;
}

#[tokio::test]
async fn locks_of_another_host_do_not_stop_a_start() {
    let dir = SessionDir::new();
    fs::create_dir_all(dir.0.join("profile")).expect("made");
    symlink("another-host-4711", dir.0.join("profile/SingletonLock")).expect("linked");
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    assert_eq!(chromium.close().await, End::Clean);
}

#[tokio::test]
async fn a_directory_deeper_than_a_socket_path_is_no_obstacle() {
    let dir = SessionDir::new();
    let deep = dir.0.join("w".repeat(64)).join("s".repeat(64));
    let chromium = Chromium::launch(&options(deep)).await.expect("launched");
    assert_eq!(chromium.close().await, End::Clean);
}

#[tokio::test]
async fn what_is_not_a_browser_is_refused_with_a_reason() {
    let dir = SessionDir::new();
    let script = dir.0.join("chromium");
    fs::create_dir_all(&dir.0).expect("made");
    fs::write(&script, "#!/bin/sh\nexec true\n").expect("written");
    let mut options = dir.options();
    options.executable = script;
    let error = Chromium::launch(&options).await.expect_err("a script");
    assert!(matches!(error, LaunchError::NotABinary(_)), "{error}");
    options.executable = dir.0.join("nothing");
    let error = Chromium::launch(&options).await.expect_err("nothing");
    assert!(matches!(error, LaunchError::NoExecutable { .. }), "{error}");
    options.executable = "/bin/true".into();
    let error = Chromium::launch(&options).await.expect_err("not chromium");
    assert!(matches!(error, LaunchError::Ended { exit, .. } if exit.code == Some(0)));
}

#[tokio::test]
async fn a_sandbox_that_cannot_work_is_an_error_that_says_so() {
    if !rustix::process::geteuid().is_root() {
        return; // Only for root the sandbox cannot work.
    }
    let dir = SessionDir::new();
    let mut options = dir.options();
    options.sandbox = Sandbox::Required;
    let error = Chromium::launch(&options).await.expect_err("as root");
    assert!(matches!(&error, LaunchError::Ended { log, .. } if log.contains("--no-sandbox")), "{error}");
}

#[tokio::test]
async fn the_browser_sees_nothing_of_the_environment_that_it_does_not_need() {
    let dir = SessionDir::new();
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let environ = fs::read(format!("/proc/{}/environ", chromium.pid())).expect("readable");
    let names: Vec<&str> =
        std::str::from_utf8(&environ).expect("UTF-8").split('\0').filter_map(|pair| pair.split('=').next()).collect();
    assert!(names.contains(&"TMPDIR") && names.contains(&"HOME"), "{names:?}");
    // Cargo gives its tests a dozen variables of this kind.
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    chromium.close().await;
}

#[tokio::test]
async fn a_sigkilled_worker_leaves_no_browser_and_a_saved_state() {
    let dir = SessionDir::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let url = format!("http://{}/", crate::support::site_on(listener, "<title>page</title>"));

    let mut worker = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "--nocapture", "chromium::a_worker_that_waits_to_be_killed"])
        .env("WAFLEET_TEST_SESSION_DIR", &dir.0)
        .env("WAFLEET_TEST_URL", &url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let stdout = worker.stdout.take().expect("piped");
    let ready = tokio::task::spawn_blocking(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.contains("state written"))
    });
    assert!(ready.await.expect("no panic"), "the worker got so far");
    assert!(!processes_of(&dir.0).is_empty());
    worker.kill().expect("SIGKILL");
    worker.wait().expect("reaped");
    let begun = Instant::now();
    until("the browser has ended by itself", || processes_of(&dir.0).is_empty()).await;
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());

    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    // Nobody saw it, but Chromium's lock is gone; the smaller build has none that could tell.
    assert_eq!(dir.0.join("aside").exists(), dir.options().flavor == Flavor::HeadlessShell);
    let tab = Tab::open(chromium.cdp(), &url).await;
    assert_eq!(tab.evaluate(READ).await, json!(["kept", "kept"]));
    chromium.close().await;
}

#[tokio::test]
#[ignore = "the victim of `a_sigkilled_worker_leaves_no_browser_and_a_saved_state`, run as a process of its own"]
async fn a_worker_that_waits_to_be_killed() {
    let dir = std::env::var_os("WAFLEET_TEST_SESSION_DIR").expect("set by the parent");
    let url = std::env::var("WAFLEET_TEST_URL").expect("set by the parent");
    let chromium = Chromium::launch(&options(dir.into())).await.expect("launched");
    let tab = Tab::open(chromium.cdp(), &url).await;
    tab.evaluate(WRITE).await;
    println!("state written");
    std::future::pending::<()>().await;
}
