//! One history that breaks nothing, and for each invariant histories that break it and no other.

use snapback_invariants::{Cause, Fact, Invariant, Writer, violations};

type Story = Vec<Fact>;

fn s(text: &str) -> String {
    text.to_owned()
}

fn applied(revision: &str) -> Fact {
    Fact::Template { target: s("web"), revision: s(revision), by: Writer::Person }
}

fn undone(revision: &str, record: &str) -> Fact {
    let record = Some(record).filter(|record| !record.is_empty()).map(s);
    Fact::Template { target: s("web"), revision: s(revision), by: Writer::Operator { record } }
}

fn policy(judges: bool) -> Fact {
    Fact::Policy { target: s("web"), judges }
}

fn decided(record: &str, bad: &str, good: &str, cause: Cause) -> Fact {
    Fact::Decided { record: s(record), target: s("web"), bad: s(bad), good: s(good), cause, look: None }
}

fn breach(judged: &str) -> Cause {
    Cause::Breach { judged: s(judged), has_data: true, windows: None }
}

fn back(judged: &str) -> Cause {
    Cause::Return { judged: s(judged) }
}

fn told(record: &str) -> Fact {
    Fact::Told { record: s(record), reason: s("RollbackStarted") }
}

fn ended(record: &str) -> Fact {
    Fact::Ended { record: s(record), phase: s("Succeeded") }
}

fn window(number: i64) -> Fact {
    let (from, until) = (number * 10, number * 10 + 10);
    Fact::Window { target: s("web"), revision: s("v2"), check: s("errors"), from, until }
}

fn rest(expected: &str) -> Fact {
    Fact::Rest { target: s("web"), expected: Some(s(expected)), terminal: true }
}

/// v1 runs, v2 is applied.
fn released() -> Story {
    vec![policy(true), applied("v1"), applied("v2")]
}

/// The same, and v2 is undone.
fn rolled_back() -> Story {
    let end = [decided("a", "v2", "v1", breach("v2")), undone("v1", "a"), told("a"), ended("a"), rest("v1")];
    released().into_iter().chain(end).collect()
}

fn then(mut story: Story, more: impl IntoIterator<Item = Fact>) -> Story {
    story.extend(more);
    story
}

/// The invariants that a story breaks.
fn broken(story: &Story) -> Vec<Invariant> {
    let mut broken: Vec<Invariant> = violations(story).iter().map(|found| found.invariant).collect();
    broken.dedup();
    broken
}

#[track_caller]
fn breaks(invariant: Invariant, story: &Story) {
    assert_eq!(broken(story), [invariant], "{:#?}", violations(story));
}

#[track_caller]
fn holds(story: &Story) {
    assert_eq!(violations(story), []);
}

#[test]
fn a_rollback_breaks_nothing() {
    holds(&rolled_back());
}

#[test]
fn nor_does_a_return_that_is_undone_anew() {
    let again =
        [applied("v2"), decided("b", "v2", "v1", back("v2")), undone("v1", ""), told("b"), ended("b"), rest("v1")];
    holds(&then(rolled_back(), again));
}

#[test]
fn nor_does_a_decision_that_a_newer_template_overtook() {
    let overtaken = [decided("a", "v2", "v1", breach("v2")), applied("v3"), ended("a"), rest("v3")];
    holds(&then(released(), overtaken));
}

#[test]
fn nor_does_a_person_who_orders_without_a_policy() {
    let order = [decided("a", "v2", "v1", Cause::Person), undone("v1", "a"), told("a"), ended("a"), rest("v1")];
    holds(&then(vec![applied("v1"), applied("v2")], order));
}

#[test]
fn nor_does_a_begun_rollback_that_is_finished_under_a_suspended_policy() {
    let order = [decided("a", "v2", "v1", breach("v2")), policy(false), undone("v1", "a"), told("a"), ended("a")];
    holds(&then(released(), order));
}

#[test]
fn nor_does_a_record_that_a_person_deleted() {
    let withdrawn =
        [decided("a", "v2", "v1", breach("v2")), undone("v1", "a"), Fact::Withdrawn { record: s("a") }, rest("v1")];
    holds(&then(released(), withdrawn));
}

#[test]
fn i1_a_record_undoes_once_even_if_the_bad_one_comes_back() {
    let twice = [decided("a", "v2", "v1", breach("v2")), undone("v1", "a"), applied("v2"), undone("v1", "a")];
    breaks(Invariant::I1, &then(released(), twice));
}

#[test]
fn i1_what_did_not_come_back_is_not_decided_on_again() {
    breaks(Invariant::I1, &then(rolled_back(), [applied("v3"), decided("b", "v2", "v1", breach("v2"))]));
}

