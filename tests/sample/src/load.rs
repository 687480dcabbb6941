//! The load generator: a constant rate, a new connection for each request, and bounds on everything.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::duration;

const PARALLEL: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Load {
    /// host:port of the service. Only loopback and private addresses are taken.
    #[arg(long, env = "TARGET")]
    target: String,
    /// Requests a second, at most 1000.
    #[arg(long, env = "RPS", default_value_t = 20)]
    rps: u32,
    /// How long, at most 60m.
    #[arg(long, env = "DURATION", default_value = "10m", value_parser = duration)]
    duration: Duration,
    /// Requests in all.
    #[arg(long, env = "MAX_REQUESTS", default_value_t = 200_000)]
    max_requests: u64,
}

pub(crate) async fn load(arguments: Load) -> anyhow::Result<()> {
    if arguments.rps == 0 || arguments.rps > 1000 || arguments.duration > Duration::from_hours(1) {
        bail!("RPS must be between 1 and 1000, and DURATION at most 60m");
    }
    let address = lookup_host(&arguments.target).await.context("TARGET must be host:port")?.next();
    let address = address.context("TARGET does not resolve")?;
    if !is_private(address.ip()) {
        bail!("TARGET must be a loopback or private address, not {}", address.ip());
    }
    let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tick = tokio::time::interval(Duration::from_secs(1) / arguments.rps);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut terminate = signal(SignalKind::terminate())?;
    let end = Instant::now() + arguments.duration;
    let mut sent = 0;
    while sent < arguments.max_requests && Instant::now() < end {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = tick.tick() => {}
        }
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        sent += 1;
        let (good, bad) = (Arc::clone(&good), Arc::clone(&bad));
        tokio::spawn(async move {
            let answered = tokio::time::timeout(TIMEOUT, ask(address)).await;
            let counter = if matches!(answered, Ok(Ok(true))) { good } else { bad };
            counter.fetch_add(1, Ordering::Relaxed);
            drop(permit);
        });
    }
    println!(r#"{{"sent":{sent},"good":{},"bad":{}}}"#, good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed));
    Ok(())
}

async fn ask(address: std::net::SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.get(8..12) == Some(b" 200"))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || matches!(v4.octets(), [198, 18 | 19, ..]),
        IpAddr::V6(v6) => v6.is_loopback() || v6.segments()[0] & 0xfe00 == 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn public_addresses_are_refused() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("198.18.2.7", true),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(text.parse().unwrap()), expected, "{text}");
        }
    }
}
