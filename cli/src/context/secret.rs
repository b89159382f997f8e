//! Credentials of contexts: kept, or where they are to be had from.

use std::{
    fmt,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;
use rustix::termios::{self, LocalModes, OptionalActions};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;

/// A credential.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// It itself.
    Value(String),
    /// What a variable of the environment holds.
    Env(String),
    /// What a command prints.
    Command(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown(false).as_str().unwrap_or_default())
    }
}

impl Secret {
    /// The one that was given, if any was.
    pub fn given(
        file: Option<PathBuf>,
        env: Option<String>,
        command: Option<String>,
    ) -> anyhow::Result<Option<Secret>> {
        let value = file.map(|file| read_secret(&file)).transpose()?;
        let value = value.map(Secret::Value);
        Ok(value
            .or(env.map(Secret::Env))
            .or(command.map(Secret::Command)))
    }

    /// As it is shown.
    pub fn shown(&self, with_secrets: bool) -> Value {
        match self {
            Secret::Value(value) if with_secrets => value.as_str().into(),
            Secret::Value(_) => "kept here; --show-secrets shows it".into(),
            Secret::Env(name) => format!("of the variable {name}").into(),
            Secret::Command(command) => format!("printed by: {command}").into(),
        }
    }

    /// The credential.
    ///
    /// # Errors
    /// When the variable is not set, or the command fails or prints nothing.
    pub fn get(&self, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
        match self {
            Secret::Value(value) => Ok(value.clone()),
            Secret::Env(name) => {
                let missing = || format!("the context's credential is in {name}, which is not set");
                Ok(env(name).ok_or_else(|| Exit::unauthenticated(missing()))?)
            }
            Secret::Command(command) => {
                let output = Command::new("sh")
                    .args(["-c", command])
                    .stderr(Stdio::inherit())
                    .output()
                    .context("cannot run sh")?;
                let printed = String::from_utf8(output.stdout).unwrap_or_default();
                let printed = printed.trim();
                match output.status.success() && !printed.is_empty() {
                    true => Ok(printed.to_owned()),
                    false => {
                        let message = format!("no credential was printed by: {command}");
                        Err(Exit::unauthenticated(message).into())
                    }
                }
            }
        }
    }
}

/// The first line of a file; of `-`, what is typed or comes from stdin.
///
/// # Errors
/// When there is none.
pub fn read_secret(path: &Path) -> anyhow::Result<String> {
    let mut line = String::new();
    if path == Path::new("-") {
        let _silence = io::stdin().is_terminal().then(Silence::begin).transpose()?;
        io::stdin().lock().read_line(&mut line)?;
    } else {
        let file = std::fs::File::open(path);
        let file = file.with_context(|| format!("cannot read {}", path.display()))?;
        io::BufReader::new(file).read_line(&mut line)?;
    }
    match line.trim() {
        "" => Err(Exit::usage(format!("{} holds no credential", path.display())).into()),
        secret => Ok(secret.to_owned()),
    }
}

/// While it lives, the terminal does not show what is typed.
struct Silence(termios::Termios);

impl Silence {
    fn begin() -> anyhow::Result<Silence> {
        eprint!("credential (not shown): ");
        io::stderr().flush()?;
        let before = termios::tcgetattr(rustix::stdio::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
        eprintln!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_comes_from_where_the_context_says() {
        let env = |name: &str| (name == "SET").then(|| "from env".to_owned());
        let get = |secret: Secret| secret.get(env).ok();
        assert_eq!(get(Secret::Value("v".into())).as_deref(), Some("v"));
        assert_eq!(get(Secret::Env("SET".into())).as_deref(), Some("from env"));
        assert_eq!(get(Secret::Env("UNSET".into())), None);
        let printed = get(Secret::Command("echo hw_1".into()));
        assert_eq!(printed.as_deref(), Some("hw_1"));
        for command in ["true", "echo hw_1; exit 1"] {
            assert_eq!(get(Secret::Command(command.into())), None, "{command}");
        }
    }

    #[test]
    fn the_first_line_of_a_file_is_the_credential() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read_secret(file.path()).is_err());
        std::fs::write(file.path(), "hw_1\r\nmore").unwrap();
        assert_eq!(read_secret(file.path()).unwrap(), "hw_1");
    }
}
