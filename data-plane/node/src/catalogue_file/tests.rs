//! A catalogue file opens what it says to whom it says, and a wrong one is refused by name.

use highwater_broker::catalogue::KeyHasher;
use highwater_proto::names::TopicName;

use super::*;

const TENANT: &str = "ten_00000000000000000000000000000001";
const PROJECT: &str = "prj_00000000000000000000000000000002";
const KEY: &str = "key_00000000000000000000000000000003";

fn text(secret_hash: &str) -> String {
    format!(
        r##"
[[tenants]]
id = "{TENANT}"
name = "acme"

[[projects]]
id = "{PROJECT}"
tenant = "{TENANT}"
name = "production"
spread = 2
origins = ["https://app.example.com", "http://localhost:*"]

[[projects.policies]]
filter = "prices/#"
last_value = true
retention_ms = 60000

[[keys]]
id = "{KEY}"
project = "{PROJECT}"
secret_hash = "{secret_hash}"
expires_at = "2026-12-01T00:00:00Z"
permissions = [{{ operations = ["publish", "subscribe"], topics = "prices/#" }}]
"##
    )
}

fn compile(text: &str) -> Result<Catalogue, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    fs::write(&path, text).unwrap();
    let file = CatalogueFile::read(&path).map_err(|e| e.to_string())?;
    file.compile(4)
}

#[test]
fn a_key_opens_its_project_and_nothing_else() {
    let hasher = KeyHasher::new(b"cluster secret");
    let (key, hash) = hasher.make_key(KEY.parse().unwrap(), &[7; 32]);
    let catalogue = compile(&text(&hash.to_hex())).unwrap();
    let principal = catalogue.authenticate(&hasher, &key, 0).unwrap();
    assert_eq!(principal.project.id.to_string(), PROJECT);
    assert_eq!(principal.project.shards.len(), 2);
    let (inside, outside) = ("prices/eu", "orders/eu");
    let topic = |name| TopicName::try_from(name).unwrap();
    assert!(
        principal
            .require(Operation::Publish, &topic(inside))
            .is_ok()
    );
    assert!(
        principal
            .require(Operation::Manage, &topic(inside))
            .is_err()
    );
    assert!(
        principal
            .require(Operation::Publish, &topic(outside))
            .is_err()
    );
    let mut origins = principal.project.origins.iter();
    assert!(origins.any(|pattern| pattern.allows("http://localhost:3000")));
    let policy = principal.project.policy(&topic(inside));
    assert!(policy.topic.last_value);
    assert_eq!(policy.retention.age_ms, Some(60_000));
    assert_eq!(principal.expires_at_ms, Some(1_796_083_200_000));
    let other = KeyHasher::new(b"another secret");
    assert!(catalogue.authenticate(&other, &key, 0).is_err());
}

#[test]
fn errors_name_the_entry() {
    let valid = text(&"0".repeat(64));
    compile(&valid).unwrap();
    let cases = [
        ("name = \"acme\"", "nam = \"acme\"", "unknown field `nam`"),
        ("spread = 2", "spread = 5", "spread: from 1 to 4"),
        (
            "filter = \"prices/#\"",
            "filter = \"prices#\"",
            "filter `prices#`",
        ),
        ("\"subscribe\"", "\"read\"", "`read` is not publish"),
        (
            "https://app.",
            "app.",
            "origins: `app.example.com`: an origin",
        ),
        ("\"2026-12-01T00:00:00Z\"", "\"soon\"", "expires_at: an RFC"),
        ("secret_hash = \"0", "secret_hash = \"", "secret_hash: 64"),
        (
            &format!("id = \"{TENANT}\""),
            "id = \"acme\"",
            "tenant `acme`",
        ),
        (
            &format!("tenant = \"{TENANT}\""),
            &format!("tenant = \"{TENANT}0\""),
            PROJECT,
        ),
        (
            &format!("project = \"{PROJECT}\""),
            "project = \"prj_99999999999999999999999999999999\"",
            KEY,
        ),
        (
            &format!("id = \"{PROJECT}\""),
            "id = \"prj_00000000000000000000000000000000\"",
            "the system's own",
        ),
        (
            "[[projects]]",
            "[[tenants]]\nid = \"ten_00000000000000000000000000000001\"\nname = \"b\"\n[[projects]]",
            "twice",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(valid.contains(from), "{from}");
        let error = compile(&valid.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}

#[test]
fn a_project_lies_in_no_more_shards_than_a_cursor_holds() {
    let compile = |spread: usize| {
        let text = text(&"0".repeat(64)).replace("spread = 2", &format!("spread = {spread}"));
        let file: CatalogueFile = toml::from_str(&text).unwrap();
        file.compile(1_024)
    };
    assert!(compile(FEED_SHARDS_MAX).is_ok());
    let error = compile(FEED_SHARDS_MAX + 1).unwrap_err();
    assert!(error.contains("spread: from 1 to 64"), "{error}");
}

#[test]
fn a_changed_file_is_seen_and_a_broken_one_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    fs::write(&path, text(&"0".repeat(64))).unwrap();
    let mut watch = Watch::new(path.clone(), 4);
    assert!(watch.look(false).unwrap().is_some());
    assert!(watch.look(false).unwrap().is_none());
    assert!(watch.look(true).unwrap().is_some());
    fs::write(&path, "[[keys]]").unwrap();
    assert!(watch.look(false).is_err());
    assert!(watch.look(false).unwrap().is_none());
    fs::write(&path, "").unwrap();
    assert!(watch.look(false).unwrap().is_some());
    fs::remove_file(&path).unwrap();
    assert!(watch.look(false).is_err());
}

#[test]
fn what_is_written_is_read_back() {
    let table: toml::Table = text(&"0".repeat(64)).parse().unwrap();
    let file: CatalogueFile = table.try_into().unwrap();
    let written = toml::to_string(&file).unwrap();
    let again: CatalogueFile = toml::from_str(&written).unwrap();
    assert_eq!(file, again);
}
