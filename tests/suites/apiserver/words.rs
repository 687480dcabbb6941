//! What people write into fields, and what they never would.

use crate::generator::Chance;

/// What there is to aim at, and what there is not.
pub(crate) const TARGETS: [(&str, &str); 5] = [
    ("Deployment", "checkout"),
    ("Deployment", "cart"),
    ("StatefulSet", "store"),
    ("DaemonSet", "agent"),
    ("Deployment", "absent"),
];

/// A query over a window.
pub(crate) const WINDOWED: &str = "sum(rate(errors_total[{{ window }}]))";

const PROMQL: [&str; 18] = [
    "up",
    "sum(rate(http_requests_total{code=~\"5..\",pod=~\"{{ pods }}\"}[1m]))",
    "histogram_quantile(0.99, sum by (le) (rate(d_bucket{pod=~\"{{ pods }}\"}[5m])))",
    "1",
    "NaN",
    "-Inf",
    "vector(scalar(up)) ^ 1e308",
    "up offset -5m @ end()",
    "max_over_time(rate(a[5m])[1h:30s])",
    "sum(rate(errors_total[1m])",
    "errors_total[5m]",
    "{__name__=~\".+\"}",
    "up{pod=\"{{ pods }}\", namespace=\"{{ namespace }}\"}",
    "up{pod=~\"{{ nothing }}\"}",
    "((((((((((((((((((((((up))))))))))))))))))))))",
    "label_replace(up, \"ä\", \"$1\", \"pod\", \"(.*)\")",
    "time() - 0x1p-2",
    "count_values(\"v\", up) and on() absent(up) unless ignoring(pod) up",
];

const SCHEDULES: [&str; 14] = [
    "0 9 * * 1-5",
    "*/7 */3 1-31/2 jan-dec MON#2",
    "0 0 29 2 *",
    "0 0 31 2 *",
    "59 23 L * *",
    "0 0 * * 5L",
    "* * * * *",
    "0 25 * * *",
    "60 0 1 1 0",
    "0 0 1 1 7",
    "0-59/61 0 * * *",
    "5,5,5 4,3-9/2 * * sun",
    "0 0 15W * *",
    "0 0 0 0 0",
];

const DURATIONS: [&str; 14] = [
    "30s",
    "1m",
    "5m",
    "1h",
    "24h",
    "25h",
    "0s",
    "0h0m0s0ms",
    "99999h",
    "99999h99999m99999s9999ms",
    "1ms",
    "744h",
    "1h1h1h1h",
    "00001s",
];

/// Within all bounds.
const SOUND_DURATIONS: [&str; 8] = ["1m", "90s", "5m", "1h", "1h30m", "24h", "0h1m0s0ms", "00061s"];

const SOUND_AMOUNTS: [&str; 8] = ["5%", "50%", "0.5", "0.0001", "99.9%", "1", "0.99999999999999", "00.10%"];

const ZONES: [&str; 8] = [
    "Etc/UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Pacific/Apia",
    "Europe/Berln",
    "UTC+2",
    "Africa/Casablanca",
    "posixrules",
];

const AMOUNTS: [&str; 18] = [
    "5%",
    "50%",
    "0",
    "0%",
    "1",
    "0.5",
    "0.0000000000001",
    "99.99999999999%",
    "100%",
    "100",
    "20",
    "1.0000000001",
    "-1",
    "-0",
    "999999999999999",
    "00.10%",
    "1000000%",
    "3",
];

const PATHS: [&str; 8] = ["/", "/healthz?full=1", "//other.example/", "/%zz", "/..", "/@x", "/a;b=c", "/\\"];

const KEYS: [&str; 7] = ["app", "app.kubernetes.io/name", "a/b/c", "-a", "", "example.com/ä", "tier"];

const NAMES: [&str; 9] = [
    "checkout",
    "cart",
    "store",
    "agent",
    "absent",
    "a",
    "a..b",
    "x.y-z.0",
    "a-very-long-name-of-a-workload-that-goes-on-for-as-long-as-a-label-and-then-some-more",
];

