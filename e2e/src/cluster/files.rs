//! The files a cluster is started from, one for each node, and what its catalogue begins with.

use std::{fs, path::Path};

use highwater_proto::control::{self, Document, document::Resource};

use super::{Node, certificates::Authority, ports};

/// What makes one cluster different from another.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many nodes.
    pub nodes: usize,
    /// Raft groups.
    pub shards: u32,
    /// Over how many shards each project is spread.
    pub spread: u32,
    /// How topics are kept; the first whose filter matches decides.
    pub policies: Vec<Policy>,
    /// How many projects, each with a key of its own.
    pub projects: usize,
    /// Whether the disks can be made to fail.
    pub faults: bool,
    /// Where traces go.
    pub otlp_endpoint: Option<String>,
    /// Whether clients and nodes speak TLS, the nodes proving themselves to each other.
    pub tls: bool,
    /// Whether clients of MQTT have ports of their own, one of them with TLS: needs `tls`.
    pub mqtt_ports: bool,
    /// How often what was deleted is erased from the disks, in milliseconds.
    pub erasure_interval_ms: u64,
    /// What is logged.
    pub log_level: &'static str,
    /// Texts that may be in a warning.
    pub allowed_warnings: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            nodes: 3,
            shards: 4,
            spread: 2,
            policies: Vec::new(),
            projects: 2,
            faults: false,
            otlp_endpoint: None,
            tls: false,
            mqtt_ports: false,
            erasure_interval_ms: 24 * 3_600 * 1_000,
            log_level: "info",
            allowed_warnings: Vec::new(),
        }
    }
}

/// Addresses of a node that are meant for clients of MQTT.
#[derive(Debug, Clone)]
pub struct MqttPorts {
    /// Without TLS.
    pub plain: String,
    /// With TLS.
    pub tls: String,
}

/// How the topics of a filter are kept.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Which topics.
    pub filter: String,
    /// Keep records this long.
    pub retention_ms: Option<u64>,
    /// Keep this many records of a topic.
    pub retention_records: Option<u64>,
    /// Keep only the newest record of each key.
    pub last_value: bool,
    /// Refuse a publish rather than create the topic.
    pub must_exist: bool,
}

/// What the nodes of every cluster here share.
pub const CLUSTER_SECRET: &str = "a secret of end-to-end tests";
/// What the secret part of every key begins with.
pub(super) const KEY_SECRET: &str = "secret-of-key-";

/// What was written.
pub(super) struct Written {
    pub nodes: Vec<Node>,
    /// What the catalogue begins with.
    pub documents: Vec<Document>,
    pub keys: Vec<String>,
    /// The authority of all certificates, where there are any.
    pub ca: Option<String>,
}

/// Writes all files of a cluster.
///
/// # Panics
/// When the folder cannot be written to.
pub(super) fn write(folder: &Path, setup: &Setup) -> Written {
    let (keys, hashes): (Vec<_>, Vec<_>) = (1..=setup.projects).map(make_key).unzip();
    let tenant = control::Tenant {
        name: "tests".into(),
        ..control::Tenant::default()
    };
    let mut documents = vec![document("ten_", 1, Resource::Tenant(tenant))];
    for (number, hash) in (1..).zip(hashes) {
        let project = Resource::Project(project(setup, number));
        documents.push(document("prj_", number, project));
        let key = Resource::ApiKey(key_of_project(number, hash));
        documents.push(document("key_", number, key));
    }

    let authority = setup.tls.then(Authority::generate);
    if let Some(authority) = &authority {
        fs::write(folder.join("ca.pem"), authority.pem()).expect("the authority is written");
        for id in 1..=setup.nodes {
            authority.issue(folder, &format!("client-{id}"));
            authority.issue(folder, &format!("peer-{id}"));
        }
    }
    let peers: Vec<u16> = (0..setup.nodes).map(|_| ports::take()).collect();
    let nodes = (0..setup.nodes).map(|index| write_node(folder, setup, index, &peers));
    Written {
        nodes: nodes.collect(),
        documents,
        keys,
        ca: authority.map(|authority| authority.pem()),
    }
}

