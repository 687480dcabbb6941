//! The operator's own configuration: one file, from the administrator.

use std::path::Path;

use serde::Deserialize;
use snapback_core::duration;
use snapback_core::history::History;
use snapback_core::permission::Limits;
use snapback_prometheus::SourceConfig;
use thiserror::Error;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorConfig {
    /// `config.snapback.dev/v1alpha1`.
    pub api_version: String,
    /// `OperatorConfig`.
    pub kind: String,
    /// The metrics sources that policies may name.
    #[serde(default)]
    pub sources: Vec<SourceConfig>,
    /// The source of policies that name none. Default: the only one, if there is one.
    #[serde(default)]
    pub default_source: Option<String>,
    /// How often we may act alone.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// How long records are kept.
    #[serde(default)]
    pub history: HistoryConfig,
    /// Namespaces that are watched; empty means all.
    #[serde(default)]
    pub watch_namespaces: Vec<String>,
    /// The GitOps tools that may be held.
    #[serde(default)]
    pub gitops: GitOpsConfig,
    /// What is off unless the administrator turns it on.
    #[serde(default)]
    pub features: FeaturesConfig,
}

/// The GitOps tools that may be held. Each needs further rights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitOpsConfig {
    /// Argo CD.
    #[serde(default)]
    pub argocd: ArgoConfig,
    /// Flux.
    #[serde(default)]
    pub flux: FluxConfig,
}

/// Argo CD.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgoConfig {
    /// Whether its Applications may be held.
    #[serde(default)]
    pub enabled: bool,
    /// Where it runs: the namespace of Applications whose tracking id names none.
    #[serde(default = "argocd_namespace")]
    pub namespace: String,
}

fn argocd_namespace() -> String {
    "argocd".to_owned()
}

impl Default for ArgoConfig {
    fn default() -> Self {
        Self { enabled: false, namespace: argocd_namespace() }
    }
}

/// Flux.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FluxConfig {
    /// Whether workloads of its Kustomizations and HelmReleases may be held.
    #[serde(default)]
    pub enabled: bool,
}

/// What is off unless the administrator turns it on, since it needs further rights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FeaturesConfig {
    /// Whether `rollback.config` of policies is about Secrets, too: they are then read, and with `Restore` copied.
    #[serde(default)]
    pub secrets_in_config_restore: bool,
}

/// How often we may act alone; beyond that a person is asked. What is absent has the default of [`Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsConfig {
    /// Automatic rollbacks of one target within `window`.
    #[serde(default)]
    pub per_target: Option<u32>,
    /// Automatic rollbacks in one namespace within `window`.
    #[serde(default)]
    pub per_namespace: Option<u32>,
    /// Automatic rollbacks in the cluster within `window`.
    #[serde(default)]
    pub per_cluster: Option<u32>,
    /// Times within `window` that a revision is undone again at once when it comes back.
    #[serde(default)]
    pub returns: Option<u32>,
    /// The time in which they are counted, such as `1h`.
    #[serde(default)]
    pub window: Option<String>,
    /// When many targets are bad at once.
    #[serde(default)]
    pub fleet_brake: FleetBrakeConfig,
}

/// With more bad targets than `targets` within `window`, nothing is undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetBrakeConfig {
    /// Targets that may be bad at once.
    #[serde(default)]
    pub targets: Option<u32>,
    /// The time in which they count as bad together, such as `5m`.
    #[serde(default)]
    pub window: Option<String>,
}

/// How long records are kept. What is absent has the default of [`History`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistoryConfig {
    /// Records of one target, at least 1.
    #[serde(default)]
    pub per_target: Option<u32>,
    /// The age at which a record goes in any case, such as `2160h`.
    #[serde(default)]
    pub max_age: Option<String>,
}

impl OperatorConfig {
    /// How long records are kept, with the defaults filled in.
    ///
    /// # Errors
    /// A value that cannot be meant; the text names its key.
    pub fn history(&self) -> Result<History, String> {
        let default = History::default();
        let min_age = self.limits.limits()?.window;
        let per_target = self.history.per_target.unwrap_or(default.per_target);
        let max_age = match &self.history.max_age {
            Some(text) => duration::parse(text).map_err(|error| format!("history.maxAge: {error}"))?,
            None => default.max_age,
        };
        if per_target == 0 {
            return Err("history.perTarget: must be at least 1".to_owned());
        }
        Ok(History { per_target, max_age, min_age })
    }
}

