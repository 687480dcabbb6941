//! Beginning a hold.

use jiff::{SignedDuration, Timestamp};

use super::{Application, Deliverer, HelmReleaseLook, Kustomization, Tool, ToolKind, parent};
use super::{DRIFT_DETECTION, RECONCILE};
use crate::notice::{Notice, Reason};
use crate::rollback::{Act, Order, Phase, Progress, Step};
use crate::workload::Kind;

/// How long an undo waits for a tool that does not answer, or for a hold that has no clear answer. Longer, and a bad release
/// would stay for the sake of what may not even put it back.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// What a person is told of a hold that is not in place yet, when Argo CD is in the middle of a sync. If that fails, the next
/// try brings the bad revision back, hold or no hold.
const UNDER_WAY: &str =
    "a sync of it is under way; where one that fails is tried again, set spec.syncPolicy.retry.limit to 0";

/// How far a tool's source was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// The commit, source revision or release.
    pub revision: Option<String>,
    /// The digest of what was built from it.
    pub digest: Option<String>,
}

/// What was found of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Argo CD's.
    Application(Application),
    /// Flux's.
    Kustomization(Kustomization),
    /// Flux's.
    HelmRelease(HelmReleaseLook),
    /// There is none of that name in this cluster.
    Absent,
    /// The operator may not look, or the administrator did not switch the tool on: why.
    Forbidden(String),
    /// No answer, now: why.
    Unknown(String),
}

impl Look {
    fn mark(&self) -> Mark {
        match self {
            Self::Application(one) => one.mark(),
            Self::Kustomization(one) => one.mark(),
            Self::HelmRelease(one) => one.mark(),
            Self::Absent | Self::Forbidden(_) | Self::Unknown(_) => Mark::default(),
        }
    }
}

/// How long an undo waits for a Kustomization in the middle of its work: what it read before the label was there it writes
/// after it, and then the bad revision is back and has to be undone once more.
const AT_WORK: SignedDuration = SignedDuration::from_secs(10);

/// A hold; persisted in the `Rollback`'s status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What is held.
    pub tool: Tool,
    /// When it was about to be placed. Committed before it is.
    pub requested: Timestamp,
    /// When it was in place.
    pub placed: Option<Timestamp>,
    /// How far the source was: what is newer ends the hold.
    pub mark: Mark,
    /// When the tool was last let at the workload, to see what it brings.
    pub tried: Option<Timestamp>,
    /// Why it is to end, or why there is none.
    pub because: Option<String>,
    /// When it had ended.
    pub ended: Option<Timestamp>,
}

impl Hold {
    fn new(tool: Tool, mark: Mark, now: Timestamp) -> Self {
        Self { tool, requested: now, placed: None, mark, tried: None, because: None, ended: None }
    }

    fn none(tool: Tool, why: String, now: Timestamp) -> Self {
        Self { because: Some(why), ended: Some(now), ..Self::new(tool, Mark::default(), now) }
    }

    /// Whether it is in place, or may be.
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether it never was, and what the tool puts back nobody keeps away.
    pub fn was_refused(&self) -> bool {
        self.placed.is_none() && self.ended.is_some()
    }

    /// The label that holds, with the value [`super::DISABLED`]. `None` for an Application.
    pub fn label(&self) -> Option<&'static str> {
        match self.tool.kind {
            ToolKind::Kustomization => Some(RECONCILE),
            ToolKind::HelmRelease => Some(DRIFT_DETECTION),
            ToolKind::Application | ToolKind::PossibleApplication => None,
        }
    }
}

/// What is to be held, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: nobody would put the bad revision back by itself.
    Nothing,
    /// One label on the workload, in the undo's own patch.
    Label(Tool, Mark),
    /// The same, when the tool has done what it is doing now.
    AtWork(Tool, Mark),
    /// Self-heal of an Application, before the undo.
    Application(Tool, Mark),
    /// What would be held cannot be: why.
    Cannot(Tool, String),
    /// Nobody can tell now: why.
    Unknown(Tool, String),
}

