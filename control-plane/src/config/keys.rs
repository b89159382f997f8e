//! The table of configuration keys: what the example file says about each, and how a variable sets it.

use toml::{Table, Value};

/// One key of the configuration file.
pub struct Key {
    /// Its path, with a dot between section and name.
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
    Flag,
    /// With commas between them.
    Texts,
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
    key("listen", Text, "\"127.0.0.1:8090\"", "Address of the REST interface, and of health and metrics."),
    optional("tls_cert", Text, "\"control.pem\"", "Certificate chain (PEM). With it and its key, the address speaks TLS only."),
    optional("tls_key", Text, "\"control.key\"", "Private key of the certificate (PEM)."),
    optional("tls_ca", Text, "\"clients-ca.pem\"", "Authorities of client certificates (PEM). With it, clients must bring one."),
    key("nodes", Texts, "[\"http://127.0.0.1:8080\"]", "Nodes of the cluster, by the addresses that clients use. Any one does; when it does not answer, the next."),
    optional("nodes_tls_ca", Text, "\"nodes-ca.pem\"", "Authorities of the nodes' certificates (PEM), when they are not the system's."),
    optional("cluster_secret", Text, "\"at least sixteen bytes\"", "The secret itself, for development. Never logged."),
    key("cluster_secret_file", Text, "\"cluster.secret\"", "A file with the secret that all nodes share. It opens the catalogue, hashes API keys and seals cursors."),
    key("shutdown_timeout_ms", Integer, "30000", "How long a stop may take in all."),
    optional("admin.key_hash", Text, "\"64 hexadecimal digits\"", "BLAKE3 hash of the operator's key."),
    key("admin.key_hash_file", Text, "\"operator.hash\"", "A file with it. The key itself (hwa_…) is kept elsewhere."),
    optional("admin.issuer", Text, "\"https://id.example.com\"", "OIDC issuer whose tokens administrators bring: what they say in `iss`."),
    optional("admin.audiences", Texts, "[\"highwater\"]", "One of these is what its tokens must say in `aud`."),
    optional("admin.jwks_file", Text, "\"jwks.json\"", "A file with its public keys (RFC 7517). Read again now and then."),
    optional("admin.jwks_url", Text, "\"https://id.example.com/jwks.json\"", "Or where they are."),
    optional("admin.operators", Texts, "[\"ann\"]", "Subjects (`sub`) that are operators of the platform."),
    optional("admin.operator_claim", Text, "\"groups=platform\"", "A claim that operators have, or have among others."),
    key("admin.requests_per_second", Integer, "100", "How many requests each caller may send, a second; five times as many at once. Operators have no such limit; 0 is none at all."),
    key("issuers.private_addresses", Flag, "false", "Whether the keys of projects' issuers may be fetched from addresses that are not on the public internet. A tenant chooses the address."),
    optional("issuers.tls_ca", Text, "\"issuers-ca.pem\"", "Authorities of issuers' certificates (PEM), beside the system's."),
    optional("console.nodes", Texts, "[\"https://highwater.example.com\"]", "Addresses that browsers reach nodes by: the console's live tail goes there. Everybody who opens the console may see them."),
    key("log.level", Text, "\"info\"", "What is logged: error, warn, info, debug, or a `tracing` filter for libraries too."),
    key("log.format", Text, "\"json\"", "json, or text for people. Logs go to stderr and hold no bodies and no secrets."),
];

impl Key {
    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!(
            "HIGHWATER_CONTROL_{}",
            self.path.replace('.', "_").to_uppercase()
        )
    }

    fn parse(&self, text: &str) -> Option<Value> {
        match self.kind {
            Text => Some(Value::String(text.to_owned())),
            Flag => text.parse().ok().map(Value::Boolean),
            Integer => text.parse().ok().map(Value::Integer),
            Texts => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                Some(Value::Array(
                    parts.map(|part| Value::String(part.to_owned())).collect(),
                ))
            }
        }
    }
}

/// Keys that say the same in two ways: one of them replaces the other.
const ALTERNATIVES: &[[&str; 2]] = &[
    ["cluster_secret", "cluster_secret_file"],
    ["admin.key_hash", "admin.key_hash_file"],
    ["admin.jwks_file", "admin.jwks_url"],
];

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
        for others in ALTERNATIVES.iter().filter(|pair| pair.contains(&key.path)) {
            for other in others {
                let (section, name) = section_of(table, other)?;
                section.remove(name);
            }
        }
        let (section, name) = section_of(table, key.path)?;
        section.insert(name.to_owned(), value);
    }
    Ok(())
}

fn section_of<'a>(
    table: &'a mut Table,
    path: &'static str,
) -> Result<(&'a mut Table, &'static str), String> {
    match path.split_once('.') {
        None => Ok((table, path)),
        Some((section, name)) => {
            let section = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            let section = section
                .as_table_mut()
                .ok_or(format!("{path}: not in a section"))?;
            Ok((section, name))
        }
    }
}

/// The example file.
pub fn example() -> String {
    let mut text = String::from(
        "# A control plane of Highwater. Relative paths start at this file's folder. Every key can be set by the\n\
         # environment variable named beside it, which wins over the file. Unknown keys are errors.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (in_section, name) = key.path.split_once('.').unwrap_or(("", key.path));
        text.push('\n');
        if in_section != section {
            section = in_section;
            text += &format!("[{section}]\n");
        }
        text += &format!("# {} ({})\n", key.doc, key.variable());
        let comment = if key.optional { "# " } else { "" };
        text += &format!("{comment}{name} = {}\n", key.example);
    }
    text
}
