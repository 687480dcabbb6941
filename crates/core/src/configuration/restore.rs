//! The template that puts a revision back with its configuration.

use serde_json::Value;

use super::{ConfigKind, Configured, named, original, renamed};

/// What became of the configuration of the good revision when it was put back. Objects are named `ConfigMap settings`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restoration {
    /// Those whose present content is another one, or that are gone, and whose copy is used instead.
    pub restored: Vec<String>,
    /// Those whose present content is another one, and is used.
    pub drifted: Vec<String>,
    /// Those that could not be read, so that nobody knows whether their content is another one. What there is is used.
    pub unread: Vec<String>,
}

impl Restoration {
    /// The end of a sentence about the revision; empty when its configuration has not changed.
    pub fn told(&self) -> String {
        let mut told = String::new();
        if !self.restored.is_empty() {
            told.push_str(&format!(", with what it read then of {}", self.restored.join(", ")));
        }
        if !self.drifted.is_empty() {
            told.push_str(&format!(", but with what there is now of {}", self.drifted.join(", ")));
        }
        if !self.unread.is_empty() {
            told.push_str(&format!(", and with whatever is in {}, which could not be read", self.unread.join(", ")));
        }
        told
    }
}

/// How what a revision ran with compares to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// It is the same.
    Same,
    /// It is another content; of a Secret without a copy to compare with: another version.
    Other,
    /// It is gone.
    Gone,
}

/// What is found of an object that a known good revision ran with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The object itself.
    pub now: Now,
    /// Whether the copy is there, and may be used.
    pub copy: bool,
}

/// The template that puts a revision back with its configuration, as far as that was kept.
///
/// `found` answers for those in `configured`; `None` is one that was not looked at. What has not changed keeps its own name, so
/// that an undo of an unchanged configuration puts back exactly what its author applied. Of what has changed no copy is named
/// but one that is there: a template may name one of an earlier undo, which is gone.
pub fn restore(
    template: &Value,
    configured: &[Configured],
    found: impl Fn(&Configured) -> Option<Found>,
) -> (Value, Restoration) {
    let mut restoration = Restoration::default();
    let mut names: Vec<(ConfigKind, &str, &str)> = Vec::new();
    for one in configured {
        let Some(found) = found(one) else {
            let is_known = |(kind, name): &(ConfigKind, String)| *kind == one.kind && *name == one.copy;
            if !named(template).iter().any(is_known) {
                names.push((one.kind, &one.name, &one.name));
            }
            continue;
        };
        if found.copy && found.now != Now::Same {
            names.push((one.kind, &one.name, &one.copy));
            restoration.restored.push(one.title());
            continue;
        }
        names.push((one.kind, &one.name, &one.name));
        // One that is gone was told before: a revision whose references are gone is not put back.
        if found.now == Now::Other {
            restoration.drifted.push(one.title());
        }
    }
    let template = renamed(template, |kind, name| {
        let known = names.iter().find(|(of, known, _)| *of == kind && *known == original(name));
        known.map(|(_, _, to)| (*to).to_owned())
    });
    (template, restoration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{copy_name, read_by_name};
    use super::*;
    use crate::fingerprint::Fingerprint;

    fn template() -> Value {
        json!({"spec": {
            "volumes": [{"name": "a", "configMap": {"name": "settings"}}, {"name": "b", "secret": {"secretName": "settings"}}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "flags"}}, {"configMapRef": {"name": "key"}}]}]
        }})
    }

    fn known(kind: ConfigKind, name: &str) -> Configured {
        Configured {
            kind,
            name: name.into(),
            digest: "0123456789abcdef0123".into(),
            copy: copy_name(name, "uid", "0123456789abcdef0123").unwrap(),
            lost: false,
        }
    }

    fn all() -> Vec<Configured> {
        let config_maps = ["settings", "flags", "key"].map(|name| known(ConfigKind::ConfigMap, name));
        [config_maps.to_vec(), vec![known(ConfigKind::Secret, "settings")]].concat()
    }

    #[test]
    fn a_template_that_names_copies_is_the_same_revision() {
        let (restored, _) = restore(&template(), &all(), |_| Some(Found { now: Now::Gone, copy: true }));
        assert_eq!(named(&restored).iter().filter(|(_, name)| original(name) != name).count(), 4);
        assert_eq!(Fingerprint::of_template(&restored), Fingerprint::of_template(&template()));
    }

    #[test]
    fn what_has_not_changed_keeps_its_name() {
        let found = |_: &Configured| Some(Found { now: Now::Same, copy: true });
        assert_eq!(restore(&template(), &all(), found), (template(), Restoration::default()));
        // Also when an earlier undo had made it name the copy.
        let (copied, _) = restore(&template(), &all(), |_| Some(Found { now: Now::Gone, copy: true }));
        assert_eq!(restore(&copied, &all(), found), (template(), Restoration::default()));
    }

    #[test]
    fn what_has_changed_comes_from_its_copy_or_is_told() {
        let found = |one: &Configured| match (one.kind, one.name.as_str()) {
            (ConfigKind::Secret, _) => Some(Found { now: Now::Other, copy: true }),
            (_, "settings") => Some(Found { now: Now::Same, copy: true }),
            (_, "flags") => Some(Found { now: Now::Other, copy: false }),
            _ => None,
        };
        let (restored, told) = restore(&template(), &all(), found);
        assert_eq!(restored["spec"]["volumes"][0], template()["spec"]["volumes"][0], "the Secret's namesake");
        assert_eq!(original(restored["spec"]["volumes"][1]["secret"]["secretName"].as_str().unwrap()), "settings");
        assert_ne!(restored["spec"]["volumes"][1], template()["spec"]["volumes"][1]);
        assert_eq!(restored["spec"]["containers"], template()["spec"]["containers"]);
        let expected = Restoration {
            restored: vec!["Secret settings".into()],
            drifted: vec!["ConfigMap flags".into()],
            unread: vec![],
        };
        assert_eq!(told, expected);
        let words = ", with what it read then of Secret settings, but with what there is now of ConfigMap flags";
        assert_eq!(told.told(), words);
        let told = Restoration { unread: vec!["ConfigMap key".into()], ..told };
        assert_eq!(told.told(), format!("{words}, and with whatever is in ConfigMap key, which could not be read"));
    }

    #[test]
    fn a_copy_that_is_gone_is_not_named_again() {
        let all = all();
        let (copied, _) = restore(&template(), &all, |_| Some(Found { now: Now::Gone, copy: true }));
        for now in [Now::Other, Now::Gone] {
            assert_eq!(restore(&copied, &all, |_| Some(Found { now, copy: false })).0, template(), "{now:?}");
        }
        assert_eq!(restore(&copied, &all, |_| None).0, copied, "nobody knows that it is gone");
        let later: Vec<Configured> = all.iter().map(|one| Configured { copy: String::new(), ..one.clone() }).collect();
        assert_eq!(restore(&copied, &later, |_| None).0, template(), "it is one of an earlier undo");
    }

    #[test]
    fn what_is_read_from_a_copy_cannot_change_under_its_pods() {
        let all = all();
        let titles =
            |template: &Value| read_by_name(template, &all).into_iter().map(Configured::title).collect::<Vec<_>>();
        assert_eq!(titles(&template()), ["ConfigMap settings", "ConfigMap flags", "ConfigMap key", "Secret settings"]);
        let (copied, _) =
            restore(&template(), &all, |one| (one.name == "settings").then_some(Found { now: Now::Other, copy: true }));
        assert_eq!(titles(&copied), ["ConfigMap flags", "ConfigMap key"]);
    }
}