/// What is to be held, of the first tool that delivers the workload.
pub fn plan(deliverers: &[Deliverer], look: Option<&Look>) -> Plan {
    let tool = deliverers.iter().find_map(|one| match one {
        Deliverer::Tool(tool) => Some(tool.clone()),
        Deliverer::Helm(_) | Deliverer::Controller(_) => None,
    });
    let (Some(mut tool), Some(look)) = (tool, look) else { return Plan::Nothing };
    let elsewhere = || format!("{tool} is not in this cluster, so nobody here can tell when its source moves on");
    let mark = look.mark();
    match look {
        Look::Application(one) if tool.kind == ToolKind::PossibleApplication && !one.delivers => Plan::Nothing,
        _ if tool.kind == ToolKind::PossibleApplication && !matches!(look, Look::Application(_)) => Plan::Nothing,
        Look::Absent => Plan::Cannot(tool.clone(), elsewhere()),
        Look::Forbidden(why) => Plan::Cannot(tool, why.clone()),
        Look::Unknown(why) => Plan::Unknown(tool, why.clone()),
        Look::Kustomization(one) if one.remote => Plan::Cannot(tool.clone(), elsewhere()),
        Look::HelmRelease(one) if one.remote => Plan::Cannot(tool.clone(), elsewhere()),
        Look::Kustomization(one) if !one.delivers => Plan::Cannot(tool.clone(), unlisted(&tool)),
        Look::HelmRelease(one) if !one.corrects => Plan::Nothing,
        Look::Kustomization(one) if one.applies => Plan::AtWork(tool, mark),
        Look::Kustomization(_) | Look::HelmRelease(_) => Plan::Label(tool, mark),
        Look::Application(one) if !one.heals && one.held_by.is_empty() => Plan::Nothing,
        // Whoever writes a workload can write any name on it: what it names must name it, too.
        Look::Application(one) if !one.delivers => Plan::Cannot(tool.clone(), unlisted(&tool)),
        Look::Application(one) => {
            tool.kind = ToolKind::Application;
            match &one.parent {
                Some(parent) => {
                    let why = format!(
                        "{tool} is itself kept by {parent}, which would switch its self-heal on again at once{}",
                        parent::how_to_leave_alone(parent)
                    );
                    Plan::Cannot(tool, why)
                }
                None => Plan::Application(tool, mark),
            }
        }
    }
}

/// A step that would undo, with the hold that goes before or with it.
pub fn begin(order: &Order, progress: &Progress, mut next: Step, plan: &Plan, now: Timestamp) -> Step {
    if next.act != Act::Undo {
        return next;
    }
    let wait = |next: Step, hold: Option<Hold>, act: Act, message: String| Step {
        // Nothing of the undo is noted before its turn has come.
        progress: Progress {
            phase: Some(Phase::Running),
            approved: next.progress.approved,
            migration: next.progress.migration.clone(),
            hold,
            ..progress.clone()
        },
        reason: "Holding",
        message,
        act,
        notices: Vec::new(),
        residue: None,
        next_look: Some(SignedDuration::from_secs(1)),
        ..next
    };
    let waited = || now.duration_since(progress.approved.unwrap_or(order.decided));
    match (progress.hold.clone(), plan) {
        // An earlier look began it.
        (Some(hold), _) if hold.is_open() && hold.placed.is_none() && hold.label().is_none() => {
            let message = holding(&hold.tool, &order.from.name());
            if now.duration_since(hold.requested) > PATIENCE {
                // It may be in place all the same: that is seen later, and then it is to be ended.
                let why = hold.because.clone().unwrap_or_else(|| UNDER_WAY.to_owned());
                next.notices.push(refused(&hold.tool, &why));
                next.progress.hold = Some(hold);
                return next;
            }
            wait(next, Some(hold), Act::Hold, message)
        }
        (Some(hold), _) => {
            next.progress.hold = Some(hold);
            next
        }
        (None, Plan::Nothing) => next,
        (None, Plan::AtWork(tool, _)) if waited() <= AT_WORK => {
            wait(next, None, Act::Nothing, format!("{tool} is at work, and would bring {} back", order.from.name()))
        }
        (None, Plan::Label(tool, mark) | Plan::AtWork(tool, mark)) => {
            next.progress.hold = Some(Hold::new(tool.clone(), mark.clone(), now));
            next
        }
        (None, Plan::Application(tool, mark)) => {
            let message = holding(tool, &order.from.name());
            wait(next, Some(Hold::new(tool.clone(), mark.clone(), now)), Act::Hold, message)
        }
        (None, Plan::Cannot(tool, why)) => without(next, tool.clone(), why.clone(), now),
        (None, Plan::Unknown(tool, why)) => {
            if waited() > PATIENCE {
                return without(next, tool.clone(), format!("{tool} cannot be read: {why}"), now);
            }
            let message =
                format!("{tool}, which delivers the workload, is to be held first, and cannot be read yet: {why}");
            wait(next, None, Act::Nothing, message)
        }
    }
}

