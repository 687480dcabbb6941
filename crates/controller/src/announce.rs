//! Events. Best effort: they never fail a reconcile.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use snapback_api::conditions::cut;
use snapback_core::notice::Notice;

use crate::workload::REQUEST_TIMEOUT;

/// How many Events one recorder tells, and remembers.
pub const REMEMBERED: usize = 256;

/// Publishes notices as Events of `events.k8s.io/v1`.
pub struct Announcer {
    client: Client,
    reporter: Reporter,
    current: Mutex<Current>,
}

/// The recorder of now, and how many Events it was given.
struct Current {
    recorder: Recorder,
    told: usize,
}

impl Announcer {
    /// For the whole process: what is told again soon is counted, not told twice.
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: "snapback.dev/operator".to_owned(), instance };
        let current = Current { recorder: Recorder::new(client.clone(), reporter.clone()), told: 0 };
        Self { client, reporter, current: Mutex::new(current) }
    }

    /// Who tells the next Event. A recorder remembers all that it told for six minutes, and looks through it each time: with
    /// thousands of targets that would be most of our memory, so a new one takes over after some.
    fn recorder(&self) -> Recorder {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.told == REMEMBERED {
            *current = Current { recorder: Recorder::new(self.client.clone(), self.reporter.clone()), told: 0 };
        }
        current.told += 1;
        current.recorder.clone()
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
                match tokio::time::timeout(REQUEST_TIMEOUT, self.recorder().publish(&event, object)).await {
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
