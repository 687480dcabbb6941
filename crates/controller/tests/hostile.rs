//! Probes whose address, path or answer wants them elsewhere. Nothing but the pod itself is ever connected to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use snapback_controller::rollback::probe::{Prober, Refuses};
use snapback_core::ids::{PodUid, ReplicaSetUid};
use snapback_core::rollback::{Probe, Reply, Scheme, is_path, no_address_of_a_pod};
use snapback_core::workload::PodFacts;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// Somebody who listens, and writes down every request line and every Host.
#[derive(Clone)]
struct Listener {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    /// Answers each request with this head.
    async fn at(address: &str, head: impl Into<String>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let one = Self { address: listener.local_addr().unwrap(), connections: Arc::default(), lines: Arc::default() };
        let (kept, head) = (one.clone(), head.into());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.connections.fetch_add(1, Ordering::SeqCst);
                let (kept, head) = (kept.clone(), head.clone());
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    while let Ok(Some(line)) = lines.next_line().await
                        && !line.is_empty()
                    {
                        kept.lines.lock().unwrap().push(line);
                    }
                    _ = write
                        .write_all(format!("{head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
                        .await;
                });
            }
        });
        one
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

const OK: &str = "HTTP/1.1 200 OK";

async fn ask(refuses: Refuses, ip: IpAddr, scheme: Scheme, port: u16, path: &str) -> Reply {
    _ = rustls::crypto::ring::default_provider().install_default();
    let pod = PodFacts {
        name: "pod".to_owned(),
        uid: PodUid::new("uid"),
        owner: ReplicaSetUid::new("set"),
        version: String::new(),
        created: Timestamp::UNIX_EPOCH,
        ip: Some(ip),
        ready: true,
        ready_since: None,
        hanging_since: None,
        leaving: false,
        unschedulable: false,
        failure: None,
        limits: Vec::new(),
    };
    let probe = Probe { scheme, port, path: path.to_owned() };
    Prober::new(refuses).unwrap().ask(vec![&pod], &[probe]).await.remove(0).reply
}

/// In all their spellings, as far as a parser takes them for addresses.
const FORGED: [&str; 52] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.127.127.127",
    "127.255.255.254",
    "0.0.0.0",
    "0.0.0.1",
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "::0.0.0.1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::FFFF:7F00:0001",
    "0:0:0:0:0:ffff:127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::127.0.0.1",
    "2002:7f00:1::",
    "2002:7f00:1::1",
    "2001:0:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "169.254.169.254",
    "169.254.0.1",
    "169.254.170.2",
    "169.254.170.23",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf:ffff::1",
    "fec0::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "ff0e::1",
    "240.0.0.1",
    "255.255.255.255",
    "2001:db8::5efe:127.0.0.1",
];

#[tokio::test]
async fn no_forged_address_of_a_pod_is_connected_to() {
    let here = Listener::at("0.0.0.0:0", OK).await;
    let port = here.address.port();
    // Where this machine has no IPv6, the first listener is all there is to reach.
    let six = match TcpListener::bind(("::1", port)).await {
        Ok(free) => {
            drop(free);
            Some(Listener::at(&format!("[::1]:{port}"), OK).await)
        }
        Err(_) => None,
    };
    for forged in FORGED {
        let ip: IpAddr = forged.parse().unwrap();
        for scheme in [Scheme::Http, Scheme::Https] {
            let reply = ask(no_address_of_a_pod, ip, scheme, port, "/").await;
            assert!(matches!(&reply, Reply::NotSent(why) if why.contains(&ip.to_string())), "{forged}: {reply:?}");
        }
    }
    assert_eq!(here.count() + six.as_ref().map_or(0, Listener::count), 0, "somebody was connected to");
    // They do listen.
    assert_eq!(ask(|_| None, [127, 0, 0, 1].into(), Scheme::Http, port, "/").await, Reply::Code(200));
    assert_eq!(here.count(), 1);
}

