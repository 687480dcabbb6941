//! What an operator that starts anew counts of targets which wait for a person.

use anyhow::Result;

use crate::bed::{Bed, eventually};
use crate::operator::Operator;
use crate::past::Test;
use crate::story::{Story, Told};

pub(crate) const TESTS: [(&str, Test); 1] = [("targets_are_counted_by_phase_after_a_restart_and_a_deletion", phases)];

/// A bad release is held, as its policy observes only.
fn phases(bed: &Bed) -> Result<()> {
    let namespace = "counted";
    bed.namespace(namespace, &bed.rules)?;
    let told = Told { bed, namespace, story: Story::Undo("Deployment") };
    told.prepare()?;
    let operator = Operator::start(bed, bed.as_operator()?, namespace, false)?;
    eventually("v1 known good", || Ok(told.known_good()?.0 == 1))?;
    eventually("one at rest", || Ok(operator.targets("Idle")? == Some(1)))?;
    bed.tools.kubectl(&[
        "-n",
        namespace,
        "patch",
        "rbp",
        "checkout",
        "--type=merge",
        "-p",
        r#"{"spec":{"mode":"Observe"}}"#,
    ])?;
    told.release("v2", true)?;
    eventually("one held", || Ok(operator.targets("Held")? == Some(1) && operator.targets("Idle")? == Some(0)))?;
    operator.stop()?;
    let operator = Operator::start(bed, bed.as_operator()?, namespace, false)?;
    eventually("one held still", || Ok(operator.targets("Held")? == Some(1)))?;
    bed.tools.kubectl(&["-n", namespace, "delete", "rbp", "checkout"])?;
    eventually("none held", || Ok(operator.targets("Held")? == Some(0)))?;
    operator.stop()
}