fn write_node(folder: &Path, setup: &Setup, index: usize, peers: &[u16]) -> Node {
    let id = index + 1;
    let client = format!("127.0.0.1:{}", ports::take());
    let peer = peers[index];
    let shards = setup.shards;
    let peers: String = peers
        .iter()
        .enumerate()
        .map(|(index, port)| format!("{} = \"127.0.0.1:{port}\"\n", index + 1))
        .collect();
    let traces = setup.otlp_endpoint.as_ref();
    let traces = traces.map_or(String::new(), |endpoint| {
        // None begins by itself: tests count what they asked for.
        format!("[traces]\notlp_endpoint = \"{endpoint}\"\nsample_ratio = 0.0\n")
    });
    let tls = |door: &str, ca: &str| match setup.tls {
        true => format!("tls_cert = \"{door}-{id}.pem\"\ntls_key = \"{door}-{id}.key\"\n{ca}"),
        false => String::new(),
    };
    let client_tls = tls("client", "");
    let mqtt = setup.mqtt_ports.then(|| MqttPorts {
        plain: format!("127.0.0.1:{}", ports::take()),
        tls: format!("127.0.0.1:{}", ports::take()),
    });
    let mqtt_doors = mqtt.as_ref().map_or(String::new(), |ports| {
        let (plain, sealed) = (&ports.plain, &ports.tls);
        format!("[mqtt]\nlisten = \"{plain}\"\n\n[mqtts]\nlisten = \"{sealed}\"\n{client_tls}")
    });
    let peer_tls = tls("peer", "tls_ca = \"ca.pem\"\n");
    let (log_level, erasure_interval_ms) = (setup.log_level, setup.erasure_interval_ms);
    let config = format!(
        r#"node = {id}
cluster_secret = "{CLUSTER_SECRET}"
data_dir = "data-{id}"
shards = {shards}
erasure_interval_ms = {erasure_interval_ms}

[client]
listen = "{client}"
{client_tls}
{mqtt_doors}
[peer]
listen = "127.0.0.1:{peer}"
{peer_tls}
[peers]
{peers}
[log]
level = "{log_level}"

{traces}"#
    );
    let path = folder.join(format!("node-{id}.toml"));
    fs::write(&path, config).expect("the configuration is written");
    Node {
        client,
        mqtt,
        config: path,
        data: folder.join(format!("data-{id}")),
        log: folder.join(format!("node-{id}.log")),
        process: None,
    }
}

pub(super) fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:032x}")
}

fn document(prefix: &str, number: usize, resource: Resource) -> Document {
    Document {
        id: id(prefix, number),
        resource: Some(resource),
        ..Document::default()
    }
}

fn project(setup: &Setup, number: usize) -> control::Project {
    let policy = |policy: &Policy| control::TopicPolicy {
        filter: policy.filter.clone(),
        retention_ms: policy.retention_ms.unwrap_or_default(),
        retention_bytes: 0,
        retention_records: policy.retention_records.unwrap_or_default(),
        last_value: policy.last_value,
        must_exist: policy.must_exist,
    };
    control::Project {
        tenant: id("ten_", 1),
        name: format!("project {number}"),
        spread: setup.spread,
        policies: setup.policies.iter().map(policy).collect(),
        ..control::Project::default()
    }
}

fn key_of_project(number: usize, secret_hash: [u8; 32]) -> control::ApiKey {
    let operations = ["publish", "subscribe", "manage"].map(str::to_owned);
    control::ApiKey {
        project: id("prj_", number),
        name: format!("key {number}"),
        secret_hash: secret_hash.to_vec().into(),
        permissions: vec![control::Permission {
            operations: operations.to_vec(),
            topics: "#".into(),
        }],
        ..control::ApiKey::default()
    }
}

/// A key as the service makes it, and the hash that the catalogue keeps: BLAKE3, keyed with what
/// is derived from the cluster's secret.
fn make_key(number: usize) -> (String, [u8; 32]) {
    let secret = format!("{KEY_SECRET}{number}");
    let hasher = blake3::derive_key("highwater 2026-11 api key hash", CLUSTER_SECRET.as_bytes());
    let hash = blake3::keyed_hash(&hasher, secret.as_bytes());
    (format!("hw_{}_{secret}", id("", number)), *hash.as_bytes())
}
