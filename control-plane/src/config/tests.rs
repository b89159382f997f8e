//! The configuration is read as the example says, and refused with the name of the key.

use std::{collections::BTreeSet, path::Path};

use super::*;

const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
const VALID: &str = r#"
listen = "127.0.0.1:0"
nodes = ["http://127.0.0.1:8080"]
cluster_secret = "0123456789abcdef"
[admin]
key_hash_file = "operator.hash"
"#;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.toml");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("cluster.secret"), "fedcba9876543210\n").unwrap();
    fs::write(folder.path().join("operator.hash"), format!("{HASH}\n")).unwrap();
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
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.admin.operator_key.unwrap().to_string(), HASH);
    assert_eq!(config.admin.issuer, None);
}

#[test]
fn a_variable_wins_over_the_file() {
    let config = read(
        VALID,
        &[
            ("HIGHWATER_CONTROL_LISTEN", "127.0.0.1:9"),
            ("HIGHWATER_CONTROL_NODES", "https://a:1, https://b:2"),
            ("HIGHWATER_CONTROL_CLUSTER_SECRET_FILE", "cluster.secret"),
            ("HIGHWATER_CONTROL_ADMIN_KEY_HASH", HASH),
            ("HIGHWATER_CONTROL_ADMIN_ISSUER", "https://id.example.com"),
            ("HIGHWATER_CONTROL_ADMIN_AUDIENCES", "a,b"),
            ("HIGHWATER_CONTROL_ADMIN_JWKS_FILE", "jwks.json"),
            ("HIGHWATER_CONTROL_ADMIN_OPERATOR_CLAIM", "groups=platform"),
            (
                "HIGHWATER_CONTROL_CONSOLE_NODES",
                "https://a.example/,http://[::1]:1",
            ),
            ("HIGHWATER_SOMETHING_ELSE", "ignored"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.port(), 9);
    assert_eq!(config.nodes, ["https://a:1", "https://b:2"]);
    assert_eq!(config.secret_bytes(), b"fedcba9876543210");
    assert_eq!(config.admin.issuer.unwrap().audiences, ["a", "b"]);
    assert_eq!(
        config.console_nodes,
        ["https://a.example", "http://[::1]:1"]
    );
    let claim = config.admin.operators.claim.unwrap();
    assert_eq!(claim, ("groups".into(), "platform".into()));
}

#[test]
fn errors_name_the_key() {
    let issuer = "[admin]\nissuer = \"https://id\"\n";
    let cases = [
        ("listen", "lisen", "unknown field `lisen`"),
        (
            "\"127.0.0.1:0\"",
            "\"localhost\"",
            "listen: an address is ip:port",
        ),
        ("[\"http://127.0.0.1:8080\"]", "[]", "nodes: at least one"),
        ("http://", "ftp://", "nodes: at least one"),
        ("key_hash_file", "x = 1\nkey_hash_file", "unknown field `x`"),
        (
            "key_hash_file = \"operator.hash\"",
            "",
            "nobody could do anything",
        ),
        (
            "\"operator.hash\"",
            "\"none\"",
            "admin.key_hash_file: cannot read none",
        ),
        ("[admin]\n", issuer, "admin.jwks_url: missing"),
        (
            "[admin]\n",
            "[admin]\njwks_file = \"a\"\n",
            "admin.issuer: missing",
        ),
        (
            "[admin]\n",
            &format!("{issuer}jwks_file = \"a\"\n"),
            "admin.audiences: missing",
        ),
        (
            "[admin]\n",
            &format!("{issuer}jwks_url = \"http://id/\"\n"),
            "admin.jwks_url: begins with https",
        ),
        (
            "[admin]\n",
            "[admin]\noperator_claim = \"x\"\n",
            "admin.operator_claim",
        ),
        (
            "[admin]",
            "[console]\nnodes = [\"https://a/b\"]\n[admin]",
            "console.nodes: addresses are like",
        ),
        (
            "[admin]",
            "[console]\nnodes = [\"https://a;script-src\"]\n[admin]",
            "console.nodes: addresses are like",
        ),
        (
            "[admin]",
            "[log]\nformat = \"xml\"\n[admin]",
            "log.format: json or text",
        ),
        ("[admin]", "tls_cert = \"a\"\n[admin]", "tls_key: missing"),
        ("nodes = ", "nodes = = ", "control.toml, line 3: "),
    ];
    for (from, to, expected) in cases {
        let error = read(&VALID.replacen(from, to, 1), &[]).unwrap_err();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}

#[test]
fn no_error_repeats_a_secret() {
    for (from, to) in [
        ("\"0123456789abcdef\"", "12345678123456781234"),
        ("\"0123456789abcdef\"", "\"short12\""),
        (
            "key_hash_file = \"operator.hash\"",
            "key_hash = \"hwa_hunter2\"",
        ),
        (
            "key_hash_file = \"operator.hash\"",
            "key_hash = [\"hunter2\"]",
        ),
    ] {
        let error = read(&VALID.replace(from, to), &[]).unwrap_err();
        for part in ["1234567", "hunter2", "short12"] {
            assert!(!error.contains(part), "{error}");
        }
    }
    let config = read(VALID, &[]).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("0123456789abcdef") && !shown.contains(HASH));
}

/// The committed example is what the table of keys says. `UPDATE=1 cargo test` writes it.
#[test]
fn the_example_file_is_up_to_date_and_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, keys::example()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, keys::example(), "run again with UPDATE=1");
    read(&written, &[]).unwrap();
}

#[test]
fn the_table_of_keys_is_complete() {
    let all: String = keys::example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest
                    .split_once(" = ")
                    .is_some_and(|(k, _)| !k.contains(' ')) =>
            {
                rest
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let table: toml::Table = all.parse().unwrap();
    let file = file::File::from_table(table).unwrap();
    let serialized = toml::Table::try_from(&file).unwrap();
    let mut paths = BTreeSet::new();
    for (name, value) in &serialized {
        match value.as_table() {
            Some(section) => paths.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => drop(paths.insert(name.clone())),
        }
    }
    let known: BTreeSet<String> = keys::KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(paths, known);
}
