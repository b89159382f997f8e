//! The configuration of a control plane: one TOML file, any key of which an environment variable overrides.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use highwater_certificates::TlsFiles;
use highwater_credentials::OperatorKeyHash;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    admin::{KeySource, OperatorIf},
    fetch::Reach,
};

mod file;
pub mod keys;

/// Fewest bytes of a cluster secret, as the nodes have it.
pub const SECRET_BYTES_MIN: usize = 16;

/// Everything a control plane is told before it starts. Checked: see [`Config::read`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key, and the authority that clients' certificates must come from.
    pub tls: Option<TlsFiles>,
    /// Addresses of nodes: any of them does.
    pub nodes: Vec<String>,
    /// Authorities of the nodes' certificates.
    pub nodes_ca: Option<PathBuf>,
    /// What all nodes and control planes of the cluster share and nobody else knows.
    pub cluster_secret: SecretString,
    /// How long a stop may take in all.
    pub shutdown_timeout: Duration,
    /// Who may administer.
    pub admin: Admin,
    /// How the keys of projects' issuers are fetched.
    pub issuers: Issuers,
    /// Addresses that browsers reach nodes by; without a path.
    pub console_nodes: Vec<String>,
    /// What is logged, and how.
    pub log: Log,
}

/// How the keys of projects' issuers are fetched.
#[derive(Debug, Clone)]
pub struct Issuers {
    /// From where they may be fetched.
    pub reach: Reach,
    /// Authorities of their certificates, beside the system's.
    pub authorities: Option<PathBuf>,
}

/// Who may administer.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// Hash of the operator's key.
    pub operator_key: Option<OperatorKeyHash>,
    /// Whose tokens administrators bring.
    pub issuer: Option<Issuer>,
    /// Which of them are operators.
    pub operators: OperatorIf,
    /// How many requests each of the others may send, a second; 0 is without limit.
    pub requests_per_second: u32,
}

/// An OIDC issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// What tokens say in `iss`.
    pub issuer: String,
    /// One of these is in their `aud`.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `warn,highwater_control_plane=debug`.
    pub level: String,
    /// JSON lines or text.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why there is no configuration. None of the messages repeats a value that may be secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// An unknown key, a wrong type or a value that cannot be.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        message: String,
    },
}

impl Config {
    /// Reads and checks a file, with overrides from the environment `variables`. Relative paths in
    /// it start at the file's folder.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file and the key.
    pub fn read(
        path: &Path,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let text = read_text(path)?;
        let mut table = parse_table(path, &text)?;
        let invalid = |message: String| ConfigError::Invalid {
            path: path.to_owned(),
            message,
        };
        keys::override_from(&mut table, variables).map_err(invalid)?;
        let file = file::File::from_table(table).map_err(invalid)?;
        file.check(path.parent().unwrap_or(Path::new("")))
            .map_err(invalid)
    }

    /// The cluster secret's bytes.
    pub fn secret_bytes(&self) -> &[u8] {
        self.cluster_secret.expose_secret().as_bytes()
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Parses TOML. The error names the line, and does not quote it as the parser would: it may hold a
/// secret.
fn parse_table(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| {
        let at = e.span().map_or(0, |span| span.start.min(text.len()));
        let lines = text.as_bytes()[..at].iter().filter(|b| **b == b'\n');
        ConfigError::Syntax {
            path: path.to_owned(),
            line: 1 + lines.count(),
            message: e.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests;
