//! The configuration of a node: one TOML file, any key of which an environment variable overrides.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use highwater_certificates::TlsFiles;
use highwater_gateway::Options;
use highwater_proto::{ids::NodeId, limits::SHARDS_MAX};
use secrecy::{ExposeSecret, SecretString};

mod file;
pub mod keys;

/// Fewest bytes of a cluster secret: it protects cursors and API keys.
pub const SECRET_BYTES_MIN: usize = 16;

/// Everything a node is told before it starts. Checked: see [`Config::read`].
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's id, one of `peers`.
    pub node: NodeId,
    /// The cluster's name, so that two clusters never mix.
    pub cluster: String,
    /// What all nodes of the cluster share and nobody else knows.
    pub cluster_secret: SecretString,
    /// Where the node keeps its data.
    pub data_dir: PathBuf,
    /// How many shards the cluster has; fixed at its first start.
    pub shards: u32,
    /// How long a stop may take in all.
    pub shutdown_timeout: Duration,
    /// How often what was deleted is erased from the disk.
    pub erasure_interval: Duration,
    /// The door for clients.
    pub client: Door,
    /// Another door for clients, on the port where MQTT is expected.
    pub mqtt: Option<Door>,
    /// The same with TLS.
    pub mqtts: Option<Door>,
    /// How clients are treated there.
    pub gateway: Options,
    /// The door for the other nodes.
    pub peer: Door,
    /// All nodes of the cluster, this one included, with the address of their peer door.
    pub peers: BTreeMap<NodeId, String>,
    /// What is logged, and how.
    pub log: Log,
    /// Where traces go.
    pub traces: Option<Traces>,
}

/// An address to listen on.
#[derive(Debug, Clone)]
pub struct Door {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate, key and the authority that clients' certificates must come from.
    pub tls: Option<TlsFiles>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `warn,highwater_cluster=debug`.
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

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// Base address of an OTLP/HTTP collector, such as `http://localhost:4318`.
    pub endpoint: String,
    /// Share of the publishes without a trace context that begin a trace, from 0 to 1.
    pub sample_ratio: f64,
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
        let folder = path.parent().unwrap_or(Path::new(""));
        let secret = file.secret(|secret_file| {
            let secret_file = folder.join(secret_file);
            read_text(&secret_file).map_err(|e| format!("cluster_secret_file: {e}"))
        });
        let config = file.check(folder, secret.map_err(invalid)?);
        config.map_err(invalid)
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
pub(crate) fn parse_table(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse()
        .map_err(|e: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            line: 1 + e.span().map_or(0, |span| {
                text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
            }),
            message: e.message().to_owned(),
        })
}

fn check_shards(shards: u32) -> Result<u32, String> {
    match shards {
        1..=SHARDS_MAX => Ok(shards),
        _ => Err(format!("shards: from 1 to {SHARDS_MAX}, not {shards}")),
    }
}

#[cfg(test)]
mod tests;
