//! The operator's configuration file.

use std::sync::Once;

use serde_yaml_ng::Value;
use snapback_controller::config::OperatorConfig;
use snapback_prometheus::{Source, SourceConfig};

static PROVIDER: Once = Once::new();

/// The longest file that is looked at: a longer one shows nothing new.
const LONGEST: usize = 8192;

pub(crate) fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > LONGEST {
        return;
    }
    let Ok(config) = OperatorConfig::parse(text) else { return };
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    for (index, name) in names.iter().enumerate() {
        assert!(!names[index + 1..].contains(name), "two sources {name:?}");
    }
    assert!(config.default_source.as_deref().is_none_or(|name| names.contains(&name)), "no such source");
    assert!(config.watch_namespaces.len() <= 1);
    let (limits, history) = (config.limits.limits().unwrap(), config.history().unwrap());
    assert!(history.per_target > 0 && history.min_age == limits.window);
    assert!(!limits.window.is_negative() && !limits.brake_window.is_negative() && !history.max_age.is_negative());
    no_key_is_passed_over(text);
    config.sources.iter().for_each(a_source);
}

/// A key that nobody knows is refused, wherever it stands: it is a misspelt one.
fn no_key_is_passed_over(text: &str) {
    let Ok(file) = serde_yaml_ng::from_str::<Value>(text) else { return };
    for place in [&[][..], &["limits"], &["limits", "fleetBrake"], &["history"], &["features"]] {
        let mut changed = file.clone();
        let found = place.iter().try_fold(&mut changed, |value, key| value.get_mut(*key));
        if let Some(Value::Mapping(map)) = found {
            map.insert("unheardOf".into(), true.into());
            let text = serde_yaml_ng::to_string(&changed).unwrap();
            assert!(OperatorConfig::parse(&text).is_err(), "passed over: {text}");
        }
    }
}

fn a_source(config: &SourceConfig) {
    let written = serde_json::to_value(config).unwrap();
    assert_eq!(serde_json::from_value::<SourceConfig>(written).unwrap(), *config);
    // Files are read when a source is made: none of this machine's.
    let reads_files = config.auth.is_some() || config.headers.values().any(|header| header.value_file.is_some());
    if reads_files || !config.url.starts_with("http://") {
        return;
    }
    PROVIDER.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
    match Source::new(config) {
        Ok(source) => {
            assert_eq!(source.name(), config.name);
            assert!(!config.name.is_empty() && config.max_response_bytes > 0 && config.max_concurrent_queries > 0);
        }
        Err(error) => {
            let said = error.to_string();
            assert!(config.name.is_empty() || said.contains(&format!("{:?}", config.name)), "of which source? {said}");
        }
    }
}
