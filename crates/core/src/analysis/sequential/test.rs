//! The chains of one check put together, look by look.

use super::evalue;
use super::look::{Against, Look, Tally};
use super::start::{StartMixture, log_add};

/// How much worse than the old pods the new ones may be without it being held to be the release's doing: caches are cold,
/// connections young, and pods never quite alike.
pub const TOLERANCE: f64 = 1.1;

/// How much more is tolerated against the time before than against old pods at the same time: load and neighbours change
/// by themselves.
const BEFORE: f64 = 2.0;

/// The weight of a ratio where a check also has a limit of its own. The ratio finds smaller faults, and is what there is
/// to go by while a limit is far away.
const RATIO_WEIGHT: f64 = 0.9;

/// From this many pods on, one of them alone is held to be that pod's bad luck, or its node's.
const CROWD: usize = 3;

/// Without any one pod, and without any one look, a fault must show with odds of ten to one.
const ODDS_WITHOUT_ONE: f64 = 10.0;

/// How much less they must show without one of them, at a rate of false alarms, as `ln`.
pub fn spare(alpha: f64) -> f64 {
    f64::max(-libm::log(alpha * ODDS_WITHOUT_ONE), 0.0)
}

/// What a rate is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The largest rate that is fine, 0 to 1.
    pub max: Option<f64>,
    /// The largest multiple of the old pods' rate that is fine.
    pub ratio: Option<f64>,
    /// The smallest rate at which the multiple matters, 0 to 1.
    pub floor: f64,
}

/// What is known before the first look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The number of looks in which a fault may begin.
    pub looks: u32,
    /// How much more than by chance counts scatter among pods, at least 1.
    pub among_pods: f64,
    /// The same over time.
    pub over_time: f64,
    /// How much less than all pods and looks together they must show without any one pod, and without any one look, as
    /// `ln`.
    pub spare: f64,
}

impl Plan {
    fn scatter(&self, against: Against) -> f64 {
        match against {
            Against::OldPods => self.among_pods,
            Against::TheTimeBefore | Against::Nothing => self.among_pods.max(self.over_time),
        }
    }
}

/// The evidence after each look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// `ln V` after each look.
    pub log_values: Vec<f64>,
    /// The same of all pods together, though one of them alone may be the cause.
    pub all_pods: Vec<f64>,
    /// The look at which a fault most likely began, as seen from each look.
    pub began: Vec<usize>,
}

impl Evidence {
    /// `ln V` after the last look; 0 before the first.
    pub fn now(&self) -> f64 {
        self.log_values.last().copied().unwrap_or(0.0)
    }
}

/// The new pods fail too often: over `limits.max` and not because everything does, or over `limits.ratio` times as often
/// as the old ones.
///
/// The two are mixed with fixed weights. Over the maximum means both: over it, and worse than the old pods by
/// [`TOLERANCE`]; the smaller of the two e-values stands for both. From three new pods on each of them is left out in
/// turn, and the smallest value counts, which is at most that of all pods together.
pub fn regression(looks: &[Look], limits: &Limits, plan: &Plan) -> Evidence {
    let (mut evidence, served) = (chain(looks, limits, plan, None), served(looks));
    evidence.all_pods.clone_from(&evidence.log_values);
    let pods = looks.iter().map(|look| look.new.len()).max().unwrap_or(0);
    if served.last().is_some_and(|served| *served >= CROWD) {
        for pod in 0..pods {
            let without = chain(looks, limits, plan, Some(pod));
            for ((value, other), served) in evidence.log_values.iter_mut().zip(without.log_values).zip(&served) {
                if *served >= CROWD {
                    *value = value.min(other + plan.spare);
                }
            }
        }
    }
    evidence
}

/// How many new pods had requests up to each look.
fn served(looks: &[Look]) -> Vec<usize> {
    let mut seen: Vec<bool> = Vec::new();
    let counts = looks.iter().map(|look| {
        seen.resize(seen.len().max(look.new.len()), false);
        for (seen, one) in seen.iter_mut().zip(&look.new) {
            *seen |= one.all > 0.0;
        }
        seen.iter().filter(|seen| **seen).count()
    });
    counts.collect()
}

