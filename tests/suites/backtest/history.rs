//! A history that Prometheus reads in one scrape: a page of samples with their own timestamps.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Seconds between two samples.
const STEP: i64 = 15;

/// Requests per second of a pod.
const RATE: f64 = 10.0;

/// A pod that lived for some time.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    /// When it was first scraped, and last, in seconds since the start of the history.
    pub(crate) life: (i64, i64),
    /// The share of its requests that fail, and since when.
    pub(crate) bad: (f64, i64),
    /// What kube-state-metrics says of it.
    pub(crate) kube: Kube,
}

/// What kube-state-metrics says of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kube {
    /// Nothing: it does not run.
    Unknown,
    /// Ready.
    Ready,
    /// In a crash loop: a restart a minute, and nobody is served.
    Crashing,
}

/// The pods of a ReplicaSet.
pub(crate) fn pods(set: &str, suffixes: [&str; 3], life: (i64, i64), bad: (f64, i64), kube: Kube) -> Vec<Pod> {
    suffixes.map(|suffix| Pod { name: format!("{set}-{suffix}"), life, bad, kube }).to_vec()
}

/// The page: oldest first.
pub(crate) fn page(start: Timestamp, seconds: i64, pods: &[Pod]) -> String {
    let mut page = String::new();
    for step in 0..=seconds / STEP {
        let second = step * STEP;
        let at = start.as_millisecond() + second * 1000;
        for pod in pods.iter().filter(|pod| (pod.life.0..=pod.life.1).contains(&second)) {
            samples(&mut page, pod, second, at);
        }
    }
    page
}

fn samples(page: &mut String, pod: &Pod, second: i64, at: i64) {
    let labels = format!("namespace=\"shop\",pod=\"{}\"", pod.name);
    let mut line = |series: String, value: f64| _ = writeln!(page, "{series} {value} {at}");
    line(format!("up{{{labels}}}"), 1.0);
    let (share, since) = pod.bad;
    let age = |from: i64| seconds(second - from.max(pod.life.0)).max(0.0);
    let (all, bad) = (RATE * age(i64::MIN), (RATE * share * age(since)).round());
    if pod.kube != Kube::Crashing {
        line(format!("http_requests_total{{{labels},code=\"200\"}}"), all - bad);
        line(format!("http_requests_total{{{labels},code=\"500\"}}"), bad);
        for (le, part) in [("0.1", 0.97), ("0.5", 1.0), ("+Inf", 1.0)] {
            line(format!("http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}"), (all * part).round());
        }
    }
    if pod.kube != Kube::Unknown {
        let is_ready = pod.kube == Kube::Ready;
        line(format!("kube_pod_status_ready{{{labels},condition=\"true\"}}"), f64::from(u8::from(is_ready)));
        line(format!("kube_pod_status_ready{{{labels},condition=\"false\"}}"), f64::from(u8::from(!is_ready)));
        let restarts = if is_ready { 0.0 } else { (age(i64::MIN) / 60.0).floor() };
        line(format!("kube_pod_container_status_restarts_total{{{labels},container=\"app\"}}"), restarts);
        if restarts > 0.0 {
            let of = format!("{labels},container=\"app\"");
            line(format!("kube_pod_container_status_waiting_reason{{{of},reason=\"CrashLoopBackOff\"}}"), 1.0);
            line(format!("kube_pod_container_status_last_terminated_exitcode{{{of}}}"), 1.0);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a few hours")]
fn seconds(count: i64) -> f64 {
    count as f64
}
