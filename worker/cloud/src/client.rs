//! The few calls of the Graph API that a sender needs.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::fault::Fault;
use crate::message::Outgoing;
use crate::token::{MetaId, Token};

/// A connection that is not there after so long was never begun: nothing has gone out.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Idle connections end before Meta's own limit would end them under a request.
const IDLE_LIMIT: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const ANSWER_MAX: usize = 256 * 1024;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be prepared.
    #[error("the HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
    /// The address cannot be extended.
    #[error("the address of the Graph API must be one that paths can be added to")]
    Address,
}

/// The Graph API at one address and in one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Graph {
    http: Client,
    base: Url,
}

/// Meta has taken a message; that it left is told by a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Meta's id of the message, `wamid.…`.
    pub message_id: String,
    /// The recipient as WhatsApp knows it, in digits.
    pub wa_id: Option<String>,
}

/// A number as Meta describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its digits, as people write them.
    pub display_phone_number: Option<String>,
    /// The name that recipients see.
    pub verified_name: Option<String>,
    /// GREEN, YELLOW, RED or UNKNOWN.
    pub quality_rating: Option<String>,
}

impl Graph {
    /// `base` is `https://graph.facebook.com/`, `version` such as `v24.0`; a whole request ends after `limit`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(base: &Url, version: &str, limit: Duration) -> Result<Self, ClientError> {
        let http = Client::builder()
            .timeout(limit)
            .connect_timeout(CONNECT_LIMIT.min(limit))
            .pool_idle_timeout(IDLE_LIMIT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(concat!("wafleet/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let mut base = base.clone();
        base.path_segments_mut().map_err(|()| ClientError::Address)?.pop_if_empty().push(version);
        Ok(Self { http, base })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Fault`]: only its verdict says whether it may be sent again.
    pub async fn send(&self, token: &Token, number: &MetaId, message: &Outgoing) -> Result<Accepted, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            contacts: Vec<Contact>,
            messages: Vec<Message>,
        }
        #[derive(Deserialize)]
        struct Contact {
            wa_id: Option<String>,
        }
        #[derive(Deserialize)]
        struct Message {
            id: String,
        }
        let request = self.post(token, number, "messages").json(&message.to_json());
        let answer: Answer = ask(request).await?;
        let message = answer.messages.into_iter().next().ok_or_else(Fault::unreadable)?;
        let wa_id = answer.contacts.into_iter().next().and_then(|contact| contact.wa_id);
        Ok(Accepted { message_id: message.id, wa_id })
    }

    /// Marks a message, and all before it, as read; `typing` shows that an answer is being written, for 25 seconds at most.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn mark_read(&self, token: &Token, number: &MetaId, message_id: &str, typing: bool) -> Result<(), Fault> {
        let mut body = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": message_id });
        if typing {
            body["typing_indicator"] = json!({ "type": "text" });
        }
        ask::<Value>(self.post(token, number, "messages").json(&body)).await.map(drop)
    }

    /// Uploads a medium; its id is good for 30 days, for this number.
    ///
    /// # Errors
    /// [`Fault`]. A second upload sends nothing, so it may be repeated whatever the verdict is.
    pub async fn upload(
        &self,
        token: &Token,
        number: &MetaId,
        media_type: &str,
        filename: &str,
        bytes: Vec<u8>,
    ) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            id: String,
        }
        let part = reqwest::multipart::Part::bytes(bytes).file_name(filename.to_owned()).mime_str(media_type);
        let part = part.map_err(|error| Fault::of_transport(&error))?;
        let form = reqwest::multipart::Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", media_type.to_owned())
            .part("file", part);
        let answer: Answer = ask(self.post(token, number, "media").multipart(form)).await?;
        Ok(answer.id)
    }

    /// Asks for a number: whether the token is good, and what the number is called.
    ///
    /// # Errors
    /// [`Fault`]. Nothing is changed, so it may be repeated whatever the verdict is.
    pub async fn account(&self, token: &Token, number: &MetaId) -> Result<Account, Fault> {
        let mut url = self.url(number, &[]);
        url.set_query(Some("fields=id,display_phone_number,verified_name,quality_rating"));
        ask(self.http.get(url).header(AUTHORIZATION, token.header())).await
    }

    fn post(&self, token: &Token, number: &MetaId, path: &str) -> RequestBuilder {
        self.http.post(self.url(number, &[path])).header(AUTHORIZATION, token.header())
    }

    fn url(&self, number: &MetaId, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(number.as_str()).extend(path);
        }
        url
    }
}

async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Fault> {
    let response = request.send().await.map_err(|error| Fault::of_transport(&error))?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = read(response).await;
    if !status.is_success() {
        // Without its body the answer has still its status.
        return Err(Fault::of_answer(status, retry_after, &body.unwrap_or_default()));
    }
    serde_json::from_slice(&body?).map_err(|_| Fault::unreadable())
}

async fn read(mut response: Response) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::of_transport(&error))? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(Fault::unreadable());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
