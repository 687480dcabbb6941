//! Asking the good revision's pods directly, each by its own address.
//!
//! The only hosts are addresses of the workload's own pods, as their kubelets report them: no name is resolved, no
//! redirect is followed, no proxy is used, and of an answer nothing but the status code is read. An address that is no
//! pod's is not connected to: somebody else may have written the pod's status.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::{StreamExt, stream};
use reqwest::{Client, redirect};
use snapback_core::rollback::{Answer, Probe, Reply, Scheme};
use snapback_core::workload::PodFacts;
use snapback_prometheus::outage;
use thiserror::Error;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Most requests under way for one look.
const MOST_AT_ONCE: usize = 10;

/// Why pods cannot be asked at all.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No TLS implementation was installed.
    #[error("no TLS provider is installed in this process")]
    NoProvider,
    /// The client could not be built.
    #[error("the HTTP client for probes could not be built")]
    Build(#[source] reqwest::Error),
}

/// Why an address is not connected to; `None` if it may be.
pub type Refuses = fn(IpAddr) -> Option<&'static str>;

/// Asks pods.
#[derive(Debug, Clone)]
pub struct Prober {
    client: Client,
    refuses: Refuses,
}

impl Prober {
    /// One client for all pods; it keeps no connection. What `refuses` speaks of is never connected to:
    /// [`no_address_of_a_pod`](snapback_core::rollback::no_address_of_a_pod), but in tests whose pods are on this machine.
    pub fn new(refuses: Refuses) -> Result<Self, ProbeError> {
        // The builder would panic without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ProbeError::NoProvider);
        }
        let client = Client::builder()
            .user_agent(concat!("snapback/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(0)
            // As the kubelet does: no certificate names a pod's address.
            .tls_danger_accept_invalid_certs(true)
            .tls_certs_only([])
            .build()
            .map_err(ProbeError::Build)?;
        Ok(Self { client, refuses })
    }

    /// What these pods say, in the order of pods and probes.
    pub async fn ask(&self, pods: Vec<&PodFacts>, probes: &[Probe]) -> Vec<Answer> {
        let pairs = pods.into_iter().flat_map(|pod| probes.iter().map(move |probe| (pod, probe)));
        // Made before they run: a stream that borrows each pair is not `Send` for every lifetime.
        let requests: Vec<_> = pairs.map(|(pod, probe)| self.one(pod, probe)).collect();
        stream::iter(requests).buffered(MOST_AT_ONCE).collect().await
    }

    async fn one(&self, pod: &PodFacts, probe: &Probe) -> Answer {
        let reply = match pod.ip {
            Some(ip) => match (self.refuses)(ip) {
                None => self.get(ip, probe).await,
                Some(why) => Reply::NotSent(format!("{ip}, which is no address of a pod: {why}")),
            },
            None => Reply::Silence("it has no address of its own yet".to_owned()),
        };
        Answer { pod: pod.name.clone(), probe: probe.clone(), reply }
    }

    async fn get(&self, ip: IpAddr, probe: &Probe) -> Reply {
        match tokio::time::timeout(TIMEOUT, self.client.get(url(ip, probe)).send()).await {
            // Dropped with its body unread.
            Ok(Ok(response)) => Reply::Code(response.status().as_u16()),
            Ok(Err(error)) => Reply::Silence(outage(&error)),
            Err(_) => Reply::Silence(format!("no answer within {}s", TIMEOUT.as_secs())),
        }
    }
}

fn url(ip: IpAddr, probe: &Probe) -> String {
    let scheme = match probe.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    // The path begins with a slash, so it cannot reach into the authority.
    format!("{scheme}://{}{}", SocketAddr::new(ip, probe.port), probe.path)
}

#[cfg(test)]
mod tests {
    use reqwest::Url;
    use snapback_core::rollback::is_path;

    use super::*;

    #[test]
    fn whatever_the_path_says_the_pod_is_asked() {
        let paths =
            ["/healthz?a=b", "//other.example/", "/@other.example", "/\\\\other.example", "/../..//:80", "/?@other:1/"];
        for ip in ["10.0.0.7", "fd00::7"] {
            for path in paths {
                assert!(is_path(path), "{path}");
                let probe = Probe { scheme: Scheme::Http, port: 8080, path: path.to_owned() };
                let asked = Url::parse(&url(ip.parse().unwrap(), &probe)).unwrap();
                assert_eq!(asked.host_str().map(|host| host.trim_matches(['[', ']'])), Some(ip), "{path}");
                assert_eq!((asked.port(), asked.username()), (Some(8080), ""), "{path}");
            }
        }
        let probe = Probe { scheme: Scheme::Https, port: 8443, path: "/ready?full=1".to_owned() };
        assert_eq!(url("fd00::7".parse().unwrap(), &probe), "https://[fd00::7]:8443/ready?full=1");
    }
}