#[test]
fn i1_two_open_records_are_one_too_many() {
    let two = [decided("a", "v2", "v1", breach("v2")), decided("b", "v2", "v1", breach("v2"))];
    breaks(Invariant::I1, &then(released(), two));
}

#[test]
fn i2_a_template_that_never_existed() {
    let invented = [decided("a", "v2", "v9", breach("v2")), undone("v9", "a")];
    breaks(Invariant::I2, &then(released(), invented));
}

#[test]
fn i3_an_undo_without_a_record() {
    breaks(Invariant::I3, &then(released(), [undone("v1", "")]));
}

#[test]
fn i3_an_undo_that_its_record_does_not_say() {
    let other = vec![policy(true), applied("v0"), applied("v1"), applied("v2")];
    breaks(Invariant::I3, &then(other, [decided("a", "v2", "v1", breach("v2")), undone("v0", "a")]));
}

#[test]
fn i4_a_record_that_ends_twice() {
    let twice = [decided("a", "v2", "v1", breach("v2")), undone("v1", "a"), told("a"), ended("a"), ended("a")];
    breaks(Invariant::I4, &then(released(), twice));
}

#[test]
fn i4_an_undo_that_never_ends() {
    let open = [decided("a", "v2", "v1", breach("v2")), undone("v1", "a"), told("a"), rest("v1")];
    breaks(Invariant::I4, &then(released(), open));
}

#[test]
fn i4_an_undo_that_nobody_is_told_of() {
    let silent = [decided("a", "v2", "v1", breach("v2")), undone("v1", "a"), ended("a"), rest("v1")];
    breaks(Invariant::I4, &then(released(), silent));
}

#[test]
fn i4_an_undo_after_the_end_of_its_record() {
    let late = [decided("a", "v2", "v1", breach("v2")), told("a"), ended("a"), undone("v1", "a")];
    breaks(Invariant::I4, &then(released(), late));
}

#[test]
fn i5_an_undo_of_a_newer_template() {
    let over = [decided("a", "v2", "v1", breach("v2")), applied("v3"), undone("v1", "a")];
    breaks(Invariant::I5, &then(released(), over));
}

#[test]
fn i5_evidence_about_another_revision() {
    breaks(Invariant::I5, &then(released(), [decided("a", "v2", "v1", breach("v1"))]));
}

#[test]
fn i6_the_bad_one_stays() {
    breaks(Invariant::I6, &then(released(), [rest("v1")]));
}

#[test]
fn i6_a_status_that_waits_for_ever() {
    let waits = Fact::Rest { target: s("web"), expected: None, terminal: false };
    breaks(Invariant::I6, &then(released(), [waits]));
}

#[test]
fn i6_a_rest_that_is_none() {
    let order = decided("b", "v1", "v2", breach("v1"));
    breaks(Invariant::I6, &then(rolled_back(), [order]));
}

#[test]
fn i7_a_window_that_is_counted_twice() {
    breaks(Invariant::I7, &then(released(), [window(1), window(2), window(2)]));
}

#[test]
fn i7_more_windows_than_there_were() {
    let cause = Cause::Breach { judged: s("v2"), has_data: true, windows: Some(3) };
    breaks(Invariant::I7, &then(released(), [window(1), window(2), decided("a", "v2", "v1", cause)]));
}

#[test]
fn i8_no_data_is_taken_for_a_breach() {
    let cause = Cause::Breach { judged: s("v2"), has_data: false, windows: None };
    breaks(Invariant::I8, &then(released(), [decided("a", "v2", "v1", cause)]));
}

#[test]
fn i8_a_return_of_what_was_never_found_bad() {
    breaks(Invariant::I8, &then(released(), [decided("a", "v2", "v1", back("v2"))]));
}

#[test]
fn i9_a_suspended_policy_decides() {
    breaks(Invariant::I9, &then(released(), [policy(false), decided("a", "v2", "v1", breach("v2"))]));
}

/// The last look counts, not what became of the policy while the record was created.
#[test]
fn i9_what_the_last_look_saw_is_what_counts() {
    let look = || Fact::Looked { look: s("one"), target: s("web") };
    let placed = || Fact::Decided {
        record: s("a"),
        target: s("web"),
        bad: s("v2"),
        good: s("v1"),
        cause: breach("v2"),
        look: Some(s("one")),
    };
    holds(&then(released(), [look(), policy(false), placed()]));
    breaks(Invariant::I9, &then(released(), [policy(false), look(), policy(true), placed()]));
}
