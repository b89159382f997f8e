use super::*;

const TOML: &str = r##"
version = 1
tenant = "acme"
state = "active"
labels = { team = "x" }

[members]
"ann@example.com" = "owner"

[projects.prod]
spread = 2
expires_at = 2027-01-31T13:00:00+01:00
origins = ["https://app.example.com"]
quotas = { connections = 5 }

[[projects.prod.policies]]
filter = "orders/#"
retention_ms = 1000

[projects.prod.keys."a key"]
expires_at = "never"
permissions = [{ operations = ["publish", "manage"], topics = "#" }]

[projects.prod.issuers.login]
issuer = "https://id.example.com"
audiences = ["app"]
jwks = { keys = [{ kty = "OKP", crv = "Ed25519", x = "AA" }] }
"##;

#[test]
fn a_document_is_the_same_in_both_formats() {
    let document = Document::from_toml(TOML).unwrap();
    let project = &document.projects.as_ref().unwrap().0["prod"];
    let noon = Expiry(Some("2027-01-31T12:00:00.000Z".into()));
    assert_eq!(project.expires_at, Some(noon));
    assert_eq!(
        project.keys.as_ref().unwrap().0["a key"].expires_at,
        Some(Expiry(None))
    );
    let json = serde_json::to_string(&document).unwrap();
    assert_eq!(Document::from_json(&json).as_ref(), Ok(&document));
    let toml = toml::to_string(&document).unwrap();
    assert_eq!(Document::from_toml(&toml).as_ref(), Ok(&document));
}

#[test]
fn what_nobody_knows_is_an_error_with_its_place() {
    for (text, expected) in [
        ("version = 1\nfrobnicate = 2", "line 2"),
        ("version = 1\n[projects.a]\n\nname = 'b'", "line 4"),
        (
            "version = 1\n[projects.a.quotas]\nconections = 1",
            "`connections`",
        ),
        ("version = 2", "version 2"),
        ("tenant = 'a'", "version"),
        ("version = 1\nstate = 'deleting'", "`suspended`"),
        ("version = 1\n[projects.a]\nexpires_at = 'soon'", "RFC 3339"),
        (
            "version = 1\n[members]\na = 'owner'\na = 'viewer'",
            "duplicate",
        ),
    ] {
        let error = Document::from_toml(text).unwrap_err();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    for (text, expected) in [
        ("{\"version\": 1,\n\"x\": 2}", "line 2"),
        ("{\"version\": 1, \"tenant\": null}", "null"),
        (
            "{\"version\": 1, \"members\": {\"a\": \"owner\", \"a\": \"viewer\"}}",
            "twice",
        ),
        ("{\"version\": 1} {}", "trailing"),
    ] {
        let error = Document::from_json(text).unwrap_err();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}
