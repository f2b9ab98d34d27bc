//! The loopback server: the page, its socket, and the control API.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::cloud::{Cloud, ConnectionId, Conversation, Mode};
use crate::control;
use crate::page;
use crate::wire::FromPage;

/// Two gigabytes on the real server; nobody here sends more than this.
const LARGEST_MEDIUM: usize = 256 * 1024 * 1024;

pub(crate) fn router(cloud: Cloud) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/page/{name}", get(script))
        .route("/page/filler/{first}", get(filler))
        .route("/ws/chat", get(dial))
        .route("/mms/{kind}/{hash}", get(media).post(keep_media).layer(DefaultBodyLimit::max(LARGEST_MEDIUM)))
        .route("/control", get(verbs))
        .route("/control/{verb}", post(perform))
        .with_state(cloud)
}

async fn index(State(cloud): State<Cloud>, Query(query): Query<HashMap<String, String>>) -> Response {
    let overrides = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    match cloud.look(|state| state.options.page.overridden(overrides)) {
        // The real page's policy forbids inline and foreign scripts too: only what the debugger evaluates gets in.
        Ok(options) => {
            let policy = "default-src 'self'; connect-src 'self' ws:; img-src 'self' data: blob:; object-src 'none'";
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, policy),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, page::index(&options)).into_response()
        }
        Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
    }
}

async fn script(Path(name): Path<String>) -> Response {
    match page::script(&name) {
        Some(text) => {
            let headers =
                [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn filler(Path(first): Path<u32>, Query(query): Query<HashMap<String, u32>>) -> Response {
    let count = query.get("count").copied().unwrap_or(page::FILLER_BUNDLE).min(page::FILLER_BUNDLE);
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, page::filler(first, count)).into_response()
}

/// With `resume` the page asks whether the file is there already, else it sends it.
async fn keep_media(
    State(cloud): State<Cloud>,
    Path((kind, hash)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    file: Bytes,
) -> Response {
    let path = format!("/mms/{kind}/{hash}");
    if let Some(status) = cloud.look(|state| state.faults.refuse_uploads) {
        cloud.change(|state, _| state.shelf.refuse());
        return refused(status);
    }
    if query.contains_key("resume") {
        let known = cloud.look(|state| state.shelf.has(&path));
        return Json(json!({ "resume": if known { "complete" } else { "0" } })).into_response();
    }
    cloud.change(|state, _| state.shelf.put(path.clone(), file));
    Json(json!({ "url": path, "direct_path": path })).into_response()
}

async fn media(State(cloud): State<Cloud>, Path((kind, hash)): Path<(String, String)>) -> Response {
    let file = cloud.change(|state, _| state.shelf.get(&format!("/mms/{kind}/{hash}")));
    match (cloud.look(|state| state.faults.refuse_downloads), file) {
        (Some(status), _) => refused(status),
        (None, Some(file)) => file.into_response(),
        (None, None) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn refused(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

async fn verbs() -> &'static str {
    control::HELP
}

async fn perform(State(cloud): State<Cloud>, Path(verb): Path<String>, body: String) -> Response {
    let fields = match body.trim() {
        "" => Ok(Map::new()),
        text => serde_json::from_str::<Map<String, Value>>(text),
    };
    let (status, answer) = match fields.and_then(|fields| control::parse(&verb, fields)) {
        Err(error) => (StatusCode::BAD_REQUEST, json!({ "error": error.to_string() })),
        Ok(command) => match control::perform(&cloud, command).await {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error) => (StatusCode::CONFLICT, json!({ "error": error.to_string() })),
        },
    };
    (status, Json(answer)).into_response()
}

async fn dial(State(cloud): State<Cloud>, upgrade: WebSocketUpgrade) -> Response {
    if cloud.look(|state| state.faults.refuse_connections) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    upgrade.on_upgrade(move |socket| async move {
        let hangup = Hangup { conversation: cloud.change(|state, _| state.connect()), cloud: cloud.clone() };
        hangup.converse(socket).await;
    })
}

/// Tells the cloud that a conversation is over, however it ended.
struct Hangup {
    cloud: Cloud,
    conversation: Conversation,
}

impl Drop for Hangup {
    fn drop(&mut self) {
        let id = self.conversation.id;
        self.cloud.change(|state, _| state.disconnected(id));
    }
}

impl Hangup {
    /// Carries frames in both directions until one side ends it. Returning without a close frame cuts the TCP
    /// connection, which is what a fault wants.
    async fn converse(mut self, mut socket: WebSocket) {
        let Conversation { id, outbox, mode } = &mut self.conversation;
        let mut mode_may_change = true;
        loop {
            let behaviour = *mode.borrow_and_update();
            match behaviour {
                Mode::Cut => return,
                Mode::Silent => match mode.changed().await {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                Mode::Open => {}
            }
            tokio::select! {
                biased;
                changed = mode.changed(), if mode_may_change => mode_may_change = changed.is_ok(),
                frame = outbox.recv() => {
                    let Some(frame) = frame else { break };
                    let text = serde_json::to_string(&frame).expect("frames are plain data");
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        return;
                    }
                }
                heard = socket.recv() => match heard {
                    Some(Ok(Message::Text(text))) => hear(&self.cloud, *id, text.as_str()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                },
            }
        }
        // Best effort: the page may be gone already.
        let _ = socket.send(Message::Close(None)).await;
    }
}

fn hear(cloud: &Cloud, id: ConnectionId, text: &str) {
    match serde_json::from_str::<FromPage>(text) {
        Ok(frame) => cloud.change(|state, now| state.hear(id, frame, now)),
        // Where and why, but not what: the error's own text may quote a message.
        Err(error) => {
            let (why, column) = (error.classify(), error.column());
            tracing::warn!(connection = id, ?why, column, "the page said something that is no frame");
        }
    }
}

/// Serves until `stop` resolves.
pub(crate) async fn serve(
    listener: tokio::net::TcpListener,
    cloud: Cloud,
    stop: Arc<tokio::sync::Notify>,
) -> std::io::Result<()> {
    axum::serve(listener, router(cloud)).with_graceful_shutdown(async move { stop.notified().await }).await
}
