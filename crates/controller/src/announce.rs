//! Events. Best effort: they never fail a reconcile.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use snapback_api::conditions::cut;
use snapback_core::notice::Notice;

use crate::workload::REQUEST_TIMEOUT;

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
    ///
    /// Where nobody answers, the rest is left out: what is to be done next must not wait for it.
    pub async fn tell(&self, notices: &[Notice], objects: &[ObjectReference]) {
        for notice in notices {
            tracing::info!(reason = notice.reason.as_str(), warning = notice.reason.is_warning(), "{}", notice.message);
        }
        for notice in notices {
            for (index, object) in objects.iter().enumerate() {
                let related = objects.get(usize::from(index == 0)).filter(|_| objects.len() > 1);
                let event = event(notice, related.cloned());
                match tokio::time::timeout(REQUEST_TIMEOUT, self.recorder.publish(&event, object)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(error = %error, "an event could not be published"),
                    Err(_) => return tracing::warn!("no answer to an event within {REQUEST_TIMEOUT:?}"),
                }
            }
        }
    }
}

fn event(notice: &Notice, secondary: Option<ObjectReference>) -> Event {
    Event {
        type_: if notice.reason.is_warning() { EventType::Warning } else { EventType::Normal },
        reason: notice.reason.as_str().to_owned(),
        note: Some(cut(&notice.message, 1000)),
        action: "Judge".to_owned(),
        secondary,
    }
}
