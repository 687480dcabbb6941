//! What is measured from outside, second by second.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use snapback_api::v1alpha1::TARGET_LABEL;

use crate::bed::Bed;
use crate::seen::{Change, Now, PREFIX};

/// The names of what is in a sample, in its order.
pub(crate) const NAMES: [&str; 20] = [
    "rss_kib",
    "anonymous_kib",
    "descriptors",
    "threads",
    "watches",
    "records",
    "most_records_of_a_target",
    "oldest_record_seconds",
    "records_bytes",
    "largest_record_bytes",
    "largest_status_bytes",
    "statuses_bytes",
    "metrics",
    "copies_of_templates",
    "copies_of_config_maps",
    "releases",
    "undos",
    "events",
    "log_bytes",
    "log_lines",
];

/// One look at everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Since the beginning, in seconds.
    pub(crate) at: f64,
    pub(crate) values: [f64; NAMES.len()],
}

impl Sample {
    pub(crate) fn get(&self, name: &str) -> f64 {
        NAMES.iter().zip(self.values).find(|(known, _)| **known == name).map_or(f64::NAN, |(_, value)| value)
    }
}

/// Keeps what is dear to ask for between two looks.
pub(crate) struct Meter {
    began: Instant,
    log: Log,
    copies: (f64, f64),
    looks: u32,
}

/// The operator's log, as far as it was read.
#[derive(Default)]
struct Log {
    bytes: u64,
    lines: u64,
}

impl Meter {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, log: Log::default(), copies: (0.0, 0.0), looks: 0 }
    }

    pub(crate) async fn look(&mut self, bed: &Bed, releases: usize) -> Result<Sample> {
        if self.looks.is_multiple_of(10) {
            self.copies = copies(&bed.client).await?;
        }
        self.looks += 1;
        self.log.read(bed.operator.log())?;
        let pid = bed.operator.id();
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the operator's memory")?;
        let memory = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_suffix("kB")?.trim().parse().ok());
            line.unwrap_or(f64::NAN)
        };
        let entries = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).map(Iterator::count);
        let metrics = reqwest::get(format!("http://{}/metrics", bed.metrics)).await?.text().await?;
        let (watches, events) = {
            let asked = bed.proxy.asked();
            (asked.watches, asked.events + asked.repeats)
        };
        let now = bed.seen.now();
        let sizes: Vec<usize> = now.rollbacks.values().map(size).collect();
        let statuses: Vec<usize> =
            now.policies.values().filter_map(|policy| policy.status.as_ref()).map(size).collect();
        Ok(Sample {
            at: self.began.elapsed().as_secs_f64(),
            values: [
                memory("Rss:"),
                memory("Anonymous:"),
                float(entries("fd")?),
                float(entries("task")?),
                wide(watches),
                float(sizes.len()),
                float(most_of_a_target(&now)),
                oldest(&now),
                float(sizes.iter().sum()),
                float(sizes.iter().copied().max().unwrap_or_default()),
                float(statuses.iter().copied().max().unwrap_or_default()),
                float(statuses.iter().sum()),
                float(metrics.lines().filter(|line| !line.starts_with('#')).count()),
                self.copies.0,
                self.copies.1,
                float(releases),
                wide(now.ended),
                wide(events),
                wide(self.log.bytes),
                wide(self.log.lines),
            ],
        })
    }
}

impl Log {
    /// What came since.
    fn read(&mut self, path: &Path) -> Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(self.bytes))?;
        let mut new = Vec::new();
        self.bytes += u64::try_from(file.read_to_end(&mut new)?)?;
        self.lines += u64::try_from(new.split(|byte| *byte == b'\n').skip(1).count())?;
        Ok(())
    }
}

/// How many copies there are, of templates and of ConfigMaps.
async fn copies(client: &Client) -> Result<(f64, f64)> {
    let ours = ListParams::default().labels(TARGET_LABEL);
    let templates = Api::<ControllerRevision>::all(client.clone()).list_metadata(&ours).await?.items;
    let maps = Api::<ConfigMap>::all(client.clone()).list_metadata(&ours).await?.items;
    Ok((float(templates.len()), float(maps.len())))
}

fn most_of_a_target(now: &Now) -> usize {
    let mut targets: BTreeMap<&str, usize> = BTreeMap::new();
    for uid in now.rollbacks.values().filter_map(|record| record.spec.target.uid.as_deref()) {
        *targets.entry(uid).or_default() += 1;
    }
    targets.into_values().max().unwrap_or_default()
}

/// The time since the oldest record's end.
fn oldest(now: &Now) -> f64 {
    let ended = now.rollbacks.values().filter_map(|record| record.status.as_ref()?.timeline.ended_at.as_ref());
    ended.map(|ended| Timestamp::now().duration_since(ended.0).as_secs_f64()).fold(0.0, f64::max)
}

/// Copies that no living workload owns, which Kubernetes' own controller has to have collected.
pub(crate) async fn orphans(bed: &Bed) -> Result<Vec<String>> {
    let uids: Vec<String> = bed.seen.now().deployments.values().filter_map(ResourceExt::uid).collect();
    let ours = ListParams::default().labels(TARGET_LABEL);
    let maps = Api::<ConfigMap>::all(bed.client.clone()).list_metadata(&ours).await?.items;
    let templates = Api::<ControllerRevision>::all(bed.client.clone()).list_metadata(&ours).await?.items;
    let all = maps.iter().map(|one| &one.metadata).chain(templates.iter().map(|one| &one.metadata));
    let is_orphan = |meta: &&kube::api::ObjectMeta| {
        let mut owners = meta.owner_references.iter().flatten();
        meta.namespace.as_deref().is_some_and(|namespace| namespace.starts_with(PREFIX))
            && !owners.any(|owner| uids.contains(&owner.uid))
    };
    Ok(all.filter(is_orphan).filter_map(|meta| meta.name.clone()).collect())
}

/// As a table for other programs.
pub(crate) fn csv(samples: &[Sample]) -> String {
    let mut text = format!("seconds,{}\n", NAMES.join(","));
    for sample in samples {
        _ = write!(text, "{:.1}", sample.at);
        for value in sample.values {
            _ = write!(text, ",{value}");
        }
        text.push('\n');
    }
    text
}

/// Events about records, by reason.
pub(crate) fn told<'a>(history: impl Iterator<Item = &'a Change>) -> BTreeMap<&'a str, u32> {
    let mut told = BTreeMap::new();
    for change in history {
        if let Change::Told { reason, .. } = change {
            *told.entry(reason.as_str()).or_default() += 1;
        }
    }
    told
}

fn size(object: &impl serde::Serialize) -> usize {
    serde_json::to_vec(object).map_or(0, |text| text.len())
}

#[allow(clippy::cast_precision_loss, reason = "counts and bytes")]
pub(crate) fn float(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "counts and bytes")]
fn wide(number: u64) -> f64 {
    number as f64
}
