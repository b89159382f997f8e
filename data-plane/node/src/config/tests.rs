//! The configuration is read as the example says, and refused with the name of the key.

use std::{collections::BTreeSet, path::Path};

use super::*;

const VALID: &str = r#"
node = 1
cluster_secret = "0123456789abcdef"
data_dir = "data"
[client]
listen = "127.0.0.1:0"
[peer]
listen = "127.0.0.1:0"
[peers]
1 = "127.0.0.1:7400"
"#;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("cluster.secret"), "fedcba9876543210\n").unwrap();
    let variables = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::read(&path, variables).map_err(|e| {
        let folder = format!("{}/", folder.path().display());
        e.to_string().replace(&folder, "")
    })
}

#[test]
fn what_is_not_said_has_a_default() {
    let config = read(VALID, &[]).unwrap();
    assert_eq!(config.node, NodeId(1));
    assert_eq!(config.cluster, "highwater");
    assert_eq!(config.shards, 64);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.traces, None);
    assert!(config.data_dir.is_absolute());
}

#[test]
fn a_variable_wins_over_the_file() {
    let config = read(
        VALID,
        &[
            ("HIGHWATER_NODE", "2"),
            ("HIGHWATER_PEERS", "1=a:1, 2=b:2"),
            ("HIGHWATER_CLIENT_LISTEN", "127.0.0.1:9"),
            ("HIGHWATER_LOG_FORMAT", "text"),
            ("HIGHWATER_TRACES_OTLP_ENDPOINT", "http://collector:4318"),
            ("HIGHWATER_CLUSTER_SECRET_FILE", "cluster.secret"),
            ("HIGHWATER_SOMETHING_ELSE", "ignored"),
        ],
    )
    .unwrap();
    assert_eq!(config.node, NodeId(2));
    assert_eq!(config.peers[&NodeId(2)], "b:2");
    assert_eq!(config.client.listen.port(), 9);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.secret_bytes(), b"fedcba9876543210");
    assert_eq!(config.traces.unwrap().endpoint, "http://collector:4318");
}

#[test]
fn what_clients_may_take_can_be_configured() {
    let text = VALID.replacen(
        "[client]",
        "[client]\nconnections_max = 7\nheader_timeout_ms = 1\nbody_timeout_ms = 2\n\
         keepalive_interval_ms = 3\nconnection_age_max_ms = 4",
        1,
    );
    let gateway = read(&text, &[]).unwrap().gateway;
    assert_eq!(gateway.connections_max, 7);
    assert_eq!(gateway.header_timeout, Duration::from_millis(1));
    assert_eq!(gateway.body_timeout, Duration::from_millis(2));
    assert_eq!(gateway.keepalive_interval, Duration::from_millis(3));
    assert_eq!(gateway.connection_age_max, Some(Duration::from_millis(4)));
    let variable = [("HIGHWATER_CLIENT_CONNECTION_AGE_MAX_MS", "60000")];
    let gateway = read(&text, &variable).unwrap().gateway;
    assert_eq!(gateway.connection_age_max, Some(Duration::from_secs(60)));
}

#[test]
fn errors_name_the_key() {
    let cases = [
        ("node = 1", "nod = 1", "unknown field `nod`"),
        ("[peer]", "[peer]\nport = 1", "unknown field `port`"),
        ("node = 1", "", "missing field `node`"),
        ("node = 1", "node = 3", "peers: node 3 itself is missing"),
        ("node = 1", "node = ", "node.toml, line 2: "),
        (
            "1 = \"127",
            "x = \"127",
            "peers.x: an id is a number above 0",
        ),
        (":7400", "", "peers.1: an address is host:port"),
        (
            "[peer]\nlisten = \"127.0.0.1:0\"",
            "[peer]\nlisten = \"localhost\"",
            "peer.listen: an address is ip:port",
        ),
        (
            "[peer]",
            "tls_cert = \"a\"\n[peer]",
            "client.tls_key: missing",
        ),
        (
            "[peers]",
            "tls_cert = \"a\"\ntls_key = \"b\"\n[peers]",
            "peer.tls_ca: missing",
        ),
        ("node = 1", "node = 1\nshards = 0", "shards: from 1 to 1024"),
        (
            "[client]",
            "[client]\nconnections_max = 0",
            "client.connections_max: from 1 to 100000",
        ),
        (
            "[client]",
            "[client]\nheader_timeout_ms = 0",
            "client.header_timeout_ms: from 1 to",
        ),
        (
            "[client]",
            "[client]\nconnection_age_max_ms = 9000000000000000000",
            "client.connection_age_max_ms: from 1 to",
        ),
        (
            "[peer]",
            "[log]\nformat = \"xml\"\n[peer]",
            "log.format: json or text",
        ),
    ];
    for (from, to, expected) in cases {
        let error = read(&VALID.replacen(from, to, 1), &[]).unwrap_err();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
    let error = read(VALID, &[("HIGHWATER_SHARDS", "many")]).unwrap_err();
    assert!(error.contains("HIGHWATER_SHARDS"), "{error}");
}

#[test]
fn no_error_repeats_the_secret() {
    for secret in [
        "12345678123456781234",
        "[\"hunter2hunter2hunter2\"]",
        "\"hunter2",
        "\"short\"",
    ] {
        let text = VALID.replace("\"0123456789abcdef\"", secret);
        let error = read(&text, &[]).unwrap_err();
        for part in ["1234567", "hunter2", "short"] {
            assert!(!error.contains(part), "{error}");
        }
    }
    let config = read(VALID, &[]).unwrap();
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

/// The committed example is what the table of keys says. Set `UPDATE_EXPECT` to write it.
#[test]
fn the_example_file_is_up_to_date_and_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, keys::example()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, keys::example(), "run again with UPDATE_EXPECT=1");
    let shown = read(&written, &[]).unwrap().gateway;
    let unsaid = read(VALID, &[]).unwrap().gateway;
    assert_eq!(format!("{shown:?}"), format!("{unsaid:?}"));
}

#[test]
fn the_table_of_keys_is_complete() {
    // Uncommenting everything but the inline secret gives a file that sets every key.
    let all = keys::example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[')
                    || rest
                        .split_once(" = ")
                        .is_some_and(|(k, _)| !k.contains(' ')) =>
            {
                rest
            }
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let table: toml::Table = all.parse().unwrap();
    let file = file::File::from_table(table).unwrap();
    let serialized = toml::Table::try_from(&file).unwrap();
    let mut paths = BTreeSet::new();
    for (name, value) in &serialized {
        match value.as_table() {
            Some(section) if name != "peers" => {
                paths.extend(section.keys().map(|key| format!("{name}.{key}")));
            }
            _ => drop(paths.insert(name.clone())),
        }
    }
    let known: BTreeSet<String> = keys::KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(paths, known);
}
