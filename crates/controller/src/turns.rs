//! Whose turn it is. Of more objects than may be looked at at the same time kube's controller takes any, and mostly the same
//! ones: while looks are slow, some targets would wait for ever. Here the one that waits longest is next.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// Objects looked at at the same time, by controller.
const AT_ONCE: usize = 8;

/// The turns of a controller. Clones share them.
pub(crate) struct Turns<K: Eq + Hash + Clone> {
    queue: Arc<Mutex<Queue<K>>>,
    /// Gets whoever's turn it is.
    call: mpsc::UnboundedSender<K>,
}

struct Queue<K> {
    /// Turns that are taken, or kept for those who were called.
    taken: usize,
    /// Who waits, the longest first.
    waiting: VecDeque<K>,
    /// Where everybody is who waits or was called.
    places: HashMap<K, Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waits,
    /// And has not come yet.
    Called,
}

impl<K: Eq + Hash + Clone> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), call: self.call.clone() }
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// All free; whoever waited is called by the channel.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<K>) {
        let (call, called) = mpsc::unbounded_channel();
        let queue = Queue { taken: 0, waiting: VecDeque::new(), places: HashMap::new() };
        (Self { queue: Arc::new(Mutex::new(queue)), call }, called)
    }

    /// Takes a turn. `None`: it is not yet this one's, which will be called.
    pub(crate) fn take(&self, who: K) -> Option<Turn<K>> {
        let queue = &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.places.get(&who) {
            Some(Place::Waits) => return None,
            Some(Place::Called) => _ = queue.places.remove(&who),
            None if queue.taken < AT_ONCE => queue.taken += 1,
            None => {
                queue.waiting.push_back(who.clone());
                queue.places.insert(who, Place::Waits);
                return None;
            }
        }
        Some(Turn(self.clone()))
    }

    /// Whoever was called is gone: the turn is the next one's.
    pub(crate) fn pass(&self, who: &K) {
        let queue = &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.places.get(who) == Some(&Place::Called) {
            queue.places.remove(who);
            self.next(queue);
        }
    }

    fn next(&self, queue: &mut Queue<K>) {
        let Some(next) = queue.waiting.pop_front() else {
            queue.taken -= 1;
            return;
        };
        queue.places.insert(next.clone(), Place::Called);
        // An error means that the controller is gone, and with it everybody.
        _ = self.call.send(next);
    }
}

/// A turn, until it is dropped.
pub(crate) struct Turn<K: Eq + Hash + Clone>(Turns<K>);

impl<K: Eq + Hash + Clone> Drop for Turn<K> {
    fn drop(&mut self) {
        let queue = &mut *self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.next(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All turns are taken, and these wait.
    fn busy(
        waiting: &[&'static str],
    ) -> (Turns<&'static str>, mpsc::UnboundedReceiver<&'static str>, Vec<Turn<&'static str>>) {
        let (turns, called) = Turns::new();
        let names = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let taken = names.iter().filter_map(|name| turns.take(*name)).collect::<Vec<_>>();
        assert_eq!(taken.len(), AT_ONCE);
        assert!(waiting.iter().all(|name| turns.take(name).is_none()));
        (turns, called, taken)
    }

    #[test]
    fn who_waits_longest_is_next_and_is_called_once_however_often_it_asked() {
        let (turns, mut called, mut taken) = busy(&["a", "b", "a"]);
        taken.truncate(6);
        assert_eq!((called.try_recv(), called.try_recv()), (Ok("a"), Ok("b")));
        assert!(called.try_recv().is_err());
        let (a, b) = (turns.take("a"), turns.take("b"));
        assert!(a.is_some() && b.is_some() && turns.take("c").is_none());
    }

    #[test]
    fn a_turn_that_is_kept_for_one_who_was_called_nobody_else_gets() {
        let (turns, mut called, mut taken) = busy(&["a"]);
        taken.pop();
        assert!(turns.take("b").is_none());
        assert_eq!(called.try_recv(), Ok("a"));
        assert!(turns.take("a").is_some(), "kept until it comes");
        assert_eq!(called.try_recv(), Ok("b"), "and given back");
    }

    #[test]
    fn the_turn_of_one_who_is_gone_is_the_next_ones() {
        let (turns, mut called, mut taken) = busy(&["a", "b"]);
        turns.pass(&"a");
        assert!(called.try_recv().is_err(), "it was not called yet");
        taken.pop();
        turns.pass(&"a");
        assert_eq!((called.try_recv(), called.try_recv()), (Ok("a"), Ok("b")));
        turns.pass(&"b");
        drop(taken);
        let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let taken = names.iter().filter_map(|name| turns.take(*name)).collect::<Vec<_>>();
        assert_eq!(taken.len(), AT_ONCE, "none is lost, and none is made");
    }
}
