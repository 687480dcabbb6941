//! A Git repository on this machine, as people commit releases to one.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The file that `checkout` is in. What is outside of its folder is none of the tools' business.
pub(crate) const APP: &str = "app/checkout.yaml";

/// A repository with one branch, `main`.
pub(crate) struct Repository {
    path: PathBuf,
}

impl Repository {
    /// A fresh one in this folder.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path)?;
        let repository = Self { path };
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(repository)
    }

    /// Writes a file and commits it; gives the revision. The same content again is a commit without changes.
    pub(crate) fn commit(&self, file: &str, content: &str) -> Result<String> {
        self.write(file, content)?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", file])?;
        self.head()
    }

    /// Writes a file, for the next commit.
    pub(crate) fn write(&self, file: &str, content: &str) -> Result<()> {
        let path = self.path.join(file);
        std::fs::create_dir_all(path.parent().context("a file in the repository")?)?;
        Ok(std::fs::write(path, content)?)
    }

    /// Deletes a file by a commit; gives the revision.
    pub(crate) fn delete(&self, file: &str) -> Result<String> {
        self.git(&["rm", "--quiet", file])?;
        self.git(&["commit", "--quiet", "--message", file])?;
        self.head()
    }

    /// Takes the newest commit back, by a commit of its own; gives the revision.
    pub(crate) fn revert(&self) -> Result<String> {
        self.git(&["revert", "--no-edit", "HEAD"])?;
        self.head()
    }

    /// The newest commit.
    pub(crate) fn head(&self) -> Result<String> {
        let revision = String::from_utf8(self.git(&["rev-parse", "HEAD"])?)?;
        Ok(revision.trim().to_owned())
    }

    /// Where it is cloned from.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// The files of the newest commit as a `tar.gz`. Of its tree and not of the commit, whose archives begin with a
    /// header that is no file.
    pub(crate) fn archive(&self) -> Result<Vec<u8>> {
        self.git(&["archive", "--format=tar.gz", "HEAD^{tree}"])
    }

    fn git(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        // Nothing of who runs the tests: neither their name nor their hooks nor their signing key.
        let output = Command::new("git")
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "tests"), ("GIT_AUTHOR_EMAIL", "tests@example.com")])
            .envs([("GIT_COMMITTER_NAME", "tests"), ("GIT_COMMITTER_EMAIL", "tests@example.com")])
            .stdin(Stdio::null())
            .output()
            .context("starting git")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
        Ok(output.stdout)
    }
}
