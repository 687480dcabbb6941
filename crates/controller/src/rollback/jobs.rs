//! The Jobs around an undo: looking at them, creating them, and following one that outlasts its record.

use kube::ResourceExt;
use kube::runtime::controller::Action;
use snapback_api::v1alpha1::Rollback;
use snapback_core::jobs::{JobLook, NewJob, Purpose};
use snapback_core::ownership::residue;
use snapback_core::rollback::{Act, JobLooks, JobRun, Order, Progress, Step, after_the_end, job_created, job_refused};
use snapback_core::workload::{HelmRelease, Workload};

use super::{commit, guard};
use crate::context::Context;
use crate::error::Error;
use crate::workload::{Started, look_at_job, start};

/// How often a Job is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_secs(5);

/// How those that are under way fare. None is asked for otherwise.
pub(super) async fn look(ctx: &Context, rollback: &Rollback, progress: &Progress) -> JobLooks {
    let before_undo = progress.migration.as_ref().filter(|_| progress.undo_requested.is_none());
    JobLooks {
        migration: look_at(ctx, rollback, before_undo).await,
        helm: look_at(ctx, rollback, progress.helm.as_ref()).await,
    }
}

async fn look_at(ctx: &Context, rollback: &Rollback, run: Option<&JobRun>) -> Option<JobLook> {
    let run = run.filter(|run| run.is_open())?;
    let namespace = rollback.namespace().unwrap_or_default();
    look_at_job(&ctx.client, &namespace, &run.job, &rollback.uid().unwrap_or_default()).await
}

/// Creates the Job that a step asks for. Gives the state after it.
pub(super) async fn run(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    workload: Option<&Workload>,
    purpose: Purpose,
    mut next: Step,
) -> Step {
    let place = match purpose {
        Purpose::Migration => &mut next.progress.migration,
        Purpose::Helm => &mut next.progress.helm,
    };
    if let Some(run) = place.take() {
        let release = workload.and_then(|workload| workload.helm_release.as_ref());
        *place = Some(create(ctx, rollback, order, release, purpose, run).await);
    }
    next.act = Act::Nothing;
    next
}

async fn create(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    release: Option<&HelmRelease>,
    purpose: Purpose,
    run: JobRun,
) -> JobRun {
    let planned = match purpose {
        Purpose::Migration => order.jobs.migration.as_ref(),
        Purpose::Helm => order.jobs.helm.as_ref(),
    };
    let Some(planned) = planned else { return run };
    let namespace = rollback.namespace().unwrap_or_default();
    let waited = ctx.now().duration_since(run.requested);
    let new = NewJob {
        name: run.job.clone(),
        namespace: namespace.clone(),
        owner: Some((rollback.name_any(), rollback.uid().unwrap_or_default())),
        env: env(rollback, order, release.filter(|_| purpose == Purpose::Helm)),
        // Kubernetes stops it when nobody waits for it any longer.
        seconds: (order.deadline - waited).as_secs(),
    };
    match start(&ctx.client, &planned.template, &new, false).await {
        Started::Created => job_created(run, ctx.now()),
        // Ours of before a crash, or somebody else's: the next look tells.
        Started::Exists => run,
        Started::Refused(why) => job_refused(run, &why),
        Started::Unknown(why) => {
            tracing::warn!(namespace, job = run.job, "the Job could not be created yet: {why}");
            run
        }
    }
}

/// What a Job is told.
fn env(rollback: &Rollback, order: &Order, release: Option<&HelmRelease>) -> Vec<(String, String)> {
    let namespace = rollback.namespace().unwrap_or_default();
    let mut env = vec![
        ("SNAPBACK_TARGET", rollback.spec.target.name.clone()),
        ("SNAPBACK_NAMESPACE", release.map_or(namespace, |release| release.namespace.clone())),
        ("SNAPBACK_IMAGES", order.to.images.join(" ")),
        ("SNAPBACK_BAD_IMAGES", order.from.images.join(" ")),
    ];
    env.extend(release.map(|release| ("SNAPBACK_RELEASE", release.name.clone())));
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whether a record that has ended has a Job whose end is not noted.
pub(super) fn outlasts(rollback: &Rollback) -> bool {
    let helm = rollback.status.as_ref().and_then(|status| status.helm.as_ref());
    helm.is_some_and(|helm| helm.ended_at.is_none())
}

/// Follows Helm's Job of a record that has ended. Nothing else of the record changes.
pub(super) async fn follow(ctx: &Context, rollback: &Rollback) -> Result<Action, Error> {
    let Ok((order, progress)) = guard::guard(rollback) else { return Ok(Action::await_change()) };
    let Some(run) = progress.helm.clone() else { return Ok(Action::await_change()) };
    let live = super::look(ctx, rollback).await?;
    let workload = live.as_ref().map(|live| &live.workload);
    let looked = look_at(ctx, rollback, Some(&run)).await;
    let (mut run, is_due) = after_the_end(&order, run, workload, looked.as_ref(), ctx.now());
    let release = workload.and_then(|workload| workload.helm_release.as_ref());
    if is_due {
        // That it is wanted was committed with the end.
        run = create(ctx, rollback, &order, release, Purpose::Helm, run).await;
    }
    let told = residue(&progress.owners, release);
    let is_open = run.is_open();
    commit::helm(ctx, rollback, &run, told.as_deref()).await?;
    Ok(if is_open { Action::requeue(LOOK) } else { Action::await_change() })
}
