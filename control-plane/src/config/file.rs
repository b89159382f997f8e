//! The configuration file as it is written, before it is checked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::Uri;
use highwater_certificates::TlsFiles;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Admin, Config, Issuer, Issuers, Log, LogFormat, SECRET_BYTES_MIN, read_text};
use crate::{
    admin::{KeySource, OperatorIf},
    fetch::Reach,
    telemetry,
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    listen: String,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
    nodes: Vec<String>,
    nodes_tls_ca: Option<PathBuf>,
    // A raw value, because the error of a typed one would print it.
    cluster_secret: Option<toml::Value>,
    cluster_secret_file: Option<PathBuf>,
    #[serde(default = "shutdown_timeout_ms")]
    shutdown_timeout_ms: u64,
    #[serde(default)]
    admin: AdminFile,
    #[serde(default)]
    issuers: IssuersFile,
    #[serde(default)]
    console: ConsoleFile,
    #[serde(default)]
    log: LogFile,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IssuersFile {
    private_addresses: bool,
    tls_ca: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AdminFile {
    // Raw as well: somebody may have put the key itself here.
    key_hash: Option<toml::Value>,
    key_hash_file: Option<PathBuf>,
    issuer: Option<String>,
    audiences: Vec<String>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    operators: Vec<String>,
    operator_claim: Option<String>,
    requests_per_second: u32,
}

impl Default for AdminFile {
    fn default() -> AdminFile {
        AdminFile {
            key_hash: None,
            key_hash_file: None,
            issuer: None,
            audiences: Vec::new(),
            jwks_file: None,
            jwks_url: None,
            operators: Vec::new(),
            operator_claim: None,
            requests_per_second: 100,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConsoleFile {
    nodes: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogFile {
    level: String,
    format: String,
}

impl Default for LogFile {
    fn default() -> LogFile {
        LogFile {
            level: "info".into(),
            format: "json".into(),
        }
    }
}

fn shutdown_timeout_ms() -> u64 {
    30_000
}

impl File {
    pub(super) fn from_table(table: toml::Table) -> Result<File, String> {
        // The parser ends some messages with a line break.
        let one_line = |e: toml::de::Error| e.to_string().trim_end().replace('\n', " ");
        table.try_into().map_err(one_line)
    }

    pub(super) fn check(self, folder: &Path) -> Result<Config, String> {
        let listen = self.listen.parse();
        let secret = one_of(
            "cluster_secret",
            self.cluster_secret,
            self.cluster_secret_file,
            folder,
        )?;
        let secret = secret.ok_or("cluster_secret_file: missing")?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("cluster_secret: at least {SECRET_BYTES_MIN} bytes"));
        }
        Ok(Config {
            listen: listen.map_err(|_| "listen: an address is ip:port")?,
            tls: check_tls(self.tls_cert, self.tls_key, self.tls_ca, folder)?,
            nodes: check_nodes(self.nodes)?,
            nodes_ca: self.nodes_tls_ca.map(|path| folder.join(path)),
            cluster_secret: SecretString::from(secret),
            shutdown_timeout: Duration::from_millis(self.shutdown_timeout_ms),
            admin: self.admin.check(folder)?,
            issuers: Issuers {
                reach: match self.issuers.private_addresses {
                    true => Reach::Anything,
                    false => Reach::Public,
                },
                authorities: self.issuers.tls_ca.map(|path| folder.join(path)),
            },
            console_nodes: check_console_nodes(self.console.nodes)?,
            log: check_log(self.log)?,
        })
    }
}

/// A secret that is given in one of two ways, or in none.
fn one_of(
    key: &str,
    inline: Option<toml::Value>,
    file: Option<PathBuf>,
    folder: &Path,
) -> Result<Option<String>, String> {
    match (inline, file) {
        (None, None) => Ok(None),
        (Some(toml::Value::String(text)), None) => Ok(Some(text)),
        (Some(_), None) => Err(format!("{key}: must be a string")),
        (None, Some(file)) => {
            let text = read_text(&folder.join(file)).map_err(|e| format!("{key}_file: {e}"))?;
            Ok(Some(text.trim_end().to_owned()))
        }
        (Some(_), Some(_)) => Err(format!("{key}: give it or {key}_file, not both")),
    }
}

fn check_tls(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    folder: &Path,
) -> Result<Option<TlsFiles>, String> {
    match (cert, key, ca) {
        (Some(cert), Some(key), ca) => Ok(Some(TlsFiles {
            cert: folder.join(cert),
            key: folder.join(key),
            ca: ca.map(|ca| folder.join(ca)),
        })),
        (None, None, None) => Ok(None),
        (None, ..) => Err("tls_cert: missing".into()),
        (Some(_), None, _) => Err("tls_key: missing".into()),
    }
}

fn check_nodes(nodes: Vec<String>) -> Result<Vec<String>, String> {
    match !nodes.is_empty() && nodes.iter().all(|node| is_address(node)) {
        true => Ok(nodes),
        false => Err("nodes: at least one address like http://10.0.0.1:8080".into()),
    }
}

/// They become part of a header, in which other characters than those of a host have a meaning.
fn check_console_nodes(nodes: Vec<String>) -> Result<Vec<String>, String> {
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-.:/[]".contains(c);
    let is_plain = |node: &String| is_address(node) && node.chars().all(is_of_host);
    match nodes.iter().all(is_plain) {
        true => Ok(nodes
            .iter()
            .map(|node| node.trim_end_matches('/').to_owned())
            .collect()),
        false => Err("console.nodes: addresses are like https://highwater.example.com".into()),
    }
}

/// Whether it is one of a server, without a path.
fn is_address(text: &str) -> bool {
    let uri = text.parse::<Uri>().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.path() == "/"
            && uri.query().is_none()
    })
}

impl AdminFile {
    fn check(self, folder: &Path) -> Result<Admin, String> {
        let hash = one_of("admin.key_hash", self.key_hash, self.key_hash_file, folder)?;
        let hash = hash.map(|text| text.parse().map_err(|e| format!("admin.key_hash: {e}")));
        let keys = match (self.jwks_file, self.jwks_url) {
            (Some(file), None) => Some(KeySource::File(folder.join(file))),
            (None, Some(url)) => Some(KeySource::Url(check_jwks_url(url)?)),
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err("admin.jwks_file: give it or admin.jwks_url, not both".into());
            }
        };
        let issuer = match (self.issuer, keys) {
            (Some(issuer), Some(keys)) if !issuer.is_empty() => Some(Issuer {
                issuer,
                audiences: self.audiences,
                keys,
            }),
            (None, None) => None,
            (None, Some(_)) => return Err("admin.issuer: missing".into()),
            (Some(_), _) => return Err("admin.jwks_url: missing".into()),
        };
        if issuer
            .as_ref()
            .is_some_and(|issuer| issuer.audiences.is_empty())
        {
            return Err("admin.audiences: missing; a token is for somebody".into());
        }
        let admin = Admin {
            operator_key: hash.transpose()?,
            issuer,
            operators: OperatorIf {
                subjects: self.operators,
                claim: self.operator_claim.map(check_claim).transpose()?,
            },
            requests_per_second: self.requests_per_second,
        };
        match admin.operator_key.is_none() && admin.issuer.is_none() {
            true => Err(
                "admin.key_hash_file: missing, and admin.issuer too; nobody could do anything"
                    .into(),
            ),
            false => Ok(admin),
        }
    }
}

fn check_claim(claim: String) -> Result<(String, String), String> {
    let parts = claim
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = parts.ok_or("admin.operator_claim: a claim is name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Keys that come in the clear could be anybody's, unless they come from this machine.
fn check_jwks_url(url: String) -> Result<String, String> {
    let parsed = url.parse::<Uri>().ok();
    let is_safe = parsed.is_some_and(|uri| match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
        _ => false,
    });
    match is_safe {
        true => Ok(url),
        false => Err("admin.jwks_url: begins with https://".into()),
    }
}

fn check_log(log: LogFile) -> Result<Log, String> {
    let format = match log.format.as_str() {
        "json" => LogFormat::Json,
        "text" => LogFormat::Text,
        _ => return Err("log.format: json or text".into()),
    };
    telemetry::filter(&log.level).map_err(|e| format!("log.level: {e}"))?;
    Ok(Log {
        level: log.level,
        format,
    })
}
