//! Between an API server and etcd: lets bytes through, or holds them back.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Lag {
    held: Arc<watch::Sender<bool>>,
    pub(crate) url: String,
}

impl Lag {
    /// Serves on loopback in front of this address.
    pub(crate) async fn start(etcd: &str) -> Result<Self> {
        let to = etcd.strip_prefix("http://").context("etcd is not at a plain address")?.to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let held = Arc::new(watch::channel(false).0);
        let gate = Arc::clone(&held);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, gate) = (to.clone(), Arc::clone(&gate));
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(pass(near_in, far_out, gate.subscribe()), pass(far_in, near_out, gate.subscribe()));
                });
            }
        });
        Ok(Self { held, url })
    }

    /// Nothing gets through from now on, in no direction; connections stay open.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// All of it gets through, and what was held back.
    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut held: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        if held.wait_for(|held| !held).await.is_err() || count == 0 {
            break;
        }
        let Some(read) = bytes.get(..count) else { break };
        if to.write_all(read).await.is_err() {
            break;
        }
    }
    _ = to.shutdown().await;
}
