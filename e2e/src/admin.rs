//! Commands of an administrator, as a person types them.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::{
    cli::{Cli, Ended, ended},
    dev::Dev,
};

/// What would win over the context.
const VARIABLES: &[&str] = &[
    "HIGHWATER_CONTEXT",
    "HIGHWATER_SERVER",
    "HIGHWATER_KEY",
    "HIGHWATER_CONTROL_PLANE",
    "HIGHWATER_ADMIN_KEY",
    "HIGHWATER_TENANT",
    "HIGHWATER_PROJECT",
];

/// Commands of an administrator, who has nothing in the environment but where contexts are kept.
pub struct Admin {
    /// With the key and the addresses in the environment.
    pub cli: Cli,
}

impl Admin {
    /// With a context of the development cluster, whose operator's key comes from stdin.
    ///
    /// # Panics
    /// When it cannot be added.
    pub async fn with_context(dev: &Dev) -> Admin {
        let admin = Admin { cli: dev.cli() };
        let told = |name: &str| dev.ready[name].as_str().unwrap();
        let server = dev.cli().servers;
        let add = [
            "context",
            "add",
            "dev",
            "--server",
            &server,
            "--control-plane",
            told("control_plane"),
            "--tenant",
            "dev",
            "--project",
            "dev",
            "--admin-key-file",
            "-",
        ];
        let added = admin.cli.run_with(&add, told("operator_key")).await;
        assert_eq!(added.code, 0, "{added:?}");
        admin
    }

    /// A command, ready to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.cli.command(arguments);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments)).await
    }

    /// What it prints when it succeeds.
    ///
    /// # Panics
    /// When it does not.
    pub async fn text(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.stdout
    }

    /// The same, one line of JSON each.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    pub async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.json()
    }

    /// It fails like this.
    ///
    /// # Panics
    /// When it does not.
    pub async fn fails(&self, arguments: &[&str], code: i32, expected: &str) {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }

    /// A file in the folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.cli.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}
