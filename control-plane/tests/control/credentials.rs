//! Whatever is wrong with a credential, the answer is the same.

use axum::{Router, response::Redirect, routing::get};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::stage::{BEGIN_MS, Stage};

#[tokio::test]
async fn every_credential_that_is_not_good_gets_the_same_answer() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let now = BEGIN_MS / 1_000;
    let claims = |more: &str| {
        format!(
            r#"{{"iss":"https://id.example.com","aud":"highwater","sub":"ann","exp":{}{more}}}"#,
            now + 300
        )
    };
    let good = stage.sign(r#"{"alg":"EdDSA","kid":"k1"}"#, &claims(""));
    let with = |from: &str, to: &str| {
        stage.sign(
            r#"{"alg":"EdDSA","kid":"k1"}"#,
            &claims("").replace(from, to),
        )
    };
    let texts = [
        "x".to_owned(),
        "hwa_".to_owned(),
        format!("hwa_{}", "A".repeat(43)),
        format!("{}x", stage.operator),
        stage.operator.to_lowercase(),
        stage.sign(r#"{"alg":"none","kid":"k1"}"#, &claims("")),
        stage.sign(r#"{"alg":"HS256","kid":"k1"}"#, &claims("")),
        stage.sign(r#"{"alg":"EdDSA","kid":"../k1"}"#, &claims("")),
        stage.sign(
            r#"{"alg":"EdDSA","kid":"k1","crit":["b64"],"b64":false}"#,
            &claims(""),
        ),
        with("id.example", "evil.example"),
        with("highwater", "other"),
        with(&(now + 300).to_string(), &(now - 300).to_string()),
        with(&(now + 300).to_string(), "\"9999999999\""),
        with(&(now + 300).to_string(), "9999999999.5"),
        with("\"ann\"", "\"ann\",\"sub\":\"root\""),
        with("\"ann\"", "7"),
        with("\"ann\"", "\"\""),
        with("\"ann\"", "\"a\\u0000b\""),
        with("\"sub\"", "\"nbf\":9999999999,\"sub\""),
        format!("{}x", good),
        "a".repeat(9_000),
        stage.token("ann", json!({"padding": "x".repeat(8_000)})),
    ];
    assert_eq!(served.with(&good).get("/v1/tenants").await.status, 200);
    let anybody = served.with("");
    let none = anybody
        .send(reqwest::Client::new().get(format!("{}/v1/tenants", served.address)))
        .await;
    none.refused(401, "unauthenticated");
    for text in texts {
        // Paths that exist, and some that do not, with or without a body.
        for path in [
            "/v1/tenants",
            "/v1/tenants/ten_0193a5c0b7e87d3c9f6a2b1d4e5f6071",
            "/v1/tenants/x",
        ] {
            let reply = served.with(&text).get(path).await;
            assert_eq!(reply.seen(), none.seen(), "{text}");
        }
        let reply = served
            .with(&text)
            .post("/v1/tenants", json!({"unknown": 1}))
            .await;
        assert_eq!(reply.seen(), none.seen(), "{text}");
    }
    for value in [
        format!("Basic {}", stage.operator),
        stage.operator.clone(),
        "Bearer".into(),
        "Bearer ".into(),
    ] {
        let request = reqwest::Client::new().get(format!("{}/v1/tenants", served.address));
        let reply = anybody.send(request.header("authorization", &value)).await;
        assert_eq!(reply.seen(), none.seen(), "{value}");
    }
    let request = anybody.request(Method::GET, &format!("/v1/tenants?token={good}"));
    assert_eq!(anybody.send(request).await.status, 401);
}

#[tokio::test]
async fn a_claim_makes_an_operator_and_a_verified_address_a_member() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = served.with(&stage.token("root", json!({"groups": ["x", "platform"]})));
    let tenant = operator.tenant("acme").await;
    operator.member(&tenant, "ann@example.com", "viewer").await;
    assert_eq!(
        served
            .with(&stage.token("root", json!({"groups": "other"})))
            .get(&tenant)
            .await
            .status,
        404
    );
    let check = async |more, status: u16| {
        let reply = served.with(&stage.token("17", more)).get(&tenant).await;
        assert_eq!(reply.status.as_u16(), status);
    };
    check(
        json!({"email": "ann@example.com", "email_verified": true}),
        200,
    )
    .await;
    check(
        json!({"email": "ann@example.com", "email_verified": false}),
        404,
    )
    .await;
    check(
        json!({"email": "ann@example.com", "email_verified": "true"}),
        404,
    )
    .await;
    check(json!({"email": "ann@example.com"}), 404).await;
    check(
        json!({"email": "bob@example.com", "email_verified": true}),
        404,
    )
    .await;
}

#[tokio::test]
async fn a_member_who_is_removed_may_do_nothing_any_more() {
    let stage = Stage::new().await;
    let (served, other) = (stage.serve().await, stage.serve().await);
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let member = operator.member(&tenant, "ann", "editor").await;
    stage.user(&served, "ann").project(&tenant, "a").await;
    assert_eq!(operator.delete(&member).await.status, 204);
    // A change is decided with the newest catalogue, wherever it is asked for.
    let reply = stage
        .user(&other, "ann")
        .post(&format!("{tenant}/projects"), json!({"name": "b"}))
        .await;
    reply.refused(404, "not_found");
}

#[tokio::test]
async fn the_keys_of_the_issuer_are_fetched_from_their_address() {
    let mut stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let jwks = stage.jwks();
    let there = Router::new()
        .route("/jwks.json", get(async move || jwks))
        .route("/moved", get(async || Redirect::to("/jwks.json")));
    tokio::spawn(async { axum::serve(listener, there).await });
    stage.keys = format!("jwks_url = \"http://{address}/jwks.json\"");
    // It is not ready for others before a token is accepted.
    stage.serve().await;
    // An address that sends elsewhere is not followed.
    stage.keys = format!("jwks_url = \"http://{address}/moved\"");
    let moved = stage.serve_without_keys().await;
    moved
        .with(&stage.token("ann", json!({})))
        .get("/v1/tenants")
        .await
        .refused(401, "unauthenticated");
    let ready = moved.with("").get("/readyz?verbose").await;
    assert!(ready.text.contains("[!] issuer"), "{}", ready.text);
    stage.operator(&moved).tenant("acme").await;
}
