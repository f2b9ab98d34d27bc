//! A web server with files, beside the test: what a message's `url` leads to, with everything that can be wrong there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What a path answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A file of this type.
    File(&'static str, Bytes),
    /// This status, as often, and then the file.
    Status(u16, u32, &'static str, Bytes),
    /// Another address.
    Redirect(String),
    /// A file that says it is packed.
    Packed(Bytes),
    /// These bytes, and then others without end, and without having said how many.
    Endless(Bytes),
}

/// The server; it ends when this is dropped.
pub struct FileServer {
    url: String,
    port: u16,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
}

impl FileServer {
    /// Serves on an address of this machine.
    ///
    /// # Errors
    /// When no port can be had there.
    pub async fn start(address: Ipv4Addr) -> anyhow::Result<Self> {
        Self::start_at(address, 0).await
    }

    /// As [`start`](Self::start), on a port that another address has already.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn start_at(address: Ipv4Addr, port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, port)).await?;
        let port = listener.local_addr()?.port();
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, port, shared, _serving: AbortOnDropHandle::new(serving) })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what a path answers, and gives its whole address.
    pub fn set(&self, path: &str, answer: Answer) -> String {
        self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), answer);
        format!("{}{path}", self.url)
    }

    /// The paths that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let path = uri.path().to_owned();
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
    let mut answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
    match answers.get_mut(&path) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Status(_, 0, mime, file)) => ([(header::CONTENT_TYPE, *mime)], file.clone()).into_response(),
        Some(Answer::Status(status, left, ..)) => {
            *left -= 1;
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Some(Answer::File(mime, file)) => ([(header::CONTENT_TYPE, *mime)], file.clone()).into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to.clone())]).into_response(),
        Some(Answer::Packed(file)) => ([(header::CONTENT_ENCODING, "gzip")], file.clone()).into_response(),
        Some(Answer::Endless(begin)) => {
            let piece = Bytes::from(vec![0; 64 * 1024]);
            let pieces = stream::unfold(begin.clone(), move |now| {
                let next = piece.clone();
                async move { Some((Ok::<_, std::convert::Infallible>(now), next)) }
            });
            Body::from_stream(pieces).into_response()
        }
    }
}
