//! What a workload's authors tell us by annotations.

use crate::jobs::is_name;
use crate::policy::Mode;

/// On the Deployment: the mode for this workload, whatever its policy says. For emergencies.
pub const MODE: &str = "snapback.dev/mode";

/// On the pod template: what the release did to data.
pub const MIGRATION: &str = "snapback.dev/migration";

/// On the pod template, beside [`MIGRATION`]: the CronJob or Job in the namespace that takes the change back.
pub const MIGRATION_JOB: &str = "snapback.dev/migration-job";

/// On the Deployment, by us: its pause is ours. It says the fingerprint of the revision whose rollout we froze.
pub const FROZEN: &str = "snapback.dev/frozen";

/// What is said. A word that nobody knows is kept as it is: it is said for a reason, so a person is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// [`MODE`].
    pub mode: Option<Result<Mode, String>>,
    /// [`MIGRATION`].
    pub migration: Option<Result<Migration, String>>,
    /// [`MIGRATION_JOB`].
    pub migration_job: Option<Result<String, String>>,
}

/// What a release did to data that older revisions read as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Nothing.
    None,
    /// Something that can be taken back before the older revision runs again.
    Reversible,
    /// Something that the older revision cannot live with: forward is the only way.
    Irreversible,
}

impl Said {
    /// Reads the two annotations.
    pub fn read(mode: Option<&str>, migration: Option<&str>) -> Self {
        let unknown = |text: &str| text.chars().take(32).collect::<String>();
        Self {
            mode: mode.map(|text| match text {
                "Automatic" => Ok(Mode::Automatic),
                "Approve" => Ok(Mode::Approve),
                "Observe" => Ok(Mode::Observe),
                other => Err(unknown(other)),
            }),
            migration: migration.map(|text| match text {
                "None" => Ok(Migration::None),
                "Reversible" => Ok(Migration::Reversible),
                "Irreversible" => Ok(Migration::Irreversible),
                other => Err(unknown(other)),
            }),
            migration_job: None,
        }
    }

    /// Reads the name of the Job as well.
    #[must_use]
    pub fn with_migration_job(mut self, job: Option<&str>) -> Self {
        let cut = |text: &str| text.chars().take(32).collect::<String>();
        self.migration_job = job.map(|name| if is_name(name) { Ok(name.to_owned()) } else { Err(cut(name)) });
        self
    }

    /// The template of the Job that has to succeed before the release is undone.
    pub fn job_before_undo(&self) -> Option<&str> {
        let job = self.migration_job.as_ref()?.as_deref().ok()?;
        (self.migration == Some(Ok(Migration::Reversible))).then_some(job)
    }
}
