//! What became of the good revision's configuration.

use snapback_api::v1alpha1::RestorationStatus;
use snapback_core::configuration::Restoration;

/// As stored. Where nothing has changed, nothing is.
pub(crate) fn restoration_status(config: &Restoration) -> Option<RestorationStatus> {
    let Restoration { restored, drifted, unread } = config.clone();
    (*config != Restoration::default()).then_some(RestorationStatus { restored, drifted, unread })
}

/// As read back.
pub(crate) fn restoration(status: &RestorationStatus) -> Restoration {
    let RestorationStatus { restored, drifted, unread } = status.clone();
    Restoration { restored, drifted, unread }
}
