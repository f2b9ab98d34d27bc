//! An S3-compatible server beside the test: the far end of saved profiles and media.
//!
//! It knows one bucket, objects and multipart uploads, checks every signature (AWS Signature Version 4) and refuses parts
//! that are too small, as real stores do. Finished objects are files, so that a test can look at them, damage them, or put
//! its own there. It has no versions, no locks and no lists, and it is nobody's product: what passes here was tested
//! against the documented protocol, as this file understands it.

mod signature;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::fleet::WorkerBuilder;

/// The one bucket.
const BUCKET: &str = "wafleet";
/// What workers put before their keys.
const PREFIX: &str = "fleet";
/// The keys that the server knows.
const ACCESS_KEY: &str = "wafleet-test";
const SECRET_KEY: &str = "wafleet-test-secret";
/// Every part but the last has at least this size.
const SMALLEST_PART: usize = 5 * 1024 * 1024;
/// The largest request.
const LARGEST_REQUEST: usize = 64 * 1024 * 1024;
/// When everything was written; clients want to be told something.
const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// The server; it ends when this is dropped.
pub struct ObjectStore {
    endpoint: String,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

struct Shared {
    root: PathBuf,
    uploads: Mutex<HashMap<String, Upload>>,
}

#[derive(Default)]
struct Upload {
    key: String,
    parts: BTreeMap<usize, Bytes>,
}

impl ObjectStore {
    /// Serves what lies in `root`, which is made.
    ///
    /// # Errors
    /// When the directory cannot be made or no port can be had.
    pub async fn start(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared { root: root.to_owned(), uploads: Mutex::default() });
        let router =
            Router::new().fallback(serve).layer(DefaultBodyLimit::max(LARGEST_REQUEST)).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { endpoint, shared, _serving: AbortOnDropHandle::new(serving) })
    }

    /// `http://127.0.0.1:port`, for a proxy in between.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Lets a worker use it, below the prefix `fleet`.
    #[must_use]
    pub fn used_by(&self, worker: WorkerBuilder) -> WorkerBuilder {
        worker
            .env("WAFLEET_OBJECT_STORE_URL", format!("s3://{BUCKET}/{PREFIX}"))
            .env("WAFLEET_OBJECT_STORE_ENDPOINT", &*self.endpoint)
            .env("WAFLEET_OBJECT_STORE_ACCESS_KEY_ID", ACCESS_KEY)
            .env("WAFLEET_OBJECT_STORE_SECRET_ACCESS_KEY", SECRET_KEY)
    }

    /// The file of an object, by the key that workers know it under; it need not be there.
    #[must_use]
    pub fn file(&self, key: &str) -> PathBuf {
        self.shared.root.join(PREFIX).join(key)
    }

    /// Puts an object there, as a host application would.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, key: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let file = self.file(key);
        std::fs::create_dir_all(file.parent().context("a key has a parent")?)?;
        Ok(std::fs::write(file, bytes)?)
    }

    /// The finished objects as files, in the order of their keys.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn objects(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut waiting = vec![self.shared.root.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Uploads that were neither completed nor cancelled.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.shared.uploads.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// An error as S3 tells it.
