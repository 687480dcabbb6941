//! Which policies are in a text, and on which lines their fields are.

use std::collections::BTreeMap;

use anyhow::Context as _;
use granit_parser::{Event, Parser, Span, StrInput};
use serde::Deserialize as _;
use serde_json::Value;

/// A policy as it was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: Value,
    /// Where it stands in its document: nothing, or `items[2].`.
    prefix: String,
    lines: BTreeMap<String, usize>,
}

impl Written {
    /// `shop/checkout`, or `checkout` where there is no namespace.
    pub(super) fn name(&self) -> String {
        let metadata = |key: &str| self.object["metadata"][key].as_str().filter(|text| !text.is_empty());
        let name = metadata("name").unwrap_or("?");
        metadata("namespace").map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
    }

    /// The line of a field, or of the nearest one around it that was written; counted from 1.
    pub(super) fn line(&self, field: &str) -> usize {
        let whole = format!("{}{field}", self.prefix);
        let mut path = whole.as_str();
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            let Some(end) = path.rfind(['.', '[']) else { return self.lines.get("").copied().unwrap_or(1) };
            path = path.get(..end).unwrap_or_default();
        }
    }
}

/// The policies of a text of any number of documents, also of those that are in a list.
pub(super) fn policies(text: &str) -> anyhow::Result<Vec<Written>> {
    let mut all = Vec::new();
    let mut lines = lines(text).into_iter();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object = Value::deserialize(document).context("this is neither YAML nor JSON")?;
        let lines = lines.next().unwrap_or_default();
        let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match object["items"].as_array().filter(|_| is_list) {
            Some(items) => {
                let found = items.iter().enumerate().filter(|(_, item)| is_policy(item));
                all.extend(found.map(|(index, item)| Written {
                    object: item.clone(),
                    prefix: format!("items[{index}]."),
                    lines: lines.clone(),
                }));
            }
            None if is_policy(&object) => all.push(Written { object, prefix: String::new(), lines }),
            None => {}
        }
    }
    Ok(all)
}

fn is_policy(object: &Value) -> bool {
    let is_ours = object["apiVersion"].as_str().is_some_and(|version| version.starts_with("snapback.dev/"));
    is_ours && object["kind"] == "RollbackPolicy"
}

/// Of each document, the line of each field by its path. Nothing more of a text that cannot be read: its values cannot
/// either, and that is told.
fn lines(text: &str) -> Vec<BTreeMap<String, usize>> {
    let mut all = Vec::new();
    let mut reader = Reader { events: Parser::new_from_str(text), lines: BTreeMap::new() };
    while let Some((event, span)) = reader.next() {
        if matches!(event, Event::DocumentStart(..)) {
            reader.lines = BTreeMap::new();
        } else if matches!(event, Event::DocumentEnd) {
            all.push(std::mem::take(&mut reader.lines));
        } else {
            reader.lines.insert(String::new(), span.start.line());
            reader.node(&event, "");
        }
    }
    all
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    lines: BTreeMap<String, usize>,
}

impl<'a> Reader<'a> {
    /// The next event that is about a value or a document; comments are not.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        loop {
            let (event, span) = self.events.next()?.ok()?;
            match event {
                Event::StreamEnd => return None,
                Event::DocumentStart(..) | Event::DocumentEnd | Event::SequenceEnd | Event::MappingEnd => {
                    return Some((event, span));
                }
                _ if event.is_node() => return Some((event, span)),
                _ => {}
            }
        }
    }

    /// Notes the lines of what is below a value, up to its end.
    fn node(&mut self, event: &Event<'a>, path: &str) -> Option<()> {
        match event {
            Event::MappingStart(..) => loop {
                let (key, span) = self.next()?;
                if matches!(key, Event::MappingEnd) {
                    return Some(());
                }
                let name = if let Event::Scalar(name, ..) = &key { name.to_string() } else { String::new() };
                self.node(&key, "?")?;
                let below = if path.is_empty() { name } else { format!("{path}.{name}") };
                self.lines.insert(below.clone(), span.start.line());
                let (value, _) = self.next()?;
                self.node(&value, &below)?;
            },
            Event::SequenceStart(..) => {
                for index in 0_usize.. {
                    let (value, span) = self.next()?;
                    if matches!(value, Event::SequenceEnd) {
                        return Some(());
                    }
                    let below = format!("{path}[{index}]");
                    self.lines.insert(below.clone(), span.start.line());
                    self.node(&value, &below)?;
                }
                Some(())
            }
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"# a file
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
# with a comment
apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata:
  name: checkout
  namespace: shop
spec:
  targetRef: {kind: Deployment, name: checkout}
  checks:
  - name: own   # and another
    query:
      promql: |
        sum(
          up)
      max: "1"
  - {name: crashes, crashRate: {max: "50%"}}
---
---
apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: second}
"#;

    #[test]
    fn the_policies_of_a_file_know_their_lines() {
        let [first, second] = policies(TWO).unwrap().try_into().unwrap();
        assert_eq!((first.name().as_str(), second.name().as_str()), ("shop/checkout", "second"));
        for (field, line) in [
            ("spec.checks[0].query.promql", 17),
            ("spec.checks[0].query.max", 20),
            ("spec.checks[1].crashRate.max", 21),
            ("spec.checks[1].crashRate.floor", 21),
            ("spec.soak", 12),
            ("spec.targetRef.name", 13),
        ] {
            assert_eq!(first.line(field), line, "{field}");
        }
        assert_eq!((second.line("metadata.name"), second.line("spec")), (26, 24));
    }

    #[test]
    fn lists_and_json_are_read() {
        let policy = r#"{"apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy",
            "metadata": {"name": "a"}, "spec": {
            "mode": "Observe"}}"#;
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"},"#;
        let text = format!("{list}\n{policy}]}}");
        let [found] = policies(&text).unwrap().try_into().unwrap();
        assert_eq!((found.name().as_str(), found.line("spec.mode"), found.line("metadata.labels")), ("a", 4, 3));
    }

    #[test]
    fn what_is_no_yaml_is_an_error_and_other_kinds_are_not() {
        assert!(policies("a: [").is_err());
        assert!(policies("").unwrap().is_empty());
        assert!(
            policies(
                "kind: RollbackPolicy
apiVersion: other/v1"
            )
            .unwrap()
            .is_empty()
        );
        assert!(
            policies(
                "- 1
- two"
            )
            .unwrap()
            .is_empty()
        );
    }
}
