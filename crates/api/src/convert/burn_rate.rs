//! The burn rate of an SLO's budget.

use jiff::SignedDuration;
use snapback_core::number;
use snapback_core::policy::{BurnWindow, BurnWindows, Rule};

use super::check::share;
use super::{InvalidSpec, duration};
use crate::v1alpha1::{BurnRateSpec, BurnWindowsSpec};

/// The page of the workbook: 2 % of a month's budget within the hour.
const PAGE: (&str, &str, f64) = ("5m", "1h", 14.4);

/// The texts of a burn rate's queries as their author wrote them, with the fields that they stand in; the first two are
/// summed.
pub fn burn_rate_queries(spec: &BurnRateSpec) -> impl Iterator<Item = (&'static str, &str)> {
    let fields = [("errors", &spec.errors), ("total", &spec.total), ("errorRatio", &spec.error_ratio)];
    fields.into_iter().filter_map(|(field, text)| Some((field, text.as_deref()?)))
}

/// The windows that each of them is asked for.
pub fn burn_rate_windows(spec: &BurnRateSpec) -> Vec<&str> {
    match &spec.windows {
        Some(windows) => windows.iter().flat_map(|pair| [pair.short.as_str(), pair.long.as_str()]).collect(),
        None => vec![PAGE.0, PAGE.1],
    }
}

/// The check at `path`, of a policy whose soak is so long.
pub(super) fn burn_rate(path: &str, spec: &BurnRateSpec, soak: SignedDuration) -> Result<Rule, InvalidSpec> {
    let path = format!("{path}.burnRate");
    let invalid = |field: &str, problem: String| InvalidSpec::new(format!("{path}{field}"), problem);
    let objective = share(&path, "objective", &spec.objective)?;
    let budget = 1.0 - objective;
    if objective >= 1.0 {
        return Err(invalid(
            ".objective",
            "must be under \"100%\": an objective without a budget cannot be kept; a percentage needs its sign".into(),
        ));
    }
    let promql = match (&spec.errors, &spec.total, &spec.error_ratio) {
        (None, None, Some(ratio)) => ratio.clone(),
        // A service that never failed has no series of failures; one without requests has no share of them. The line ends
        // before the brackets: the last one may be a comment.
        (Some(errors), Some(total), None) => format!("(sum({errors}\n) or vector(0)) / (sum({total}\n) > 0)"),
        _ => return Err(invalid("", "must set either errors and total, or errorRatio".into())),
    };
    let windows = match &spec.windows {
        Some(windows) if windows.is_empty() => {
            return Err(invalid(".windows", "must hold a pair of windows, or be left out for the default".into()));
        }
        Some(windows) => {
            windows.iter().enumerate().map(|(index, one)| pair(&path, index, one)).collect::<Result<_, _>>()?
        }
        None => vec![BurnWindows {
            short: window(&format!("{path}.windows"), PAGE.0)?,
            long: window(&format!("{path}.windows"), PAGE.1)?,
            factor: PAGE.2,
        }],
    };
    for (index, BurnWindows { short, factor, .. }) in windows.iter().enumerate() {
        let at = if spec.windows.is_some() { format!(".windows[{index}]") } else { ".windows".to_owned() };
        if short.length > soak {
            let soak = snapback_core::duration::format(soak);
            let problem = format!(
                "must have a short window of at most soak.duration ({soak}), but it is {}: it would still hold the time \
                 before the rollout at the end of the soak",
                short.text
            );
            return Err(invalid(&at, problem));
        }
        if factor * budget >= 1.0 {
            let most = (10.0 / budget).round() / 10.0;
            let problem = format!("must have a factor under {most}: no error rate burns faster than all");
            return Err(invalid(&at, problem));
        }
    }
    Ok(Rule::BurnRate { budget, promql, windows })
}

fn pair(path: &str, index: usize, spec: &BurnWindowsSpec) -> Result<BurnWindows, InvalidSpec> {
    let path = format!("{path}.windows[{index}]");
    let short = window(&format!("{path}.short"), &spec.short)?;
    let long = window(&format!("{path}.long"), &spec.long)?;
    let factor = number::decimal(&spec.factor);
    let factor = factor.map_err(|error| InvalidSpec::new(format!("{path}.factor"), error))?;
    if short.length >= long.length {
        return Err(InvalidSpec::new(path, "must have a short window that is shorter than the long one"));
    }
    if factor < 1.0 {
        return Err(InvalidSpec::new(format!("{path}.factor"), "must be at least 1: slower, the budget lasts"));
    }
    Ok(BurnWindows { short, long, factor })
}

fn window(path: &str, text: &str) -> Result<BurnWindow, InvalidSpec> {
    let length = duration(path, text)?;
    // PromQL has them, but nobody records rates by them.
    if text.contains("ms") {
        return Err(InvalidSpec::new(path, "must be in hours, minutes and seconds"));
    }
    if !length.is_positive() {
        return Err(InvalidSpec::new(path, "must not be zero"));
    }
    Ok(BurnWindow { text: text.to_owned(), length })
}
