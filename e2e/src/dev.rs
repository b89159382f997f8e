//! A running `highwater dev`, started as a script does it, and ended in order.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{binary, cli::Cli, condition::within_deadline, process::Pid};

/// An ephemeral cluster for development.
pub struct Dev {
    process: Child,
    /// The line it printed when it was ready.
    pub ready: Value,
    folder: TempDir,
}

impl Dev {
    /// Starts so many nodes on free ports and waits for the line.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn start(nodes: usize) -> Dev {
        let mut command = Command::new(binary::highwater());
        command
            .args(["dev", "--ephemeral", "--port", "0", "-o", "json"])
            .args(["--nodes", &nodes.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut dev = Dev {
            process: command.spawn().expect("it starts"),
            ready: Value::Null,
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let stdout = dev.process.stdout.take().expect("its stdout");
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = within_deadline("the line comes", line).await;
        let line = line.expect("no panic").expect("a line");
        dev.ready = serde_json::from_str(&line).expect("JSON");
        dev
    }

    /// The key that may do everything.
    ///
    /// # Panics
    /// When the line has none.
    pub fn key(&self) -> &str {
        self.ready["key"].as_str().expect("a key")
    }

    /// The nodes as the line describes them.
    ///
    /// # Panics
    /// When it describes none.
    pub fn nodes(&self) -> &[Value] {
        self.ready["nodes"].as_array().expect("nodes")
    }

    /// Commands that go to this cluster, run in an empty folder.
    ///
    /// # Panics
    /// When the line names no servers.
    pub fn cli(&self) -> Cli {
        let servers = self.ready["servers"].as_array().expect("servers");
        let servers = servers.iter().map(|s| s.as_str().expect("an address"));
        Cli {
            servers: servers.collect::<Vec<_>>().join(","),
            key: self.key().to_owned(),
            folder: self.folder.path().to_owned(),
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        Pid(self.process.id()).terminate();
        let _ = self.process.wait();
    }
}
