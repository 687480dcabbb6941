//! The HTTP client: whom it trusts, and what its failures mean.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_http_query::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HOST, HeaderMap, HeaderValue};
use reqwest::{Certificate, Identity, Url, redirect};
use thiserror::Error;

use crate::config::TlsConfig;
use crate::secret::{SecretError, SecretFile};

/// The longest that a connection may take, whatever the query's own limit.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no HTTP client. Names the setting, never a URL or a file's content.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The URL is none.
    #[error("url is no URL")]
    Url,
    /// The URL is of another kind.
    #[error("url must start with http:// or https://")]
    Scheme,
    /// The URL holds a user name or a password.
    #[error("url must hold no user name or password; use auth.basic")]
    UserInfo,
    /// The URL holds a query or a fragment.
    #[error("url must hold no ? or #; use queryParams")]
    Query,
    /// TLS settings without TLS.
    #[error("auth.tls needs an https:// url")]
    TlsWithoutHttps,
    /// Half of a certificate.
    #[error("auth.tls.certFile and auth.tls.keyFile need one another")]
    HalfACertificate,
    /// Not a DNS name.
    #[error("auth.tls.serverName must be a DNS name")]
    ServerName,
    /// A file gave no bytes.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file holds no certificate.
    #[error("the file of {0} holds no usable PEM certificate or key")]
    Pem(&'static str),
    /// No TLS implementation was installed.
    #[error("no TLS provider is installed in this process")]
    NoProvider,
    /// The client could not be built.
    #[error("the HTTP client could not be built")]
    Build(#[source] reqwest::Error),
}

/// Builds clients, and keeps the last one for as long as the TLS files hold the same.
pub(crate) struct Transport {
    url: Url,
    tls: TlsFiles,
    /// The host of the configured URL, if `serverName` took its place.
    real_host: Option<RealHost>,
    connect_timeout: Duration,
    last: Mutex<Option<(Material, Client)>>,
}

#[derive(Debug, Default)]
struct TlsFiles {
    ca: Option<SecretFile>,
    identity: Option<(SecretFile, SecretFile)>,
    insecure: bool,
}

/// What the TLS files hold.
#[derive(PartialEq)]
struct Material {
    ca: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

// Neither the client nor what the files hold belongs into a log.
impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("tls", &self.tls).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
struct RealHost {
    host: String,
    header: HeaderValue,
}

impl Transport {
    /// Checks the settings; reads no file.
    pub(crate) fn new(url: &str, tls: Option<&TlsConfig>, timeout: Duration) -> Result<Self, TransportError> {
        let mut url = Url::parse(url).map_err(|_| TransportError::Url)?;
        check(&url)?;
        // The client library joins the path of its API with a slash of its own.
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let mut files = TlsFiles::default();
        let mut real_host = None;
        if let Some(tls) = tls {
            if url.scheme() != "https" {
                return Err(TransportError::TlsWithoutHttps);
            }
            files.ca = tls.ca_file.as_ref().map(|path| SecretFile::new("auth.tls.caFile", path));
            files.identity = match (&tls.cert_file, &tls.key_file) {
                (None, None) => None,
                (Some(cert), Some(key)) => {
                    Some((SecretFile::new("auth.tls.certFile", cert), SecretFile::new("auth.tls.keyFile", key)))
                }
                _ => return Err(TransportError::HalfACertificate),
            };
            files.insecure = tls.insecure_skip_verify;
            if let Some(name) = &tls.server_name {
                real_host = Some(replace_host(&mut url, name)?);
            }
        }
        Ok(Self { url, tls: files, real_host, connect_timeout: timeout.min(CONNECT), last: Mutex::new(None) })
    }

    /// The client for a request that is sent now. Reads files, so it blocks.
    pub(crate) fn client(&self) -> Result<Client, TransportError> {
        let material = self.tls.read()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = last.as_ref()
            && *known == material
        {
            return Ok(client.clone());
        }
        let client = self.build(&material)?;
        *last = Some((material, client.clone()));
        Ok(client)
    }

    fn build(&self, material: &Material) -> Result<Client, TransportError> {
        // The builder would panic without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(TransportError::NoProvider);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("snapback/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .tls_danger_accept_invalid_certs(self.tls.insecure);
        if let Some(pem) = &material.ca {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|_| TransportError::Pem("auth.tls.caFile"))?;
            if authorities.is_empty() {
                return Err(TransportError::Pem("auth.tls.caFile"));
            }
            builder = builder.tls_certs_only(authorities);
        } else if self.url.scheme() == "http" {
            // An image without system authorities is no reason to refuse a plain connection.
            builder = builder.tls_certs_only([]);
        }
        if let Some(pem) = &material.identity {
            let identity =
                Identity::from_pem(pem).map_err(|_| TransportError::Pem("auth.tls.certFile and auth.tls.keyFile"))?;
            builder = builder.identity(identity);
        }
        if let Some(real) = &self.real_host {
            let headers = HeaderMap::from_iter([(HOST, real.header.clone())]);
            builder = builder.default_headers(headers).dns_resolver(Arc::new(real.clone()));
        }
        let http = builder.build().map_err(|error| TransportError::Build(error.without_url()))?;
        Client::from(http, self.url.as_str()).map_err(|_| TransportError::Url)
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Material, TransportError> {
        let ca = self.ca.as_ref().map(SecretFile::bytes).transpose()?;
        let identity = match &self.identity {
            None => None,
            Some((cert, key)) => Some([cert.bytes()?, b"\n".to_vec(), key.bytes()?].concat()),
        };
        Ok(Material { ca, identity })
    }
}

fn check(url: &Url) -> Result<(), TransportError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TransportError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TransportError::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(TransportError::Query);
    }
    Ok(())
}

