//! One metrics source, and how it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_http_query::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use snapback_core::duration;
use snapback_core::sample::{Answer, Missing};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::config::SourceConfig;
use crate::credentials::{Credentials, CredentialsError};
use crate::envelope::{self, Series};
use crate::names::is_name;
use crate::transport::{Transport, TransportError, outage};

const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// Parameters that the operator sets itself.
const OWN_PARAMS: [&str; 6] = ["query", "time", "start", "end", "step", "timeout"];

/// What every query is sent with, unless the configuration says otherwise: back ends that have no such parameter ignore it.
///
/// Thanos answers with what it has when a store is down, unless told not to. VictoriaMetrics moves the instants of a range to
/// multiples of the step, and shows the last 30 seconds as they were before (`-search.latencyOffset`), unless told not to
/// cache.
const DEFAULT_PARAMS: [(&str, &str); 5] = [
    ("dedup", "true"),
    ("deny_partial_response", "1"),
    ("max_source_resolution", "0s"),
    ("nocache", "1"),
    ("partial_response", "false"),
];

/// Why a source cannot be used as configured. Names the source and the setting.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It has no name.
    #[error("a source has no name")]
    NoName,
    /// A setting is wrong.
    #[error("source {name:?}: {problem}")]
    Setting {
        /// The source's name.
        name: String,
        /// The setting, and what is wrong with it.
        problem: String,
    },
    /// A credential is wrong or unreadable.
    #[error("source {name:?}: {error}")]
    Credentials {
        /// The source's name.
        name: String,
        /// What is wrong.
        error: CredentialsError,
    },
    /// The URL or TLS is wrong or unreadable.
    #[error("source {name:?}: {error}")]
    Transport {
        /// The source's name.
        name: String,
        /// What is wrong.
        error: TransportError,
    },
}

/// One metrics source.
///
/// Bounds every query: in time, in the size of the reply, and in how many run at once. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Source {
    name: String,
    access: Arc<Access>,
    params: Vec<(&'static str, String)>,
    timeout: Duration,
    max_response_bytes: usize,
    permits: Semaphore,
    confined_by: Option<String>,
    /// Set once the server refused POST.
    get_only: AtomicBool,
}

/// What depends on files.
#[derive(Debug)]
struct Access {
    transport: Transport,
    credentials: Credentials,
}

