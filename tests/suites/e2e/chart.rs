//! The chart on real pods.

use anyhow::{Result, ensure};

use crate::scenario::Bed;

/// The program of the image runs, under the restrictions of the chart; nothing of the test is left.
pub(crate) fn helm_test(bed: &Bed) -> Result<()> {
    let said = bed.tools.helm(&["test", "snapback", "--namespace=snapback-system", "--timeout=90s", "--logs"])?;
    ensure!(said.contains("1 policy, 0 errors, 0 warnings"), "{said}");
    let left = bed.tools.kubectl(&["-n", "snapback-system", "get", "pods,configmaps,rbp", "-o", "name"])?;
    ensure!(!left.contains("snapback-test"), "left behind: {left}");
    Ok(())
}
