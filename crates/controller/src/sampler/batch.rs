//! As few queries as will do, for as many watches as there are.

use std::collections::VecDeque;

use snapback_core::sample::{Answer, Missing};

/// Most watches that one query is about.
const MOST: usize = 256;

/// The least that they shrink to while a source gives no answer: it may be away, and then more queries do not help.
const LEAST: usize = 32;

/// How many more are tried after all went well.
const MORE: usize = 16;

/// Failures in a row that are taken for all the others' too.
const OUTAGE: usize = 2;

/// How many watches one query is about: as many as the source was able to answer for lately.
#[derive(Debug)]
pub(super) struct Size(usize);

impl Default for Size {
    fn default() -> Self {
        Self(MOST)
    }
}

/// Asks for all of them in batches, and gives the answer of each batch.
///
/// One target with very many pods must not blind the others: what gets too large an answer is asked for in halves.
pub(super) async fn ask<T, A, F>(all: Vec<T>, size: &mut Size, ask: impl Fn(&[T]) -> F) -> Vec<(Vec<T>, Answer<A>)>
where
    F: Future<Output = Answer<A>>,
{
    let mut left = all;
    let mut queue = VecDeque::new();
    while !left.is_empty() {
        let rest = left.split_off(left.len().min(size.0));
        queue.push_back(left);
        left = rest;
    }
    let mut answered = Vec::new();
    let (mut failures, mut is_too_large) = (0, None);
    let mut last: Option<Missing> = None;
    while let Some(mut batch) = queue.pop_front() {
        let answer = match &last {
            Some(missing) if failures >= OUTAGE => Err(missing.clone()),
            _ => ask(&batch).await,
        };
        match &answer {
            Err(Missing::TooLarge(_)) if batch.len() > 1 => {
                let half = batch.split_off(batch.len() / 2);
                is_too_large = Some(batch.len());
                queue.push_front(half);
                queue.push_front(batch);
                continue;
            }
            // The fault of these pods alone.
            Ok(_) | Err(Missing::TooLarge(_)) => failures = 0,
            Err(missing) => {
                failures += 1;
                last = Some(missing.clone());
            }
        }
        answered.push((batch, answer));
    }
    size.0 = match (last, is_too_large) {
        (Some(_), _) => (size.0 / 2).max(LEAST.min(size.0)),
        (None, Some(fits)) => fits,
        (None, None) => (size.0 + MORE).min(MOST),
    };
    answered
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn outage() -> Missing {
        Missing::Unavailable("it is away".to_owned())
    }

    /// The sizes of the queries, and for how many watches there is an answer, when it is as `answers` says.
    async fn asked(watches: usize, size: &mut Size, answers: impl Fn(&[usize]) -> Answer<()>) -> (Vec<usize>, usize) {
        let sizes = RefCell::new(Vec::new());
        let answered = ask((0..watches).collect(), size, |batch: &[usize]| {
            sizes.borrow_mut().push(batch.len());
            std::future::ready(answers(batch))
        })
        .await;
        let mut all: Vec<usize> = answered.iter().flat_map(|(batch, _)| batch).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..watches).collect::<Vec<_>>(), "each one gets one answer");
        let well = answered.iter().filter(|(_, answer)| answer.is_ok());
        (sizes.into_inner(), well.map(|(batch, _)| batch.len()).sum())
    }

    #[tokio::test]
    async fn many_watches_are_one_query() {
        let mut size = Size::default();
        assert_eq!(asked(1, &mut size, |_| Ok(())).await, (vec![1], 1));
        assert_eq!(asked(256, &mut size, |_| Ok(())).await, (vec![256], 256));
        assert_eq!(asked(600, &mut size, |_| Ok(())).await, (vec![256, 256, 88], 600));
    }

    #[tokio::test]
    async fn one_target_with_too_many_pods_does_not_blind_the_others() {
        let crowded = |batch: &[usize]| if batch.contains(&5) { Err(Missing::TooLarge(1)) } else { Ok(()) };
        let (queries, answered) = asked(64, &mut Size::default(), crowded).await;
        assert_eq!(answered, 63);
        assert!(queries.len() <= 1 + 2 * 6, "{queries:?}");
    }

    #[tokio::test]
    async fn what_was_too_large_is_asked_for_in_parts_from_then_on() {
        let mut size = Size::default();
        let small = |batch: &[usize]| if batch.len() > 60 { Err(Missing::TooLarge(1)) } else { Ok(()) };
        assert_eq!(asked(200, &mut size, small).await, (vec![200, 100, 50, 50, 100, 50, 50], 200));
        assert_eq!(asked(200, &mut size, small).await.0, [50, 50, 50, 50]);
        assert_eq!(size.0, 66, "and a little more is tried again");
    }

    #[tokio::test]
    async fn a_source_that_is_away_is_not_asked_for_each() {
        let mut size = Size::default();
        for _ in 0..10 {
            let (queries, answered) = asked(1000, &mut size, |_| Err(outage())).await;
            assert_eq!((queries.len(), answered), (OUTAGE, 0));
        }
        assert_eq!(size.0, LEAST);
    }
}
