//! A connection between two programs that can be cut, and stalled.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything is passed on.
    Open,
    /// Nobody listens, and whoever was connected is not any more.
    Cut,
    /// Connections stay and are taken, and nothing is passed on.
    Silent,
}

/// The way to one server.
pub(crate) struct Gate {
    way: watch::Sender<Way>,
    /// Where it is reached.
    pub(crate) url: String,
}

impl Gate {
    pub(crate) async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (way, seen) = watch::channel(Way::Open);
        tokio::spawn(serve(listener, to, seen));
        Ok(Self { way, url })
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, mut way: watch::Receiver<Way>) -> Result<()> {
    let at = listener.local_addr()?;
    let mut listener = Some(listener);
    loop {
        let is_cut = *way.borrow_and_update() == Way::Cut;
        if is_cut {
            listener = None;
            until(&mut way, |way| way != Way::Cut).await?;
        }
        let listening = match listener.take() {
            Some(listening) => listening,
            None => listen(at).await,
        };
        tokio::select! {
            taken = listening.accept() => drop(tokio::spawn(pass(taken?.0, to, way.clone()))),
            changed = way.changed() => changed?,
        }
        listener = Some(listening);
    }
}

/// On the same port as before.
async fn listen(at: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(at).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn pass(mut from: TcpStream, to: SocketAddr, mut way: watch::Receiver<Way>) -> Result<()> {
    if until(&mut way, |way| way != Way::Silent).await? == Way::Cut {
        return Ok(());
    }
    let mut server = TcpStream::connect(to).await?;
    let is_silent = tokio::select! {
        _ = copy_bidirectional(&mut from, &mut server) => false,
        now = until(&mut way, |way| way != Way::Open) => now? == Way::Silent,
    };
    if is_silent {
        // Both ends stay connected. What was under way is lost when it is over.
        until(&mut way, |way| way != Way::Silent).await?;
    }
    Ok(())
}

/// How it is once it is so.
async fn until(way: &mut watch::Receiver<Way>, is_so: impl Fn(Way) -> bool) -> Result<Way> {
    Ok(*way.wait_for(|way| is_so(*way)).await?)
}
