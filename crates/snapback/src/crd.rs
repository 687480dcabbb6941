//! `snapback crd`.
#![allow(clippy::print_stdout, reason = "the command's purpose")]

pub(crate) fn print() -> anyhow::Result<()> {
    for (_, crd) in snapback_api::crd::all() {
        print!("---\n{}", serde_yaml_ng::to_string(&crd)?);
    }
    Ok(())
}
