//! Months of the operator in minutes: on a real control plane with simulated pods and a real Prometheus, people release
//! without a pause, well and badly, and the API server and the source go away now and then. Measured from outside: does
//! anything grow, and was anything undone wrongly?
//!
//! ```text
//! bed      the control plane, Prometheus, and the operator as a process
//! gate     the way to the API server, and to Prometheus: open, cut, or silent
//! proxy    counts what the operator asks
//! seen     what the API server tells, now and in history
//! numbers  what pods count of their requests
//! lane     one target, story after story
//! facts    the history, for the nine invariants
//! measure  the operator's memory, descriptors, log, records, copies, ..., each second
//! verdict  whether it is right, bounded and flat
//! ```
//!
//! `MINUTES` is how long, `DAYS` what that stands for. Without `MINUTES` it is a short one, which is too short to tell of
//! memory. Needs no root.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, reason = "a test suite")]

mod bed;
mod facts;
mod gate;
mod lane;
mod measure;
mod numbers;
mod proxy;
mod seen;
mod verdict;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bed::Bed;
use gate::Way;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use lane::{Lane, Ledger, Story};
use libtest_mimic::{Arguments, Failed, Trial};
use measure::{Meter, Sample};
use snapback_api::v1alpha1::TriggerType;
use tokio::task::JoinSet;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    length: Duration,
    /// What it stands for.
    days: f64,
    lanes: u64,
    seed: u64,
    /// Long enough to tell of memory.
    pub(crate) is_long: bool,
    /// One outage.
    outage: Duration,
}

impl Plan {
    fn read() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.trim().parse::<f64>().ok());
        let minutes = number("MINUTES");
        let is_long = minutes.is_some_and(|minutes| minutes >= 5.0);
        let length =
            minutes.map_or(Duration::from_secs(30), |minutes| Duration::from_secs_f64(minutes.max(0.1) * 60.0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small whole numbers")]
        let whole = |name: &str, default: u64| number(name).map_or(default, |number| number.max(0.0) as u64);
        Self {
            length,
            days: number("DAYS").unwrap_or(30.0),
            lanes: whole("LANES", if is_long { 16 } else { 8 }).max(1),
            seed: whole("SEED", 1),
            is_long,
            // As many looks of every second as ten minutes have of every half.
            outage: Duration::from_secs(if is_long { 20 } else { 5 }),
        }
    }

    /// What goes away, and how.
    fn outages(&self) -> Vec<Outage> {
        let kinds: &[(bool, Way)] = if self.is_long {
            &[(true, Way::Cut), (false, Way::Cut), (true, Way::Silent), (false, Way::Silent)]
        } else {
            &[(true, Way::Cut), (false, Way::Cut)]
        };
        let times = if self.is_long { 2 } else { 1 };
        kinds.repeat(times).into_iter().map(|(of_the_api, way)| Outage { of_the_api, way }).collect()
    }
}

/// The API server or the source goes away.
#[derive(Debug, Clone, Copy)]
struct Outage {
    of_the_api: bool,
    way: Way,
}

