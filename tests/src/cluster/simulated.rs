//! One node without a machine: KWOK says what a kubelet would say. Pods come up at once; nothing runs in them.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::control_plane::ControlPlane;
use super::until;
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::tools;

const NAME: &str = "simulated";

pub(super) struct Simulated {
    // In the order in which they are stopped.
    _kwok: Process,
    _scheduler: Process,
}

impl Simulated {
    pub(super) async fn start(run: &RunDir, plane: &ControlPlane, client: &Client) -> Result<Self> {
        let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig.display());
        let scheduler = super::scheduler(run, plane)?;
        let mut kwok = Process::start(
            run,
            "kwok",
            Command::new(tools::path("kwok")?)
                .arg(&kubeconfig)
                .arg(format!("--config={}", tools::repository().join("tests/testbed/kwok.yaml").display()))
                .args(["--manage-all-nodes", "--node-lease-duration-seconds=40"]),
        )?;
        let nodes: Api<NodeObject> = Api::all(client.clone());
        let node: NodeObject = serde_json::from_value(json!({
            "metadata": {"name": NAME, "labels": {"type": "kwok"}},
            "status": {
                "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "1000"},
                "capacity": {"cpu": "64", "memory": "256Gi", "pods": "1000"}
            }
        }))?;
        nodes.create(&PostParams::default(), &node).await?;
        until("the simulated node ready", Duration::from_mins(1), || {
            let (ended, nodes) = (kwok.check(), nodes.clone());
            async move {
                ended?;
                Ok(super::is_ready(nodes.get_opt(NAME).await?).then_some(()))
            }
        })
        .await?;
        Ok(Self { _kwok: kwok, _scheduler: scheduler })
    }
}
