//! Whether it is right, bounded and flat.

use std::fmt::Write as _;

use snapback_tests::slope::Slope;

use crate::Told;
use crate::bed::{OLDEST, RECORDS, YOUNGEST};
use crate::measure::{NAMES, Sample, csv, float};
use crate::seen::PREFIX;

/// Watches at rest: of three kinds of workloads, the policies, and the records.
pub(crate) const WATCHES: f64 = 5.0;

/// What of a run is left out before slopes are told: caches fill, and the allocator learns.
const WARM_UP: f64 = 2.0 / 3.0;

/// What a figure may rise in a month, if it rises for sure.
const SHARE: f64 = 0.01;

/// In days.
const MONTH: f64 = 30.0;

/// The figures that must not grow with time.
const FLAT: [&str; 8] = [
    "rss_kib",
    "anonymous_kib",
    "descriptors",
    "threads",
    "watches",
    "records",
    "largest_record_bytes",
    "copies_of_config_maps",
];

type Verdict = (String, Result<(), String>);

pub(crate) fn all(told: &Told) -> Vec<Verdict> {
    let none = |found: &[String]| if found.is_empty() { Ok(()) } else { Err(found.join("\n")) };
    let mut all = vec![
        ("every_story_came_to_its_end".to_owned(), none(&told.failed)),
        ("every_bad_release_was_undone_as_often_as_it_came_and_no_good_one_was".to_owned(), none(&told.wrong)),
        ("none_of_the_nine_invariants_was_broken".to_owned(), none(&told.broken)),
        ("nothing_was_undone_that_could_not_be_known".to_owned(), none(&told.in_outages)),
        ("no_copy_outlives_its_workload".to_owned(), none(&told.orphans)),
        ("the_history_is_whole".to_owned(), at_most("lists", told.lists.to_string().parse().unwrap_or(1.0), 0.0)),
        ("metrics_name_no_object".to_owned(), names_nothing(&told.metrics)),
    ];
    all.extend(
        bounds(told).into_iter().map(|(name, value, most)| (format!("bounded_{name}"), at_most(name, value, most))),
    );
    if told.plan.is_long {
        let flat = |name: &&str| (format!("flat_{name}"), is_flat(told, name));
        all.extend(FLAT.iter().map(flat));
    }
    all
}

fn names_nothing(metrics: &str) -> Result<(), String> {
    match metrics.lines().find(|line| line.contains(PREFIX) || line.contains("service-")) {
        Some(line) => Err(format!("a label names an object: {line}")),
        None => Ok(()),
    }
}

fn at_most(name: &str, value: f64, most: f64) -> Result<(), String> {
    if value <= most { Ok(()) } else { Err(format!("{name} is {value}, and may be {most}")) }
}

/// What is bounded: its name, the most that was seen, and the most that may be.
fn bounds(told: &Told) -> Vec<(&'static str, f64, f64)> {
    let most = |name: &str| told.samples.iter().map(|sample| sample.get(name)).fold(0.0, f64::max);
    let lanes = told.samples.last().map_or(0.0, |_| told.plan.lanes.to_string().parse().unwrap_or(0.0));
    let releases = told.rest.get("releases").max(1.0);
    // Undos of one target take five seconds at least, and what is too young stays.
    let records = float(RECORDS) + YOUNGEST.as_secs_f64() / 5.0;
    vec![
        ("most_records_of_a_target", most("most_records_of_a_target"), records),
        // From its decision: it ends, is due, and goes a minute later; another minute later where an outage met the first try.
        ("oldest_record_seconds", most("oldest_record_seconds"), OLDEST.as_secs_f64() + 60.0 + 60.0 + 30.0),
        ("largest_record_bytes", most("largest_record_bytes"), 32.0 * 1024.0),
        ("largest_status_bytes", most("largest_status_bytes"), 32.0 * 1024.0),
        // Not flat: a status fills with what was undone, sixteen revisions at most, and begins anew with its Deployment or policy.
        ("statuses_bytes", most("statuses_bytes"), lanes * 6.0 * 1024.0),
        ("events_per_release", told.rest.get("events") / releases, 16.0),
        ("log_lines_per_release", told.rest.get("log_lines") / releases, 16.0),
        ("log_bytes_per_release", told.rest.get("log_bytes") / releases, 6144.0),
        // A line each; a fixed set, of which some appear with their first event.
        ("metrics", most("metrics"), 100.0),
        ("watches_at_rest", told.rest.get("watches"), WATCHES),
        // One for each target that is judged at that time; a workload that is made anew may be judged beside the old one.
        ("watches", most("watches"), WATCHES + 2.0 * lanes),
        ("descriptors", most("descriptors"), 64.0 + 2.0 * lanes),
        ("threads", most("threads"), 16.0),
        ("copies_of_templates_at_rest", told.rest.get("copies_of_templates"), lanes),
        // The copies of the known good revision's, and of the live one's.
        ("copies_of_config_maps_at_rest", told.rest.get("copies_of_config_maps"), 2.0 * lanes),
    ]
}

/// After the warm-up, in days.
fn series(told: &Told, name: &str) -> Vec<(f64, f64)> {
    let length = told.plan.length.as_secs_f64();
    let warm = |sample: &&Sample| sample.at > length * WARM_UP && sample.at <= length;
    let day = |sample: &Sample| sample.at / length * told.plan.days;
    told.samples.iter().filter(warm).map(|sample| (day(sample), sample.get(name))).collect()
}

fn is_flat(told: &Told, name: &str) -> Result<(), String> {
    let slope = Slope::of(&series(told, name)).ok_or("too few samples")?;
    if slope.is_flat(MONTH, SHARE) {
        return Ok(());
    }
    let (least, most) = slope.within(MONTH);
    Err(format!("{name} rises by {least:.1} to {most:.1} in a month; its mean is {:.1}", slope.mean))
}

#[allow(clippy::print_stdout, reason = "a test suite")]
pub(crate) fn print(told: &Told) {
    let days = told.plan.days;
    let mut text = format!(
        "\n{} releases, {} undos, {} outages in {:.0} s, for {days} days; seed {}\n{:?}\nEvents on records: {:?}\n\n",
        told.rest.get("releases"),
        told.rest.get("undos"),
        told.outages,
        told.plan.length.as_secs_f64(),
        told.plan.seed,
        told.stories,
        told.reasons,
    );
    _ = writeln!(text, "| figure | after warm-up | at the end | most | at rest | in a month (95 %) |");
    _ = writeln!(text, "|---|---:|---:|---:|---:|---:|");
    for name in NAMES {
        let all = series(told, name);
        let most = told.samples.iter().map(|sample| sample.get(name)).fold(f64::NAN, f64::max);
        let (first, last) = (all.first().map_or(f64::NAN, |one| one.1), all.last().map_or(f64::NAN, |one| one.1));
        let rise = Slope::of(&all).map_or_else(String::new, |slope| {
            let (least, most) = slope.within(MONTH);
            format!("{least:+.1} to {most:+.1}")
        });
        _ = writeln!(text, "| {name} | {first} | {last} | {most} | {} | {rise} |", told.rest.get(name));
    }
    for (name, value, most) in bounds(told) {
        _ = writeln!(text, "{name}: {value:.1} (at most {most:.0})");
    }
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.csv");
    match std::fs::write(&path, csv(&told.samples)) {
        Ok(()) => _ = writeln!(text, "every second: {}", path.display()),
        Err(error) => _ = writeln!(text, "{} could not be written: {error}", path.display()),
    }
    println!("{text}");
}
