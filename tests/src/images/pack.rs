//! One file into one layer into one tar, without anything of the machine or the time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What becomes of a binary.
pub(super) struct Image<'a> {
    /// Its names, with tags.
    pub names: &'a [&'a str],
    /// The binary's name, at the root.
    pub entry: &'a str,
    /// Arguments where none are given.
    pub command: &'a [&'a str],
    /// What it says of itself.
    pub labels: &'a [(&'a str, &'a str)],
}

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The file, for `docker load` or `ctr images import`.
    pub path: PathBuf,
    /// The image's ID, which is the digest of its configuration: it does not depend on names.
    pub id: String,
    /// The digest of the file.
    pub file: String,
}

impl Image<'_> {
    /// Writes `FOLDER/ENTRY.tar`. Times are `SOURCE_DATE_EPOCH`, or the beginning of all times.
    pub(super) fn write(&self, binary: &Path, folder: &Path) -> Result<Packed> {
        let bytes = fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
        let epoch = epoch(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
        let (tar, id) = self.pack(bytes, epoch)?;
        let path = folder.join(format!("{}.tar", self.entry));
        fs::write(&path, &tar)?;
        Ok(Packed { path, id, file: digest(&tar) })
    }

    /// The bytes of the file, and the image's ID.
    fn pack(&self, binary: Vec<u8>, epoch: u64) -> Result<(Vec<u8>, String)> {
        let layer = tar([(self.entry, 0o755, binary)], epoch)?;
        let created = Timestamp::from_second(i64::try_from(epoch)?)?;
        let mut settings = json!({"Entrypoint": [format!("/{}", self.entry)], "User": "65532:65532"});
        if !self.command.is_empty() {
            settings["Cmd"] = json!(self.command);
        }
        if !self.labels.is_empty() {
            settings["Labels"] = json!(self.labels.iter().copied().collect::<BTreeMap<_, _>>());
        }
        let config: Value = json!({
            "architecture": if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" },
            "config": settings,
            "created": created.to_string(),
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let id = digest(&config);
        let manifest = json!([{"Config": "config.json", "RepoTags": self.names, "Layers": ["layer.tar"]}]);
        let files = [
            ("config.json", 0o644, config),
            ("layer.tar", 0o644, layer),
            ("manifest.json", 0o644, manifest.to_string().into_bytes()),
        ];
        Ok((tar(files, epoch)?, id))
    }
}

/// The time that everything is said to be of, in seconds since 1970.
pub(super) fn epoch(text: Option<&str>) -> Result<u64> {
    let text = text.filter(|text| !text.is_empty());
    text.map_or(Ok(0), |text| {
        text.parse().with_context(|| format!("SOURCE_DATE_EPOCH must be seconds, but is {text:?}"))
    })
}

/// Files in this order, owned by nobody in particular.
fn tar<const N: usize>(files: [(&str, u32, Vec<u8>); N], epoch: u64) -> Result<Vec<u8>> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(epoch);
        out.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(out.into_inner()?)
}

/// `sha256:...`.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digest}")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const IMAGE: Image<'_> = Image {
        names: &["example/snapback:1"],
        entry: "snapback",
        command: &["run"],
        labels: &[("org.opencontainers.image.title", "snapback"), ("a", "b")],
    };

    fn files(tar: &[u8]) -> Vec<(tar::Header, String, Vec<u8>)> {
        let mut archive = tar::Archive::new(tar);
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.header().clone(), entry.path().unwrap().display().to_string(), bytes)
        });
        files.collect()
    }

    #[test]
    fn the_same_binary_gives_the_same_bytes_whenever_and_whoever_packs_it() {
        let folder = std::env::temp_dir().join(format!("snapback-pack-{}", std::process::id()));
        let pack = |place: &str, mode: u32| {
            use std::os::unix::fs::PermissionsExt as _;
            let place = folder.join(place);
            fs::create_dir_all(&place).unwrap();
            let binary = place.join("built");
            // With a hole: it must not be packed as one.
            fs::write(&binary, [b"\x7fELF".as_slice(), &vec![0; 1 << 16], b"end"].concat()).unwrap();
            fs::set_permissions(&binary, fs::Permissions::from_mode(mode)).unwrap();
            let packed = IMAGE.write(&binary, &place).unwrap();
            (fs::read(&packed.path).unwrap(), packed.id, packed.file)
        };
        let (first, second) = (pack("a", 0o700), pack("b", 0o644));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn nothing_of_the_machine_is_in_a_header() {
        let (image, _) = IMAGE.pack(b"binary".to_vec(), 1_700_000_000).unwrap();
        let outer = files(&image);
        let names: Vec<&str> = outer.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["config.json", "layer.tar", "manifest.json"]);
        let inner = files(&outer[1].2);
        assert_eq!((inner.len(), inner[0].1.as_str(), inner[0].0.mode().unwrap()), (1, "snapback", 0o755));
        for (header, name, _) in outer.iter().chain(&inner) {
            let of = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
            assert_eq!(of, (0, 0, 1_700_000_000), "{name}");
            assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")), "{name}");
        }
    }

    #[test]
    fn the_image_is_one_file_that_runs_as_nobody() {
        let (image, id) = IMAGE.pack(b"binary".to_vec(), 0).unwrap();
        let outer = files(&image);
        let config: Value = serde_json::from_slice(&outer[0].2).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/snapback"]), "no shell is in front of it");
        assert_eq!(config["config"]["Cmd"], json!(["run"]));
        assert_eq!(config["created"], "1970-01-01T00:00:00Z");
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&outer[1].2)]));
        // There is no other file in it, so there is no shell to start.
        assert_eq!(files(&outer[1].2).into_iter().map(|(_, name, _)| name).collect::<Vec<_>>(), ["snapback"]);
        assert_eq!(id, digest(&outer[0].2));
    }

    #[test]
    fn the_time_is_that_of_the_sources_or_none() {
        assert_eq!((epoch(None).unwrap(), epoch(Some("")).unwrap(), epoch(Some("5")).unwrap()), (0, 0, 5));
        assert!(epoch(Some("yesterday")).unwrap_err().to_string().contains("SOURCE_DATE_EPOCH"));
    }
}
