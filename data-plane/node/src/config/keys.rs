//! The table of configuration keys: what the example file says about each, and how a variable sets it.

use toml::{Table, Value};

/// One key of the configuration file.
pub struct Key {
    /// Its path, with dots between sections.
    pub path: &'static str,
    kind: Kind,
    /// What it means, for people.
    doc: &'static str,
    /// A value, as TOML. Optional keys are commented out in the example.
    example: &'static str,
    optional: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Float,
    /// `1=host:port,2=host:port`.
    Peers,
}

use Kind::*;

const fn key(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        doc,
        example,
        optional: false,
    }
}

const fn optional(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        optional: true,
        ..key(path, kind, example, doc)
    }
}

/// All keys, in the order of the example file.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("node", Integer, "1", "This node's id: a number above 0 that no other node of the cluster has ever had."),
    key("cluster", Text, "\"highwater\"", "The cluster's name. Nodes of another cluster are refused."),
    optional("cluster_secret", Text, "\"at least sixteen bytes\"", "The secret itself, for development. Never logged."),
    key("cluster_secret_file", Text, "\"cluster.secret\"", "A file with the secret that all nodes share. It seals cursors and hashes API keys."),
    key("data_dir", Text, "\"data\"", "Where the node keeps its log and its topics."),
    key("shards", Integer, "64", "Raft groups of the cluster. Fixed at its first start."),
    key("shutdown_timeout_ms", Integer, "30000", "How long a stop may take in all, connections and hand-over of leadership included."),
    key("erasure_interval_ms", Integer, "86400000", "How often what was deleted is erased from the disk, the log included; it rewrites what lies around it. First after an hour, at the latest."),
    key("client.listen", Text, "\"0.0.0.0:8080\"", "Address for clients of all protocols, and for health and metrics."),
    optional("client.tls_cert", Text, "\"client.pem\"", "Certificate chain (PEM). With it and its key, the client door speaks TLS only."),
    optional("client.tls_key", Text, "\"client.key\"", "Private key of the certificate (PEM)."),
    optional("client.tls_ca", Text, "\"clients-ca.pem\"", "Authorities of client certificates (PEM). With it, clients must bring one."),
    key("client.connections_max", Integer, "100000", "Connections that may be open at once. More are closed as they come."),
    key("client.header_timeout_ms", Integer, "10000", "Time for the first request of a connection to begin, TLS handshake included, and for the headers of each request of HTTP/1.1."),
    key("client.body_timeout_ms", Integer, "30000", "Time for the body of a request, and between two pieces of a message of a gRPC stream."),
    key("client.keepalive_interval_ms", Integer, "20000", "How often connections of HTTP/2 are pinged. One that does not answer within the same time is closed."),
    optional("client.connection_age_max_ms", Integer, "3600000", "After this time a connection is asked to go elsewhere, so that load spreads anew. Without it none is."),
    optional("mqtt.listen", Text, "\"0.0.0.0:1883\"", "Another address for clients, on the port where those of MQTT expect it. It serves what `client.listen` does."),
    optional("mqtt.tls_cert", Text, "\"client.pem\"", "Certificate chain (PEM), if the address speaks TLS only."),
    optional("mqtt.tls_key", Text, "\"client.key\"", "Private key of the certificate (PEM)."),
    optional("mqtt.tls_ca", Text, "\"clients-ca.pem\"", "Authorities of client certificates (PEM). With it, clients must bring one."),
    optional("mqtts.listen", Text, "\"0.0.0.0:8883\"", "The same with TLS, on the port where that is expected."),
    optional("mqtts.tls_cert", Text, "\"client.pem\"", "Certificate chain (PEM)."),
    optional("mqtts.tls_key", Text, "\"client.key\"", "Private key of the certificate (PEM)."),
    optional("mqtts.tls_ca", Text, "\"clients-ca.pem\"", "Authorities of client certificates (PEM). With it, clients must bring one."),
    key("peer.listen", Text, "\"0.0.0.0:7400\"", "Address for the other nodes. Keep it private."),
    optional("peer.tls_cert", Text, "\"peer.pem\"", "Certificate chain (PEM) for both directions; its name must be the host in `peers`."),
    optional("peer.tls_key", Text, "\"peer.key\"", "Private key of the certificate (PEM)."),
    optional("peer.tls_ca", Text, "\"peers-ca.pem\"", "Authorities of the nodes' certificates (PEM). Nodes without such a certificate are refused."),
    key("peers", Peers, "1 = \"127.0.0.1:7400\"", "All nodes, this one included: id = \"host:port\" of the peer door. As a variable: 1=host:port,2=host:port"),
    key("log.level", Text, "\"info\"", "What is logged: error, warn, info, debug, or a `tracing` filter for libraries too, such as info,highwater_cluster=debug."),
    key("log.format", Text, "\"json\"", "json, or text for people. Logs go to stderr and hold no payloads and no secrets."),
    optional("traces.otlp_endpoint", Text, "\"http://127.0.0.1:4318\"", "Base address of an OTLP/HTTP collector. Without it no traces are made."),
    key("traces.sample_ratio", Float, "0.01", "Share of the publishes without a traceparent that begin a trace here, from 0 to 1; of those that are handled together one at most. A publish with a traceparent belongs to its trace and follows its sampling."),
];

