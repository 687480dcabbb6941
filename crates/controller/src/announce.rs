//! Events. Best effort: they never fail a reconcile.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use snapback_api::conditions::cut;
use snapback_core::notice::Notice;

/// Publishes notices as Events of `events.k8s.io/v1`.
pub struct Announcer {
    recorder: Recorder,
}

impl Announcer {
    /// One recorder for the whole process: it merges repeats.
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: "snapback.dev/operator".to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells every notice on every object, on our own objects first.
    pub async fn tell(&self, notices: &[Notice], objects: &[ObjectReference]) {
        for notice in notices {
            let warning = notice.reason.is_warning();
            tracing::info!(reason = notice.reason.as_str(), warning, "{}", notice.message);
            for (index, object) in objects.iter().enumerate() {
                let event = Event {
                    type_: if warning { EventType::Warning } else { EventType::Normal },
                    reason: notice.reason.as_str().to_owned(),
                    note: Some(cut(&notice.message, 1000)),
                    action: "Judge".to_owned(),
                    secondary: objects.get(usize::from(index == 0)).filter(|_| objects.len() > 1).cloned(),
                };
                if let Err(error) = self.recorder.publish(&event, object).await {
                    tracing::debug!(error = %error, "an event could not be published");
                }
            }
        }
    }
}
