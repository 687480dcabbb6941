//! The load generator: a constant or swinging rate, a new connection for each request, and bounds on everything.

use std::f64::consts::TAU;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

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
    /// How much the rate swings, as a share of it, 0 to 1.
    #[arg(long, env = "SWING", default_value_t = 0.0)]
    swing: f64,
    /// The time of one swing.
    #[arg(long, env = "PERIOD", default_value = "1m", value_parser = duration)]
    period: Duration,
    /// Requests come by chance from this seed (a Poisson process), instead of evenly.
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
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
    let mut terminate = signal(SignalKind::terminate())?;
    let mut arrivals = Arrivals::new(&arguments);
    let began = Instant::now();
    let (mut next, end) = (began, began + arguments.duration);
    let mut sent = 0;
    while sent < arguments.max_requests && Instant::now() < end {
        tokio::select! {
            _ = terminate.recv() => break,
            () = tokio::time::sleep_until(next.into()) => {}
        }
        // What could not be sent in time is left out, not made up for.
        next = (next + arrivals.gap(began.elapsed())).max(Instant::now());
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

/// When requests come.
struct Arrivals {
    rps: f64,
    swing: f64,
    period: Duration,
    chance: Option<SmallRng>,
}

impl Arrivals {
    fn new(arguments: &Load) -> Self {
        Self {
            rps: arguments.rps.into(),
            swing: arguments.swing.clamp(0.0, 1.0),
            period: arguments.period.max(Duration::from_secs(1)),
            chance: arguments.seed.map(SmallRng::seed_from_u64),
        }
    }

    /// The time to the next request, so long after the start.
    fn gap(&mut self, after: Duration) -> Duration {
        let turn = after.as_secs_f64() / self.period.as_secs_f64() * TAU;
        let rate = self.rps * self.swing.mul_add(turn.sin(), 1.0);
        let gaps = self.chance.as_mut().map_or(1.0, |chance| -(1.0 - chance.random::<f64>()).ln());
        // At the bottom of a full swing: not for ever.
        Duration::from_secs_f64((gaps / rate).min(5.0))
    }
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
    use std::time::Duration;

    use super::{Arrivals, is_private};

    /// Requests in two stretches of ten seconds.
    fn sent(mut arrivals: Arrivals) -> (usize, usize) {
        let (mut at, mut counts) = (Duration::ZERO, (0, 0));
        while at < Duration::from_secs(20) {
            if at < Duration::from_secs(10) {
                counts.0 += 1;
            } else {
                counts.1 += 1;
            }
            at += arrivals.gap(at);
        }
        counts
    }

    #[test]
    fn the_rate_is_kept_evenly_by_chance_and_in_swings() {
        let arrivals = || Arrivals { rps: 50.0, swing: 0.0, period: Duration::from_secs(20), chance: None };
        assert_eq!(sent(arrivals()), (500, 500));
        let (first, second) = sent(Arrivals { swing: 0.5, ..arrivals() });
        assert!((640..680).contains(&first) && (320..360).contains(&second), "{first}, {second}");
        let by_chance = Some(rand::SeedableRng::seed_from_u64(3));
        let (first, second) = sent(Arrivals { chance: by_chance, ..arrivals() });
        assert!((430..570).contains(&first) && first != 500 && (430..570).contains(&second), "{first}, {second}");
    }

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
