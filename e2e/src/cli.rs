//! The command line as a person uses it: a command, what it prints, and how it ends.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{binary, condition::within_deadline};

/// Where commands go, and with which credential.
#[derive(Debug, Clone)]
pub struct Cli {
    /// Addresses, divided by commas, as `HIGHWATER_SERVER` takes them.
    pub servers: String,
    /// The key.
    pub key: String,
    /// The folder in which they run.
    pub folder: PathBuf,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Its results.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Cli {
    /// A command with arguments, ready to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::highwater());
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// A line for the shell, in which `highwater` is the binary under test.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-ec", line]);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        let own = binary::highwater().parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", own.display()))
            .env("HIGHWATER_SERVER", &self.servers)
            .env("HIGHWATER_KEY", &self.key)
            // Not the contexts of whoever runs the tests.
            .env("HIGHWATER_CONFIG_DIR", self.folder.join("config"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments)).await
    }

    /// Runs a command with this on its stdin.
    ///
    /// # Panics
    /// When it does not read it.
    pub async fn run_with(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut input = child.stdin.take().expect("its stdin");
        input.write_all(stdin.as_bytes()).await.expect("it reads");
        drop(input);
        let output = within_deadline("the command ends", child.wait_with_output()).await;
        Ended::of(output.expect("its output"))
    }

    /// Runs a command that succeeds, and returns its results, one line of JSON each.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    pub async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.json()
    }
}

/// Runs a prepared command to its end.
///
/// # Panics
/// When it cannot be started or never ends.
pub async fn ended(mut command: Command) -> Ended {
    let output = within_deadline("the command ends", command.output()).await;
    Ended::of(output.expect("the command starts"))
}

impl Ended {
    fn of(output: Output) -> Ended {
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its results, one line of JSON each.
    ///
    /// # Panics
    /// When a line is something else.
    pub fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        let parsed = lines.map(serde_json::from_str);
        let parsed: Result<Vec<Value>, _> = parsed.collect();
        parsed.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
