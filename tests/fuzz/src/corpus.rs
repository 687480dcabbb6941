//! The kept inputs, and the words that a target's inputs are made of.

use std::path::{Path, PathBuf};

/// A kept input.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its file, from the crate's folder on.
    pub file: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The kept inputs of a target, by the names of their files.
pub fn entries(target: &str) -> Vec<Entry> {
    let folder = here().join("corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let entry = |path: PathBuf| Entry {
        file: format!("corpus/{target}/{}", path.file_name().unwrap().to_string_lossy()),
        bytes: std::fs::read(&path).unwrap(),
    };
    files.into_iter().map(entry).collect()
}

/// The words of a target, from a dictionary as libFuzzer reads it: one in quotes a line, `#` begins a remark.
pub fn dictionary(target: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(here().join("dictionary").join(format!("{target}.dict"))).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| word(line).unwrap_or_else(|| panic!("no word of a dictionary: {line}"))).collect()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between the quotes, with `\\`, `\"` and `\xAB` resolved.
fn word(line: &str) -> Option<Vec<u8>> {
    let inside = line.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = inside.bytes();
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        word.push(match byte {
            b'\\' => match bytes.next()? {
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                escaped @ (b'\\' | b'"') => escaped,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_libfuzzer_does() {
        assert_eq!(word(r#""a\"b\\c\x0A""#).unwrap(), b"a\"b\\c\n");
        assert_eq!((word("a"), word(r#""\n""#), word(r#""\x1""#)), (None, None, None));
    }
}