#[tokio::test]
async fn no_path_leads_to_another_host() {
    let elsewhere = Listener::at("127.0.0.1:0", OK).await;
    let other = elsewhere.address;
    let paths = [
        format!("//{other}/"),
        format!("///{other}/"),
        format!("////{other}"),
        format!("/@{other}/"),
        format!("/x@{other}/"),
        format!("/:80@{other}/"),
        format!("/\\{other}/"),
        format!("/\\\\{other}/"),
        format!("/\\/{other}/"),
        format!("/..//{other}/"),
        format!("/../../{other}/"),
        format!("/%2e%2e//{other}/"),
        format!("/.//{other}/"),
        format!("/;//{other}/"),
        format!("/?//{other}/"),
        format!("/?url=http://{other}/"),
        format!("/http://{other}/"),
        format!("/http:{other}/"),
        format!("/%2f{other}/"),
        format!("/%5c%5c{other}/"),
        format!("/%0d%0aHost:{other}"),
        format!("/%0aLocation:http://{other}/"),
        format!("/%00@{other}"),
        format!("/HTTP/1.1%0d%0aHost:%20{other}%0d%0a%0d%0aGET%20/"),
        format!("/[{other}]/"),
    ];
    for path in paths {
        assert!(is_path(&path), "{path}");
        let pod = Listener::at("127.0.0.1:0", OK).await;
        let reply = ask(|_| None, pod.address.ip(), Scheme::Http, pod.address.port(), &path).await;
        assert_eq!(reply, Reply::Code(200), "{path}");
        let lines = pod.lines.lock().unwrap().clone();
        assert!(lines[0].starts_with("GET /") && lines[0].ends_with(" HTTP/1.1"), "{path}: {lines:?}");
        let hosts: Vec<&String> = lines.iter().filter(|line| line.to_lowercase().starts_with("host:")).collect();
        assert_eq!(hosts, [&format!("host: {}", pod.address)], "{path}");
        assert_eq!(elsewhere.count(), 0, "{path}");
    }
    // What could break the request up is no path at all.
    for path in ["/a\r\nHost: x", "/a\nb", "/a b", "/\u{0}", "/ü", "/a#@x", "http://x/", "x", "", "@x/", ":80/", "\\x"]
    {
        assert!(!is_path(path), "{path:?}");
    }
}

#[tokio::test]
async fn no_answer_leads_to_another_host() {
    let elsewhere = Listener::at("127.0.0.1:0", OK).await;
    let other = elsewhere.address;
    let port = other.port();
    for code in [300, 301, 302, 303, 305, 307, 308] {
        for location in [
            format!("http://{other}/"),
            format!("//{other}/"),
            format!("http://169.254.169.254:{port}/latest/meta-data/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            format!("http://2130706433:{port}/"),
            format!("http://0177.0.0.1:{port}/"),
            format!("http://0x7f.1:{port}/"),
            format!("http://localhost:{port}/"),
            format!("http://x@{other}/"),
            "file:///etc/passwd".to_owned(),
        ] {
            let pod = Listener::at("127.0.0.1:0", format!("HTTP/1.1 {code} X\r\nlocation: {location}")).await;
            let reply = ask(|_| None, pod.address.ip(), Scheme::Http, pod.address.port(), "/").await;
            assert_eq!((reply, pod.count()), (Reply::Code(code), 1), "{location}");
        }
    }
    for header in [
        format!("refresh: 0; url=http://{other}/"),
        format!("content-location: http://{other}/"),
        format!("alt-svc: h2=\"{other}\"; ma=3600"),
        format!("link: <http://{other}/>; rel=preload"),
    ] {
        let pod = Listener::at("127.0.0.1:0", format!("{OK}\r\n{header}")).await;
        for _ in 0..2 {
            let reply = ask(|_| None, pod.address.ip(), Scheme::Http, pod.address.port(), "/").await;
            assert_eq!(reply, Reply::Code(200), "{header}");
        }
    }
    assert_eq!(elsewhere.count(), 0);
}
