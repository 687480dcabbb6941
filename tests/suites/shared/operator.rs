//! The operator inside a suite's own process, under the rights that its chart gives it.

use std::sync::Arc;

use anyhow::Result;
use kube::Client;
use snapback_controller::config::OperatorConfig;
use snapback_controller::run::{Options, run};
use snapback_core::rollback::no_address_of_a_pod;
use tokio::sync::oneshot;

/// Whose rights the chart makes.
pub(crate) const OPERATOR: &str = "system:serviceaccount:snapback-system:snapback";

/// A running operator.
pub(crate) struct Operator {
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Operator {
    /// With this client and this configuration file.
    pub(crate) fn start(client: Client, config: &str) -> Result<Self> {
        let options = Options {
            config: OperatorConfig::parse(config).map_err(anyhow::Error::msg)?,
            listen: ([127, 0, 0, 1], 0).into(),
            instance: None,
            clock: Arc::new(jiff::Timestamp::now),
            lease: None,
            refuses: no_address_of_a_pod,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async move { _ = stopped.await };
            run(client, options, stopped).await.expect("the operator runs");
        });
        Ok(Self { stop: Some(stop), task })
    }

    /// Whether it has ended, by itself or because it was asked to.
    #[allow(dead_code, reason = "one suite asks")]
    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks it to stop; whether it has.
    pub(crate) fn stop(&mut self) -> bool {
        _ = self.stop.take().map(|stop| stop.send(()));
        self.task.is_finished()
    }
}
