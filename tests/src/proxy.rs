//! A loopback port that leads to a service, and everything that can go wrong with a network in between.
//!
//! Weather holds for every connection: [`pause`](Proxy::pause), [`slow`](Proxy::slow), [`close`](Proxy::close). What
//! happens once, to one connection, is [`cut_after`](Proxy::cut_after) so many bytes and a [`Tripwire`]: the line stops at
//! the bytes a test names, and the test knows exactly what the far side has seen and what it has not.

mod line;
mod tripwire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

pub use tripwire::{Hold, Tripwire};

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the service.
    ToService,
    /// From the service to the client.
    FromService,
}

/// Both directions.
pub const BOTH_WAYS: [Way; 2] = [Way::ToService, Way::FromService];

/// What holds for every connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weather {
    open: bool,
    /// Grows when every connection is to be cut.
    cuts: u64,
    to_service: Flow,
    from_service: Flow,
}

impl Weather {
    fn flow(&self, way: Way) -> Flow {
        match way {
            Way::ToService => self.to_service,
            Way::FromService => self.from_service,
        }
    }
}

/// How bytes go one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Freely,
    /// Not at all; the connection stays.
    Paused,
    /// So long after they came, a piece at a time.
    Slow(Duration),
}

/// What happens once.
#[derive(Default)]
struct Once {
    /// The connection over which so many more bytes have gone this way is cut.
    cut_after: Mutex<Option<(Way, u64)>>,
    wire: Mutex<Option<tripwire::Armed>>,
}

/// Stands between a client and a service.
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    once: Arc<Once>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A closed door in front of the service at a URL: whoever connects is cut off at once.
    ///
    /// # Errors
    /// When the URL has no port.
    pub async fn closed(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)?;
        let port = url.port().with_context(|| format!("no port in {}", url.scheme()))?;
        let service = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (weather, forecast) = watch::channel(Weather::default());
        let once = Arc::new(Once::default());
        let shared = Arc::clone(&once);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(line::carry(client, service, forecast.clone(), Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, weather, once, _serving: AbortOnDropHandle::new(serving) })
    }

    /// An open door in front of the service at a URL.
    ///
    /// # Errors
    /// When the URL has no port.
    pub async fn opened(url: &str) -> anyhow::Result<Self> {
        let proxy = Self::closed(url).await?;
        proxy.open();
        Ok(proxy)
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
        self.weather.send_modify(|weather| weather.open = true);
    }

    /// Closes it and cuts every connection.
    pub fn close(&self) {
        self.weather.send_modify(|weather| weather.open = false);
    }

    /// Cuts every connection; new ones are taken.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Lets nothing through in these directions. Connections stay, and new ones are taken: a cable that was pulled.
    pub fn pause(&self, ways: impl IntoIterator<Item = Way>) {
        self.set(ways, Flow::Paused);
    }

    /// Delays everything in these directions, piece by piece.
    pub fn slow(&self, ways: impl IntoIterator<Item = Way>, delay: Duration) {
        self.set(ways, Flow::Slow(delay));
    }

    /// Ends every pause and slowness; what was held goes on its way.
    pub fn resume(&self) {
        self.set(BOTH_WAYS, Flow::Freely);
    }

    /// Cuts, in the middle, the connection that carries the byte after the next `bytes` that go this way.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        *self.once.cut_after.lock().unwrap_or_else(PoisonError::into_inner) = Some((way, bytes));
    }

    /// Stops the first connection that carries `pattern` to the service, for good. There is one wire at a time.
    pub fn trip_at(&self, pattern: impl Into<Vec<u8>>, hold: Hold) -> Tripwire {
        let (armed, wire) = tripwire::arm(pattern.into(), hold);
        *self.once.wire.lock().unwrap_or_else(PoisonError::into_inner) = Some(armed);
        wire
    }

    fn set(&self, ways: impl IntoIterator<Item = Way>, flow: Flow) {
        self.weather.send_modify(|weather| {
            for way in ways {
                match way {
                    Way::ToService => weather.to_service = flow,
                    Way::FromService => weather.from_service = flow,
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A service that gives back what it gets, and a proxy in front of it.
    async fn echo() -> anyhow::Result<(Proxy, AbortOnDropHandle<()>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("tcp://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Ok((Proxy::opened(&url).await?, AbortOnDropHandle::new(serving)))
    }

    async fn dial(proxy: &Proxy) -> std::io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await
    }

    async fn read(stream: &mut TcpStream, bytes: usize) -> anyhow::Result<Vec<u8>> {
        let mut answer = vec![0; bytes];
        tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await??;
        Ok(answer)
    }

    /// Everything until the connection ends.
    async fn rest(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
        let mut answer = Vec::new();
        // A connection that is cut may end by a reset as well.
        let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_pause_holds_what_comes_and_lets_it_go_later() -> anyhow::Result<()> {
        let (proxy, _service) = echo().await?;
        let mut stream = dial(&proxy).await?;
        stream.write_all(b"one").await?;
        assert_eq!(read(&mut stream, 3).await?, b"one");
        proxy.pause([Way::FromService]);
        stream.write_all(b"two").await?;
        let held = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
        assert!(held.is_err(), "{held:?}");
        proxy.resume();
        assert_eq!(read(&mut stream, 3).await?, b"two");
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_is_cut_at_the_byte_named_and_the_next_one_is_whole() -> anyhow::Result<()> {
        let (proxy, _service) = echo().await?;
        let mut stream = dial(&proxy).await?;
        proxy.cut_after(Way::FromService, 4);
        stream.write_all(b"abcdefgh").await?;
        assert_eq!(rest(&mut stream).await?, b"abcd");
        let mut next = dial(&proxy).await?;
        next.write_all(b"abcdefgh").await?;
        assert_eq!(read(&mut next, 8).await?, b"abcdefgh");
        Ok(())
    }

    #[tokio::test]
    async fn closing_and_cutting_end_connections() -> anyhow::Result<()> {
        let (proxy, _service) = echo().await?;
        for end in [Proxy::close, Proxy::cut] {
            proxy.open();
            let mut stream = dial(&proxy).await?;
            stream.write_all(b"x").await?;
            assert_eq!(read(&mut stream, 1).await?, b"x");
            end(&proxy);
            assert_eq!(rest(&mut stream).await?, b"");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_tripwire_stops_before_the_pattern_or_before_its_answer() -> anyhow::Result<()> {
        let (proxy, _service) = echo().await?;
        for hold in [Hold::Request, Hold::Answer] {
            let mut stream = dial(&proxy).await?;
            let wire = proxy.trip_at("here", hold);
            stream.write_all(b"go on ... he").await?;
            assert_eq!(read(&mut stream, 12).await?, b"go on ... he");
            stream.write_all(b"re!").await?;
            wire.tripped(LIMIT).await?;
            let held = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
            assert!(held.is_err(), "{hold:?}: {held:?}");
            // One connection only, once.
            let mut next = dial(&proxy).await?;
            next.write_all(b"here").await?;
            assert_eq!(read(&mut next, 4).await?, b"here");
        }
        Ok(())
    }
}
