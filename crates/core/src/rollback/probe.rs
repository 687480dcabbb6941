//! What the good revision's pods say when they are asked directly.

use std::fmt;

use super::verify::Verification;
use crate::fingerprint::Fingerprint;
use crate::workload::{PodFacts, Workload};

/// Most pods that are asked at one look.
const MOST_PODS: usize = 10;

/// The longest path.
pub const LONGEST_PATH: usize = 256;

/// One GET that every pod of the good revision must answer well, as the kubelet's `httpGet` means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Over what it is asked.
    pub scheme: Scheme,
    /// The pod's port; not 0.
    pub port: u16,
    /// The path, as [`is_path`] wants it.
    pub path: String,
}

/// Over what a probe is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS. The certificate is not checked: pods' addresses are in none.
    Https,
}

/// What became of one GET of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The pod's name.
    pub pod: String,
    /// What it was asked.
    pub probe: Probe,
    /// What it said.
    pub reply: Reply,
}

/// What a pod said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An HTTP status code.
    Code(u16),
    /// Nothing; the phrase says why, as in `refused the connection`.
    Silence(String),
    /// It was not asked, since its status names an address that leads elsewhere; the phrase says which and why.
    NotSent(String),
}

/// Whether a path can be asked for: it begins with a slash, and holds only visible ASCII characters. A `#` would begin
/// a part that is never sent.
pub fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= LONGEST_PATH && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

/// The pods that are asked: the ready ones of the good revision, the same ones at each look while they live.
pub fn asked<'a>(workload: &'a Workload, good: &'a Fingerprint) -> Vec<&'a PodFacts> {
    let mut pods: Vec<&PodFacts> = workload.pods_of(good).filter(|pod| pod.ready && !pod.leaving).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    pods.truncate(MOST_PODS);
    pods
}

/// What the answers say of the cure. One bad answer is enough: the pod gets its share of the users' requests, too. No
/// answer says nothing of the pod: it is ready, so the kubelet reaches it, and only the way from here may be closed.
pub fn judge_answers(answers: &[Answer]) -> Verification {
    // The first by the pod's name: the sentence must not change while nothing else does.
    let first = |is_so: fn(&Reply) -> bool| answers.iter().filter(|one| is_so(&one.reply)).min_by_key(|one| &one.pod);
    let bad = first(|reply| matches!(reply, Reply::Code(code) if !(200..400).contains(code)));
    let silent = first(|reply| matches!(reply, Reply::Silence(_) | Reply::NotSent(_)));
    match (bad, silent) {
        (Some(answer), _) => Verification::Outside(answer.to_string()),
        (None, Some(answer)) => Verification::Unknown(answer.to_string()),
        (None, None) if answers.is_empty() => Verification::Unknown("no pod is ready to be asked".to_owned()),
        (None, None) => Verification::Within,
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pod, probe, reply } = self;
        match reply {
            Reply::Code(code) => write!(f, "{probe} of pod {pod} answered {code}"),
            Reply::Silence(why) => write!(
                f,
                "{probe} of pod {pod} cannot be reached from the operator ({why}): another port, or a NetworkPolicy?"
            ),
            Reply::NotSent(why) => write!(f, "{probe} of pod {pod} was not sent: its status says {why}"),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = match self.scheme {
            Scheme::Http => "",
            Scheme::Https => "https ",
        };
        write!(f, "GET {over}:{}{}", self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pod: &str, reply: Reply) -> Answer {
        let probe = Probe { scheme: Scheme::Http, port: 8080, path: "/healthz".to_owned() };
        Answer { pod: pod.to_owned(), probe, reply }
    }

    fn silent(pod: &str) -> Answer {
        answer(pod, Reply::Silence("refused the connection".to_owned()))
    }

    #[test]
    fn the_codes_that_the_kubelet_takes_are_fine_and_no_others() {
        for (code, fine) in [(101, false), (199, false), (200, true), (204, true), (301, true), (399, true)] {
            assert_eq!(judge_answers(&[answer("a", Reply::Code(code))]) == Verification::Within, fine, "{code}");
        }
        let expected = Verification::Outside("GET :8080/healthz of pod a answered 400".to_owned());
        assert_eq!(judge_answers(&[answer("a", Reply::Code(400))]), expected);
    }

    #[test]
    fn one_pod_that_answers_badly_is_enough_whatever_the_others_do() {
        let answers = [silent("a"), answer("b", Reply::Code(200)), answer("c", Reply::Code(503))];
        let expected = Verification::Outside("GET :8080/healthz of pod c answered 503".to_owned());
        assert_eq!(judge_answers(&answers), expected);
    }

    #[test]
    fn no_answer_is_neither_a_cure_nor_a_fault() {
        let said = judge_answers(&[answer("a", Reply::Code(200)), silent("b")]);
        let words = "GET :8080/healthz of pod b cannot be reached from the operator (refused the connection): \
                     another port, or a NetworkPolicy?";
        assert_eq!(said, Verification::Unknown(words.to_owned()));
        assert!(matches!(judge_answers(&[]), Verification::Unknown(_)), "nobody was asked");
    }

    #[test]
    fn a_pod_that_was_not_asked_is_neither_a_cure_nor_a_fault_and_the_reason_is_told() {
        let not_sent = Reply::NotSent("127.0.0.1, which is no address of a pod: it is a loopback address".to_owned());
        let said = judge_answers(&[answer("a", Reply::Code(200)), answer("b", not_sent)]);
        let words = "GET :8080/healthz of pod b was not sent: its status says 127.0.0.1, which is no address of a pod: it is \
                     a loopback address";
        assert_eq!(said, Verification::Unknown(words.to_owned()));
    }

    #[test]
    fn the_sentence_is_about_the_first_pod_by_name_whoever_answers_first() {
        let mut answers = vec![answer("b", Reply::Code(500)), answer("a", Reply::Code(503)), silent("0")];
        let said = judge_answers(&answers);
        assert_eq!(said, Verification::Outside("GET :8080/healthz of pod a answered 503".to_owned()));
        answers.reverse();
        assert_eq!(judge_answers(&answers), said);
    }

    #[test]
    fn a_path_is_what_can_be_sent_as_it_stands() {
        let longest = "/".repeat(LONGEST_PATH);
        for path in ["/", "/healthz", "/a/b?full=1&x=%20", "//other.example/", "/@other:1", longest.as_str()] {
            assert!(is_path(path), "{path}");
        }
        let too_long = "/".repeat(LONGEST_PATH + 1);
        for path in ["", "healthz", "http://x/", " /", "/a b", "/a\nb", "/a\0", "/ü", "/a#b", too_long.as_str()] {
            assert!(!is_path(path), "{path:?}");
        }
    }

    #[test]
    fn another_scheme_is_told() {
        let probe = Probe { scheme: Scheme::Https, port: 8443, path: "/".to_owned() };
        assert_eq!(probe.to_string(), "GET https :8443/");
    }
}