const WILD: [char; 18] =
    ['a', 'Z', '0', '-', '.', '_', '/', ' ', 'ä', 'ß', '語', '🚀', '\u{200f}', '\u{0}', '"', '\\', '\n', '{'];

fn pick(of: &[&str], chance: &mut Chance) -> Option<String> {
    chance.one(of).map(|one| (*one).to_owned())
}

/// What fits a field of this name.
pub(crate) fn known(field: &str, chance: &mut Chance, careful: bool) -> Option<String> {
    match field {
        "promql" => pick(&PROMQL, chance),
        "errorRatio" | "errors" | "total" => Some(WINDOWED.to_owned()).filter(|_| chance.percent(80)),
        "schedule" => pick(&SCHEDULES, chance),
        "timeZone" => pick(&ZONES, chance),
        "duration" | "interval" | "maxDuration" | "progressDeadline" | "deadline" | "cooldown" | "approvalTimeout"
        | "short" | "long" => pick(if careful { &SOUND_DURATIONS } else { &DURATIONS }, chance),
        "max" | "min" | "floor" | "maxRatio" | "objective" | "factor" | "falseAlarmRate" | "value" | "limit"
        | "originalMaxSurge" => pick(if careful { &SOUND_AMOUNTS } else { &AMOUNTS }, chance),
        "path" => pick(&PATHS, chance),
        "source" => pick(&["main", "numbers", "thanos"], chance),
        "name" => pick(&NAMES, chance),
        "errorCodes" => pick(&["5..", "5..|429", "(", "[", "(?i)x", "\\p{L}", "5{1000}", "", "^$"], chance),
        "counts" | "fields" => pick(&["{}", "[]", "null", "{", "1e999", "[[[[[[[[[[]]]]]]]]]]", "\"\""], chance),
        _ => None,
    }
}

pub(crate) fn label_key(chance: &mut Chance, careful: bool) -> String {
    if careful {
        return pick(&["app", "app.kubernetes.io/name", "tier"], chance).unwrap_or_default();
    }
    pick(&KEYS, chance).unwrap_or_default()
}

/// Times that are, that were, and that nobody means.
pub(crate) fn time(chance: &mut Chance, careful: bool) -> String {
    match chance.below(if careful { 40 } else { 10 }) {
        0 => "1970-01-01T00:00:00Z".to_owned(),
        1 => "0001-01-01T00:00:00Z".to_owned(),
        2 => "9999-12-31T23:59:59Z".to_owned(),
        3 => "2026-02-28T23:59:60Z".to_owned(),
        4 => "2024-02-29T12:00:00.999999999+14:00".to_owned(),
        5 => "9999-12-31T23:59:59-14:00".to_owned(),
        6 => "2026-01-02t03:04:05z".to_owned(),
        _ => {
            let offset = i64::try_from(chance.below(7200)).unwrap_or_default() - 3600;
            let now = jiff::Timestamp::now();
            jiff::Timestamp::from_second(now.as_second() + offset).unwrap_or(now).to_string()
        }
    }
}

/// Any text, of a length within these bounds, or just outside.
pub(crate) fn free(chance: &mut Chance, least: usize, most: usize, careful: bool) -> String {
    let length = match chance.below(12) {
        0 => least,
        // The API server counts bytes.
        1 => {
            if careful {
                most / 4
            } else {
                most
            }
        }
        2 if !careful => most + 1,
        3 if !careful => least.saturating_sub(1),
        _ => least + chance.below((most / 4).min(40).saturating_sub(least).max(1)),
    };
    // Most people write letters.
    let tame = chance.percent(60);
    let letter = |chance: &mut Chance| if tame { 'a' } else { chance.one(&WILD).copied().unwrap_or('a') };
    (0..length).map(|_| letter(chance)).collect()
}
