//! One process of mosquitto, as `scripts/setup rivals` has installed it: it neither replicates nor syncs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use highwater_e2e::{
    binary,
    cluster::free_port,
    process::{self, Pid},
};
use tempfile::TempDir;

/// A broker, ended when dropped.
pub struct Mosquitto {
    /// What it says it is.
    pub version: String,
    /// Its address for MQTT.
    pub address: String,
    pid: Pid,
    _folder: TempDir,
}

impl Mosquitto {
    /// Starts it. Clients may connect a moment later.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start() -> Result<Mosquitto> {
        let root = root()?;
        let version = version(&root)?;
        let folder = tempfile::tempdir()?;
        let address = format!("127.0.0.1:{}", free_port());
        let (host, port) = address.split_once(':').context("a port")?;
        let config = folder.path().join("mosquitto.conf");
        // Nobody is sent away, and nothing is dropped, whoever is slow.
        let text = format!(
            "listener {port} {host}\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest none\n\
             max_inflight_messages 1024\nmax_queued_messages 0\n"
        );
        fs::write(&config, text)?;
        let mut command = program(&root);
        command.arg("-c").arg(&config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Mosquitto {
            version,
            pid: process::spawn(&mut command)?,
            address,
            _folder: folder,
        })
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.pid.kill();
    }
}

/// A system of its own, with the libraries that the newest version wants.
fn root() -> Result<PathBuf> {
    let target = binary::profile_dir()?.with_file_name("rivals");
    let root = target.join("mosquitto");
    ensure!(root.is_dir(), "scripts/setup has not installed it");
    Ok(root)
}

fn program(root: &Path) -> Command {
    let mut command = Command::new(root.join("loader"));
    command.arg("--library-path").arg(root.join("libraries"));
    command.arg(root.join("usr/sbin/mosquitto"));
    command
}

/// The first line of its help is `mosquitto version 2.1.2`.
fn version(root: &Path) -> Result<String> {
    let output = program(root).arg("-h").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default();
    let version = first.strip_prefix("mosquitto version ");
    let version = version.with_context(|| format!("it says {first:?}"))?;
    Ok(format!("mosquitto {version}"))
}
