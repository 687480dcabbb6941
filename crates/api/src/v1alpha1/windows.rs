//! When a policy may act alone.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time in which Snapback may, or may not, roll back by itself: from each time of the schedule for the duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowSpec {
    /// What people call it; the question to a person names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// What it means that it is open. Deny: a person is asked, whatever else is open. Allow: with at least one of this
    /// kind, a person is asked while none of them is open.
    pub kind: WindowKindName,
    /// When it opens, as cron writes it: minute, hour, day of the month, month, day of the week, such as
    /// "0 9 * * 1-5".
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = ("self.matches('^ *[0-9A-Za-z*,/#+-]+( +[0-9A-Za-z*,/#+-]+){4} *$')", "must be a cron schedule of five fields such as \"0 9 * * 1-5\""))]
    pub schedule: String,
    /// How long it stays open, such as "8h"; at most 744h, which are 31 days.
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    #[x_kube(validation = ("!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('1m') && duration(self) <= duration('744h'))", "must be at least 1m and at most 744h (31 days)"))]
    pub duration: String,
    /// The zone whose clock the schedule means, by its IANA name, such as "Europe/Berlin". Default: Etc/UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')", "must be a time zone of the IANA database such as Europe/Berlin"))]
    pub time_zone: Option<String>,
}

/// What it means that a window is open. Deny: a person is asked, whatever else is open. Allow: with at least one of
/// this kind, a person is asked while none of them is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowKindName {
    /// Rolls back by itself in it.
    Allow,
    /// A person is asked in it.
    Deny,
}
