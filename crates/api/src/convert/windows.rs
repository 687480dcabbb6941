//! When a policy may act alone.

use jiff::SignedDuration;
use snapback_core::policy::{Schedule, Window, WindowKind, zone};

use super::{InvalidSpec, duration};
use crate::v1alpha1::{WindowKindName, WindowSpec};

const DEFAULT_ZONE: &str = "Etc/UTC";
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

pub(super) fn windows(specs: &[WindowSpec]) -> Result<Vec<Window>, InvalidSpec> {
    specs.iter().enumerate().map(|(index, spec)| window(&format!("spec.windows[{index}]"), spec)).collect()
}

fn window(path: &str, spec: &WindowSpec) -> Result<Window, InvalidSpec> {
    let zone = zone(spec.time_zone.as_deref().unwrap_or(DEFAULT_ZONE))
        .map_err(|error| InvalidSpec::new(format!("{path}.timeZone"), error))?;
    let schedule =
        Schedule::parse(&spec.schedule, zone).map_err(|error| InvalidSpec::new(format!("{path}.schedule"), error))?;
    let field = format!("{path}.duration");
    let duration = duration(&field, &spec.duration)?;
    if !(SHORTEST..=LONGEST).contains(&duration) {
        return Err(InvalidSpec::new(field, "must be at least 1m and at most 744h (31 days)"));
    }
    let kind = match spec.kind {
        WindowKindName::Allow => WindowKind::Allow,
        WindowKindName::Deny => WindowKind::Deny,
    };
    Ok(Window { name: spec.name.clone(), kind, schedule, duration })
}