struct Refusal(StatusCode, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = format!("<Error><Code>{}</Code><Message>{0}</Message></Error>", self.1);
        (self.0, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    if !signature::fits(&method, &uri, &headers, &body, ACCESS_KEY, SECRET_KEY) {
        return Refusal(StatusCode::FORBIDDEN, "SignatureDoesNotMatch").into_response();
    }
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let key = match path.split_once('/') {
        Some((BUCKET, key)) if key.split('/').all(plain) => key.to_owned(),
        _ => return Refusal(StatusCode::NOT_FOUND, "NoSuchBucket").into_response(),
    };
    let answer = match (&method, query.get("uploadId"), query.contains_key("uploads")) {
        (&Method::POST, None, true) => Ok(shared.begin(key)),
        (&Method::PUT, Some(upload), _) => shared.part(upload, query.get("partNumber"), body),
        (&Method::POST, Some(upload), _) => shared.complete(upload, &key, &body),
        (&Method::DELETE, Some(upload), _) => shared.cancel(upload),
        (&Method::PUT, None, _) => shared.write(&key, &body).map(|etag| ([(header::ETAG, etag)], "").into_response()),
        (&Method::GET | &Method::HEAD, None, _) => shared.read(&key, &headers),
        (&Method::DELETE, None, _) => shared.delete(&key),
        _ => Err(Refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented")),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

/// Whether a part of a key is one that is also the name of a file.
fn plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains('%')
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", signature::hex(&Sha256::digest(bytes)[..16]))
}

impl Shared {
    fn begin(&self, key: String) -> Response {
        let id = format!("{:032x}", rand::random::<u128>());
        let body = format!(
            "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        );
        self.uploads().insert(id, Upload { key, parts: BTreeMap::new() });
        body.into_response()
    }

    fn part(&self, upload: &str, number: Option<&String>, body: Bytes) -> Result<Response, Refusal> {
        let number = number.and_then(|number| number.parse().ok()).filter(|number| (1..=10_000).contains(number));
        let number = number.ok_or(Refusal(StatusCode::BAD_REQUEST, "InvalidArgument"))?;
        let etag = etag(&body);
        let mut uploads = self.uploads();
        let upload = uploads.get_mut(upload).ok_or(Refusal(StatusCode::NOT_FOUND, "NoSuchUpload"))?;
        upload.parts.insert(number, body);
        Ok(([(header::ETAG, etag)], "").into_response())
    }

    fn complete(&self, id: &str, key: &str, body: &[u8]) -> Result<Response, Refusal> {
        let text = String::from_utf8_lossy(body);
        let named: Vec<&str> = text.split("<ETag>").skip(1).filter_map(|rest| rest.split("</ETag>").next()).collect();
        let mut uploads = self.uploads();
        let upload = uploads.get(id).filter(|upload| upload.key == key);
        let upload = upload.ok_or(Refusal(StatusCode::NOT_FOUND, "NoSuchUpload"))?;
        let held: Vec<String> = upload.parts.values().map(|part| etag(part)).collect();
        if named.iter().map(|etag| etag.replace("&quot;", "\"")).collect::<Vec<_>>() != held {
            return Err(Refusal(StatusCode::BAD_REQUEST, "InvalidPart"));
        }
        if upload.parts.values().rev().skip(1).any(|part| part.len() < SMALLEST_PART) {
            return Err(Refusal(StatusCode::BAD_REQUEST, "EntityTooSmall"));
        }
        let whole: Vec<u8> = upload.parts.values().flatten().copied().collect();
        let etag = self.write(key, &whole)?;
        uploads.remove(id);
        let body = format!(
            "<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        );
        Ok(body.into_response())
    }

    fn cancel(&self, id: &str) -> Result<Response, Refusal> {
        self.uploads().remove(id).ok_or(Refusal(StatusCode::NOT_FOUND, "NoSuchUpload"))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Beside its place and then into it, as a reader sees all of an object or nothing.
    fn write(&self, key: &str, bytes: &[u8]) -> Result<String, Refusal> {
        let file = self.root.join(key);
        let written = (|| {
            std::fs::create_dir_all(file.parent().unwrap_or(&self.root))?;
            let beside = std::env::temp_dir().join(format!("wafleet-object-{:016x}", rand::random::<u64>()));
            std::fs::write(&beside, bytes)?;
            std::fs::rename(&beside, &file).or_else(|_| {
                std::fs::copy(&beside, &file)?;
                std::fs::remove_file(&beside)
            })
        })();
        written.map_err(|_: std::io::Error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"))?;
        Ok(etag(bytes))
    }

    fn read(&self, key: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
        let bytes = std::fs::read(self.root.join(key)).map_err(|_| Refusal(StatusCode::NOT_FOUND, "NoSuchKey"))?;
        let size = bytes.len();
        let wanted = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
        let (from, to) = match wanted.and_then(|range| range.split_once('-')) {
            Some((from, to)) => (from.parse().unwrap_or(0), to.parse().map_or(size, |to: usize| size.min(to + 1))),
            None => (0, size),
        };
        if from > to {
            return Err(Refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"));
        }
        let answer =
            Response::builder().header(header::ETAG, etag(&bytes)).header(header::LAST_MODIFIED, LAST_MODIFIED);
        let answer = match wanted {
            Some(_) => answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", to.saturating_sub(1))),
            None => answer,
        };
        let body = Body::from(Bytes::from(bytes).slice(from..to));
        answer.body(body).map_err(|_| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"))
    }

    /// Deleting what is not there succeeds, as it does at Amazon's.
    fn delete(&self, key: &str) -> Result<Response, Refusal> {
        let _ = std::fs::remove_file(self.root.join(key));
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
