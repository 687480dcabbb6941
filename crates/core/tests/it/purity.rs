//! The core stays pure: no Kubernetes, no runtime, no network, no logging; neither direct nor through others.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

const FORBIDDEN: [&str; 12] = [
    "kube",
    "kube-client",
    "kube-runtime",
    "k8s-openapi",
    "tokio",
    "hyper",
    "reqwest",
    "rustls",
    "tracing",
    "async-trait",
    "futures",
    "prometheus-client",
];

#[test]
fn the_core_depends_on_nothing_that_acts() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "tree",
        "--offline",
        "--locked",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
        "--manifest-path",
        manifest,
    ];
    let output = Command::new(cargo).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"snapback-core") && names.contains(&"jiff"), "{tree}");
    let found: Vec<&&str> = names.iter().filter(|name| FORBIDDEN.contains(*name)).collect();
    assert!(found.is_empty(), "the core depends on {found:?}");
}

/// `now` is an argument: nothing here asks a clock.
#[test]
fn the_core_asks_no_clock() {
    nothing_says(&["Timestamp::now", "Instant::now", "SystemTime", "Zoned::now", "async fn", "println!"]);
}

/// Time zones are those of the program, not those that a machine has installed: `TimeZoneDatabase::bundled` is the one
/// way to them.
#[test]
fn the_core_reads_no_time_zones_from_files() {
    nothing_says(&["TimeZone::get", "TimeZone::system", "TimeZone::try_system", "tz::db()", "in_tz(", "from_env"]);
}

fn nothing_says(words: &[&str]) {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in words {
                assert!(!text.contains(word), "{} says {word}", path.display());
            }
        }
    }
}
