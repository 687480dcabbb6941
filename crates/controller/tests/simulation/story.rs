//! One story, from a seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use snapback_api::v1alpha1::PhaseName;
use snapback_fake_api::{Call, Fault, Trouble};
use tokio::time::{Instant, sleep};

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// How often the world is looked at.
const STEP: Duration = Duration::from_millis(250);

/// When nothing changed for so long, the story is over: longer than any wait of the operator but those for people, and
/// than the clock may have been put back.
const QUIET: Duration = Duration::from_mins(6);

/// The longest that a story may take.
const PATIENCE: Duration = Duration::from_hours(3);

/// Chance that is the same every time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(limit.as_millis()).unwrap()))
    }
}

/// What happened in stories.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    releases: u64,
    faults: u64,
    deaths: u64,
    records: u64,
    undone: u64,
    asked: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.releases += other.releases;
        self.faults += other.faults;
        self.deaths += other.deaths;
        self.records += other.records;
        self.undone += other.undone;
        self.asked += other.asked;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { releases, faults, deaths, records, undone, asked } = self;
        write!(
            f,
            "{releases} releases, {faults} faults met, {deaths} deaths, {records} records, {undone} undos accepted; {asked} stories \
             ended with a person's turn"
        )
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let time = SECOND + dice.time(20 * SECOND);
    match dice.below(18) {
        0 => Fault::Status(409),
        1 => Fault::Status(422),
        2 => Fault::Busy(429, 3),
        3 => Fault::Status(500),
        4 => Fault::Busy(503, 2),
        5 => Fault::Status(504),
        6 => Fault::Lost,
        7 => Fault::AnswerLost,
        8 => Fault::NoAnswer(Duration::ZERO),
        9 => Fault::NoAnswer(time),
        10 => Fault::Slow(time / 2),
        11 => Fault::Watches(Trouble::Ends),
        12 => Fault::Watches(Trouble::Expires),
        13 => Fault::Watches(Trouble::Drops(time)),
        14 => Fault::Watches(Trouble::Late(time)),
        15 => Fault::OlderServer { behind: time, lasting: time },
        16 => Fault::DiesBefore,
        _ => Fault::DiesAfter,
    }
}

/// The world, and what is done to it.
struct Stage {
    world: World,
    dice: Dice,
    tally: Tally,
    met: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
    /// Changes of versions so far.
    version: u32,
    bad: Option<String>,
    suspended: bool,
}

pub(crate) async fn story(seed: u64) -> Tally {
    let mut dice = Dice(seed);
    let world = if dice.below(3) == 0 { World::adopted_with_everything().await } else { World::adopted().await };
    let mut stage = Stage {
        world,
        dice,
        tally: Tally::default(),
        met: Arc::default(),
        dead: Arc::default(),
        version: 1,
        bad: None,
        suspended: false,
    };
    stage.go(seed).await
}

impl Stage {
    async fn go(&mut self, seed: u64) -> Tally {
        for _ in 0..self.dice.below(6) {
            self.arm();
        }
        for _ in 0..=self.dice.below(4) {
            self.act();
            let time = self.dice.time(25 * SECOND);
            self.pass(time).await;
        }
        if self.suspended {
            self.suspend(false);
        }
        self.quiet(seed).await;
        let what = format!("seed {seed}");
        let target = self.world.target().unwrap();
        let is_persons = matches!(target.phase, PhaseName::Held | PhaseName::AwaitingApproval | PhaseName::Escalated);
        let good = target.known_good.as_ref().map(|good| good.fingerprint.clone());
        assert!(
            is_persons || good.as_ref() == Some(&target.current.fingerprint),
            "{what}: what lives is not known good, and nobody is told: {target:#?}"
        );
        if std::env::var_os("SEED").is_some() && std::env::var_os("STORIES").is_none() {
            eprintln!("{target:#?}\n{:#?}", self.world.rollbacks());
        }
        let is_final = is_persons || self.world.is_at_rest();
        self.world.keeps_them(&what, good.filter(|_| !is_persons), is_final);
        let records = self.world.rollbacks();
        let undone = records.iter().filter_map(|one| one.status.as_ref()?.timeline.undo_accepted_at.as_ref());
        self.tally.undone = undone.count() as u64;
        self.tally.records = records.len() as u64;
        self.tally.asked = u64::from(is_persons);
        self.tally.faults = self.met.load(Ordering::Relaxed) as u64;
        std::mem::take(&mut self.tally)
    }

    /// A fault at some later request.
    fn arm(&mut self) {
        let (at, fault) = (usize::try_from(self.dice.below(300)).unwrap(), fault(&mut self.dice));
        let (count, met, dead) = (AtomicUsize::new(0), Arc::clone(&self.met), Arc::clone(&self.dead));
        let dies = matches!(fault, Fault::DiesBefore | Fault::DiesAfter);
        let is_it = move |call: &Call| {
            let concerns = !matches!(fault, Fault::Status(409 | 422)) || call.verb.is_write();
            let is_it = concerns && count.fetch_add(1, Ordering::Relaxed) == at;
            if is_it {
                met.fetch_add(1, Ordering::Relaxed);
                dead.fetch_or(dies, Ordering::Relaxed);
            }
            is_it
        };
        self.world.api.fault(is_it, fault);
    }

    /// Somebody does something.
    fn act(&mut self) {
        match self.dice.below(10) {
            0..=3 => self.release(false),
            4..=6 => self.release(true),
            7 => match self.bad.clone() {
                // As a GitOps tool does.
                Some(bad) => self.world.deploy(&bad, false),
                None => self.release(false),
            },
            8 => self.suspend(!self.suspended),
            _ => {
                let jump = i64::try_from(self.dice.below(240)).unwrap() - 120;
                self.world.hand().store(jump, Ordering::Relaxed);
            }
        }
    }

    fn release(&mut self, well: bool) {
        self.version += 1;
        self.tally.releases += 1;
        let version = format!("v{}", self.version);
        self.world.deploy(&version, well);
        if !well {
            self.bad = Some(version);
        }
    }

    fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        self.world.policy(&json!({"suspend": suspended}));
    }

    /// Lets time pass. A process that died is started again, sooner or later.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(STEP.min(end - Instant::now())).await;
            if self.dead.swap(false, Ordering::Relaxed) {
                self.tally.deaths += 1;
                self.world.kill().await;
                let down = self.dice.time(10 * SECOND);
                sleep(down).await;
                self.world.start();
            }
        }
    }

    /// Waits until nothing changes any more.
    async fn quiet(&mut self, seed: u64) {
        let (deadline, mut last) = (Instant::now() + PATIENCE, (0, Instant::now()));
        loop {
            self.pass(SECOND).await;
            let version = self.world.api.version();
            if version != last.0 {
                last = (version, Instant::now());
            }
            if last.1.elapsed() > QUIET {
                return;
            }
            assert!(Instant::now() < deadline, "seed {seed}: it never comes to rest: {:#?}", self.world.target());
        }
    }
}