impl LimitsConfig {
    /// With the defaults filled in.
    ///
    /// # Errors
    /// A duration that cannot be read; the text names its key.
    pub fn limits(&self) -> Result<Limits, String> {
        let default = Limits::default();
        let read = |key: &str, text: Option<&String>, default| match text {
            Some(text) => duration::parse(text).map_err(|error| format!("limits.{key}: {error}")),
            None => Ok(default),
        };
        Ok(Limits {
            per_target: self.per_target.unwrap_or(default.per_target),
            per_namespace: self.per_namespace.unwrap_or(default.per_namespace),
            per_cluster: self.per_cluster.unwrap_or(default.per_cluster),
            returns: self.returns.unwrap_or(default.returns),
            window: read("window", self.window.as_ref(), default.window)?,
            brake_targets: self.fleet_brake.targets.unwrap_or(default.brake_targets),
            brake_window: read("fleetBrake.window", self.fleet_brake.window.as_ref(), default.brake_window)?,
        })
    }
}

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the text names line and key.
    #[error("the configuration file {path} is not valid: {problem}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            sources: Vec::new(),
            default_source: None,
            limits: LimitsConfig::default(),
            history: HistoryConfig::default(),
            watch_namespaces: Vec::new(),
            gitops: GitOpsConfig::default(),
            features: FeaturesConfig::default(),
        }
    }
}

const API_VERSION: &str = "config.snapback.dev/v1alpha1";
const KIND: &str = "OperatorConfig";

impl OperatorConfig {
    /// Reads the file. Unknown keys are refused.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        Self::parse(&text).map_err(|problem| ConfigError::Invalid { path: shown, problem })
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        if config.api_version != API_VERSION || config.kind != KIND {
            return Err(format!("must have apiVersion: {API_VERSION} and kind: {KIND}"));
        }
        let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            if names.iter().skip(index + 1).any(|other| other == name) {
                return Err(format!("sources: the name {name:?} is used twice"));
            }
        }
        if let Some(wanted) = &config.default_source
            && !names.contains(&wanted.as_str())
        {
            return Err(format!("defaultSource: there is no source {wanted:?}; there are: {}", names.join(", ")));
        }
        config.limits.limits()?;
        config.history()?;
        if config.watch_namespaces.len() > 1 {
            return Err(
                "watchNamespaces: more than one namespace is not supported yet; leave it empty to watch all".to_owned()
            );
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::OperatorConfig;

    const HEAD: &str = "apiVersion: config.snapback.dev/v1alpha1\nkind: OperatorConfig\n";

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = OperatorConfig::parse(&format!("{HEAD}sorces: []\n")).unwrap_err();
        assert!(error.contains("sorces"), "{error}");
        let nested = format!("{HEAD}sources:\n- name: a\n  url: http://a\n  tiemout: 5s\n");
        assert!(OperatorConfig::parse(&nested).unwrap_err().contains("tiemout"));
    }

    #[test]
    fn a_default_source_must_exist_and_names_must_be_unique() {
        let text = format!("{HEAD}sources:\n- name: a\n  url: http://a\ndefaultSource: b\n");
        assert!(OperatorConfig::parse(&text).unwrap_err().contains("there are: a"));
        let text = format!("{HEAD}sources:\n- name: a\n  url: http://a\n- name: a\n  url: http://b\n");
        assert!(OperatorConfig::parse(&text).unwrap_err().contains("twice"));
    }

    #[test]
    fn limits_have_defaults_and_their_durations_are_read_at_start() {
        let limits = OperatorConfig::parse(HEAD).unwrap().limits.limits().unwrap();
        assert_eq!((limits.per_target, limits.brake_targets), (3, 5));
        let text = format!("{HEAD}limits: {{perCluster: 7, fleetBrake: {{window: 90s}}}}\n");
        let limits = OperatorConfig::parse(&text).unwrap().limits.limits().unwrap();
        assert_eq!((limits.per_cluster, limits.brake_window.as_secs()), (7, 90));
        let error = OperatorConfig::parse(&format!("{HEAD}limits: {{window: soon}}\n")).unwrap_err();
        assert!(error.starts_with("limits.window:"), "{error}");
    }

    #[test]
    fn records_are_kept_by_number_and_age() {
        let history = OperatorConfig::parse(HEAD).unwrap().history().unwrap();
        assert_eq!((history.per_target, history.max_age.as_hours(), history.min_age.as_mins()), (20, 2160, 60));
        for (text, key) in [("{perTarget: 0}", "history.perTarget"), ("{maxAge: 90d}", "history.maxAge")] {
            let error = OperatorConfig::parse(&format!("{HEAD}history: {text}\n")).unwrap_err();
            assert!(error.starts_with(key), "{error}");
        }
    }

    #[test]
    fn secrets_are_left_alone_unless_the_feature_is_on() {
        let on =
            |text: &str| OperatorConfig::parse(&format!("{HEAD}{text}")).unwrap().features.secrets_in_config_restore;
        assert!(!on("") && !on("features: {}\n") && on("features: {secretsInConfigRestore: true}\n"));
        let error = OperatorConfig::parse(&format!("{HEAD}features: {{secretsInRestore: true}}\n")).unwrap_err();
        assert!(error.starts_with("features: unknown field `secretsInRestore`"), "{error}");
        let error = OperatorConfig::parse(&format!("{HEAD}features: {{secretsInConfigRestore: 1}}\n")).unwrap_err();
        assert!(error.starts_with("features.secretsInConfigRestore: "), "{error}");
    }

    #[test]
    fn another_kind_of_file_is_refused() {
        assert!(
            OperatorConfig::parse("apiVersion: v1\nkind: ConfigMap\n").unwrap_err().contains("must have apiVersion")
        );
    }
}
