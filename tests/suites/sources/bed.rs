//! A Prometheus that scrapes what we say, once a second.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Counts, PodSeries, Point};
use snapback_prometheus::{Counter, Instants, MetricNames, Source, SourceConfig, to_points};
use snapback_tests::process::Process;
use snapback_tests::run_dir::RunDir;
use snapback_tests::tools;
use tokio::runtime::Runtime;

use crate::expositions::{ENVOY_GATEWAY, HTTP_SERVER, INGRESS_NGINX, TRAEFIK, otlp};

/// Requests of one pod, or of one replica of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Counted {
    pub(crate) good: f64,
    pub(crate) bad: f64,
}

/// The Prometheus, and how it is asked. What is dropped first stands first.
pub(crate) struct Bed {
    _prometheus: Process,
    _run: RunDir,
    runtime: Runtime,
    source: Source,
}

impl Bed {
    /// Starts Prometheus and what it scrapes.
    pub(crate) fn start() -> Result<Self> {
        _ = rustls::crypto::ring::default_provider().install_default();
        tools::ensure(&["prometheus"])?;
        let run = RunDir::create()?;
        let runtime = Runtime::new()?;
        let target = runtime.block_on(expose())?;
        // Free until Prometheus takes it, unless somebody else is quicker.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = run.path().join("prometheus.yaml");
        std::fs::write(&config, scrapes(&target))?;
        let prometheus = Process::start(
            &run,
            "prometheus",
            Command::new(tools::path("prometheus")?)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", run.path().join("tsdb").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--web.enable-otlp-receiver", "--log.level=warn"]),
        )?;
        let url = format!("http://127.0.0.1:{port}");
        let source = Source::new(&SourceConfig::new("main", &url))?;
        let mut bed = Self { _prometheus: prometheus, _run: run, runtime, source };
        bed.until("the scrapes", |bed| bed.instant("count(up == 1) == 6"))?;
        bed.send(&url)?;
        Ok(bed)
    }

    /// Sends what a program with OpenTelemetry would.
    fn send(&mut self, url: &str) -> Result<()> {
        let url = format!("{url}/api/v1/otlp/v1/metrics");
        self.runtime.block_on(async {
            let request = reqwest::Client::new().post(url).header("content-type", "application/json");
            let response = request.body(otlp(Timestamp::now().as_nanosecond())).send().await?;
            let status = response.status();
            let said = response.text().await?;
            if status.is_success() { Ok(()) } else { bail!("Prometheus refused the metrics: {status} {said}") }
        })?;
        self.until("what was sent", |bed| bed.instant("http_server_request_duration_seconds"))
    }

    /// Requests of each pod or replica, which must be these.
    pub(crate) fn requests(&self, names: MetricNames, whose: &str, pods: &[&str]) -> Result<BTreeMap<String, Counted>> {
        let names = names.compile()?;
        let series = self.runtime.block_on(self.source.count(Counter::Requests, &names, "shop", whose, now()))?;
        let mut found: BTreeMap<String, Counted> = BTreeMap::new();
        for one in series {
            let count = last(&one)?;
            let counted = found.entry(one.pod).or_default();
            match one.counts {
                Counts::Good => counted.good += count,
                Counts::Bad => counted.bad += count,
                other => bail!("{other:?} among the requests"),
            }
        }
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), pods);
        Ok(found)
    }

    /// Requests that took longer than each bound, which must be the same of each of these pods or replicas.
    pub(crate) fn slower(&self, names: MetricNames, whose: &str, pods: &[&str], bounds: &[f64]) -> Result<Vec<f64>> {
        let names = names.compile()?;
        let series = self.runtime.block_on(self.source.count(Counter::Latencies, &names, "shop", whose, now()))?;
        let slower = |pod: &str| -> Result<Vec<f64>> {
            let at_most = |bound: f64| {
                let close = |other: f64| other == bound || (other - bound).abs() < 1e-9;
                let is_it =
                    |one: &&PodSeries| one.pod == pod && matches!(one.counts, Counts::AtMostSeconds(le) if close(le));
                last(series.iter().find(is_it).with_context(|| format!("{pod} has no count at {bound}"))?)
            };
            let all = at_most(f64::INFINITY)?;
            bounds.iter().map(|bound| Ok(all - at_most(*bound)?)).collect()
        };
        let found = pods.iter().map(|pod| slower(pod)).collect::<Result<Vec<_>>>()?;
        let first = found.first().context("no pods")?.clone();
        assert!(found.iter().all(|one| *one == first), "{found:?}");
        Ok(first)
    }

    /// A query of a user.
    pub(crate) fn own(&self, promql: &str) -> Answer<Vec<Point>> {
        let Instants { start, end, step } = now();
        self.runtime.block_on(self.source.range(promql, start, end, step)).and_then(to_points)
    }

    /// Whether a query has any series now.
    fn instant(&self, promql: &str) -> bool {
        let found = self.runtime.block_on(self.source.instant(promql, Timestamp::now()));
        found.is_ok_and(|series| !series.is_empty())
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let begin = Instant::now();
        while !done(self) {
            if begin.elapsed() > Duration::from_mins(1) {
                bail!("{what} did not come within a minute");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// One instant: the next whole second, since ranges are asked for in whole ones and samples are a second old at most.
fn now() -> Instants {
    let now = Timestamp::now() + SignedDuration::from_secs(1);
    Instants { start: now, end: now, step: SignedDuration::from_secs(30) }
}

fn last(series: &PodSeries) -> Result<f64> {
    Ok(series.points.last().with_context(|| format!("no point of {series:?}"))?.1)
}

/// Serves the expositions; returns the address.
async fn expose() -> Result<String> {
    let mut app = Router::new();
    for (path, text) in
        [("/ingress-nginx", INGRESS_NGINX), ("/traefik", TRAEFIK), ("/envoy", ENVOY_GATEWAY), ("/http", HTTP_SERVER)]
    {
        let answer = ([("content-type", "text/plain; version=0.0.4")], text.trim_start());
        app = app.route(path, get(move || async move { answer }));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn scrapes(target: &str) -> String {
    let job = |name: &str, path: &str, more: &str, labels: &str| {
        format!(
            "- job_name: {name}\n  metrics_path: {path}\n{more}  static_configs:\n  - {{targets: ['{target}'], labels: \
             {{{labels}}}}}\n"
        )
    };
    let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n\
         otlp: {promote_resource_attributes: [k8s.namespace.name, k8s.pod.name]}\n\
         scrape_configs:\n"
        .to_owned();
    let controller = "namespace: ingress-nginx, pod: ingress-nginx-controller-559584768b-g5tnh";
    let honoured = format!("instance: '10.0.0.1:10254', {controller}");
    let renamed = format!("instance: '10.0.0.2:10254', {controller}, service: ingress-nginx-controller-metrics");
    let annotated = format!("instance: '10.0.0.3:10254', {controller}");
    config += &job("honoured", "/ingress-nginx", "  honor_labels: true\n", &honoured);
    config += &job("renamed", "/ingress-nginx", "", &renamed);
    config += &job("annotated", "/ingress-nginx", "", &annotated);
    config += &job("traefik", "/traefik", "", "instance: '10.0.1.1:9100', namespace: traefik, service: traefik");
    config += &job("envoy", "/envoy", "", "instance: '10.0.2.1:19001', namespace: envoy-gateway-system, pod: envoy-0");
    let convert = "  convert_classic_histograms_to_nhcb: true\n";
    config += &job("http", "/http", convert, "instance: '10.0.3.1:8080', namespace: shop, pod: web-1-abcde");
    config
}
