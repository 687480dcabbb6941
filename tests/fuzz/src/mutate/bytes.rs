//! Changes of a text.

use super::{Random, Sources};

/// One to four changes.
pub(super) fn mutate(mut input: Vec<u8>, sources: Sources<'_>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        change(&mut input, sources, random);
    }
    input
}

fn change(input: &mut Vec<u8>, sources: Sources<'_>, random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(9) {
        0 => flip(input, random),
        1 => _ = input.drain(range(input, random)),
        // The same once more, here or elsewhere.
        2 => {
            let again = input[range(input, random)].to_vec();
            input.splice(at..at, again);
        }
        3 => {
            let again = input[range(input, random)].to_vec();
            let over = range(input, random);
            input.splice(over, again);
        }
        // A piece of another input.
        4 => {
            if let Some(other) = random.of(sources.others) {
                let piece = other[range(other, random)].to_vec();
                let over = range(input, random);
                input.splice(over, piece);
            }
        }
        5 | 6 => {
            if let Some(word) = random.of(sources.words) {
                input.splice(at..at, word.iter().copied());
            }
        }
        7 => {
            if let Some(word) = random.of(sources.words) {
                let over = a_word(input, at);
                input.splice(over, word.iter().copied());
            }
        }
        // Often of something: what recurses, and what has a longest length, is found by it.
        _ => {
            let piece = input[a_word(input, at)].to_vec();
            let times = [2, 8, 64, 512][random.below(4)].min(4096 / piece.len().max(1));
            input.splice(at..at, piece.repeat(times));
        }
    }
}

fn flip(input: &mut [u8], random: &mut Random) {
    let at = random.below(input.len());
    if let Some(byte) = input.get_mut(at) {
        *byte = match random.below(3) {
            0 => *byte ^ (1 << random.below(8)),
            1 => byte.wrapping_add(1),
            _ => b" \n\"'\\{}[]()0,:-%\x7f"[random.below(17)],
        };
    }
}

/// A stretch of at most 32 bytes.
fn range(input: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(input.len() + 1);
    let length = random.below(32.min(input.len() - start) + 1);
    start..start + length
}

/// The word that a byte is in, or the one byte that is no part of a word.
fn a_word(input: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let before = input[..at].iter().rev().take_while(|byte| is_word(byte)).count();
    let behind = input[at..].iter().take_while(|byte| is_word(byte)).count();
    match before + behind {
        0 => at..(at + 1).min(input.len()),
        _ => at - before..at + behind,
    }
}
