//! What a real Prometheus answers, of series in the shape that real programs give them. Needs no root.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test suite")]

mod bed;
mod expositions;

use std::process::ExitCode;
use std::sync::Arc;

use bed::{Bed, Counted};
use libtest_mimic::{Arguments, Failed, Trial};
use snapback_prometheus::{MetricNames, Preset};

type Test = (&'static str, fn(&Bed) -> anyhow::Result<()>);

const TESTS: [Test; 6] = [
    ("ingress_nginx_is_counted_by_service_however_it_is_scraped", ingress_nginx),
    ("traefik_is_counted_by_service", traefik),
    ("envoy_gateway_is_counted_by_route", envoy_gateway),
    ("a_converted_histogram_is_counted_as_the_classic_one_was", converted),
    ("an_exponential_histogram_is_counted_at_our_bounds", exponential),
    ("a_query_that_returns_histograms_is_told_what_to_do", own_query),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = |bed: Option<Arc<Bed>>| {
        let trial = |(name, test): Test| {
            let bed = bed.clone();
            Trial::test(name, move || match bed {
                Some(bed) => test(&bed).map_err(|error| Failed::from(format!("{error:#}"))),
                None => Ok(()),
            })
        };
        TESTS.into_iter().map(trial).collect()
    };
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    let bed = match Bed::start() {
        Ok(bed) => Arc::new(bed),
        Err(error) => {
            eprintln!("the test bed did not start: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&arguments, trials(Some(bed))).exit_code()
}

/// One scrape honours the labels of the proxy, one renames both (a ServiceMonitor), one the namespace only (a pod's
/// annotations): three replicas, each with the same counts.
fn ingress_nginx(bed: &Bed) -> anyhow::Result<()> {
    let replicas = ["@10.0.0.1:10254", "@10.0.0.2:10254", "@10.0.0.3:10254"];
    for (whose, counted) in bed.requests(Preset::IngressNginx.names(), "checkout", &replicas)? {
        assert_eq!(counted, Counted { good: 95.0, bad: 5.0 }, "{whose}");
    }
    let slower = bed.slower(Preset::IngressNginx.names(), "checkout", &replicas, &[0.25, 0.5])?;
    assert_eq!(slower, [20.0, 5.0]);
    Ok(())
}

fn traefik(bed: &Bed) -> anyhow::Result<()> {
    let found = bed.requests(Preset::Traefik.names(), "checkout", &["@10.0.1.1:9100"])?;
    assert_eq!(found["@10.0.1.1:9100"], Counted { good: 95.0, bad: 5.0 });
    let slower = bed.slower(Preset::Traefik.names(), "checkout", &["@10.0.1.1:9100"], &[0.3, 1.2])?;
    assert_eq!(slower, [20.0, 5.0]);
    Ok(())
}

fn envoy_gateway(bed: &Bed) -> anyhow::Result<()> {
    let found = bed.requests(Preset::EnvoyGateway.names(), "checkout", &["@10.0.2.1:19001"])?;
    assert_eq!(found["@10.0.2.1:19001"], Counted { good: 95.0, bad: 5.0 });
    let slower = bed.slower(Preset::EnvoyGateway.names(), "checkout", &["@10.0.2.1:19001"], &[0.25, 0.5])?;
    assert_eq!(slower, [20.0, 5.0], "milliseconds are read as such");
    Ok(())
}

fn converted(bed: &Bed) -> anyhow::Result<()> {
    let names = Preset::HttpServer.names();
    let slower = bed.slower(names, "(web-1)-[a-z0-9]{5}", &["web-1-abcde"], &[0.1, 0.25, 0.4, 0.5])?;
    assert_eq!(slower, [40.0, 20.0, 5.0, 5.0], "what is over 0.25 may be under 0.4");
    Ok(())
}

/// As an OpenTelemetry Collector names what it promotes.
fn opentelemetry() -> MetricNames {
    MetricNames {
        namespace_label: "k8s_namespace_name".to_owned(),
        pod_label: "k8s_pod_name".to_owned(),
        ..Preset::OpenTelemetry.names()
    }
}

fn exponential(bed: &Bed) -> anyhow::Result<()> {
    let found = bed.requests(opentelemetry(), "(web-2)-[a-z0-9]{5}", &["web-2-abcde"])?;
    assert_eq!(found["web-2-abcde"], Counted { good: 90.0, bad: 10.0 }, "of a native histogram, by its count");
    let slower = bed.slower(opentelemetry(), "(web-2)-[a-z0-9]{5}", &["web-2-abcde"], &[0.25, 0.3, 0.5, 1.5])?;
    assert_eq!(slower, [30.0, 10.0, 10.0, 0.0], "only what is surely over a bound counts as slower");
    Ok(())
}

fn own_query(bed: &Bed) -> anyhow::Result<()> {
    let text = bed.own("sum(http_server_request_duration_seconds)").expect_err("histograms").to_string();
    assert!(text.contains("histogram_quantile(0.95, ...)"), "{text}");
    let points = bed.own("histogram_quantile(0.95, sum(http_server_request_duration_seconds))")?;
    assert!(points.iter().all(|point| (1.0..2.0).contains(&point.value)), "{points:?}");
    Ok(())
}
