//! The fields go back to who had them.

use super::*;
use crate::support::*;
use snapback_core::rollback::{Act, Progress, handed_back, undo_accepted};

#[test]
fn the_owners_are_noted_before_the_undo_takes_their_fields() {
    let asked = look(&Progress::default(), &owned(complete_v2()), 1);
    assert_eq!(asked.progress.owners, owned(complete_v2()).owners);
    // Later looks see an object in which they own less: what was noted stays.
    let again = look(&asked.progress, &complete_v2(), 9);
    assert_eq!(again.progress.owners, asked.progress.owners);
}

#[test]
fn the_fields_are_given_back_after_the_undo_and_once() {
    let asked = look(&Progress::default(), &owned(complete_v2()), 1);
    let accepted = undo_accepted(asked.clone(), &order(), at(2));
    assert_eq!(accepted.act, Act::HandBack);
    // Died before the note of the acceptance, or after it: it is still owed.
    assert_eq!(look(&asked.progress, &back(), 9).act, Act::HandBack);
    assert_eq!(look(&accepted.progress, &back(), 9).act, Act::HandBack);
    let done = handed_back(accepted, at(3));
    assert_eq!((done.act, done.progress.handed_back), (Act::Nothing, Some(at(3))));
    assert_eq!(look(&done.progress, &back(), 9).act, Act::Nothing);
}

#[test]
fn nothing_is_given_back_over_a_newer_template() {
    let accepted = undo_accepted(look(&Progress::default(), &owned(complete_v2()), 1), &order(), at(2));
    let newer = workload("v3", vec![revision("v1", 3, 0, 0), revision("v2", 2, 0, 0), revision("v3", 4, 3, 3)]);
    assert_eq!(look(&accepted.progress, &newer, 9).act, Act::Nothing);
}

#[test]
fn helms_own_record_is_told_of_while_only_it_can_be_wrong() {
    use snapback_core::ownership::residue;
    use snapback_core::workload::HelmRelease;
    let release = HelmRelease { name: "shop".into(), namespace: "prod".into() };
    let mut owners = owned(complete_v2()).owners;
    assert_eq!(residue(&owners, Some(&release)), None, "server-side apply knows what it owns");
    owners[0].operation = "Update".into();
    assert!(residue(&owners, Some(&release)).unwrap().contains("`helm rollback shop --namespace prod`"));
    assert_eq!(residue(&owners, None), None);
}
