//! One connection through a proxy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::tripwire::{Hold, LONGEST};
use super::{Flow, Once, Way, Weather};

/// Why a connection ends before both sides have said everything.
struct Cut;

/// Carries one connection until its two sides or the weather end it.
pub(super) async fn carry(client: TcpStream, service: SocketAddr, weather: watch::Receiver<Weather>, once: Arc<Once>) {
    let began = *weather.borrow();
    if !began.open {
        return;
    }
    let Ok(service) = TcpStream::connect(service).await else { return };
    let _ = (client.set_nodelay(true), service.set_nodelay(true)); // a held byte must not wait for others, too
    let (from_client, to_client) = client.into_split();
    let (from_service, to_service) = service.into_split();
    let answers_held = AtomicBool::new(false);
    let pump = |way| Pump { way, weather: weather.clone(), once: &once, answers_held: &answers_held };
    let (there, back) = (pump(Way::ToService), pump(Way::FromService));
    let mut watched = weather.clone();
    tokio::select! {
        _ = async { tokio::try_join!(there.run(from_client, to_service), back.run(from_service, to_client)) } => {}
        _ = watched.wait_for(|now| !now.open || now.cuts != began.cuts) => {}
    }
}

/// One direction of one connection.
struct Pump<'a> {
    way: Way,
    weather: watch::Receiver<Weather>,
    once: &'a Once,
    answers_held: &'a AtomicBool,
}

impl Pump<'_> {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<(), Cut> {
        let mut buffer = vec![0; 16 * 1024];
        let mut tail: Vec<u8> = Vec::new();
        loop {
            let Ok(length) = from.read(&mut buffer).await else { return Err(Cut) };
            if length == 0 {
                // One side has said everything; the other may still answer.
                let _ = to.shutdown().await;
                return Ok(());
            }
            let piece = &buffer[..length];
            self.wait_for_leave().await;
            match self.tripped(&mut tail, piece) {
                Some(Hold::Request) => std::future::pending().await,
                Some(Hold::Answer) => self.answers_held.store(true, Ordering::SeqCst),
                None => {}
            }
            if self.way == Way::FromService && self.answers_held.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let (passes, cut) = self.before_the_cut(piece);
            to.write_all(passes).await.map_err(|_| Cut)?;
            if cut {
                let _ = to.flush().await;
                return Err(Cut);
            }
        }
    }

    /// Waits as long as the weather wants it.
    async fn wait_for_leave(&mut self) {
        let way = self.way;
        let flow = self.weather.borrow().flow(way);
        if let Flow::Slow(delay) = flow {
            tokio::time::sleep(delay).await; // the fault itself
        }
        // An error says that the proxy is gone, and with it this connection.
        let _ = self.weather.wait_for(|now| now.flow(way) != Flow::Paused).await;
    }

    /// Whether the wire is tripped by this piece. `tail` remembers enough of what went before.
    fn tripped(&self, tail: &mut Vec<u8>, piece: &[u8]) -> Option<Hold> {
        if self.way == Way::FromService {
            return None;
        }
        let mut wire = self.once.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = match wire.take() {
            Some(armed) if armed.is_in(tail, piece) => Some(armed.trip()),
            untouched => {
                *wire = untouched;
                None
            }
        };
        tail.extend_from_slice(piece);
        tail.drain(..tail.len().saturating_sub(LONGEST));
        hold
    }

    /// The part of a piece that passes, and whether the connection ends after it.
    fn before_the_cut<'p>(&self, piece: &'p [u8]) -> (&'p [u8], bool) {
        let mut cut_after = self.once.cut_after.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, left)) = cut_after.as_mut().filter(|(way, _)| *way == self.way) else { return (piece, false) };
        match usize::try_from(*left) {
            Ok(left) if left < piece.len() => {
                *cut_after = None;
                (&piece[..left], true)
            }
            _ => {
                *left -= piece.len() as u64;
                (piece, false)
            }
        }
    }
}
