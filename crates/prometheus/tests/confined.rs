//! Hostile queries: none may see anything but its own namespace.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests")]

use promql_parser::parser::parse;
use snapback_prometheus::{ConfinementError, confine};

/// What must never be selected.
const SECRETS: [&str; 10] = [
    r"secret",
    r#"{__name__="secret"}"#,
    r#"secret{namespace="other"}"#,
    r#"secret{namespace=~"shop|other"}"#,
    r#"secret{namespace=~".+"}"#,
    r#"secret{namespace!="shop"}"#,
    r#"secret{namespace!~"shop"}"#,
    r#"secret{namespace=""}"#,
    r#"secret{Namespace="shop"}"#,
    r#"secret{exported_namespace="shop"}"#,
];

/// Places in which it may hide; `S` is the selector, and `R` the same with a range.
const PLACES: [&str; 30] = [
    "S",
    "-S",
    "(S)",
    "((S))",
    "S + OWN",
    "OWN + S",
    "OWN or S",
    "OWN and S",
    "OWN unless S",
    "OWN * on (pod) group_left (team) S",
    "OWN > bool S",
    "S @ 1",
    "S offset 5m",
    "sum(S)",
    "sum by (namespace) (S)",
    "topk(scalar(S), OWN)",
    "bottomk(scalar(sum(S)), OWN)",
    "quantile(scalar(S), OWN)",
    "count_values(\"v\", S)",
    "rate(R)",
    "max_over_time(rate(R)[5m:1m])",
    "sum_over_time(S[5m:])",
    "label_replace(S, \"namespace\", \"shop\", \"\", \"\")",
    "label_join(S, \"namespace\", \"\", \"pod\")",
    "histogram_quantile(scalar(S), OWN)",
    "histogram_quantile(0.9, sum by (le) (rate(R)))",
    "absent(S)",
    "clamp(OWN, scalar(S), 1)",
    "vector(scalar(S))",
    "sum(OWN) / sum(rate(R)) > 0 or sum(OWN)",
];

const OWN: &str = r#"up{namespace="shop"}"#;

fn written(place: &str, selector: &str) -> String {
    // The last letter first: what is filled in holds letters, too.
    let ranged = format!("{selector}[5m]");
    place.replace("OWN", "\u{1}").replace('R', &ranged).replace('S', selector).replace('\u{1}', OWN)
}

#[test]
fn of_three_hundred_queries_for_another_namespace_none_is_let_through() {
    let mut tried = 0;
    for place in PLACES {
        // Each place is a real one: with a selector of its own namespace it is let through.
        let own = written(place, r#"orders{namespace="shop"}"#);
        assert_eq!(confine(&own, "namespace", "shop"), Ok(()), "{own}");
        for secret in SECRETS {
            let query = written(place, secret);
            assert!(parse(&query).is_ok(), "not even PromQL: {query}");
            assert!(confine(&query, "namespace", "shop").is_err(), "let through: {query}");
            tried += 1;
        }
    }
    assert_eq!(tried, 300);
}

#[test]
fn what_two_parsers_may_read_differently_is_not_let_through() {
    for query in [
        "secret # {namespace=\"shop\"}",
        "up{namespace=\"shop\"} # \n or secret",
        r#"up{namespace="shop\"} or secret{a=\""}"#,
        r#"up{namespace="sh\x6fp"}"#,
        r#"up{namespace="sh\157p"}"#,
        r#"up{namespace="sh\u006fp"}"#,
        "up{namespace=`shop`}",
        "up{a=`\"`,namespace=\"shop\"} or secret{b=`\"`}",
        "up{namespace=\"shop\"}\u{a0}or secret",
        "up{namespace=\"sh\u{43e}p\"}",
        "{\"up\u{301}\", namespace=\"shop\"}",
        "up{namespace=\"shop\"}\u{0}",
        "up{namespace=\"shop\"}\r",
        "up{namespace=\"shop\"}\u{b}or secret",
        "up{namespace=\"shop\u{200b}\"}",
    ] {
        let refused = confine(query, "namespace", "shop").unwrap_err();
        assert!(matches!(refused, ConfinementError::NotPlain(_) | ConfinementError::Syntax), "{query:?}: {refused}");
    }
}

#[test]
fn alternatives_and_functions_that_select_by_themselves_are_not_let_through() {
    for query in [r#"up{namespace="shop" or namespace="other"}"#, r#"{namespace="shop",a="b" or c="d"}"#] {
        assert!(confine(query, "namespace", "shop").is_err(), "{query}");
    }
    for query in [r#"info(up{namespace="shop"})"#, r#"info(up{namespace="shop"}, {namespace="shop"})"#] {
        assert!(confine(query, "namespace", "shop").is_err(), "{query}");
    }
}

#[test]
fn the_author_is_told_which_selector_and_what_to_write() {
    let told = confine(r#"sum(up{namespace="shop"}) / sum(orders_total{app="x"})"#, "namespace", "shop").unwrap_err();
    assert_eq!(
        told.to_string(),
        "orders_total may select series of other namespaces, which this source does not give: write \
         namespace=\"{{ namespace }}\" into each selector"
    );
    let told = confine("up # all", "namespace", "shop").unwrap_err().to_string();
    assert!(told.contains("no comments") && told.contains("'#'"), "{told}");
}

#[test]
fn a_namespace_that_looks_like_a_pattern_is_taken_as_it_is() {
    assert_eq!(confine(r#"up{namespace=".*"}"#, "namespace", ".*"), Ok(()));
    assert!(confine(r#"up{namespace=~".*"}"#, "namespace", ".*").is_err());
    assert_eq!(confine(r#"up{k8s_ns='shop',pod=~"(web-1\\.2)-[a-z0-9]{5}"}"#, "k8s_ns", "shop"), Ok(()));
}
