//! Keeping a hold, and ending it.
//!
//! A workload that a Kustomization is kept from does not get the next commit either. Whether that brings something else than
//! the bad revision only the tool can say, by applying it: so it is let at the workload, which is paused meanwhile. Whatever
//! it brings, no pod starts before it is known to be something new.
//!
//! ```text
//!                         ┌── the bad revision: undone again, the label put back, unpaused; no pod noticed
//!  held ──moved on──▶ trial ── something new: unpaused, it rolls out
//!                         └── nothing new: the source says what is live, or was slow
//! ```
//! StatefulSets and DaemonSets cannot be paused: there a trial is open, and a bad revision is undone again at once.

use jiff::{SignedDuration, Timestamp};

use super::hold::short;
use super::{Application, Hold, Look, ToolKind};
use crate::fingerprint::Fingerprint;
use crate::notice::{Notice, Reason};

/// How often a tool that is held is looked at.
const LOOK: SignedDuration = SignedDuration::from_secs(5);
/// How often during a trial.
const WATCH: SignedDuration = SignedDuration::from_secs(1);
/// How long a trial waits for the tool.
const TRIAL_ENDS: SignedDuration = SignedDuration::from_mins(2);
/// When one to which nobody came is begun again.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// A trial that is under way, as the live workload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// The workload is paused, by us.
    Paused,
    /// It could not be paused, or somebody else had done it.
    Open,
}

impl Trial {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Open => "open",
        }
    }

    /// What the label says. What nobody wrote says least.
    pub fn read(value: &str) -> Self {
        if value == Self::Paused.as_str() { Self::Paused } else { Self::Open }
    }
}

/// What else counts.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene<'a> {
    /// The revisions that were undone, by this record and by others: none of them may come in by a trial.
    pub bad: &'a [Fingerprint],
    /// The one that was put back.
    pub good: &'a Fingerprint,
    /// The live one; `None` when the workload is gone.
    pub live: Option<&'a Fingerprint>,
    /// The trial on the live workload.
    pub trial: Option<Trial>,
    /// Whether the live workload carries the hold's label.
    pub is_labelled: bool,
    /// This record, as the annotation of an Application names it.
    pub record: &'a str,
    /// Why nobody wants the hold any more, apart from what the source says.
    pub unwanted: Option<String>,
    /// Whether the good revision is rolled out, or the record over: no trial before.
    pub is_back: bool,
    /// Whether the record is over.
    pub is_over: bool,
    /// Whether it is being deleted: it cannot go before its hold.
    pub is_deleted: bool,
    /// Whether it is on this hold to let the tool at the workload: of several that share one label only one does ([`leads`]).
    pub leads: bool,
}

impl Scene<'_> {
    /// Whether what is live was undone before.
    fn is_bad(&self) -> bool {
        self.live.is_some_and(|live| self.bad.contains(live))
    }
}

/// What decides which of several holds of one workload leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// When it last let the tool at the workload.
    pub tried: Option<Timestamp>,
    /// When its record was decided.
    pub decided: Timestamp,
    /// Its record.
    pub record: String,
}

/// Whether it is this hold's turn: the newest record knows the revision to go back to, and who began a trial ends it.
pub fn leads(own: &Claim, others: &[Claim], trial: Option<Trial>) -> bool {
    let rank = |one: &Claim| (one.tried.filter(|_| trial.is_some()), one.decided, one.record.clone());
    others.iter().all(|other| rank(other) <= rank(own))
}

/// The one change to make. Each is sent with what was seen as its precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldAct {
    /// None.
    Nothing,
    /// Take the label off the workload.
    Unlabel,
    /// Switch self-heal of the Application on again.
    Heal,
    /// Begin a trial: pause, take the label off, ask the tool to come.
    Try,
    /// End a trial that brought something else: unpause.
    Let,
    /// End one that brought nothing: put the label back, unpause.
    Relabel,
    /// End one that brought the bad revision: put the good template and the label back, unpause.
    UndoAgain,
}

/// What a look at a hold says.
#[derive(Debug, Clone, PartialEq)]
pub struct Tended {
    /// To commit before acting.
    pub hold: Hold,
    /// What to do then.
    pub act: HoldAct,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// When to look again; `None` when it has ended.
    pub next_look: Option<SignedDuration>,
}

