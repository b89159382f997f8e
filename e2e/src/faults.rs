//! A disk that fails on demand: the library in `faults.c`, compiled once and preloaded into nodes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::process::Pid;

/// What the disk refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `fsync` and `fdatasync` are I/O errors.
    Sync,
    /// There is no room to write.
    Full,
    /// Nothing, but every sync takes 100 ms more.
    Slow,
}

/// The faults of the nodes of one cluster. None is active at first.
#[derive(Debug)]
pub struct Faults {
    dir: PathBuf,
    library: PathBuf,
}

impl Faults {
    /// Compiles the library into the folder, with the C compiler the build needed anyway.
    ///
    /// # Errors
    /// When there is none.
    pub fn install(dir: &Path) -> Result<Faults> {
        fs::create_dir_all(dir)?;
        let library = dir.join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/faults.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .context("running cc")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cc failed: {errors}");
        Ok(Faults {
            dir: dir.to_owned(),
            library,
        })
    }

    /// The environment a node needs to have the library.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [
            ("LD_PRELOAD", &self.library),
            ("HIGHWATER_FAULTS", &self.dir),
        ]
    }

    /// From now on, the disk of this process fails.
    ///
    /// # Panics
    /// When the order cannot be given.
    pub fn demand(&self, pid: Pid, fault: Fault) {
        fs::write(self.order(pid, fault), "").expect("the fault can be ordered");
    }

    /// From now on, it works again.
    ///
    /// # Panics
    /// When it did not fail before.
    pub fn clear(&self, pid: Pid, fault: Fault) {
        fs::remove_file(self.order(pid, fault)).expect("the fault was ordered");
    }

    fn order(&self, pid: Pid, fault: Fault) -> PathBuf {
        let name = match fault {
            Fault::Sync => "sync",
            Fault::Full => "full",
            Fault::Slow => "slow",
        };
        self.dir.join(format!("{name}.{}", pid.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The library works on any program; `shred` writes and syncs files.
    #[test]
    fn a_process_with_the_library_gets_the_errors_that_were_ordered() {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::install(dir.path()).unwrap();
        let file = dir.path().join("file").display().to_string();
        let order = |fault| match fault {
            None => String::new(),
            Some(Fault::Sync) => format!("touch {}/sync.$$;", dir.path().display()),
            Some(Fault::Full) => format!("touch {}/full.$$;", dir.path().display()),
            Some(Fault::Slow) => format!("touch {}/slow.$$;", dir.path().display()),
        };
        for (fault, expected) in [
            (None, ""),
            (Some(Fault::Slow), ""),
            (Some(Fault::Sync), "Input/output error"),
            (Some(Fault::Full), "No space left on device"),
        ] {
            // `exec` keeps the process id the order was given for.
            let script = format!(
                "{} echo > {file}; exec shred --iterations=1 {file}",
                order(fault),
            );
            let start = Instant::now();
            let output = Command::new("sh")
                .args(["-c", &script])
                .envs(faults.environment())
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            assert!(fault != Some(Fault::Slow) || start.elapsed().as_millis() >= 100);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), expected.is_empty(), "{errors}");
            assert!(errors.contains(expected), "{errors}");
        }
    }
}
