//! Whoever acts at the far end when an assertion asks: the imitation's control API, or a person who reads what to do.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wafleet_browser::Chromium;
use wafleet_imitation::Imitation;

use crate::library;
use crate::tab::Tab;

/// The account of the second page.
const PEER: &str = "4915177777777";

/// What the page asks for.
#[derive(Debug, Deserialize)]
struct Request {
    id: u64,
    verb: String,
    fields: Map<String, Value>,
}

/// The far end of a run.
pub(crate) struct FarEnd {
    pub(crate) site: Option<Arc<Imitation>>,
    pub(crate) browser: Arc<Chromium>,
    pub(crate) tab: Tab,
    pub(crate) url: String,
}

impl FarEnd {
    /// Answers the page until it is gone.
    pub(crate) async fn serve(self) {
        let mut calls = self.tab.bindings();
        let mut peer = None;
        while let Ok(call) = calls.next().await {
            let payload = call.params["payload"].as_str().unwrap_or_default();
            let Ok(Request { id, verb, fields }) = serde_json::from_str(payload) else { continue };
            let answer = match &self.site {
                None => act_by_hand(&verb, &fields).await,
                Some(site) if verb == "peer" => self.peer(site, &mut peer, &fields).await,
                Some(site) => site.control(&verb, fields).await,
            };
            let answer = match answer {
                Ok(value) => json!({ "value": value }),
                Err(error) => json!({ "error": error }),
            };
            // A page that was left meanwhile waits for nothing.
            let _ = self.tab.evaluate::<Value>(&format!("conformance.answer({id}, {answer})")).await;
        }
    }

    /// A second page, linked to another account: links itself, sends, reads.
    async fn peer(
        &self,
        site: &Imitation,
        page: &mut Option<Tab>,
        fields: &Map<String, Value>,
    ) -> Result<Value, String> {
        let text = |name: &str| json!(fields.get(name).and_then(Value::as_str).unwrap_or_default());
        if fields.get("deed") == Some(&json!("link")) {
            *page = Some(self.linked_peer(site).await?);
            return Ok(json!({ "number": PEER }));
        }
        let page = page.as_ref().ok_or("there is no second page")?;
        if fields.get("deed") == Some(&json!("send")) {
            let to = text("to");
            let send = format!("WPP.chat.sendTextMessage({to} + '@c.us', {}, {{ linkPreview: false }})", text("text"));
            return page.evaluate(&format!("{send}.then(({{ id, ack }}) => ({{ id, ack }}))")).await;
        }
        let arrived = format!("WPP.whatsapp.MsgStore.some((message) => message.body === {})", text("text"));
        page.wait_for(&arrived, "the message at the second page").await;
        let chat =
            format!("WPP.contact.getPnLidEntry({} + '@c.us').then(({{ lid }}) => lid._serialized)", text("from"));
        page.evaluate(&format!("{chat}.then((lid) => WPP.chat.markIsRead(lid)).then(() => true)")).await
    }

    async fn linked_peer(&self, site: &Imitation) -> Result<Tab, String> {
        let page = Tab::open(self.browser.cdp(), true).await;
        page.load(&self.url).await;
        page.run(&library::wa_js()).await;
        page.wait_for("WPP.isFullReady", "readiness of the second page").await;
        page.wait_for("WPP.conn.getAuthCode().then((code) => code !== null)", "the code of the second page").await;
        let code: String = page.evaluate("WPP.conn.getAuthCode().then(({ fullCode }) => fullCode)").await?;
        site.phone(PEER, "Peer").scan(&code).await.map_err(|error| error.to_string())?;
        page.wait_for("WPP.whatsapp.Stream.mode === 'MAIN'", "the main mode of the second page").await;
        Ok(page)
    }
}

/// Tells a person what to do and waits for Enter.
async fn act_by_hand(verb: &str, fields: &Map<String, Value>) -> Result<Value, String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let task = match verb {
        "scan" => format!("link this page with the phone {}:\n{}", text("number"), drawn(&text("code"))?),
        "enter_code" => format!("enter the pairing code {} on the phone {}", text("code"), text("number")),
        "receive" => format!("send this from the phone {} to {}: {}", text("from"), text("number"), text("text")),
        "type" => format!("send this from the phone {} to {}: {}", text("number"), text("to"), text("text")),
        "read" => format!("open the chat on the phone {}, so that the last message is read", text("number")),
        "group" => format!("create the group {} on the phone {} with the others", text("subject"), text("owner")),
        "unlink" => format!("log this device out on the phone {}", text("number")),
        _ => return Err(format!("nobody can do {verb} by hand")),
    };
    let wait = tokio::task::spawn_blocking(move || {
        println!("\n>>> Please {task}\n>>> then press Enter");
        std::io::stdout().flush()?;
        std::io::stdin().read_line(&mut String::new())
    });
    let patience = Duration::from_secs(120);
    match tokio::time::timeout(patience, wait).await {
        Ok(Ok(Ok(_))) => Ok(json!({})),
        _ => Err(format!("nobody did it within {} s", patience.as_secs())),
    }
}

fn drawn(code: &str) -> Result<String, String> {
    let code = qrcode::QrCode::new(code).map_err(|error| error.to_string())?;
    Ok(code.render::<qrcode::render::unicode::Dense1x2>().build())
}
