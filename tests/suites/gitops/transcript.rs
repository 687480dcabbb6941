//! A page of the documentation as it stands: its commands are run one after the other, and print what the page says.
//!
//! A page is about the namespace `shop`; a test about one of its own. Ages, hashes, names that end in a hash, and the width of columns
//! differ from run to run and are not compared. `...` stands for any text, on a line of its own for any lines.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use snapback_tests::tools;

use crate::bed::{Bed, until};

/// The namespace of all pages.
const SHOP: &str = "shop";

/// On a line of its own: whatever lines.
const MORE: &str = "...";

/// What differs from run to run, and what it is read as.
const CHANGING: [(&str, &str); 6] = [
    (r"checkout-[0-9a-z]{5}-[0-9a-f]{10}", "checkout-RECORD"),
    (r"\([0-9a-z]{6,10}\)", "(HASH)"),
    (r"\b[0-9a-f]{40}\b|\b[0-9a-f]{10}\b", "COMMIT"),
    (r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4}", "DATE"),
    (r"\b(\d+(\.\d+)?(ms|[smhd]))+\b", "AGE"),
    (r"[ \t]+", " "),
];

/// A command, and the lines that it prints.
struct Step {
    command: String,
    printed: Vec<String>,
}

/// What is left of a page.
pub(crate) struct Page<'a> {
    bed: &'a Bed,
    sessions: VecDeque<Vec<Step>>,
    /// The namespace that `shop` stands for.
    namespace: String,
    /// Where its commands are run.
    pub(crate) folder: PathBuf,
    helm: &'static str,
}

impl<'a> Page<'a> {
    /// A page of `docs`, for a test in this namespace.
    pub(crate) fn open(bed: &'a Bed, name: &str, namespace: &str) -> Result<Self> {
        let path = tools::repository().join("docs").join(name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let folder = bed.folder.join(format!("page-{name}"));
        std::fs::create_dir_all(&folder)?;
        let sessions = sessions(&text);
        ensure!(!sessions.is_empty(), "{name} has no transcript");
        Ok(Self { bed, sessions, namespace: namespace.to_owned(), folder, helm: "helm" })
    }

    /// From here on `shop` is another namespace, and `helm` is this program.
    pub(crate) fn goes_on(&mut self, namespace: &str, helm: &'static str) {
        namespace.clone_into(&mut self.namespace);
        self.helm = helm;
    }

    /// Runs the next block, in which there is this text. Who only reads may have to read again until it is so.
    pub(crate) fn plays(&mut self, known: &str) -> Result<()> {
        let session = self.sessions.pop_front().context("the page is over")?;
        ensure!(session.iter().any(|step| step.command.contains(known)), "the next block has no {known:?}");
        for step in session {
            let mut last = self.run(&step.command)?;
            let waited = if step.command.contains(" get ") {
                until("the page to be true", || {
                    if !step.is_so(&last)? {
                        last = self.run(&step.command)?;
                    }
                    step.is_so(&last)
                })
                .map(drop)
            } else {
                Ok(())
            };
            waited
                .and_then(|()| {
                    ensure!(step.is_so(&last)?, "it is otherwise");
                    Ok(())
                })
                .with_context(|| format!("$ {}\n{last}is not\n{}", step.command, step.printed.join("\n")))?;
        }
        Ok(())
    }

    /// Nothing of the page is left.
    pub(crate) fn ends(&self) -> Result<()> {
        ensure!(self.sessions.is_empty(), "{} blocks were not played", self.sessions.len());
        Ok(())
    }

    /// What a command prints.
    fn run(&self, command: &str) -> Result<String> {
        let programs = self.folder.join(self.helm);
        if !programs.exists() {
            std::fs::create_dir_all(&programs)?;
            std::os::unix::fs::symlink(tools::path("kubectl")?, programs.join("kubectl"))?;
            std::os::unix::fs::symlink(tools::path(self.helm)?, programs.join("helm"))?;
        }
        let own = |word: &str| if word == SHOP { self.namespace.clone() } else { word.to_owned() };
        let meant = command.split(' ').map(own).collect::<Vec<_>>().join(" ");
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {meant}\n}} 2>&1")])
            .current_dir(&self.folder)
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("KUBECONFIG", &self.bed.kubeconfig)
            .env("HOME", &self.folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {command}"))?;
        Ok(String::from_utf8(output.stdout)?.replace(&self.namespace, SHOP))
    }
}

/// The blocks with commands.
fn sessions(text: &str) -> VecDeque<Vec<Step>> {
    let mut sessions = VecDeque::new();
    let mut open: Option<Vec<Step>> = None;
    for line in text.lines() {
        match &mut open {
            None if line.starts_with("```") => open = Some(Vec::new()),
            None => {}
            Some(_) if line.trim() == "```" => {
                sessions.extend(open.take().filter(|steps| !steps.is_empty()));
            }
            Some(steps) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    steps.push(Step { command: command.to_owned(), printed: Vec::new() });
                } else if let Some(step) = steps.last_mut() {
                    step.printed.push(line.to_owned());
                }
            }
        }
    }
    sessions
}

fn alike(text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for (changing, read_as) in CHANGING {
        text = Regex::new(changing)?.replace_all(&text, read_as).into_owned();
    }
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect())
}

impl Step {
    /// Whether this is what the page says. Events of one second come in any order.
    fn is_so(&self, output: &str) -> Result<bool> {
        let (said, printed) = (alike(&self.printed.join("\n"))?, alike(output)?);
        if !self.command.contains(" get events ") {
            return Ok(Regex::new(&format!("^{}$", said.lines().map(pattern).collect::<String>()))?.is_match(&printed));
        }
        let mut left: Vec<&str> = printed.lines().collect();
        for line in said.lines().filter(|line| *line != MORE) {
            let pattern = Regex::new(&format!("^{}$", pattern(line)))?;
            let found = left.iter().position(|one| pattern.is_match(&format!("{one}\n")));
            let Some(found) = found else { return Ok(false) };
            left.remove(found);
        }
        Ok(left.is_empty() || said.lines().any(|line| line == MORE))
    }
}

/// What matches a line that a page says.
fn pattern(line: &str) -> String {
    match line {
        MORE => r"(?:.*\n)*".to_owned(),
        line => format!(r"{}\n", regex::escape(line).replace(r"\.\.\.", ".*")),
    }
}
