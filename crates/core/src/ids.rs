//! Names for the things that are compared, so that no two of them can be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a value read from Kubernetes or from our own status.
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id!(
    /// The UID of a workload. A deleted and re-created one of the same name is another target.
    WorkloadUid
);
string_id!(
    /// The UID of a revision's object: a ReplicaSet or a ControllerRevision. Its revision *number* is no identity: an undo
    /// renumbers it.
    ReplicaSetUid
);
string_id!(
    /// The UID of a pod.
    PodUid
);