/// The next thing to do about a hold.
pub fn tend(hold: &Hold, look: &Look, scene: &Scene, now: Timestamp) -> Tended {
    let stay =
        |hold: &Hold| Tended { hold: hold.clone(), act: HoldAct::Nothing, notices: Vec::new(), next_look: Some(LOOK) };
    if !hold.is_open() {
        return Tended { next_look: None, ..stay(hold) };
    }
    let Some(is_in_place) = is_in_place(hold, look, scene) else {
        return match look {
            Look::Forbidden(why) if scene.is_deleted => given_up(hold, why, now),
            _ => stay(hold),
        };
    };
    match (hold.placed, is_in_place) {
        (Some(_), true) => decide(hold, look, scene, now),
        (Some(_), false) => ended(hold, "somebody took it off", now),
        (None, true) => {
            let hold = hold.clone().placed(now);
            let told = Notice::new(Reason::HoldPlaced, hold.told());
            Tended { notices: vec![told], ..stay(&hold) }
        }
        // Never placed, and nobody would place it any more.
        (None, false) if scene.is_over || scene.live.is_none() => {
            let mut ended = ended(hold, "there was nothing to hold", now);
            ended.notices.clear();
            ended
        }
        (None, false) => stay(hold),
    }
}

/// Whether it is there; `None` while that cannot be seen.
fn is_in_place(hold: &Hold, look: &Look, scene: &Scene) -> Option<bool> {
    match (hold.label(), look) {
        (Some(_), _) => Some(scene.live.is_some() && (scene.is_labelled || scene.trial.is_some())),
        (None, Look::Application(one)) => {
            let is_noted = one.held_by.iter().any(|record| record == scene.record);
            // Who writes an Application anew takes our note off with that, and may leave self-heal off. Nobody else would switch
            // it on again. Before the note was seen, a person may have switched it off.
            let is_forgotten = hold.placed.is_some() && one.is_off && one.held_by.is_empty();
            Some((is_noted || is_forgotten) && (one.settled || hold.placed.is_some() || scene.is_over))
        }
        (None, Look::Absent) => Some(false),
        (None, _) => None,
    }
}

fn decide(hold: &Hold, look: &Look, scene: &Scene, now: Timestamp) -> Tended {
    let keep = Tended { hold: hold.clone(), act: HoldAct::Nothing, notices: Vec::new(), next_look: Some(LOOK) };
    match (hold.tool.kind, scene.live, look) {
        (ToolKind::Application | ToolKind::PossibleApplication, _, Look::Application(one)) => {
            why_it_heals(hold, one, scene).map_or(keep, |why| act(hold, HoldAct::Heal, &why))
        }
        (ToolKind::Kustomization | ToolKind::HelmRelease, _, _) if !scene.leads && scene.unwanted.is_none() => keep,
        // What was undone has become its newest release meanwhile: the next has to be newer than that.
        (ToolKind::HelmRelease, Some(live), Look::HelmRelease(one))
            if scene.unwanted.is_none()
                && live == scene.good
                && one.has_moved(&hold.mark)
                && one.was_begun_by(hold.requested) =>
        {
            Tended { hold: Hold { mark: one.mark(), ..hold.clone() }, ..keep }
        }
        (ToolKind::HelmRelease, _, _) => {
            why_label_ends(hold, look, scene).map_or(keep, |why| act(hold, HoldAct::Unlabel, &why))
        }
        (ToolKind::Kustomization, Some(live), _) if scene.trial.is_some() => on_trial(hold, look, scene, live, now),
        (ToolKind::Kustomization, Some(live), Look::Kustomization(one))
            if scene.unwanted.is_none() && one.has_moved(&hold.mark) =>
        {
            // While a bad one is live it is another record's to undo.
            if scene.is_bad() || !scene.is_back {
                return keep;
            }
            if live != scene.good {
                let why = format!("its source has moved on to {}", newest(one.attempted.as_deref()));
                return act(hold, HoldAct::Unlabel, &why);
            }
            // Nobody came to the last one: not at once again.
            let is_early = hold.because.is_some() && hold.tried.is_some_and(|tried| now.duration_since(tried) < AGAIN);
            if is_early {
                return keep;
            }
            // How far the source is, is noted when it is known what it brings: who dies before tries again.
            let mut begun = act(hold, HoldAct::Try, "");
            begun.hold = Hold { tried: Some(now), because: None, ..hold.clone() };
            begun
        }
        (ToolKind::Kustomization, _, _) => {
            why_label_ends(hold, look, scene).map_or(keep, |why| act(hold, HoldAct::Unlabel, &why))
        }
        _ => keep,
    }
}

