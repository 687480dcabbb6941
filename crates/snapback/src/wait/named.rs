//! Which workload is meant.

use std::fmt;

use snapback_core::jobs::is_name;
use snapback_core::workload::Kind;

/// A workload, by its kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str().to_lowercase(), self.name)
    }
}

/// Reads `TYPE/NAME` as kubectl does: short names, plurals, with and without the group.
pub(crate) fn parse(text: &str) -> Result<Named, String> {
    let wrong = || format!("must be such as deploy/checkout, sts/orders or ds/agent, but is {text:?}");
    let (resource, name) = text.split_once('/').ok_or_else(wrong)?;
    let resource = resource.to_lowercase();
    let resource = resource.strip_suffix(".apps").unwrap_or(&resource);
    let kind = match resource.strip_suffix(".v1").unwrap_or(resource) {
        "deploy" | "deployment" | "deployments" => Kind::Deployment,
        "sts" | "statefulset" | "statefulsets" => Kind::StatefulSet,
        "ds" | "daemonset" | "daemonsets" => Kind::DaemonSet,
        _ => return Err(wrong()),
    };
    if !is_name(name) {
        return Err(wrong());
    }
    Ok(Named { kind, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_kubectl_is_understood() {
        for text in ["deploy/web", "deployment/web", "deployments/web", "deployment.apps/web", "Deployment.v1.apps/web"]
        {
            assert_eq!(parse(text).unwrap(), Named { kind: Kind::Deployment, name: "web".into() }, "{text}");
        }
        for text in ["sts/web", "statefulset/web", "statefulsets.apps/web"] {
            assert_eq!(parse(text).unwrap().kind, Kind::StatefulSet, "{text}");
        }
        for text in ["ds/web", "daemonset/web", "daemonsets.v1.apps/web"] {
            assert_eq!(parse(text).unwrap().kind, Kind::DaemonSet, "{text}");
        }
    }

    #[test]
    fn what_is_no_workload_is_told_how_it_is_written() {
        for text in
            ["web", "/web", "deploy/", "deploy/Web", "deploy/a/b", "pod/web", "deploy/../x", "rollouts.argoproj.io/x"]
        {
            assert!(parse(text).unwrap_err().contains("must be such as deploy/checkout"), "{text}");
        }
    }
}