fn unlisted(tool: &Tool) -> String {
    format!("{tool} does not say that it delivers this workload")
}

fn holding(tool: &Tool, bad: &str) -> String {
    format!("{tool} is being held, so that it does not bring {bad} back")
}

fn refused(tool: &Tool, why: &str) -> Notice {
    Notice::new(Reason::HoldRefused, format!("{tool} may put the bad revision back: it is not held ({why})"))
}

/// A hold that cannot be is no reason to leave a bad release where it is.
fn without(mut next: Step, tool: Tool, why: String, now: Timestamp) -> Step {
    next.notices.push(refused(&tool, &why));
    next.progress.hold = Some(Hold::none(tool, why, now));
    next
}

impl Hold {
    /// In place now.
    #[must_use]
    pub fn placed(mut self, now: Timestamp) -> Self {
        self.placed.get_or_insert(now);
        self.because = None;
        self
    }

    /// Not let in, for good reason.
    #[must_use]
    pub fn refused(self, why: String, now: Timestamp) -> Self {
        Self { because: Some(why), ended: Some(now), ..self }
    }

    /// Nobody knows whether it is in place: tried again, for a while.
    #[must_use]
    pub fn unanswered(self, why: String) -> Self {
        Self { because: Some(why), ..self }
    }

    /// How a person ends it, on this workload: kind, namespace and name. `argocd` is Argo CD's own namespace.
    pub fn ended_by_hand(&self, (kind, namespace, name): (Kind, &str, &str), argocd: &str) -> String {
        if let Some(label) = self.label() {
            let kind = kind.as_str().to_lowercase();
            return format!("kubectl -n {namespace} label {kind} {name} {label}-");
        }
        format!(
            "kubectl -n {} patch applications.argoproj.io {} --type=merge -p '{{\"metadata\":{{\"annotations\":{{\"{}\":null}}}},\
             \"spec\":{{\"syncPolicy\":{{\"automated\":{{\"selfHeal\":true}}}}}}}}'",
            self.tool.namespace.as_deref().unwrap_or(argocd),
            self.tool.name,
            super::HELD_BY
        )
    }

    /// What people are told while it lasts.
    pub fn told(&self) -> String {
        let Self { tool, mark, .. } = self;
        let until = match (&mark.revision, tool.kind) {
            (Some(revision), _) => format!("until it has something newer than {}", short(revision)),
            (None, _) => "until its source has moved on".to_owned(),
        };
        match tool.kind {
            ToolKind::Application | ToolKind::PossibleApplication => format!("{tool} does not heal by itself {until}"),
            ToolKind::Kustomization => format!("{tool} leaves this workload alone {until}"),
            ToolKind::HelmRelease => format!("{tool} does not correct drift of this workload {until}"),
        }
    }
}

/// `main@sha1:0123456789...` as people say it.
pub(super) fn short(revision: &str) -> String {
    let (before, hash) = revision.rsplit_once(':').map_or(("", revision), |(before, hash)| (before, hash));
    let is_hash = hash.len() >= 20 && hash.chars().all(|letter| letter.is_ascii_hexdigit());
    match (is_hash, before.is_empty()) {
        (true, true) => hash.chars().take(10).collect(),
        (true, false) => format!("{before}:{}", hash.chars().take(10).collect::<String>()),
        (false, _) => revision.chars().take(80).collect(),
    }
}
