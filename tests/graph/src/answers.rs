//! The endpoints.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::state::{Accepted, Fault, State, Upload};

/// Longest text that Meta takes, in characters.
const TEXT_MAX: usize = 4096;

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/{version}/{number}", get(account))
        .route("/{version}/{number}/messages", post(messages))
        .route("/{version}/{number}/media", post(media))
        .with_state(state)
}

async fn account(
    Shared(state): Shared<Arc<State>>,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err((status, code)) = authorised(&state, &number, &headers) {
        return refusal(status, code);
    }
    closing(
        StatusCode::OK,
        &json!({
            "id": number,
            "display_phone_number": format!("+1 {number}"),
            "verified_name": "Imitated Shop",
            "quality_rating": "GREEN",
        }),
    )
}

async fn media(
    Shared(state): Shared<Arc<State>>,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err((status, code)) = authorised(&state, &number, &headers) {
        return refusal(status, code);
    }
    match state.lock().next_uploads.pop_front() {
        Some(Fault::Refuse { status, code }) => return refusal(status, code),
        Some(Fault::Gateway { status, .. }) => return gateway(status),
        _ => {}
    }
    let multipart = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    if !multipart || body.is_empty() {
        return refusal(400, 100);
    }
    // The part's own type follows the form's fields; the file is in there as it is.
    let text = String::from_utf8_lossy(&body);
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("name=\"{name}\""))?;
        Some(rest.split_once("\r\n\r\n")?.1.split_once("\r\n")?.0.to_owned())
    };
    let (Some(mime), Some("whatsapp")) = (field("type"), field("messaging_product").as_deref()) else {
        return refusal(400, 100);
    };
    let id = format!("449070932738{:04}", state.lock().uploads.len());
    state.lock().uploads.push(Upload { id: id.clone(), mime, body: body.to_vec() });
    closing(StatusCode::OK, &json!({ "id": id }))
}

async fn messages(
    Shared(state): Shared<Arc<State>>,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    state.lock().requests += 1;
    let fault = state.lock().fault();
    if let Some(Fault::Refuse { status, code }) = fault {
        return refusal(status, code);
    }
    if let Err((status, code)) = authorised(&state, &number, &headers) {
        return refusal(status, code);
    }
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return refusal(400, 100) };
    if request["status"] == "read" {
        let Some(id) = request["message_id"].as_str() else { return refusal(400, 100) };
        state.lock().read.push(id.to_owned());
        return closing(StatusCode::OK, &json!({ "success": true }));
    }
    if let Err(code) = check(&state, &request) {
        return refusal(if code == 132_001 { 404 } else { 400 }, code);
    }
    match fault {
        Some(Fault::Gateway { status, accepted: false }) => gateway(status),
        Some(Fault::Hang { accepted: false }) => std::future::pending().await,
        Some(Fault::Gateway { status, .. }) => {
            accept(&state, number, request);
            gateway(status)
        }
        Some(Fault::Hang { .. }) => {
            accept(&state, number, request);
            std::future::pending().await
        }
        Some(Fault::CutAfter) => {
            let answer = accept(&state, number, request).to_string();
            // It promises more than comes.
            let length = [(header::CONTENT_LENGTH, (answer.len() + 1).to_string())];
            let part = Ok(Bytes::from(answer[..answer.len() / 2].to_owned()));
            let torn = futures::stream::iter([part, Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
            (length, Body::from_stream(torn)).into_response()
        }
        Some(Fault::Refuse { .. }) | None => closing(StatusCode::OK, &accept(&state, number, request)),
    }
}

/// Meta's code of what is wrong with a message.
fn check(state: &State, request: &Value) -> Result<(), i64> {
    let to = request["to"].as_str().filter(|to| to.bytes().all(|byte| byte.is_ascii_digit()) && to.len() >= 5);
    let kind = request["type"].as_str();
    let (Some(_), Some(kind)) = (to, kind) else { return Err(100) };
    if request["messaging_product"] != "whatsapp"
        || !(request[kind].is_object() || kind == "contacts" && request[kind].is_array())
    {
        return Err(100);
    }
    match kind {
        "text" => match request["text"]["body"].as_str().map(|text| text.chars().count()) {
            Some(1..=TEXT_MAX) => Ok(()),
            _ => Err(100),
        },
        "template" => {
            let template = &request["template"];
            let name = template["name"].as_str().unwrap_or_default().to_owned();
            let language = template["language"]["code"].as_str().unwrap_or_default().to_owned();
            if state.lock().templates.contains(&(name, language)) { Ok(()) } else { Err(132_001) }
        }
        "image" | "video" | "audio" | "document" | "sticker" => {
            let (id, link) = (request[kind]["id"].as_str(), request[kind]["link"].as_str());
            let is_known = id.is_some_and(|id| state.lock().uploads.iter().any(|upload| upload.id == id));
            if is_known || link.is_some() { Ok(()) } else { Err(131_053) }
        }
        "contacts" | "interactive" | "location" | "reaction" => Ok(()),
        _ => Err(131_051),
    }
}

fn accept(state: &State, number: String, body: Value) -> Value {
    let mut state = state.lock();
    let id = state.new_id();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (to, kind) = (text("to"), text("type"));
    let answer = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": to, "wa_id": to }],
        "messages": [{ "id": id, "message_status": "accepted" }],
    });
    state.accepted.push(Accepted { id, number, to, kind, body });
    answer
}

fn authorised(state: &State, number: &str, headers: &HeaderMap) -> Result<(), (u16, i64)> {
    let state = state.lock();
    let Some(token) = state.numbers.get(number) else { return Err((400, 100)) };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if given == Some(token.as_str()) { Ok(()) } else { Err((401, 190)) }
}

fn refusal(status: u16, code: i64) -> Response {
    let status = StatusCode::from_u16(status).expect("a test asks for a status that exists");
    let error = json!({
        "message": format!("(#{code}) imitated"),
        "type": "OAuthException",
        "code": code,
        "error_data": { "messaging_product": "whatsapp", "details": "imitated" },
        "fbtrace_id": "AImitatedTrace",
    });
    closing(status, &json!({ "error": error }))
}

fn gateway(status: u16) -> Response {
    let status = StatusCode::from_u16(status).expect("a test asks for a status that exists");
    (status, [(header::CONNECTION, "close")], "<html>gateway</html>").into_response()
}

/// Each request has a connection of its own, so that cutting connections is exact.
fn closing(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONNECTION, "close")], Json(body)).into_response()
}
