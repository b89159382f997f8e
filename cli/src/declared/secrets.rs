//! The file for the secrets of keys that are created.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use serde_json::Value;

use crate::exit::Exit;

/// A file that only its owner can read; what is in it stays.
pub struct SecretsFile(File);

impl SecretsFile {
    /// Opens it, or creates it.
    ///
    /// # Errors
    /// When others can read it.
    pub fn open(path: &Path) -> anyhow::Result<SecretsFile> {
        let shown = path.display();
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot write {shown}"))?;
        let about = file.metadata()?;
        match about.is_file() && about.mode() & 0o077 != 0 {
            true => {
                let message =
                    format!("others may read {shown}: `chmod 600 {shown}`, or take another file");
                Err(Exit::usage(message).into())
            }
            false => Ok(SecretsFile(file)),
        }
    }

    /// Adds a line, and is back when it is on the disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn add(&mut self, line: &Value) -> anyhow::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes())?;
        // What is no file has no disk.
        let _ = self.0.sync_data();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_added_to_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        for n in 0..2 {
            SecretsFile::open(&path)
                .unwrap()
                .add(&json!({ "n": n }))
                .unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":0}\n{\"n\":1}\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(SecretsFile::open(&path).is_err());
    }
}
