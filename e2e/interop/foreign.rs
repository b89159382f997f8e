//! Programs that are not ours: where they are, whether they are there, and what they say.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use highwater_e2e::{Cluster, binary, condition::within_deadline};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

/// Clients that a developer's machine does without.
const WITHOUT: &str = "HIGHWATER_E2E_WITHOUT";

/// Whether a client is to be tested. It says so when it is not.
pub fn has(client: &str) -> bool {
    let without = env::var(WITHOUT).unwrap_or_default();
    let has = without.split(',').all(|name| name.trim() != client);
    if !has {
        // Past the test harness, which shows what a test prints only when it fails.
        let _ = writeln!(io::stderr(), "left out, by {WITHOUT}: {client}");
    }
    has
}

/// The folder with what was installed: `interop` of the target folder.
pub fn installed() -> PathBuf {
    let profile = binary::profile_dir().expect("a target folder");
    profile.parent().expect("its folder").join("interop")
}

/// What an npm package consists of.
pub fn node_module(path: &str) -> PathBuf {
    let path = installed().join("node_modules").join(path);
    must_exist(&path, "node");
    path
}

fn must_exist(path: &Path, client: &str) {
    assert!(
        path.exists(),
        "{} is missing: run `scripts/setup interop`, or leave the client out with {WITHOUT}={client}",
        path.display()
    );
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("interop")
        .join(name)
}

/// A script with the Python that has the pinned packages.
pub fn python(name: &str) -> Command {
    let python = installed().join("venv/bin/python");
    must_exist(&python, "paho,websockets,grpcio");
    let mut command = Command::new(python);
    command.arg("-u").arg(script(name));
    command
}

/// A script with the Node that has the pinned packages.
pub fn node(name: &str) -> Command {
    let modules = installed().join("node_modules");
    must_exist(&modules, "node");
    let mut command = Command::new("node");
    command.arg(script(name)).env("NODE_PATH", modules);
    command
}

/// A program that runs, line by line.
pub struct Foreign {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
    errors: JoinHandle<String>,
}

impl Foreign {
    /// Starts it. It is told the nodes' addresses and the key, and ends with the test.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command, cluster: &Cluster) -> Foreign {
        let addresses: Vec<&str> = (0..cluster.size()).map(|n| cluster.address(n)).collect();
        command
            .env("HIGHWATER_ADDRESSES", addresses.join(","))
            .env("HIGHWATER_KEY", cluster.key());
        Foreign::run(command)
    }

    /// Starts it as it is. It ends with the test.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(mut command: Command) -> Foreign {
        let name = format!("{:?}", command.as_std().get_program());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} cannot be started: {error}; {WITHOUT} leaves clients out")
        });
        let mut stderr = child.stderr.take().expect("a pipe");
        let errors = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        Foreign {
            name,
            lines: BufReader::new(child.stdout.take().expect("a pipe")).lines(),
            child,
            said: Vec::new(),
            errors,
        }
    }

    /// The next line it prints.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn line(&mut self) -> String {
        match self.next_line().await {
            Some(line) => line,
            None => panic!("{}", self.report().await),
        }
    }

    /// The next line it prints, or nothing when it has ended.
    pub async fn next_line(&mut self) -> Option<String> {
        let what = format!("{} says something", self.name);
        let line = within_deadline(&what, self.lines.next_line()).await;
        let line = line.expect("lines of text")?;
        self.said.push(line.clone());
        Some(line)
    }

    /// Waits for a line that begins like this, and returns the rest of it.
    pub async fn line_with(&mut self, beginning: &str) -> String {
        loop {
            if let Some(rest) = self.line().await.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Reads all it prints, and sees that it ends well.
    ///
    /// # Panics
    /// When it does not.
    pub async fn finish(mut self) -> Vec<String> {
        while self.next_line().await.is_some() {}
        let what = format!("{} ends", self.name);
        let status = within_deadline(&what, self.child.wait())
            .await
            .expect("it ran");
        if !status.success() {
            panic!("{status}: {}", self.report().await);
        }
        self.said
    }

    /// Kills it, as a machine that is switched off does.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }

    async fn report(&mut self) -> String {
        let _ = self.child.kill().await;
        let errors = (&mut self.errors).await.unwrap_or_default();
        format!(
            "{} said:\n{}\nand to stderr:\n{errors}",
            self.name,
            self.said.join("\n")
        )
    }
}
