//! What pods are asked after an undo.

use snapback_core::rollback::{LONGEST_PATH, Probe, Scheme, is_path};

use super::InvalidSpec;
use crate::v1alpha1::{HttpProbeSpec, SchemeName};

/// The probes of the list at `field`, as a policy and its record have it.
pub fn probes(field: &str, specs: &[HttpProbeSpec]) -> Result<Vec<Probe>, InvalidSpec> {
    specs.iter().enumerate().map(|(index, spec)| probe(&format!("{field}[{index}]"), spec)).collect()
}

fn probe(field: &str, spec: &HttpProbeSpec) -> Result<Probe, InvalidSpec> {
    if !is_path(&spec.path) {
        let problem = format!(
            "must begin with / and hold only visible ASCII characters but #, at most {LONGEST_PATH}, but is {:?}",
            spec.path
        );
        return Err(InvalidSpec::new(format!("{field}.path"), problem));
    }
    let Some(port) = u16::try_from(spec.port).ok().filter(|port| *port > 0) else {
        return Err(InvalidSpec::new(format!("{field}.port"), format!("must be 1 to 65535, but is {}", spec.port)));
    };
    let scheme = match spec.scheme {
        None | Some(SchemeName::Http) => Scheme::Http,
        Some(SchemeName::Https) => Scheme::Https,
    };
    Ok(Probe { scheme, port, path: spec.path.clone() })
}

/// As the record has them.
pub fn probe_specs(probes: &[Probe]) -> Vec<HttpProbeSpec> {
    let spec = |probe: &Probe| HttpProbeSpec {
        path: probe.path.clone(),
        port: probe.port.into(),
        scheme: match probe.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(SchemeName::Https),
        },
    };
    probes.iter().map(spec).collect()
}
