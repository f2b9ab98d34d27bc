//! A listener that can cut connections, go away, and come back at the same address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

pub(crate) struct Door {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    serving: AbortHandle,
}

impl Door {
    pub(crate) fn open(listener: TcpListener, router: Router) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let cut = Arc::<AtomicBool>::default();
        let serving = serve(listener, Arc::clone(&cut), router);
        Ok(Self { address, cut, serving })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn cut_next(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.serving.abort();
    }

    pub(crate) async fn open_again(&mut self, router: Router) -> std::io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.serving = serve(listener, Arc::clone(&self.cut), router);
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(listener: TcpListener, cut: Arc<AtomicBool>, router: Router) -> AbortHandle {
    // It ends by the abort only: serving never fails by itself.
    tokio::spawn(async move { drop(axum::serve(Cutting { listener, cut }, router).await) }).abort_handle()
}

struct Cutting {
    listener: TcpListener,
    cut: Arc<AtomicBool>,
}

impl axum::serve::Listener for Cutting {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.cut.swap(false, Ordering::SeqCst) => drop(stream),
                Ok(accepted) => return accepted,
                Err(_) => tokio::task::yield_now().await, // a client that was gone before it was accepted
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
