//! Secrets, which live in files and are read anew for each query.

use std::path::PathBuf;

use thiserror::Error;

/// Why a file gave no secret. Names the setting, never the content.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("the file of {field} cannot be read: {error}")]
    Unreadable {
        /// The setting that names the file.
        field: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file holds nothing.
    #[error("the file of {field} is empty")]
    Empty {
        /// The setting that names the file.
        field: String,
    },
    /// The file holds bytes that a header cannot carry.
    #[error("the file of {field} does not hold one line of text")]
    NotALine {
        /// The setting that names the file.
        field: String,
    },
}

/// A file, and the setting that names it.
#[derive(Debug, Clone)]
pub(crate) struct SecretFile {
    pub(crate) field: String,
    pub(crate) path: PathBuf,
}

impl SecretFile {
    pub(crate) fn new(field: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { field: field.into(), path: path.into() }
    }

    /// Reads the whole file. Blocks.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, SecretError> {
        let bytes =
            std::fs::read(&self.path).map_err(|error| SecretError::Unreadable { field: self.field.clone(), error })?;
        if bytes.is_empty() {
            return Err(SecretError::Empty { field: self.field.clone() });
        }
        Ok(bytes)
    }

    /// Reads one line of text, without the line end that editors add. Blocks.
    pub(crate) fn line(&self) -> Result<String, SecretError> {
        let not_a_line = || SecretError::NotALine { field: self.field.clone() };
        let text = String::from_utf8(self.bytes()?).map_err(|_| not_a_line())?;
        let line = text.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Err(SecretError::Empty { field: self.field.clone() });
        }
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(not_a_line());
        }
        Ok(line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(content: &[u8]) -> Result<String, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        SecretFile::new("auth.bearerTokenFile", path).line()
    }

    #[test]
    fn only_the_line_end_is_cut_off() {
        assert_eq!(line_of(b" abc \r\n").unwrap(), " abc ");
    }

    #[test]
    fn what_is_no_line_of_text_is_refused_with_the_settings_name() {
        assert!(matches!(line_of(b"\n"), Err(SecretError::Empty { .. })));
        assert!(matches!(line_of(b"a\nb"), Err(SecretError::NotALine { .. })));
        assert!(matches!(line_of(b"\xff"), Err(SecretError::NotALine { .. })));
        let missing = SecretFile::new("auth.bearerTokenFile", "/nowhere/at/all").line().unwrap_err();
        assert!(missing.to_string().starts_with("the file of auth.bearerTokenFile cannot be read"), "{missing}");
    }
}
