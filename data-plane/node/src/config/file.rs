//! The configuration file as it is written, before it is checked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use highwater_certificates::TlsFiles;
use highwater_gateway::Options;
use highwater_proto::{
    ids::NodeId,
    limits::{CLIENT_TIME_MS_MAX, CONNECTIONS_MAX},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Config, Door, Log, LogFormat, SECRET_BYTES_MIN, Traces, check_shards};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    node: u64,
    #[serde(default = "cluster")]
    cluster: String,
    // A raw value, because the error of a typed one would print it.
    cluster_secret: Option<toml::Value>,
    cluster_secret_file: Option<PathBuf>,
    data_dir: PathBuf,
    #[serde(default = "shards")]
    shards: u32,
    #[serde(default = "shutdown_timeout_ms")]
    shutdown_timeout_ms: u64,
    #[serde(default = "erasure_interval_ms")]
    erasure_interval_ms: u64,
    client: ClientFile,
    mqtt: Option<DoorFile>,
    mqtts: Option<DoorFile>,
    peer: DoorFile,
    peers: BTreeMap<String, String>,
    #[serde(default)]
    log: LogFile,
    #[serde(default)]
    traces: TracesFile,
}

/// A door, and how it treats clients. Not nested, for `deny_unknown_fields` does not see through that.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    listen: String,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
    connections_max: Option<usize>,
    header_timeout_ms: Option<u64>,
    body_timeout_ms: Option<u64>,
    keepalive_interval_ms: Option<u64>,
    connection_age_max_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DoorFile {
    listen: String,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TracesFile {
    otlp_endpoint: String,
    sample_ratio: f64,
}

impl Default for TracesFile {
    fn default() -> TracesFile {
        TracesFile {
            otlp_endpoint: String::new(),
            sample_ratio: 0.01,
        }
    }
}

fn cluster() -> String {
    "highwater".into()
}

fn shards() -> u32 {
    64
}

fn erasure_interval_ms() -> u64 {
    24 * 3_600 * 1_000
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

    /// The cluster secret, inline or through `read` from its file.
    pub(super) fn secret(
        &self,
        read: impl FnOnce(&Path) -> Result<String, String>,
    ) -> Result<SecretString, String> {
        let secret = match (&self.cluster_secret, &self.cluster_secret_file) {
            (Some(toml::Value::String(secret)), None) => secret.clone(),
            (Some(_), None) => return Err("cluster_secret: must be a string".into()),
            (None, Some(file)) => read(file)?.trim_end().to_owned(),
            (Some(_), Some(_)) => {
                return Err("cluster_secret: give it or cluster_secret_file, not both".into());
            }
            (None, None) => return Err("cluster_secret_file: missing".into()),
        };
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "cluster_secret: at least {SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes one"
            ));
        }
        Ok(secret.into())
    }

    pub(super) fn check(self, folder: &Path, secret: SecretString) -> Result<Config, String> {
        let node = NodeId(self.node);
        let peers = check_peers(self.peers)?;
        if !peers.contains_key(&node) {
            return Err(format!("peers: node {node} itself is missing"));
        }
        let peer = check_door("peer", self.peer, folder)?;
        if peer.tls.as_ref().is_some_and(|tls| tls.ca.is_none()) {
            return Err("peer.tls_ca: missing; nodes check each other's certificates".into());
        }
        let door = |name, door: Option<DoorFile>| {
            door.map(|door| check_door(name, door, folder)).transpose()
        };
        let (mqtt, mqtts) = (door("mqtt", self.mqtt)?, door("mqtts", self.mqtts)?);
        if mqtts.as_ref().is_some_and(|door| door.tls.is_none()) {
            return Err("mqtts.tls_cert: missing".into());
        }
        let shutdown_timeout = Duration::from_millis(self.shutdown_timeout_ms);
        let gateway = Options {
            // The stop order has a timeout of its own for this.
            drain_timeout: shutdown_timeout,
            ..check_client(&self.client)?
        };
        Ok(Config {
            node,
            cluster: self.cluster,
            cluster_secret: secret,
            data_dir: folder.join(self.data_dir),
            shards: check_shards(self.shards)?,
            shutdown_timeout,
            erasure_interval: Duration::from_millis(self.erasure_interval_ms.max(1)),
            client: check_door("client", self.client.door(), folder)?,
            mqtt,
            mqtts,
            gateway,
            peer,
            peers,
            log: check_log(self.log)?,
            traces: check_traces(self.traces)?,
        })
    }
}