fn why_label_ends(hold: &Hold, look: &Look, scene: &Scene) -> Option<String> {
    scene.unwanted.clone().or_else(|| match look {
        Look::Absent => Some(format!("the {} is gone", hold.tool.kind.as_str())),
        // While a bad one is live, a newer record is about to undo it, under the same label.
        Look::HelmRelease(one) if one.has_moved(&hold.mark) && !scene.is_bad() => {
            Some(format!("it has made release {}", newest(one.release.as_deref())))
        }
        _ => None,
    })
}

fn why_it_heals(hold: &Hold, one: &Application, scene: &Scene) -> Option<String> {
    if one.heals {
        return Some("somebody switched its self-heal on".to_owned());
    }
    if scene.live.is_none() {
        return Some("the workload is gone".to_owned());
    }
    // While a bad one is live, a newer record is about to undo it.
    let has_moved = one.has_moved(&hold.mark) && !scene.is_bad();
    let moved = || format!("it has synced {}", newest(one.compared.as_deref()));
    scene.unwanted.clone().or_else(|| has_moved.then(moved))
}

fn on_trial(hold: &Hold, look: &Look, scene: &Scene, live: &Fingerprint, now: Timestamp) -> Tended {
    let began = hold.tried.unwrap_or(now);
    let keep = Tended { hold: hold.clone(), act: HoldAct::Nothing, notices: Vec::new(), next_look: Some(WATCH) };
    if scene.is_bad() {
        let is_over = now.duration_since(began) > TRIAL_ENDS;
        let one = if let Look::Kustomization(one) = look { Some(one) } else { None };
        // It does not say yet what it has brought: its next word would count as something newer, and be tried again.
        if scene.trial == Some(Trial::Paused) && one.is_some_and(|one| one.busy) && !is_over {
            return keep;
        }
        let mut again = act(hold, HoldAct::UndoAgain, "");
        again.hold = Hold { because: None, ..hold.clone() };
        if let Some(one) = one {
            // One that still waits for something has long brought all that it attempts.
            again.hold.mark = if is_over { one.attempt() } else { one.mark() };
        }
        let tool = &hold.tool;
        let message = format!("{tool} still brings a bad revision: it was put away again before a pod started");
        again.notices.push(Notice::new(Reason::HoldKept, message));
        again.next_look = Some(WATCH);
        return again;
    }
    if live != scene.good {
        let brought = match look {
            Look::Kustomization(one) => newest(one.attempted.as_deref()),
            _ => "something newer".to_owned(),
        };
        return act(hold, HoldAct::Let, &format!("its source has brought {brought}"));
    }
    if let Some(why) = &scene.unwanted {
        return act(hold, HoldAct::Let, why);
    }
    match look {
        // Asked for, done, and still the good one: that is what the source says now.
        Look::Kustomization(one)
            if one.handled.as_deref() == Some(began.to_string().as_str()) && one.ready && !one.busy =>
        {
            act(hold, HoldAct::Let, "its source says the good revision")
        }
        Look::Absent => act(hold, HoldAct::Let, "the Kustomization is gone"),
        _ if now.duration_since(began) > TRIAL_ENDS => {
            act(hold, HoldAct::Relabel, "nobody came while the workload was not held")
        }
        _ => keep,
    }
}

fn act(hold: &Hold, act: HoldAct, why: &str) -> Tended {
    let because = Some(why.to_owned()).filter(|why| !why.is_empty());
    Tended { hold: Hold { because, ..hold.clone() }, act, notices: Vec::new(), next_look: Some(WATCH) }
}

fn ended(hold: &Hold, why: &str, now: Timestamp) -> Tended {
    let because = hold.because.clone().unwrap_or_else(|| why.to_owned());
    let message = format!("{} is not held any more: {because}", hold.tool);
    Tended {
        hold: Hold { ended: Some(now), because: Some(because), ..hold.clone() },
        act: HoldAct::Nothing,
        notices: vec![Notice::new(Reason::HoldEnded, message)],
        next_look: None,
    }
}

/// What the operator may not touch any more does not keep a record from being deleted.
fn given_up(hold: &Hold, why: &str, now: Timestamp) -> Tended {
    let message = format!("{} does not heal by itself, and Snapback may not switch that on again: {why}", hold.tool);
    Tended { notices: vec![Notice::new(Reason::HoldRefused, message)], ..ended(hold, why, now) }
}

fn newest(revision: Option<&str>) -> String {
    revision.map_or_else(|| "something newer".to_owned(), short)
}
