//! What the containers of a pod may use at most.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use snapback_core::workload::ContainerLimits;

/// The limits of the containers that have any, and of the init containers that stay (sidecars).
pub(super) fn limits(spec: &PodSpec) -> Vec<ContainerLimits> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars).filter_map(of_container).collect()
}

/// The same, of a raw template: what its pods have unless admission gave them more.
pub(crate) fn limits_of_template(template: &Value) -> Vec<ContainerLimits> {
    let spec = template.get("spec").cloned().and_then(|spec| serde_json::from_value::<PodSpec>(spec).ok());
    spec.as_ref().map(limits).unwrap_or_default()
}

fn of_container(container: &Container) -> Option<ContainerLimits> {
    let limits: &BTreeMap<String, Quantity> = container.resources.as_ref()?.limits.as_ref()?;
    let of = |resource: &str| limits.get(resource).and_then(|quantity| number(&quantity.0)).filter(|one| *one > 0.0);
    let (cpu, memory) = (of("cpu"), of("memory"));
    (cpu.is_some() || memory.is_some()).then(|| ContainerLimits { container: container.name.clone(), cpu, memory })
}

/// A quantity of Kubernetes (`apimachinery/pkg/api/resource`): a decimal, with a power of ten or a unit.
fn number(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let unit = UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)));
    let (digits, factor) = unit.unwrap_or((text, 1.0));
    digits.parse::<f64>().ok().map(|value| value * factor).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("512Mi", Some(536_870_912.0)),
            ("1.5Gi", Some(1_610_612_736.0)),
            ("128974848", Some(128_974_848.0)),
            ("129e6", Some(129e6)),
            ("129M", Some(129e6)),
            ("2", Some(2.0)),
            ("500m", Some(0.5)),
            ("much", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn containers_with_a_limit_and_sidecars_count() {
        let limited = |name: &str, limits: Value| json!({"name": name, "resources": {"limits": limits}});
        let mut sidecar = limited("proxy", json!({"cpu": "250m"}));
        sidecar["restartPolicy"] = json!("Always");
        let template = json!({"spec": {
            "initContainers": [limited("migrate", json!({"memory": "1Gi"})), sidecar],
            "containers": [
                limited("web", json!({"memory": "512Mi", "ephemeral-storage": "1Gi"})),
                {"name": "free"}, limited("gpu", json!({"nvidia.com/gpu": "1"})), limited("none", json!({"memory": "0"}))
            ]
        }});
        let of = |container: &str, cpu, memory| ContainerLimits { container: container.to_owned(), cpu, memory };
        let expected = [of("web", None, Some(536_870_912.0)), of("proxy", Some(0.25), None)];
        assert_eq!(limits_of_template(&template), expected);
        assert_eq!(limits_of_template(&json!({"metadata": {}})), []);
    }
}