fn check_peers(peers: BTreeMap<String, String>) -> Result<BTreeMap<NodeId, String>, String> {
    let check = |(id, address): (String, String)| {
        let number = id.parse().ok().filter(|id| *id > 0);
        let number = number.ok_or(format!("peers.{id}: an id is a number above 0"))?;
        match address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>())
        {
            Some(Ok(_)) => Ok((NodeId(number), address)),
            _ => Err(format!("peers.{id}: an address is host:port")),
        }
    };
    peers.into_iter().map(check).collect()
}

fn check_door(name: &str, door: DoorFile, folder: &Path) -> Result<Door, String> {
    let listen: SocketAddr = door
        .listen
        .parse()
        .map_err(|_| format!("{name}.listen: an address is ip:port"))?;
    let tls = match (door.tls_cert, door.tls_key, door.tls_ca) {
        (Some(cert), Some(key), ca) => Some(TlsFiles {
            cert: folder.join(cert),
            key: folder.join(key),
            ca: ca.map(|ca| folder.join(ca)),
        }),
        (None, None, None) => None,
        (None, ..) => return Err(format!("{name}.tls_cert: missing")),
        (Some(_), None, _) => return Err(format!("{name}.tls_key: missing")),
    };
    Ok(Door { listen, tls })
}

impl ClientFile {
    fn door(self) -> DoorFile {
        DoorFile {
            listen: self.listen,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            tls_ca: self.tls_ca,
        }
    }
}

fn check_client(client: &ClientFile) -> Result<Options, String> {
    let default = Options::default();
    let connections_max = client.connections_max.unwrap_or(default.connections_max);
    if !(1..=CONNECTIONS_MAX).contains(&connections_max) {
        return Err(format!(
            "client.connections_max: from 1 to {CONNECTIONS_MAX}"
        ));
    }
    let time = |name: &str, ms: Option<u64>| match ms {
        Some(ms) if !(1..=CLIENT_TIME_MS_MAX).contains(&ms) => Err(format!(
            "client.{name}: from 1 to {CLIENT_TIME_MS_MAX} milliseconds"
        )),
        ms => Ok(ms.map(Duration::from_millis)),
    };
    let or = |ms: Option<Duration>, default| ms.unwrap_or(default);
    Ok(Options {
        connections_max,
        header_timeout: or(
            time("header_timeout_ms", client.header_timeout_ms)?,
            default.header_timeout,
        ),
        body_timeout: or(
            time("body_timeout_ms", client.body_timeout_ms)?,
            default.body_timeout,
        ),
        keepalive_interval: or(
            time("keepalive_interval_ms", client.keepalive_interval_ms)?,
            default.keepalive_interval,
        ),
        connection_age_max: time("connection_age_max_ms", client.connection_age_max_ms)?,
        ..default
    })
}

fn check_log(log: LogFile) -> Result<Log, String> {
    let format = match log.format.as_str() {
        "json" => LogFormat::Json,
        "text" => LogFormat::Text,
        _ => return Err("log.format: json or text".into()),
    };
    crate::telemetry::filter(&log.level).map_err(|e| format!("log.level: {e}"))?;
    Ok(Log {
        level: log.level,
        format,
    })
}

fn check_traces(traces: TracesFile) -> Result<Option<Traces>, String> {
    if !(0.0..=1.0).contains(&traces.sample_ratio) {
        return Err("traces.sample_ratio: from 0 to 1".into());
    }
    if traces.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    if !traces.otlp_endpoint.starts_with("http://") && !traces.otlp_endpoint.starts_with("https://")
    {
        return Err("traces.otlp_endpoint: begins with http:// or https://".into());
    }
    Ok(Some(Traces {
        endpoint: traces.otlp_endpoint,
        sample_ratio: traces.sample_ratio,
    }))
}