impl Access {
    /// Reads all files, so it blocks.
    fn open(&self) -> Result<(Client, HeaderMap), String> {
        let client = self.transport.client().map_err(|error| error.to_string())?;
        let headers = self.credentials.headers().map_err(|error| error.to_string())?;
        Ok((client, headers))
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Question<'a> {
    Instant { promql: &'a str, at: Timestamp },
    Range { promql: &'a str, start: Timestamp, end: Timestamp, step: SignedDuration },
}

impl Source {
    /// Prepares a source: checks every setting and reads every file once. Asks nothing, and blocks only on the files.
    ///
    /// A rustls crypto provider must have been installed for the process, which is the first thing that `main` does:
    /// `rustls::crypto::ring::default_provider().install_default()`.
    ///
    /// # Errors
    /// The first setting that is wrong, or file that cannot be used.
    pub fn new(config: &SourceConfig) -> Result<Self, SourceError> {
        if config.name.is_empty() {
            return Err(SourceError::NoName);
        }
        let name = || config.name.clone();
        let setting = |problem: String| SourceError::Setting { name: name(), problem };
        let timeout = match &config.timeout {
            None => DEFAULT_TIMEOUT,
            Some(text) => duration::parse(text).map_err(|error| setting(format!("timeout {error}")))?,
        };
        let timeout = Duration::try_from(timeout).unwrap_or_default();
        if timeout.is_zero() {
            return Err(setting("timeout must not be zero".to_owned()));
        }
        if config.confine_to_namespace_by.as_ref().is_some_and(|label| !is_name(label, false)) {
            return Err(setting("confineToNamespaceBy must be the name of a label, such as namespace".to_owned()));
        }
        if config.max_response_bytes == 0 {
            return Err(setting("maxResponseBytes must not be zero".to_owned()));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&config.max_concurrent_queries) {
            return Err(setting("maxConcurrentQueries must be at least 1".to_owned()));
        }
        if let Some(own) = OWN_PARAMS.iter().find(|own| config.query_params.contains_key(**own)) {
            return Err(setting(format!("queryParams.{own} is set by the operator")));
        }
        let auth = config.auth.as_ref();
        let transport_error = |error| SourceError::Transport { name: name(), error };
        let credentials_error = |error| SourceError::Credentials { name: name(), error };
        let transport =
            Transport::new(&config.url, auth.and_then(|auth| auth.tls.as_ref()), timeout).map_err(transport_error)?;
        let credentials = Credentials::new(auth, &config.headers).map_err(credentials_error)?;
        transport.client().map_err(transport_error)?;
        credentials.headers().map_err(credentials_error)?;
        // The client library wants names that live forever. Sources do nearly that: they are made once, at the start.
        let own = config.query_params.iter().map(|(key, value)| (&*key.clone().leak(), value.clone()));
        let absent = DEFAULT_PARAMS.iter().filter(|(key, _)| !config.query_params.contains_key(*key));
        let params =
            own.filter(|(_, value)| !value.is_empty()).chain(absent.map(|(key, value)| (*key, (*value).to_owned())));
        Ok(Self {
            name: config.name.clone(),
            access: Arc::new(Access { transport, credentials }),
            params: params.collect(),
            timeout,
            max_response_bytes: config.max_response_bytes,
            permits: Semaphore::new(config.max_concurrent_queries),
            confined_by: config.confine_to_namespace_by.clone(),
            get_only: AtomicBool::new(false),
        })
    }

    /// The name by which policies refer to it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label by which policies see nothing but their own namespace, if they are confined.
    pub fn confined_by(&self) -> Option<&str> {
        self.confined_by.as_deref()
    }

    /// Evaluates a query at `start`, `start + step` and so on up to `end`.
    ///
    /// Start and end are rounded down to whole seconds, since the client library takes no finer ones. A back end that moves
    /// the instants to multiples of the step answers for its own; what it says of the time after `end` is left out.
    ///
    /// # Errors
    /// A [`Missing`] that says why there is no answer. An answer without series is none: it is an empty list.
    pub async fn range(
        &self,
        promql: &str,
        start: Timestamp,
        end: Timestamp,
        step: SignedDuration,
    ) -> Answer<Vec<Series>> {
        let mut found = self.ask(Question::Range { promql, start, end, step }).await?;
        for one in &mut found {
            one.points.retain(|(at, _)| *at <= end);
            one.histograms.retain(|(at, _)| *at <= end);
        }
        Ok(found)
    }

    /// Evaluates a query at one instant, to the millisecond.
    ///
    /// # Errors
    /// A [`Missing`] that says why there is no answer. An answer without series is none: it is an empty list.
    pub async fn instant(&self, promql: &str, at: Timestamp) -> Answer<Vec<Series>> {
        self.ask(Question::Instant { promql, at }).await
    }

    /// Asks within the limits of time and number.
    async fn ask(&self, question: Question<'_>) -> Answer<Vec<Series>> {
        let deadline = Instant::now() + self.timeout;
        let late = |what: &str| Missing::Unavailable(format!("{what} within {:?}", self.timeout));
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(late("had no time for another query")) };
        timeout_at(deadline, self.exchange(question)).await.unwrap_or_else(|_| Err(late("gave no answer")))
    }

    async fn exchange(&self, question: Question<'_>) -> Answer<Vec<Series>> {
        let access = Arc::clone(&self.access);
        let (client, headers) = tokio::task::spawn_blocking(move || access.open())
            .await
            .map_err(|_| Missing::Unavailable("the files of its credentials could not be read".to_owned()))?
            .map_err(Missing::Unavailable)?;
        let mut response = self.send(&client, &headers, question).await?;
        let status = response.status().as_u16();
        let content_type = response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        envelope::check_head(status, content_type)?;
        let body = self.body(&mut response).await?;
        envelope::read(status, &body)
    }

    /// Posts, since queries can be longer than a URL may be, unless the server takes only GET.
    async fn send(&self, client: &Client, headers: &HeaderMap, question: Question<'_>) -> Answer<Response> {
        if !self.get_only.load(Ordering::Relaxed) {
            let response = self.send_once(client, headers, question, false).await?;
            if response.status() != StatusCode::METHOD_NOT_ALLOWED {
                return Ok(response);
            }
            self.get_only.store(true, Ordering::Relaxed);
        }
        self.send_once(client, headers, question, true).await
    }

    async fn send_once(
        &self,
        client: &Client,
        headers: &HeaderMap,
        question: Question<'_>,
        get: bool,
    ) -> Answer<Response> {
        // The server gives up when we do.
        let timeout = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        let sent = match question {
            Question::Instant { promql, at } => {
                let mut builder = client.query(promql).query("time", seconds(at)).timeout(timeout);
                for (name, value) in headers {
                    builder = builder.header(name, value.clone());
                }
                for (name, value) in &self.params {
                    builder = builder.query(name, value);
                }
                if get { builder.get_raw().await } else { builder.post_raw().await }
            }
            Question::Range { promql, start, end, step } => {
                let (start, end) = (whole_seconds(start), whole_seconds(end));
                let mut builder = client.query_range(promql, start, end, step.as_secs_f64()).timeout(timeout);
                for (name, value) in headers {
                    builder = builder.header(name, value.clone());
                }
                for (name, value) in &self.params {
                    builder = builder.query(name, value);
                }
                if get { builder.get_raw().await } else { builder.post_raw().await }
            }
        };
        sent.map_err(|error| Missing::Unavailable(outage(&error)))
    }

    /// Reads the reply up to the limit.
    async fn body(&self, response: &mut Response) -> Answer<Vec<u8>> {
        let limit = self.max_response_bytes;
        let too_large = || Missing::TooLarge(limit);
        if response.content_length().is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit))
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Missing::Unavailable(outage(&error)))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn whole_seconds(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(1000)
}

/// Seconds with milliseconds, as the API writes them.
fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}", whole_seconds(at), at.as_millisecond().rem_euclid(1000))
}
