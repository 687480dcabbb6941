//! libFuzzer with one of the targets, which `FUZZ_TARGET` names. `make fuzz` builds and runs it.
#![no_main]
#![allow(clippy::expect_used, clippy::panic, reason = "a program of the tests")]

use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use snapback_fuzz::mutate::{Random, Sources, mutate};
use snapback_fuzz::{Target, dictionary, entries, target};

struct Chosen {
    target: Target,
    others: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

fn chosen() -> &'static Chosen {
    static CHOSEN: OnceLock<Chosen> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let target = target(&name).unwrap_or_else(|| panic!("there is no target {name:?}"));
        let others = entries(&name).into_iter().map(|entry| entry.bytes).collect();
        Chosen { target, others, words: dictionary(&name) }
    })
}

fuzz_target!(|data: &[u8]| (chosen().target.run)(data));

// Half of the changes are libFuzzer's own, which learn from comparisons; half know what JSON is.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let Chosen { others, words, .. } = chosen();
    let changed = mutate(&data[..size], Sources { others, words }, &mut Random::new(seed.into(), 0));
    match data.get_mut(..changed.len()) {
        Some(place) if changed.len() <= max_size => {
            place.copy_from_slice(&changed);
            changed.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
