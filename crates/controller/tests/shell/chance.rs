//! Samples that are the same every time.

/// `count` numbers below `below`, by chance from a seed; all of them, if there are no more.
pub(crate) fn sample(seed: &str, below: usize, count: usize) -> Vec<usize> {
    let mut state = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut left: Vec<usize> = (0..below).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let index = usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % left.len();
        chosen.push(left.swap_remove(index));
    }
    chosen
}
