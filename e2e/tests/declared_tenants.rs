//! A tenant as a file says it: `export`, `diff` and `apply`, as an administrator types them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{SystemTime, UNIX_EPOCH},
};

use highwater_e2e::{admin::Admin, cli::Cli, condition::eventually, dev::Dev};
use serde_json::{Value, json};

const FILE: &str = r##"
version = 1
tenant = "acme"
labels = { plan = "gold" }

[members]
"ann@example.com" = "owner"
"bob@example.com" = "viewer"

[projects.staging]
spread = 2
origins = ["https://app.example.com"]
quotas = { connections = 500 }

[[projects.staging.policies]]
filter = "orders/#"
retention_ms = 86400000

[projects.staging.keys.writer]
permissions = [{ operations = ["publish", "subscribe"], topics = "orders/#" }]

[projects.staging.keys.spare]
disabled = true
expires_at = YEAR-12-31T00:00:00Z
permissions = [{ operations = ["subscribe"], topics = "#" }]

[projects.staging.issuers.login]
issuer = "https://id.example.com"
audiences = ["app"]
jwks_url = "https://id.example.com/jwks.json"

[projects.parked]
state = "suspended"
"##;

/// The file, with an end that is to come, but not too far away.
fn acme() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let year = 1971 + since_1970.as_secs() / (365 * 24 * 3_600);
    FILE.replace("YEAR", &year.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_becomes_what_a_file_says() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;
    let file = admin.file("acme.toml", &acme());
    let file = file.to_str().unwrap();

    // 6 is different, 0 is the same; nothing is done by looking.
    let different = admin.run(&["diff", file]).await;
    assert_eq!(different.code, 6, "{different:?}");
    assert!(
        different.stdout.contains("+ key writer of project staging"),
        "{different:?}"
    );
    admin.text(&["apply", file, "--dry-run"]).await;
    assert_eq!(admin.run(&["diff", file]).await.stdout, different.stdout);
    admin.fails(&["apply", file], 2, "--secrets-out").await;
    assert_eq!(admin.run(&["diff", file]).await.stdout, different.stdout);

    let secrets = admin.cli.folder.join("secrets.jsonl");
    let apply = ["apply", file, "--secrets-out", secrets.to_str().unwrap()];
    let applied = admin.text(&apply).await;
    assert_eq!(applied, different.stdout, "what was said is what is done");
    assert_eq!(
        fs::metadata(&secrets).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let kept: Vec<Value> = fs::read_to_string(&secrets)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(kept.len(), 2);
    let writer = kept.iter().find(|key| key["name"] == "writer").unwrap();
    let cli = Cli {
        key: writer["secret"].as_str().unwrap().to_owned(),
        ..admin.cli.clone()
    };
    eventually("the key is known", async || {
        cli.run(&["pub", "orders/1", "x"]).await.code == 0
    })
    .await;
    let spare = admin
        .json(&[
            "key",
            "show",
            "spare",
            "--tenant",
            "acme",
            "--project",
            "staging",
        ])
        .await;
    assert_eq!(spare[0]["disabled"], true);
    let parked = admin
        .json(&["project", "show", "parked", "--tenant", "acme"])
        .await;
    assert_eq!(parked[0]["state"], "suspended");

    // Again, it changes nothing; nor does what is exported, in either format.
    assert_eq!(admin.text(&apply).await, "");
    assert_eq!(admin.text(&["diff", file, "--prune"]).await, "");
    for (format, name) in [("text", "exported.toml"), ("json", "exported.json")] {
        let exported = admin
            .text(&["export", "--tenant", "acme", "-o", format])
            .await;
        assert!(!exported.contains("hw_"), "{exported}");
        let exported = admin.file(name, &exported);
        let exported = exported.to_str().unwrap();
        assert_eq!(admin.text(&["diff", exported, "--prune"]).await, "");
        assert_eq!(admin.text(&["apply", exported, "--prune"]).await, "");
    }
    // Elsewhere, it makes the same.
    let exported = admin.cli.folder.join("exported.toml");
    let copy = [&["apply", exported.to_str().unwrap()][..], &apply[2..]].concat();
    let missing = [&copy[..], &["--tenant", "copy"]].concat();
    admin.text(&missing).await;
    let read = async |tenant: &str| admin.text(&["export", "--tenant", tenant]).await;
    assert_eq!(
        read("copy").await.replace("\"copy\"", "\"acme\""),
        read("acme").await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pruning_deletes_what_a_file_does_not_have() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;
    let file = admin.file("acme.toml", &acme());
    let secrets = admin.cli.folder.join("secrets.jsonl");
    let apply = [
        "apply",
        file.to_str().unwrap(),
        "--secrets-out",
        secrets.to_str().unwrap(),
    ];
    admin.text(&apply).await;

    let less = r##"
        version = 1
        tenant = "acme"
        members = { "bob@example.com" = "owner" }
        [projects.staging]
        quotas = {}
        keys.writer.permissions = [{ operations = ["publish"], topics = "#" }]
    "##;
    let less = admin.file("less.toml", less);
    let less = less.to_str().unwrap();
    let kept = admin.run(&["apply", less]).await;
    assert_eq!(kept.code, 0, "{kept:?}");
    assert!(
        kept.stderr.contains("key spare of project staging"),
        "{kept:?}"
    );
    assert!(
        !kept.stdout.contains("\n- ") && !kept.stdout.starts_with("- "),
        "{kept:?}"
    );
    admin.fails(&["apply", less, "--prune"], 2, "--yes").await;
    let pruned = admin.text(&["apply", less, "--prune", "--yes"]).await;
    assert_eq!(
        pruned.lines().collect::<Vec<_>>(),
        [
            "- key spare of project staging",
            "- project parked",
            "- member ann@example.com",
        ]
    );
    assert_eq!(admin.text(&["diff", less, "--prune"]).await, "");
    // A list that is not mentioned is left alone.
    let at = ["--tenant", "acme", "--project", "staging"];
    assert_eq!(
        admin
            .json(&[&["issuer", "list"][..], &at].concat())
            .await
            .len(),
        1
    );
    assert_eq!(
        admin.json(&[&["quota", "show"][..], &at].concat()).await[0],
        json!({})
    );

    // What is wrong is told with its place, before anything is asked.
    let wrong = admin.file("wrong.toml", "version = 1\n[projects.a]\nquota = 1\n");
    admin
        .fails(
            &["apply", wrong.to_str().unwrap()],
            2,
            "wrong.toml: TOML parse error at line 3",
        )
        .await;
    admin
        .fails(&["diff", "missing.toml"], 2, "missing.toml")
        .await;
    // What the control plane refuses names what it was about, and what was done before.
    let refused = "version = 1\ntenant = 'acme'\n[projects.b]\n[projects.b.keys.k]\npermissions = [{operations = ['publish'], topics = 'a/#/b'}]";
    let refused = admin.file("refused.toml", refused);
    let apply = [
        "apply",
        refused.to_str().unwrap(),
        "--secrets-out",
        secrets.to_str().unwrap(),
    ];
    let refused = admin.run(&apply).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.starts_with("+ project b\n"), "{refused:?}");
    assert!(
        refused.stderr.contains("1 of 2 changes were made"),
        "{refused:?}"
    );
    assert!(
        refused.stderr.contains("error: key k of project b: "),
        "{refused:?}"
    );

    let schema = admin.text(&["apply", "--schema"]).await;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}
