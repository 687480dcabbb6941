//! Changing an input a little, so that most of it still means something.

mod bytes;
mod random;
mod tree;

pub use random::Random;

/// What a change may take from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Other inputs.
    pub others: &'a [Vec<u8>],
    /// The target's words.
    pub words: &'a [Vec<u8>],
}

/// A changed input. What holds JSON mostly stays JSON: a line before it, as the replies have, is kept.
pub fn mutate(input: &[u8], sources: Sources<'_>, random: &mut Random) -> Vec<u8> {
    let (head, body) = input.split_at(start_of_tree(input));
    if let Ok(tree) = serde_json::from_slice(body)
        && random.below(8) > 0
    {
        let tree = tree::mutate(tree, sources, random);
        return [head, tree.to_string().as_bytes()].concat();
    }
    bytes::mutate(input.to_vec(), sources, random)
}

fn start_of_tree(input: &[u8]) -> usize {
    input.iter().position(|byte| *byte == b'{').unwrap_or(input.len())
}
