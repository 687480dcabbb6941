//! Writes `crds/`: `cargo run -p snapback-api --example crds -- <directory>`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a development tool that reports to its user")]

use std::path::PathBuf;

fn main() {
    let directory = PathBuf::from(std::env::args().nth(1).expect("usage: crds <directory>"));
    for (name, crd) in snapback_api::crd::all() {
        let text = serde_yaml_ng::to_string(&crd).expect("a CRD is plain data");
        let path = directory.join(name);
        std::fs::write(&path, format!("# Generated from crates/api by `make crds`; do not edit.\n{text}"))
            .expect("writable");
        println!("wrote {}", path.display());
    }
}
