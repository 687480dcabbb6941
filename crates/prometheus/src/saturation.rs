//! Which pods are at their limits, by what the kubelet counts of their containers (cAdvisor).
//!
//! The limits come from the pods themselves: kube-state-metrics may be absent, and the kubelet's own
//! `container_spec_*` are dropped by the usual installation (kube-prometheus).

use snapback_core::policy::Resource;
use snapback_core::workload::ContainerLimits;

use crate::query::quoted;

/// The kubelet's counters. Their labels are its own, too, whatever the application's are called.
const MEMORY: &str = "container_memory_working_set_bytes";
const CPU: &str = "container_cpu_usage_seconds_total";
const PERIODS: &str = "container_cpu_cfs_periods_total";
const THROTTLED: &str = "container_cpu_cfs_throttled_periods_total";

/// Pods whose containers have the same limits.
#[derive(Debug, Clone, PartialEq)]
pub struct PodGroup<'a> {
    /// Their names, as [`crate::pods_pattern`] writes them.
    pub pods: String,
    /// The limits.
    pub limits: &'a [ContainerLimits],
}

/// The share of the pods (0 to 1) in which at least one container uses more than `max` of its limit of a resource; `None`
/// where no container has one. CPU is a mean over `window`, such as `2m`.
pub fn saturated_query(
    resource: Resource,
    max: f64,
    namespace: &str,
    groups: &[PodGroup<'_>],
    window: &str,
) -> Option<String> {
    let namespace = quoted(namespace);
    let mut parts = Vec::new();
    for PodGroup { pods, limits } in groups {
        for one in *limits {
            let labels = format!(r#"{{namespace="{namespace}",pod=~"{pods}",container="{}"}}"#, quoted(&one.container));
            parts.extend(match resource {
                Resource::Memory => one.memory.map(|limit| format!("{MEMORY}{labels} / {limit}")),
                Resource::Cpu => one.cpu.map(|limit| format!("rate({CPU}{labels}[{window}]) / {limit}")),
                // There are periods only where there is a limit.
                Resource::Throttling => {
                    one.cpu.map(|_| format!("rate({THROTTLED}{labels}[{window}]) / rate({PERIODS}{labels}[{window}])"))
                }
            });
        }
    }
    (!parts.is_empty()).then(|| format!("avg(max by (pod) ({}) > bool {max})", parts.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{names_pattern, pods_pattern};

    fn limits(container: &str, cpu: Option<f64>, memory: Option<f64>) -> ContainerLimits {
        ContainerLimits { container: container.to_owned(), cpu, memory }
    }

    fn asked(resource: Resource) -> Option<String> {
        let web = [limits("web", None, Some(536_870_912.0)), limits("proxy", Some(0.25), Some(134_217_728.0))];
        let pods = pods_pattern(&["checkout-7d9f".to_owned()]);
        saturated_query(resource, 0.9, "shop", &[PodGroup { pods, limits: &web }], "2m")
    }

    #[test]
    fn each_container_is_held_against_its_own_limit() {
        let pods = "(checkout-7d9f)-[a-z0-9]{5}";
        let web = format!(r#"container_memory_working_set_bytes{{namespace="shop",pod=~"{pods}",container="web"}}"#);
        let proxy = web.replace(r#""web""#, r#""proxy""#);
        let expected = format!("avg(max by (pod) ({web} / 536870912 or {proxy} / 134217728) > bool 0.9)");
        assert_eq!(asked(Resource::Memory), Some(expected));
    }

    #[test]
    fn only_containers_with_a_limit_of_cpu_are_throttled() {
        let labels = r#"{namespace="shop",pod=~"(checkout-7d9f)-[a-z0-9]{5}",container="proxy"}[2m]"#;
        let cpu = format!("avg(max by (pod) (rate(container_cpu_usage_seconds_total{labels}) / 0.25) > bool 0.9)");
        assert_eq!(asked(Resource::Cpu), Some(cpu));
        let throttled = format!(
            "avg(max by (pod) (rate(container_cpu_cfs_throttled_periods_total{labels}) / rate(container_cpu_cfs_periods_total{labels})) > bool 0.9)"
        );
        assert_eq!(asked(Resource::Throttling), Some(throttled));
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_ask() {
        let free = [limits("web", None, Some(1e9))];
        let groups = [PodGroup { pods: names_pattern(&[]), limits: &free }];
        assert_eq!(saturated_query(Resource::Cpu, 0.9, "shop", &groups, "2m"), None);
        assert_eq!(saturated_query(Resource::Memory, 0.9, "shop", &[], "2m"), None);
    }

    #[test]
    fn every_query_parses() {
        for resource in [Resource::Memory, Resource::Cpu, Resource::Throttling] {
            let query = asked(resource).unwrap();
            assert!(promql_parser::parser::parse(&query).is_ok(), "{query}");
        }
    }
}
