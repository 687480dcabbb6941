//! What a person's order means, where it leaves out what a policy spells out.
//!
//! Found out once and written before anything is done by it: whoever comes after a crash, or beside us, does the same.

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Resource, ResourceExt};
use snapback_api::v1alpha1::{ResolvedStatus, Rollback, RollbackJobs, RollbackPolicy};
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::{Choice, Phase, Refusal, Remembered, choose};
use snapback_core::watch::Quarantined;

use super::{beside, commit, guard};
use crate::context::Context;
use crate::error::Error;
use crate::status::{revision_status, target_from_status};
use crate::workload::{Observed, observe};

/// Finds out what is meant and writes it. `None` when there is nothing that could be done: that is written, too.
pub(super) async fn resolve(ctx: &Context, rollback: &Rollback) -> Result<Option<Rollback>, Error> {
    let namespace = rollback.namespace().unwrap_or_default();
    let (kind, name) = (rollback.spec.target.kind.into(), &rollback.spec.target.name);
    let chosen = match observe(&ctx.client, &namespace, kind, name).await? {
        Observed::Absent => Err(Refusal::not_found(&namespace, kind, name)),
        Observed::Live(live) => {
            let uid = live.workload.uid.as_str();
            let remembered = remembered(ctx, &namespace, name, uid).await?;
            let number = rollback.spec.to.as_ref().and_then(|to| to.revision);
            choose(&live.workload, number, &remembered).map(|choice| (live, choice))
        }
    };
    match chosen {
        Ok((live, Choice { from, to, why })) => {
            let uid = live.workload.uid.as_str().to_owned();
            let migration = live.workload.said.job_before_undo().map(str::to_owned);
            let jobs = migration.map(|job| RollbackJobs { migration: Some(job), helm: None });
            let message = format!("going back from {} to {}: {why}", from.name(), to.name());
            let resolved = ResolvedStatus { uid, from: revision_status(&from), to: revision_status(&to), jobs };
            commit::resolved(ctx, rollback, resolved, &message).await.map(Some)
        }
        Err(refusal) => {
            refuse(ctx, rollback, refusal).await?;
            Ok(None)
        }
    }
}

/// What the policies of the namespace remember of the workload. One that cannot be read remembers nothing.
async fn remembered(ctx: &Context, namespace: &str, name: &str, uid: &str) -> Result<Remembered, Error> {
    let policies: Api<DeserializeGuard<RollbackPolicy>> = Api::namespaced(ctx.client.clone(), namespace);
    let policies = crate::timed("the policies", policies.list(&ListParams::default())).await?;
    let statuses = policies.items.into_iter().filter_map(|policy| policy.0.ok()?.status);
    let targets = statuses.flat_map(|status| status.targets);
    let mut all = Remembered { namespace: namespace.to_owned(), ..Remembered::default() };
    for target in targets.filter(|target| target.name == name && target.uid == uid) {
        let target = target_from_status(&target);
        all.known_good = all.known_good.or(target.known_good);
        all.quarantined.extend(target.quarantined);
    }
    all.quarantined.extend(being_undone(ctx, namespace, uid));
    Ok(all)
}

/// The revisions that records which have not ended yet have undone. Their policy quarantines them at the end, and whoever asks
/// for a rollback meanwhile wants anything but these.
fn being_undone(ctx: &Context, namespace: &str, uid: &str) -> Vec<Quarantined> {
    let records = ctx.records.state();
    let kept = beside::of_workload(&records, namespace, uid).filter(|record| record.spec.released.is_none());
    let open = kept.filter_map(|record| {
        let (order, progress) = guard::guard(record).ok()?;
        let is_over = progress.phase.is_some_and(Phase::is_terminal);
        let at = progress.undo_accepted.filter(|_| !is_over)?;
        Some(Quarantined {
            fingerprint: order.from.fingerprint,
            rollback: record.name_any(),
            called: order.from.called,
            at,
        })
    });
    open.collect()
}

async fn refuse(ctx: &Context, rollback: &Rollback, refusal: Refusal) -> Result<(), Error> {
    let Refusal { reason, message } = refusal;
    let mut ended = guard::refused(rollback, &message, ctx.now());
    ended.reason = reason;
    let told = [Notice::new(Reason::RollbackFailed, message)];
    let written = commit::status(ctx, rollback, &ended, &[]).await?;
    ctx.metrics.ended(Phase::Failed.as_str());
    let target = crate::workload_reference(
        rollback.namespace(),
        rollback.spec.target.kind.into(),
        &rollback.spec.target.name,
        "",
    );
    ctx.announcer.tell(&told, &[written.object_ref(&()), target]).await;
    Ok(())
}
