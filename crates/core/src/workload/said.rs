//! What a workload's authors tell us by annotations.

use crate::policy::Mode;

/// On the Deployment: the mode for this workload, whatever its policy says. For emergencies.
pub const MODE: &str = "snapback.dev/mode";

/// On the pod template: what the release did to data.
pub const MIGRATION: &str = "snapback.dev/migration";

/// What is said. A word that nobody knows is kept as it is: it is said for a reason, so a person is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// [`MODE`].
    pub mode: Option<Result<Mode, String>>,
    /// [`MIGRATION`].
    pub migration: Option<Result<Migration, String>>,
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
        }
    }
}