fn chain(looks: &[Look], limits: &Limits, plan: &Plan, without: Option<usize>) -> Evidence {
    let mut over = Lasting::<4>::new(plan);
    let mut worse = Lasting::<4>::new(plan);
    let mut multiple = Lasting::<4>::new(plan);
    let (mut over_since, mut multiple_since) = (Beginning::default(), Beginning::default());
    let mut baseline = Tally::default();
    let mut found = Evidence::default();
    for (index, look) in looks.iter().enumerate() {
        let (new, scatter) = (look.total(without), plan.scatter(look.against));
        let more = if look.against == Against::TheTimeBefore { BEFORE } else { 1.0 };
        let compared = |ratio: f64| evalue::ratio(new, look.old, ratio).map(|one| one / scatter);
        let mut parts = Parts::default();
        if let Some(max) = limits.max {
            let alone = evalue::limit(new, max).map(|one| one / scatter);
            over.next(alone);
            baseline = baseline.plus(look.old);
            worse.next(match look.against {
                // Where the baseline was over the maximum as long as there was one, that goes on to be no fault of this
                // release's.
                Against::Nothing if baseline.rate() > max => [0.0; 4],
                Against::Nothing => alone,
                Against::OldPods | Against::TheTimeBefore => compared(TOLERANCE),
            });
            over_since.next(index, new, look.old, alone[0]);
            parts.max = Some(over.log_value().min(worse.log_value()));
        }
        if let Some(ratio) = limits.ratio {
            let against = compared(TOLERANCE * more);
            multiple.next(against);
            multiple_since.next(index, new, look.old, against[1]);
            let (new, old) = (multiple_since.new.rate(), multiple_since.old.rate());
            let matters = new >= limits.floor && new >= ratio * old;
            parts.ratio = Some(if matters { multiple.log_value() } else { 0.0 });
        }
        found.log_values.push(parts.together());
        let by_max = parts.max >= parts.ratio;
        found.began.push(if by_max { over_since.at } else { multiple_since.at });
    }
    found
}

/// A chain whose evidence must not come from a single look: without the strongest one it must show the fault with the odds
/// that the other pods have to show without one of them. Pods stumble while they warm up, and a burst is no lasting fault.
///
/// Leaving a look out divides the e-value by at most that look's, so this is at most an e-value itself.
struct Lasting<const A: usize> {
    mixture: StartMixture<A>,
    strongest: f64,
    spare: f64,
}

impl<const A: usize> Lasting<A> {
    fn new(plan: &Plan) -> Self {
        Self { mixture: StartMixture::new(plan.looks), strongest: 0.0, spare: plan.spare }
    }

    fn next(&mut self, evidence: [f64; A]) {
        self.strongest = evidence.into_iter().fold(self.strongest, f64::max);
        self.mixture.next(evidence);
    }

    fn log_value(&self) -> f64 {
        let all = self.mixture.log_value();
        all.min(all - self.strongest + self.spare)
    }
}

/// `ln` of the e-values of a check's limits.
#[derive(Default)]
struct Parts {
    max: Option<f64>,
    ratio: Option<f64>,
}

impl Parts {
    fn together(&self) -> f64 {
        match (self.max, self.ratio) {
            (Some(max), Some(ratio)) => log_add(max + libm::log(1.0 - RATIO_WEIGHT), ratio + libm::log(RATIO_WEIGHT)),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0.0,
        }
    }
}

/// When the fault most likely began: the last time at which the sum of the evidence was at its lowest (Page's CUSUM, 1954).
#[derive(Default)]
struct Beginning {
    at: usize,
    sum: f64,
    new: Tally,
    old: Tally,
}

impl Beginning {
    fn next(&mut self, index: usize, new: Tally, old: Tally, evidence: f64) {
        if self.sum <= 0.0 {
            *self = Self { at: index, ..Self::default() };
        }
        self.sum += evidence;
        (self.new, self.old) = (self.new.plus(new), self.old.plus(old));
    }
}

/// The new pods get no requests, though they are ready: less than `1/least` of what is due to them.
pub fn silence(looks: &[Look], least: f64, plan: &Plan) -> Evidence {
    let mut mixture = Lasting::<2>::new(plan);
    let mut found = Evidence::default();
    let mut began = 0;
    for (index, look) in looks.iter().enumerate() {
        let (new, scatter) = (look.total(None), plan.scatter(look.against));
        let evidence = look.due.map_or([0.0; 2], |due| evalue::silence(new.all, look.old.all, due, least));
        if evidence[0] < 0.0 {
            began = index + 1;
        }
        mixture.next(evidence.map(|one| one / scatter));
        found.log_values.push(mixture.log_value());
        found.began.push(began.min(index));
    }
    found.all_pods.clone_from(&found.log_values);
    found
}

/// The weighted mean of the evidence of several limits of one check, over the same looks.
pub fn mean(parts: &[(f64, Evidence)]) -> Evidence {
    let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
    let looks = parts.iter().map(|(_, part)| part.log_values.len()).min().unwrap_or(0);
    let at = |look: usize, of: fn(&Evidence) -> &Vec<f64>| {
        parts.iter().fold(f64::NEG_INFINITY, |sum, (weight, part)| {
            log_add(sum, of(part).get(look).copied().unwrap_or(0.0) + libm::log(weight / total))
        })
    };
    let strongest = |look: usize| {
        let value = |part: &&(f64, Evidence)| part.1.log_values.get(look).copied().unwrap_or(0.0);
        let best = parts.iter().max_by(|one, other| value(one).total_cmp(&value(other)));
        best.and_then(|(_, part)| part.began.get(look)).copied().unwrap_or(0)
    };
    Evidence {
        log_values: (0..looks).map(|look| at(look, |part| &part.log_values)).collect(),
        all_pods: (0..looks).map(|look| at(look, |part| &part.all_pods)).collect(),
        began: (0..looks).map(strongest).collect(),
    }
}
