//! The control API over HTTP, as people and other processes use it.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wafleet_imitation::{Imitation, Options};

/// One HTTP request; gives the status and the body.
async fn ask(site: &Imitation, method: &str, path: &str, body: &str) -> (u16, String) {
    let url = site.url();
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).expect("a plain address");
    let mut stream = TcpStream::connect(address).await.expect("the imitation listens");
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a head has a status");
    (status, body.to_owned())
}

async fn site() -> Imitation {
    Imitation::start(Options::default()).await.expect("a loopback port is free")
}

#[tokio::test]
async fn each_request_is_answered_with_its_own_status() {
    let site = site().await;
    let cases = [
        ("phone", r#"{"number":"4915112345678","name":"Anna"}"#, 200),
        ("phone", r#"{"number":"+49 151"}"#, 400),
        ("phone", "not json", 400),
        ("phone", r#"{"number":"4915112345678","nickname":"Anna"}"#, 400),
        ("telephone", "{}", 400),
        ("drop", r#"{"number":"4915112345678"}"#, 409),
        ("scan", r#"{"number":"4915112345678","code":"2@x,a,b,c"}"#, 409),
        ("enter_code", r#"{"number":"4915112345678","code":"ABCDEFGH"}"#, 409),
        ("read", r#"{"number":"4915112345678","id":"3EB0"}"#, 409),
        ("qr", r#"{"within_ms":1}"#, 409),
        ("sends", r#"{"fault":"explode"}"#, 409),
        ("sends", r#"{"fault":"refuse","count":2}"#, 200),
        ("heal", "", 200),
        ("sent", "", 200),
        ("state", "", 200),
    ];
    for (verb, body, expected) in cases {
        let (status, answer) = ask(&site, "POST", &format!("/control/{verb}"), body).await;
        assert_eq!(status, expected, "{verb} {body}: {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("every answer is JSON");
        assert_eq!(answer.get("error").is_some(), expected != 200, "{verb} {body}: {answer}");
    }
}

#[tokio::test]
async fn what_http_changes_rust_sees() {
    let site = site().await;
    let (_, answer) =
        ask(&site, "POST", "/control/receive", r#"{"number":"4915112345678","from":"4915187654321","text":"hi"}"#)
            .await;
    let id = serde_json::from_str::<Value>(&answer).expect("JSON")["id"].clone();
    assert!(id.as_str().is_some_and(|id| id.starts_with("3A")), "{answer}");
    let fields = json!({}).as_object().cloned().expect("an object");
    let state = site.control("state", fields).await.expect("the state can always be asked for");
    assert_eq!(state["accounts"].as_array().map(Vec::len), Some(2), "{state}");
}

#[tokio::test]
async fn the_verbs_are_listed_and_the_page_is_served_with_its_options() {
    let site = site().await;
    let (status, help) = ask(&site, "GET", "/control", "").await;
    assert!(status == 200 && help.contains("enter_code"), "{help}");
    let (status, page) = ask(&site, "GET", "/?filler_modules=7", "").await;
    assert!(status == 200 && page.contains("\"filler_modules\":7"), "{page}");
    let (status, reason) = ask(&site, "GET", "/?filer_modules=7", "").await;
    assert!(status == 400 && reason.contains("filer_modules"), "{reason}");
    let (status, _) = ask(&site, "GET", "/page/nothing.js", "").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_stopped_site_is_gone() {
    let site = site().await;
    let url = site.url();
    site.stop().await;
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).expect("a plain address");
    assert!(TcpStream::connect(address).await.is_err(), "something still listens");
}
