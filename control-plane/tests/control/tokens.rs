//! Tokens are minted by those who may, allow what they should, and can be checked with what is published.

use highwater_credentials::{
    Claims, Expected, KeySet,
    token::{self, SERVICE_ISSUER},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::stage::{As, BEGIN_MS, SECRET, Served, Stage};

fn allowing(operations: &[&str], topics: &str) -> Value {
    json!({"permissions": [{"operations": operations, "topics": topics}]})
}

fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// What a token says, as somebody finds who has fetched the published keys.
async fn read(served: &Served, token: &str, project: &str, now_ms: u64) -> Option<Claims> {
    let keys = served.with("").get("/.well-known/jwks.json").await;
    assert_eq!(keys.headers["cache-control"], "public, max-age=300");
    let keys = KeySet::read(&keys.text).unwrap();
    let audiences = [project.rsplit('/').next().unwrap().to_owned()];
    let expected = Expected {
        issuer: SERVICE_ISSUER,
        audiences: &audiences,
        now_ms,
    };
    token::verify(token, &keys, &expected).ok()
}

async fn project(operator: &As<'_>) -> (String, String) {
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "prod").await;
    (tenant, project)
}

#[tokio::test]
async fn an_editor_mints_and_the_audit_log_says_so_without_the_token() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (tenant, project) = project(&operator).await;
    operator.member(&tenant, "ed", "editor").await;
    let body = with(
        allowing(&["subscribe"], "users/${sub}/#"),
        json!({"subject": "ann", "lifetime_ms": 90_500}),
    );
    let tokens = format!("{project}/tokens");
    let reply = stage.user(&served, "ed").post(&tokens, body).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let minted = reply.json();
    let text = minted["token"].as_str().unwrap();
    let claims = read(&served, text, &project, BEGIN_MS).await.unwrap();
    assert_eq!(claims.text("sub"), Some("ann"));
    assert_eq!(claims.text("jti"), minted["id"].as_str());
    assert_eq!(claims.expires_at_ms, BEGIN_MS + 91_000);
    assert_eq!(
        claims.get("permissions").unwrap()[0]["topics"],
        "users/${sub}/#"
    );
    assert!(
        read(&served, text, &project, BEGIN_MS + 91_000)
            .await
            .is_none()
    );

    let entry = operator.get(&format!("{tenant}/audit?limit=1")).await.ok()["items"][0].clone();
    assert_eq!(
        (&entry["action"], &entry["actor"]),
        (&json!("token.mint"), &json!("user:ed"))
    );
    assert_eq!(entry["after"]["subject"], "ann");
    assert!(!entry.to_string().contains(text) && entry["resource"] == minted["id"]);
}

#[tokio::test]
async fn what_cannot_be_minted_is_refused() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (_, project) = project(&operator).await;
    let good = allowing(&["publish"], "a");
    for (body, code) in [
        (json!({}), "invalid_request"),
        (json!({"permissions": []}), "invalid_request"),
        (allowing(&[], "a"), "invalid_request"),
        (allowing(&["publish"], "a/#/b"), "invalid_topic"),
        (allowing(&["publish"], "${sub}"), "invalid_request"),
        (
            with(allowing(&["publish"], "${sub}"), json!({"subject": "a/b"})),
            "invalid_request",
        ),
        (
            with(allowing(&["publish"], "${sub}"), json!({"subject": "#"})),
            "invalid_request",
        ),
        (
            with(good.clone(), json!({"subject": ""})),
            "invalid_request",
        ),
        (
            with(good.clone(), json!({"subject": "x".repeat(257)})),
            "invalid_request",
        ),
        (
            with(good.clone(), json!({"lifetime_ms": 0})),
            "invalid_request",
        ),
        (
            with(good.clone(), json!({"lifetime_ms": 86_400_001})),
            "invalid_request",
        ),
        (with(good, json!({"iss": "highwater"})), "invalid_request"),
    ] {
        let reply = operator.post(&format!("{project}/tokens"), body).await;
        reply.refused(400, code);
    }
}