/// Puts the certificate's name into the URL, so that TLS asks for it and checks it, and gives back where to connect.
fn replace_host(url: &mut Url, name: &str) -> Result<RealHost, TransportError> {
    let host = url.host_str().ok_or(TransportError::Url)?.to_owned();
    let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let header = HeaderValue::from_str(&authority).map_err(|_| TransportError::Url)?;
    let is_dns = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    if !is_dns || name.parse::<IpAddr>().is_ok() || url.set_host(Some(name)).is_err() {
        return Err(TransportError::ServerName);
    }
    Ok(RealHost { host: host.trim_matches(['[', ']']).to_owned(), header })
}

impl Resolve for RealHost {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// What a failed request means, without URL, query or secret.
pub fn outage(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    let mut connecting = false;
    while let Some(one) = cause {
        if let Some(request) = one.downcast_ref::<reqwest::Error>() {
            connecting |= request.is_connect();
            if request.is_timeout() {
                return "took too long to connect to".to_owned();
            }
        }
        if let Some(tls) = one.downcast_ref::<rustls::Error>() {
            return tls_outage(tls);
        }
        if let Some(text) = one.downcast_ref::<std::io::Error>().and_then(io_outage) {
            return text;
        }
        if one.to_string() == "dns error" {
            return "its name cannot be resolved".to_owned();
        }
        cause = one.source();
    }
    if connecting { "cannot be connected to" } else { "broke the connection" }.to_owned()
}

fn io_outage(error: &std::io::Error) -> Option<String> {
    // What an error of this kind wraps is inside, where `source` does not lead.
    if let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls_outage(tls));
        }
        if let Some(text) = inner.downcast_ref::<std::io::Error>().and_then(io_outage) {
            return Some(text);
        }
    }
    let text = match error.kind() {
        ErrorKind::ConnectionRefused => "refused the connection",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => "broke the connection",
        ErrorKind::UnexpectedEof => "closed the connection in mid-answer",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "cannot be reached",
        ErrorKind::TimedOut => "took too long to answer on the network",
        _ => return None,
    };
    Some(text.to_owned())
}

fn tls_outage(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => "its TLS certificate is not trusted",
        rustls::Error::AlertReceived(_) => "refused the TLS connection",
        _ => "the TLS connection failed",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, tls: Option<&TlsConfig>) -> String {
        Transport::new(url, tls, Duration::from_secs(1)).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_quoted() {
        assert_eq!(refused("prometheus", None), "url is no URL");
        assert_eq!(refused("ftp://prometheus", None), "url must start with http:// or https://");
        assert!(!refused("http://me:secret@prometheus", None).contains("secret"));
        assert!(!refused("http://prometheus?token=secret", None).contains("secret"));
    }

    #[test]
    fn tls_settings_must_fit_together() {
        let half = TlsConfig { cert_file: Some("/c".into()), ..TlsConfig::default() };
        assert!(refused("https://p", Some(&half)).contains("need one another"));
        assert!(refused("http://p", Some(&TlsConfig::default())).contains("https://"));
        for name in ["", "10.0.0.1", "a/b", "::1"] {
            let tls = TlsConfig { server_name: Some(name.to_owned()), ..TlsConfig::default() };
            assert!(refused("https://p", Some(&tls)).contains("serverName"), "{name}");
        }
    }

    #[test]
    fn another_server_name_changes_the_certificate_and_not_the_server() {
        let tls = TlsConfig { server_name: Some("mimir.example".to_owned()), ..TlsConfig::default() };
        let transport = Transport::new("https://10.0.0.1:8443/prometheus/", Some(&tls), CONNECT).unwrap();
        assert_eq!(transport.url.as_str(), "https://mimir.example:8443/prometheus");
        let real = transport.real_host.unwrap();
        assert_eq!((real.host.as_str(), real.header.to_str().unwrap()), ("10.0.0.1", "10.0.0.1:8443"));
    }
}
