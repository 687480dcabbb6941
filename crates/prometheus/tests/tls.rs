//! A source against a real TLS server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::PrivateKeyDer;
use snapback_core::sample::Missing;
use snapback_prometheus::{AuthConfig, Source, SourceConfig, TlsConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

/// Serves with a certificate for `mimir.example`, written to `ca`. Gives its address, and of each request the name
/// that TLS asked for and the text.
async fn serve(ca: &Path) -> (String, mpsc::UnboundedReceiver<(Option<String>, String)>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["mimir.example".to_owned()]).unwrap();
    std::fs::write(ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let name = stream.get_ref().1.server_name().map(ToOwned::to_owned);
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let _ = tell.send((name, text));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let reply = format!("{head}content-length: {}\r\n\r\n{EMPTY}", EMPTY.len());
            let _ = stream.write_all(reply.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (authority, told)
}

fn source(authority: &str, tls: TlsConfig) -> Source {
    let auth = AuthConfig { tls: Some(tls), ..AuthConfig::default() };
    Source::new(&SourceConfig { auth: Some(auth), ..SourceConfig::new("main", format!("https://{authority}")) })
        .unwrap()
}

#[tokio::test]
async fn a_certificate_is_checked_for_the_configured_name() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    let (authority, mut told) = serve(&ca).await;
    let trusting = TlsConfig { ca_file: Some(ca), ..TlsConfig::default() };

    let named = TlsConfig { server_name: Some("mimir.example".to_owned()), ..trusting.clone() };
    assert_eq!(source(&authority, named).instant("up", Timestamp::UNIX_EPOCH).await, Ok(Vec::new()));
    let (name, request) = told.recv().await.unwrap();
    assert_eq!(name.as_deref(), Some("mimir.example"));
    assert!(request.contains(&format!("\r\nhost: {authority}\r\n")), "{request}");

    let other = source(&authority, trusting).instant("up", Timestamp::UNIX_EPOCH).await;
    assert_eq!(other, Err(Missing::Unavailable("its TLS certificate is not trusted".to_owned())));

    let careless = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    assert_eq!(source(&authority, careless).instant("up", Timestamp::UNIX_EPOCH).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_renewed_authority_is_trusted_from_the_next_query_on() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, stranger) = (folder.path().join("ca.crt"), folder.path().join("stranger.crt"));
    let (authority, _told) = serve(&ca).await;
    let _other = serve(&stranger).await;
    let trusted = folder.path().join("trusted.crt");
    std::fs::copy(&stranger, &trusted).unwrap();
    let tls = TlsConfig {
        ca_file: Some(trusted.clone()),
        server_name: Some("mimir.example".to_owned()),
        ..TlsConfig::default()
    };
    let source = source(&authority, tls);
    let before = source.instant("up", Timestamp::UNIX_EPOCH).await;
    assert_eq!(before, Err(Missing::Unavailable("its TLS certificate is not trusted".to_owned())));
    std::fs::copy(&ca, &trusted).unwrap();
    assert_eq!(source.instant("up", Timestamp::UNIX_EPOCH).await, Ok(Vec::new()));
}