/// What a run came to.
pub(crate) struct Told {
    pub(crate) plan: Plan,
    pub(crate) samples: Vec<Sample>,
    /// Between the last release and the rest.
    pub(crate) rest: Sample,
    pub(crate) broken: Vec<String>,
    pub(crate) wrong: Vec<String>,
    pub(crate) failed: Vec<String>,
    pub(crate) orphans: Vec<String>,
    pub(crate) metrics: String,
    /// Decisions on numbers while the source was away, and writes while the API server was.
    pub(crate) in_outages: Vec<String>,
    pub(crate) outages: usize,
    pub(crate) stories: BTreeMap<Story, u32>,
    pub(crate) reasons: BTreeMap<String, u32>,
    pub(crate) lists: u64,
}

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first TLS provider");
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let told = runtime.block_on(async {
        tokio::select! {
            told = soak(Plan::read()) => told,
            () = snapback_tests::stopped() => Err(anyhow::anyhow!("interrupted")),
        }
    });
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            eprintln!("the soak could not be carried out: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    // Whatever is under way has nobody to tell any more.
    runtime.shutdown_background();
    verdict::print(&told);
    let trials =
        verdict::all(&told).into_iter().map(|(name, found)| Trial::test(name, move || found.map_err(Failed::from)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

async fn soak(plan: Plan) -> Result<Told> {
    let program = bed::program().await?;
    let bed = Bed::start(program).await?;
    let (ledger, told): (Ledger, Arc<Mutex<BTreeMap<Story, u32>>>) = (Arc::default(), Arc::default());
    let began = Instant::now();
    let mut lanes = begin(&bed, plan, began, &ledger, &told).await?;
    let (mut samples, mut failed, mut meter) = (Vec::new(), Vec::new(), Meter::new(began));
    let mut outages = Outages::new(plan, began);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut said = Instant::now();
    while !lanes.is_empty() {
        tokio::select! {
            Some(ended) = lanes.join_next() => {
                if let Err(error) = ended? {
                    eprintln!("soak: {error:#}");
                    failed.push(format!("{error:#}"));
                }
            }
            _ = tick.tick() => {
                outages.tick(&bed);
                let releases = ledger.lock().unwrap_or_else(PoisonError::into_inner).len();
                samples.push(meter.look(&bed, releases).await?);
                if said.elapsed() > Duration::from_mins(1) {
                    said = Instant::now();
                    say(&samples);
                }
            }
        }
    }
    outages.end(&bed);
    let rest = rest(&bed, &mut meter, &ledger, plan).await?;
    let metrics = reqwest::get(format!("http://{}/metrics", bed.metrics)).await?.text().await?;
    let orphans = wait_for_collection(&bed).await?;
    let stories = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !failed.is_empty() {
        eprintln!("the end of the operator's log:\n{}", snapback_tests::tools::tail(bed.operator.log(), 30));
    }
    let now = bed.seen.now();
    let (mut facts, undone) = facts::facts(&now.history, &bed.proxy.asked());
    facts.extend(facts::rest(&now.history));
    let broken = snapback_invariants::violations(&facts).iter().map(ToString::to_string).collect();
    let reasons = measure::told(now.history.values()).into_iter().map(|(reason, count)| (reason.to_owned(), count));
    let wrong = ledger
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter_map(|(image, (least, most))| {
            let times = undone.get(image).copied().unwrap_or_default();
            let is_right = (*least..=*most).contains(&times);
            (!is_right).then(|| format!("{image} was undone {times} times, not {least} to {most}"))
        })
        .collect();
    Ok(Told {
        plan,
        samples,
        rest,
        broken,
        wrong,
        failed,
        orphans,
        metrics,
        outages: outages.done,
        in_outages: outages.wrong(&now),
        stories,
        reasons: reasons.collect(),
        lists: now.lists,
    })
}

/// Where a long run stands.
fn say(samples: &[Sample]) {
    if let Some(last) = samples.last() {
        snapback_tests::say(&format!(
            "{:.0} s: {} releases, {} undos, {} KiB resident, {} records",
            last.at,
            last.get("releases"),
            last.get("undos"),
            last.get("rss_kib"),
            last.get("records")
        ));
    }
}

/// Every target in its lane, of which some share a namespace.
async fn begin(
    bed: &Bed,
    plan: Plan,
    began: Instant,
    ledger: &Ledger,
    told: &Arc<Mutex<BTreeMap<Story, u32>>>,
) -> Result<JoinSet<Result<()>>> {
    let namespaces: Api<Namespace> = Api::all(bed.client.clone());
    let mut lanes = JoinSet::new();
    for lane in 0..plan.lanes {
        let namespace = format!("{}{}", seen::PREFIX, lane % 4);
        if lane < 4 {
            let meta = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
            namespaces.create(&PostParams::default(), &Namespace { metadata: meta, ..Namespace::default() }).await?;
        }
        let name = format!("service-{lane}");
        let seed = plan.seed.wrapping_mul(1000).wrapping_add(lane);
        let lane = Lane::new((&bed.client, &bed.seen), (&namespace, &name), seed, ledger, told);
        lanes.spawn(lane.run(began + plan.length));
    }
    Ok(lanes)
}

/// Nothing is under way any more; and in a long run, the records have gone.
async fn rest(bed: &Bed, meter: &mut Meter, ledger: &Ledger, plan: Plan) -> Result<Sample> {
    let releases = ledger.lock().unwrap_or_else(PoisonError::into_inner).len();
    let patience = if plan.is_long { bed::OLDEST + Duration::from_secs(90) } else { Duration::from_secs(10) };
    let deadline = Instant::now() + patience;
    loop {
        let sample = meter.look(bed, releases).await?;
        let is_tidy = !plan.is_long || sample.get("records") == 0.0;
        let is_at_rest = sample.get("watches") <= verdict::WATCHES
            && sample.get("copies_of_templates") <= measure::float(usize::try_from(plan.lanes)?)
            && is_tidy;
        if is_at_rest || Instant::now() > deadline {
            return Ok(sample);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Kubernetes collects what a deleted workload owned, in its own time.
async fn wait_for_collection(bed: &Bed) -> Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let orphans = measure::orphans(bed).await.context("listing the copies")?;
        if orphans.is_empty() || Instant::now() > deadline {
            return Ok(orphans);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The outages, evenly over the run.
struct Outages {
    plan: Plan,
    began: Instant,
    left: Vec<Outage>,
    /// The one under way: until when, and since when by the API server's clock; writes then.
    under_way: Option<(Outage, Instant, jiff::Timestamp, u64)>,
    past: Vec<(Outage, jiff::Timestamp, jiff::Timestamp)>,
    wrong: Vec<String>,
    done: usize,
}

impl Outages {
    fn new(plan: Plan, began: Instant) -> Self {
        let mut left = plan.outages();
        left.reverse();
        Self { plan, began, left, under_way: None, past: Vec::new(), wrong: Vec::new(), done: 0 }
    }

    fn tick(&mut self, bed: &Bed) {
        if let Some((_, until, ..)) = self.under_way {
            if Instant::now() >= until {
                self.end(bed);
            }
            return;
        }
        let all = u32::try_from(self.plan.outages().len()).unwrap_or(1);
        let done = u32::try_from(self.done).unwrap_or_default();
        let next = self.plan.length.mul_f64((f64::from(done) + 0.5) / f64::from(all));
        if self.began.elapsed() >= next
            && let Some(outage) = self.left.pop()
        {
            self.done += 1;
            snapback_tests::say(&format!("{outage:?} for {} s", self.plan.outage.as_secs()));
            gate(bed, outage).set(outage.way);
            let writes = bed.proxy.asked().writes;
            self.under_way = Some((outage, Instant::now() + self.plan.outage, jiff::Timestamp::now(), writes));
        }
    }

    fn end(&mut self, bed: &Bed) {
        let Some((outage, _, since, writes)) = self.under_way.take() else { return };
        let more = bed.proxy.asked().writes - writes;
        // One request may have been on its way.
        if outage.of_the_api && more > self.plan.lanes {
            self.wrong.push(format!("{more} writes in an outage of the API server"));
        }
        gate(bed, outage).set(Way::Open);
        self.past.push((outage, since, jiff::Timestamp::now()));
    }

    /// What was decided on numbers that nobody could ask for.
    fn wrong(&self, now: &seen::Now) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        for change in now.history.values() {
            let seen::Change::Decided(record) = change else { continue };
            let Some(created) = record.metadata.creation_timestamp.as_ref() else { continue };
            // What had been answered before may be decided on after, and what came back was found bad before.
            let numbers = record.spec.evidence.iter().filter(|check| check.name == "errors");
            let known = numbers.filter_map(|check| check.window_end.as_ref()).map(|end| end.0).max();
            let by_policy = record.spec.trigger.type_ == TriggerType::Policy;
            let Some(known) = known.filter(|_| by_policy) else { continue };
            let grace = jiff::SignedDuration::from_secs(1);
            // A time of Kubernetes is that of its second's begin.
            let is_in = |(outage, since, until): &&(Outage, jiff::Timestamp, jiff::Timestamp)| {
                !outage.of_the_api && created.0 + grace <= *until && known > *since + grace
            };
            if let Some((_, since, until)) = self.past.iter().find(is_in) {
                let image = seen::from(record);
                wrong.push(format!(
                    "{image} was decided at {} on numbers up to {known}, but the source was away from {since} to {until}",
                    created.0
                ));
            }
        }
        wrong
    }
}

fn gate(bed: &Bed, outage: Outage) -> &gate::Gate {
    if outage.of_the_api { &bed.api } else { &bed.source }
}