impl Key {
    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("HIGHWATER_{}", self.path.replace('.', "_").to_uppercase())
    }

    fn parse(&self, text: &str) -> Option<Value> {
        match self.kind {
            Text => Some(Value::String(text.to_owned())),
            Integer => text.parse().ok().map(Value::Integer),
            Float => text.parse().ok().map(Value::Float),
            Peers => {
                let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
                let pairs = pairs.map(|pair| {
                    let (id, address) = pair.split_once('=')?;
                    Some((id.trim().to_owned(), Value::String(address.trim().into())))
                });
                pairs.collect::<Option<Table>>().map(Value::Table)
            }
        }
    }
}

/// Sets every key whose variable is among `variables`.
pub(super) fn override_from(
    table: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(), String> {
    for (name, text) in variables {
        // Names outside the table are somebody else's: orchestrators invent variables of this shape.
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            continue;
        };
        let value = key.parse(&text);
        let value = value.ok_or_else(|| format!("{name}: not a value for {}", key.path))?;
        match key.path.split_once('.') {
            None => {
                // A secret given one way replaces a secret given the other way.
                if key.path.starts_with("cluster_secret") {
                    table.retain(|name, _| !name.starts_with("cluster_secret"));
                }
                table.insert(key.path.into(), value);
            }
            Some((section, rest)) => {
                let section = table
                    .entry(section)
                    .or_insert_with(|| Value::Table(Table::new()));
                let section = section
                    .as_table_mut()
                    .ok_or_else(|| format!("{}: not a section", key.path))?;
                section.insert(rest.into(), value);
            }
        }
    }
    Ok(())
}

/// The example file.
pub fn example() -> String {
    let mut text = String::from(
        "# A node of Highwater. Relative paths start at this file's folder. Every key can be set by the\n\
         # environment variable named beside it, which wins over the file. Unknown keys are errors.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (in_section, name) = match (key.kind, key.path.split_once('.')) {
            (Peers, _) => (key.path, ""),
            (_, Some(split)) => split,
            (_, None) => ("", key.path),
        };
        if in_section != section {
            section = in_section;
            // A section that nobody needs is no section.
            let mut keys = KEYS
                .iter()
                .filter(|k| k.path.split('.').next() == Some(section));
            let comment = if keys.all(|key| key.optional) {
                "# "
            } else {
                ""
            };
            text += &format!("\n{comment}[{section}]\n");
        } else if section.is_empty() {
            text += "\n";
        }
        text += &format!("# {} ({})\n", key.doc, key.variable());
        let comment = if key.optional { "# " } else { "" };
        match name {
            "" => text += &format!("{comment}{}\n", key.example),
            name => text += &format!("{comment}{name} = {}\n", key.example),
        }
    }
    text
}
