//! A loopback port that leads to a service, or for a while to nowhere.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Stands between a client and a service. Closed at first.
pub struct Proxy {
    port: u16,
    open: watch::Sender<bool>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A closed door in front of the service at a URL: whoever connects is cut off at once.
    ///
    /// # Errors
    /// When the URL has no loopback address and port.
    pub async fn closed(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)?;
        let port = url.port().with_context(|| format!("no port in {}", url.scheme()))?;
        let service = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (open, doors) = watch::channel(false);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, service, doors.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, open, _serving: AbortOnDropHandle::new(serving) })
    }

    /// The URL of the service, by way of this door.
    ///
    /// # Errors
    /// When it is no URL with a port.
    pub fn url(&self, url: &str) -> anyhow::Result<String> {
        let mut url = Url::parse(url)?;
        url.set_port(Some(self.port)).ok().context("a port")?;
        Ok(url.into())
    }

    /// Opens the door.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Closes it and cuts every connection.
    pub fn close(&self) {
        self.open.send_replace(false);
    }
}

async fn carry(mut client: TcpStream, service: SocketAddr, mut open: watch::Receiver<bool>) {
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(mut service) = TcpStream::connect(service).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut service) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
