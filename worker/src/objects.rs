//! The S3-compatible store: sealed profiles and received media, as objects below one prefix of one bucket.
//!
//! An object is written as one multipart upload: it appears only when the upload is completed, so a half-written one is
//! invisible, and no more than one part is ever in memory.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, MultipartId, ObjectStoreExt as _, RetryConfig};

use crate::config;

/// Every part but the last has this size: S3 takes no smaller parts than 5 MiB, and some stores want them to be equal.
const PART: usize = 6 * 1024 * 1024;
/// Bounds of one request. A part that takes longer would use up the time of a whole save.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A request that failed on the way is repeated, within this time altogether.
const RETRY_LIMIT: Duration = Duration::from_secs(10);
const RETRIES: usize = 3;

/// The object store is away, or refused a request.
#[derive(Debug, thiserror::Error)]
#[error("the object store failed")]
pub(crate) struct ObjectError(#[from] object_store::Error);

/// A bucket, or a part of one.
#[derive(Debug)]
pub(crate) struct Objects {
    store: AmazonS3,
    prefix: String,
}

/// What is being read.
pub(crate) struct Reading {
    /// Bytes it has in all.
    pub(crate) size: u64,
    bytes: BoxStream<'static, object_store::Result<Vec<u8>>>,
}

impl Reading {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The store went away in between.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        Ok(self.bytes.try_next().await?)
    }
}

/// An upload that has begun; it must be [completed](Self::complete) or [cancelled](Objects::cancel).
pub(crate) struct Upload<'a> {
    store: &'a AmazonS3,
    path: Path,
    id: MultipartId,
    parts: Vec<PartId>,
    part: Vec<u8>,
}

impl Upload<'_> {
    /// What the store calls it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Adds bytes; sends a part when there are enough of them.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(crate) async fn add(&mut self, mut bytes: &[u8]) -> Result<(), ObjectError> {
        while self.part.len() + bytes.len() >= PART {
            let (now, later) = bytes.split_at(PART - self.part.len());
            self.part.extend_from_slice(now);
            bytes = later;
            self.put().await?;
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes the object appear; returns what the store calls its content.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(crate) async fn complete(mut self) -> Result<Option<String>, ObjectError> {
        // An upload has at least one part, even if the object is empty.
        if !self.part.is_empty() || self.parts.is_empty() {
            self.put().await?;
        }
        Ok(self.store.complete_multipart(&self.path, &self.id, self.parts).await?.e_tag)
    }

    async fn put(&mut self) -> Result<(), ObjectError> {
        let part = std::mem::take(&mut self.part);
        self.parts.push(self.store.put_part(&self.path, &self.id, self.parts.len(), part.into()).await?);
        Ok(())
    }
}

impl Objects {
    /// Prepares the client; nothing is sent before the first use.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub(crate) fn new(config: &config::ObjectStore) -> Result<Self, ObjectError> {
        let mut client = ClientOptions::new()
            .with_timeout(REQUEST_LIMIT)
            .with_connect_timeout(CONNECT_LIMIT)
            .with_allow_http(config.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http"));
        for certificate in Certificate::from_pem_bundle(config.ca_pem.as_deref().unwrap_or_default())? {
            client = client.with_root_certificate(certificate);
        }
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_LIMIT, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(&config.secret_access_key)
            .with_client_options(client)
            // Deleting many at once is not known by every store.
            .with_disable_bulk_delete(true)
            .with_retry(retry);
        if let Some(endpoint) = &config.endpoint {
            // Stores other than Amazon's have one address for all buckets.
            builder =
                builder.with_endpoint(endpoint.as_str().trim_end_matches('/')).with_virtual_hosted_style_request(false);
        }
        Ok(Self { store: builder.build()?, prefix: config.prefix.clone() })
    }

    /// Begins to write the object; an older one of this key stays until the new one is complete.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(crate) async fn begin(&self, key: &str) -> Result<Upload<'_>, ObjectError> {
        let path = self.path(key);
        let id = self.store.create_multipart(&path).await?;
        Ok(Upload { store: &self.store, path, id, parts: Vec::new(), part: Vec::new() })
    }

    /// Forgets the parts of an upload. One that is gone already is as good.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(crate) async fn cancel(&self, key: &str, upload: &str) -> Result<(), ObjectError> {
        gone(self.store.abort_multipart(&self.path(key), &upload.to_owned()).await)
    }

    /// Begins to read an object. `None`: there is none of this key.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Reading>, ObjectError> {
        match self.store.get(&self.path(key)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            object => {
                let object = object?;
                Ok(Some(Reading { size: object.meta.size, bytes: object.into_stream().map_ok(Into::into).boxed() }))
            }
        }
    }

    /// Deletes one object. One that is gone already is as good.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(crate) async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        gone(self.store.delete(&self.path(key)).await)
    }

    fn path(&self, key: &str) -> Path {
        Path::from(if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) })
    }
}

fn gone(result: object_store::Result<()>) -> Result<(), ObjectError> {
    match result {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        result => Ok(result?),
    }
}
