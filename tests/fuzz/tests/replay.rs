//! The short run: the kept inputs, and changed ones from a seed.
//!
//! `SEED=7 cargo test -p snapback-fuzz` makes other changes, `RUNS=100000` more of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::panic::catch_unwind;

use snapback_fuzz::mutate::{Random, Sources, mutate};
use snapback_fuzz::{TARGETS, dictionary, entries, target};

#[test]
fn replies_of_a_source() {
    replay("reply");
}

#[test]
fn specs() {
    replay("spec");
}

#[test]
fn queries_and_other_texts() {
    replay("text");
}

#[test]
fn status_that_is_read_back() {
    replay("status");
}

#[test]
fn the_operators_configuration() {
    replay("config");
}

#[test]
fn what_is_kept_is_little() {
    for target in TARGETS {
        let kept = entries(target.name);
        assert!((5..=40).contains(&kept.len()), "{}: {} inputs", target.name, kept.len());
        for entry in kept {
            assert!(entry.bytes.len() <= 8192, "{}: {} bytes", entry.file, entry.bytes.len());
        }
    }
}

fn replay(name: &str) {
    let target = target(name).unwrap();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, runs) = (number("SEED").unwrap_or(0), number("RUNS").unwrap_or(target.runs));
    let entries = entries(name);
    for entry in &entries {
        let held = catch_unwind(|| (target.run)(&entry.bytes));
        assert!(held.is_ok(), "tests/fuzz/{} breaks a promise of target {name:?}", entry.file);
    }
    let words = dictionary(name);
    let inputs: Vec<Vec<u8>> = entries.iter().map(|entry| entry.bytes.clone()).collect();
    // Noted before it is tried: a stack that overflows ends the process.
    let file = format!("{}/fuzz-{name}", env!("CARGO_TARGET_TMPDIR"));
    for run in 0..runs {
        let mut random = Random::new(seed, run);
        let input = random.of(&inputs).unwrap();
        let changed = mutate(input, Sources { others: &inputs, words: &words }, &mut random);
        std::fs::write(&file, &changed).unwrap();
        if catch_unwind(|| (target.run)(&changed)).is_err() {
            let shown = changed.escape_ascii();
            panic!("SEED={seed}: run {run} breaks a promise of target {name:?}; its input is in {file}: {shown}");
        }
    }
}
