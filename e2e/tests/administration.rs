//! Tenants, projects, keys and all of that as an administrator types it, with contexts.

use std::{fs, os::unix::fs::PermissionsExt as _};

use highwater_e2e::{
    admin::Admin,
    cli::{Cli, ended},
    condition::{eventually, within_deadline},
    dev::Dev,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_say_where_commands_go_and_keep_their_credentials() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;
    let operator_key = dev.ready["operator_key"].as_str().unwrap();
    assert_eq!(
        fs::metadata(admin.cli.folder.join("config/contexts.toml"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );

    let shown = admin.text(&["context", "show"]).await;
    assert!(
        shown.contains("dev") && !shown.contains(operator_key),
        "{shown}"
    );
    let shown = admin.text(&["context", "show", "--show-secrets"]).await;
    assert!(shown.contains(operator_key), "{shown}");

    // The data plane's key comes from a command.
    let key_file = admin.file("key", &format!("{}\n", dev.key()));
    let print = format!("cat {}", key_file.display());
    admin
        .text(&["context", "set", "--key-command", &print])
        .await;
    admin.text(&["pub", "orders/1", "hello"]).await;
    assert_eq!(admin.text(&["read", "orders/1", "--raw"]).await, "hello\n");
    assert_eq!(admin.json(&["topic", "list"]).await.len(), 1);

    // A credential goes to the context's own addresses only, and what is typed wins.
    let other = ["project", "list", "--control-plane", "http://127.0.0.1:1"];
    admin.fails(&other, 4, "no credential").await;
    let nowhere = [
        "context",
        "add",
        "nowhere",
        "--control-plane",
        "http://127.0.0.1:1",
        "--admin-key-env",
        "X",
    ];
    admin.text(&nowhere).await;
    admin
        .fails(
            &["project", "list", "--context", "nowhere", "--tenant", "t"],
            4,
            "X",
        )
        .await;
    admin.text(&["context", "use", "nowhere"]).await;
    admin.text(&["project", "list", "--context", "dev"]).await;
    let mut set = admin.command(&["tenant", "list", "--timeout", "0"]);
    set.env("X", "hwa_x");
    assert_eq!(ended(set).await.code, 3);
    let listed = admin.json(&["context", "list"]).await;
    let in_use: Vec<&Value> = listed.iter().map(|context| &context["in_use"]).collect();
    assert_eq!(in_use, [false, true]);
    admin.text(&["context", "remove", "nowhere"]).await;
    admin
        .fails(&["context", "show"], 2, "no context is in use")
        .await;
    admin
        .fails(
            &["tenant", "list", "--context", "none"],
            2,
            "no context `none`",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_set_up_and_its_key_publishes() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;

    let acme = admin
        .json(&["tenant", "create", "acme", "--label", "plan=gold"])
        .await
        .remove(0);
    assert_eq!(acme["labels"], json!({ "plan": "gold" }));
    let id = acme["id"].as_str().unwrap();
    admin
        .text(&["context", "set", "--tenant", "acme", "--project", "staging"])
        .await;
    admin
        .fails(&["project", "show"], 5, "no project `staging`")
        .await;
    admin
        .json(&[
            "project",
            "create",
            "staging",
            "--origin",
            "https://a.example",
        ])
        .await;
    // By name and by id, of the context and typed.
    let project = admin.json(&["project", "show"]).await.remove(0);
    let by_id = project["id"].as_str().unwrap();
    assert_eq!(
        admin
            .json(&["project", "show", by_id, "--tenant", id])
            .await[0],
        project
    );

    // The secret alone is on stdout, so that it can be captured.
    let create = [
        "key",
        "create",
        "writer",
        "--allow",
        "publish,subscribe:orders/#",
        "--expires-in",
        "1d",
    ];
    let secret = admin.text(&create).await;
    assert!(
        secret.starts_with("hw_") && secret.trim().lines().count() == 1,
        "{secret}"
    );
    let publish = async |secret: &str, topic: &str| {
        let writer = Cli {
            key: secret.trim().to_owned(),
            ..admin.cli.clone()
        };
        writer.run(&["pub", topic, "x"]).await.code
    };
    eventually("the key is known", async || {
        publish(&secret, "orders/1").await == 0
    })
    .await;
    assert_eq!(publish(&secret, "others/1").await, 4);
    admin.fails(&create, 1, "already_exists").await;
    admin.fails(&create, 1, "what to do: ").await;

    let rotated = admin.text(&["key", "rotate", "writer"]).await;
    eventually("the old secret is good no more", async || {
        publish(&secret, "orders/1").await == 4
    })
    .await;
    assert_eq!(publish(&rotated, "orders/1").await, 0);
    admin.text(&["key", "suspend", "writer"]).await;
    eventually("nothing is let in", async || {
        publish(&rotated, "orders/1").await == 4
    })
    .await;
    admin.text(&["key", "resume", "writer"]).await;
    eventually("it is let in again", async || {
        publish(&rotated, "orders/1").await == 0
    })
    .await;

    let update = [
        "key",
        "update",
        "writer",
        "--name",
        "reader",
        "--allow",
        "subscribe:#",
        "--no-expiry",
    ];
    let updated = admin.json(&update).await.remove(0);
    assert_eq!(
        updated["permissions"],
        json!([{ "operations": ["subscribe"], "topics": "#" }])
    );
    assert!(updated.get("expires_at").is_none(), "{updated}");
    admin
        .fails(&["key", "update", "reader"], 2, "say what is to change")
        .await;
    let listed = admin.text(&["key", "list"]).await;
    assert!(listed.starts_with("reader\tkey_"), "{listed}");

    let quotas = [
        "quota",
        "set",
        "connections=500",
        "publish-bytes-per-second=10MiB",
    ];
    assert_eq!(
        admin.json(&quotas).await[0],
        json!({ "connections": 500, "publish_bytes_per_second": 10 << 20 })
    );
    let quotas = admin
        .json(&["quota", "set", "connections=none", "topics=7"])
        .await;
    assert_eq!(
        quotas[0],
        json!({ "publish_bytes_per_second": 10 << 20, "topics": 7 })
    );
    admin.fails(&["quota", "set", "frobs=7"], 1, "frobs").await;
    let whole = admin
        .json(&["quota", "set", "topics=100", "--whole-tenant"])
        .await;
    assert_eq!(whole[0], json!({ "topics": 100 }));

    admin
        .text(&["policy", "set", "orders/#", "--keep-for", "7d"])
        .await;
    let first = [
        "policy",
        "set",
        "orders/eu",
        "--keep-records",
        "10k",
        "--last-value",
        "--place",
        "1",
    ];
    let policies = admin.json(&first).await;
    let kept: Vec<(&Value, &Value)> = policies
        .iter()
        .map(|p| (&p["filter"], &p["retention_records"]))
        .collect();
    assert_eq!(
        kept,
        [
            (&json!("orders/eu"), &json!(10_000)),
            (&json!("orders/#"), &Value::Null)
        ]
    );
    admin
        .fails(&["policy", "delete", "x/#", "--yes"], 5, "no policy")
        .await;
    assert_eq!(
        admin
            .json(&["policy", "delete", "orders/eu", "--yes"])
            .await
            .len(),
        1
    );

    admin
        .json(&["member", "create", "ann@example.com", "--role", "owner"])
        .await;
    let member = admin
        .json(&["member", "update", "ann@example.com", "--role", "viewer"])
        .await;
    assert_eq!(member[0]["role"], "viewer");
    let issuer = [
        "issuer",
        "create",
        "login",
        "--issuer",
        "https://id.example.com",
        "--audience",
        "app",
        "--jwks-url",
        "https://id.example.com/jwks.json",
        "--token-lifetime",
        "1h",
    ];
    assert_eq!(
        admin.json(&issuer).await[0]["token_lifetime_ms_max"],
        3_600_000
    );

    // What is deleted is asked about, and here there is nobody to ask.
    admin.fails(&["key", "delete", "reader"], 2, "--yes").await;
    admin.text(&["key", "delete", "reader", "--yes"]).await;
    admin
        .fails(&["key", "show", "reader"], 5, "no key `reader`")
        .await;
    admin
        .fails(&["tenant", "delete", "acme", "--yes"], 1, "projects")
        .await;
    admin.text(&["project", "suspend", "staging"]).await;
    admin
        .text(&["project", "delete", "staging", "--yes", "--wait"])
        .await;
    admin.text(&["tenant", "delete", "acme", "--yes"]).await;

    let actions: Vec<Value> = admin
        .json(&["audit", "--tenant", id, "--limit", "200"])
        .await;
    let actions: Vec<&str> = actions
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        (actions[0], actions[1]),
        ("tenant.create", "project.create"),
        "oldest first"
    );
    assert!(actions.contains(&"api_key.rotate"), "{actions:?}");
    let of_keys = admin
        .json(&[
            "audit", "--tenant", id, "--action", "api_key.", "--limit", "1",
        ])
        .await;
    assert_eq!(of_keys.len(), 1);
    assert_eq!(of_keys[0]["action"], "api_key.delete", "the newest");
    assert!(!admin.json(&["audit", "--platform"]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_log_is_followed() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;
    admin.json(&["project", "create", "first"]).await;
    let mut follow = admin.command(&["audit", "--follow", "--every", "1", "-o", "json"]);
    let mut child = follow.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for (name, is_there) in [("first", true), ("second", false), ("third", false)] {
        if !is_there {
            admin.json(&["project", "create", name]).await;
        }
        let next = within_deadline("an entry comes", lines.next_line());
        let entry: Value = serde_json::from_str(&next.await.unwrap().unwrap()).unwrap();
        assert_eq!(entry["after"]["name"], name, "each once, in order");
    }
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_shown_as_a_list_and_as_a_table() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;
    admin.cli.json(&["pub", "a", "hello"]).await;
    for whose in [&["usage"][..], &["usage", "--whole-tenant", "--by", "day"]] {
        eventually("the message is counted", async || {
            let used = admin.json(whose).await;
            let messages = used.iter().filter_map(|span| span["messages_in"].as_u64());
            messages.sum::<u64>() == 1
        })
        .await;
    }
    let table = admin.text(&["usage", "--csv"]).await;
    assert!(table.starts_with("start,messages_in,bytes_in,"), "{table}");
    assert!(table.lines().count() > 1, "{table}");
    admin
        .fails(&["usage", "--from", "yesterday"], 1, "RFC 3339")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_made_and_revoked() {
    let dev = Dev::start(1).await;
    let admin = Admin::with_context(&dev).await;
    let create = [
        "token",
        "create",
        "--allow",
        "publish:of/${sub}/#",
        "--subject",
        "ann",
        "--lifetime",
        "5m",
    ];
    let token = admin.text(&create).await;
    assert_eq!(token.lines().count(), 1, "{token}");
    let publish = async |token: &str, topic: &str| {
        let client = Cli {
            key: token.trim().to_owned(),
            ..admin.cli.clone()
        };
        client.run(&["pub", topic, "x"]).await.code
    };
    eventually("the token is good", async || {
        publish(&token, "of/ann/1").await == 0
    })
    .await;
    assert_eq!(publish(&token, "of/bob/1").await, 4);
    // With an API key, which needs no administrator.
    let made = admin
        .cli
        .json(&["token", "create", "--with-api-key"])
        .await
        .remove(0);
    let other = made["token"].as_str().unwrap();
    eventually("it is good, too", async || publish(other, "any").await == 0).await;
    let create = ["token", "create", "--with-api-key", "--project", "x"];
    admin.fails(&create, 2, "cannot be used").await;
    admin.fails(&["token", "create"], 2, "--allow").await;

    let revocation = admin
        .json(&["revocation", "create", "--subject", "ann"])
        .await
        .remove(0);
    eventually("ann's token is good no more", async || {
        publish(&token, "of/ann/1").await == 4
    })
    .await;
    assert_eq!(publish(other, "any").await, 0);
    let listed = admin.json(&["revocation", "list"]).await;
    assert_eq!((listed.len(), &listed[0]), (1, &revocation));
    let id = revocation["id"].as_str().unwrap();
    admin
        .fails(&["revocation", "show", "ann"], 2, "not the id")
        .await;
    admin.text(&["revocation", "delete", id, "--yes"]).await;
    eventually("it is good again", async || {
        publish(&token, "of/ann/1").await == 0
    })
    .await;

    let made = admin
        .json(&["signing-key", "rotate", "--lead", "1h"])
        .await
        .remove(0);
    let is_listed = async || {
        let keys = admin.json(&["signing-key", "list"]).await;
        keys.iter().any(|key| key["id"] == made["id"])
    };
    assert!(is_listed().await);
    let id = made["id"].as_str().unwrap();
    admin.text(&["signing-key", "delete", id, "--yes"]).await;
    assert!(!is_listed().await);
}