#[tokio::test]
async fn a_key_mints_no_more_than_it_allows_and_no_longer_than_it_lasts() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (_, project) = project(&operator).await;
    let permissions = json!([
        {"operations": ["publish", "subscribe"], "topics": "orders/#"},
        {"operations": ["subscribe"], "topics": "users/${sub}/#"},
    ]);
    let key = json!({"name": "server", "permissions": permissions, "expires_in_ms": 60_000});
    let key = operator
        .post(&format!("{project}/api-keys"), key)
        .await
        .json();
    let server = served.with(key["secret"].as_str().unwrap());
    let mint = async |body: Value| server.post("/v1/tokens", body).await;

    let minted = mint(json!({"subject": "ann"})).await.json();
    assert_eq!(minted["permissions"], permissions);
    let text = minted["token"].as_str().unwrap();
    let claims = read(&served, text, &project, BEGIN_MS).await.unwrap();
    assert_eq!(claims.text("highwater_key"), key["id"].as_str());
    assert_eq!(claims.expires_at_ms, BEGIN_MS + 60_000);
    let narrow = mint(allowing(&["subscribe"], "orders/eu/+")).await;
    assert_eq!(narrow.status, StatusCode::CREATED);
    for body in [
        allowing(&["subscribe"], "#"),
        allowing(&["manage"], "orders/eu"),
        with(
            allowing(&["subscribe"], "users/bob/inbox"),
            json!({"subject": "ann"}),
        ),
        with(
            allowing(&["publish"], "users/ann/inbox"),
            json!({"subject": "ann"}),
        ),
    ] {
        mint(body).await.refused(403, "forbidden");
    }
    // Its own template needs somebody to stand for.
    mint(json!({})).await.refused(400, "invalid_request");

    stage.pass_ms(59_500);
    let last = mint(allowing(&["publish"], "orders/eu")).await.json();
    assert_eq!(last["expires_at"], key["expires_at"]);
    stage.pass_ms(500);
    mint(allowing(&["publish"], "orders/eu"))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_credential_that_is_no_good_key_mints_nothing_and_learns_nothing() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (tenant, project) = project(&operator).await;
    let (path, secret) = operator.key(&project, "server").await;
    let (disabled, of_disabled) = operator.key(&project, "disabled").await;
    operator
        .patch(&disabled, json!({"disabled": true}))
        .await
        .ok();
    let minted = served
        .with(&secret)
        .post("/v1/tokens", json!({}))
        .await
        .json();
    let none = served.with("x").post("/v1/tokens", json!({})).await;
    none.refused(401, "unauthenticated");
    let wrong = format!("{}x", &secret[..secret.len() - 1]);
    let token = minted["token"].as_str().unwrap();
    for text in [
        &wrong,
        &of_disabled,
        &stage.operator,
        token,
        &stage.token("ann", json!({})),
    ] {
        let reply = served
            .with(text)
            .post("/v1/tokens", json!({"unknown": 1}))
            .await;
        assert_eq!(reply.seen(), none.seen(), "{text}");
    }
    // A key opens nothing else here.
    let reply = served.with(&secret).get("/v1/tenants").await;
    reply.refused(401, "unauthenticated");
    let reply = served.with(token).get(&tenant).await;
    reply.refused(401, "unauthenticated");

    operator
        .patch(&project, json!({"state": "suspended"}))
        .await
        .ok();
    let reply = served.with(&secret).post("/v1/tokens", json!({})).await;
    assert_eq!(reply.seen(), none.seen());
    operator
        .patch(&project, json!({"state": "active"}))
        .await
        .ok();
    assert_eq!(operator.delete(&path).await.status, 204);
    let reply = served.with(&secret).post("/v1/tokens", json!({})).await;
    assert_eq!(reply.seen(), none.seen());
}

#[tokio::test]
async fn the_signing_key_is_followed_by_another_one() {
    let stage = Stage::new().await;
    let (served, other) = (stage.serve().await, stage.serve().await);
    let operator = stage.operator(&served);
    let (_, project) = project(&operator).await;
    let tokens = format!("{project}/tokens");
    let body = with(
        allowing(&["publish"], "a"),
        json!({"lifetime_ms": 86_400_000}),
    );
    let kid = |reply: &Value| {
        let token = reply["token"].as_str().unwrap();
        token.split('.').next().unwrap().to_owned()
    };
    let first = operator.post(&tokens, body.clone()).await.json();
    let next = operator
        .post("/v1/signing-keys", json!({"lead_ms": 60_000}))
        .await;
    let successor = next.created();
    // It is published, and signs nothing yet.
    let published = served.with("").get("/.well-known/jwks.json").await.json();
    assert_eq!(published["keys"].as_array().unwrap().len(), 2);
    let second = operator.post(&tokens, body.clone()).await.json();
    assert_eq!(kid(&first), kid(&second));
    stage.pass_ms(60_000);
    let third = stage
        .operator(&other)
        .post(&tokens, body.clone())
        .await
        .json();
    assert_ne!(kid(&first), kid(&third));
    // The last token of the one before is good to its end.
    let now_ms = BEGIN_MS + 86_400_000 - 1;
    let token = second["token"].as_str().unwrap();
    assert!(read(&served, token, &project, now_ms).await.is_some());

    let keys = operator.get("/v1/signing-keys").await.ok();
    let old = &keys["items"][0];
    assert!(old["accepted_until"].is_string() && old.get("sealed_private_key").is_none());
    // Somebody else knows it: it goes at once, and its tokens with it.
    assert_eq!(operator.delete(&successor).await.status, 204);
    let token = third["token"].as_str().unwrap();
    assert!(
        read(&served, token, &project, BEGIN_MS + 60_000)
            .await
            .is_none()
    );
    let fourth = operator.post(&tokens, body).await.json();
    assert_eq!(kid(&fourth), kid(&first));
}

#[tokio::test]
async fn no_private_half_is_in_the_catalogue_as_it_is() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (_, project) = project(&operator).await;
    operator
        .post(&format!("{project}/tokens"), allowing(&["publish"], "a"))
        .await
        .json();
    let sealer = highwater_credentials::Sealer::new(SECRET.as_bytes());
    let log = stage.cluster.log();
    let key = log
        .iter()
        .find(|document| document.id.starts_with("sig_"))
        .unwrap();
    let Some(highwater_proto::control::document::Resource::SigningKey(stored)) = &key.resource
    else {
        panic!("{key:?}");
    };
    let private = sealer.open(&key.id, &stored.sealed_private_key).unwrap();
    let seed = &private[private.len() - 32..];
    let bytes: Vec<u8> = log.iter().flat_map(prost::Message::encode_to_vec).collect();
    assert!(!bytes.windows(seed.len()).any(|window| window == seed));
}
