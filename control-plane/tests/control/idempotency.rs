//! A request that is sent again is answered again, wherever it comes to.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn a_repeated_request_is_answered_again_by_another_control_plane() {
    let stage = Stage::new().await;
    let (here, there) = (stage.serve().await, stage.serve().await);
    let operator = stage.operator(&here);
    let body = json!({"name": "acme"});
    let first = operator.post_once("/v1/tenants", "k1", body.clone()).await;
    let tenant = first.created();
    let project = operator.project(&tenant, "p").await;
    let key = json!({"name": "k", "permissions": [{"operations": ["publish"], "topics": "#"}]});
    let keys = format!("{project}/api-keys");
    let made = operator.post_once(&keys, "k2", key.clone()).await;
    let length = stage.cluster.log().len();

    let elsewhere = stage.operator(&there);
    let again = elsewhere.post_once("/v1/tenants", "k1", body).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(
        (again.etag(), again.created()),
        (first.etag(), tenant.clone())
    );
    let again = elsewhere.post_once(&keys, "k2", key.clone()).await;
    assert_eq!(again.text, made.text);
    assert!(again.json()["secret"].as_str().unwrap().starts_with("hw_"));
    // Its version is the document's, not that of what was written with it.
    assert_eq!(operator.get(&made.created()).await.etag(), again.etag());
    assert_eq!(
        stage.cluster.log().len(),
        length,
        "nothing was written again"
    );

    // Another request with the key, by the same actor and by another.
    elsewhere
        .post_once(&keys, "k1", key.clone())
        .await
        .refused(422, "idempotency_key_reused");
    let other = json!({"name": "other"});
    operator
        .post_once("/v1/tenants", "k1", other)
        .await
        .refused(422, "idempotency_key_reused");
    operator.member(&tenant, "ann", "editor").await;
    let anns = stage
        .user(&here, "ann")
        .post_once(&keys, "k2", key.clone())
        .await;
    anns.refused(409, "already_exists");
    // Who may no longer ask is not answered.
    let rotated = stage
        .user(&here, "ann")
        .post_once(&format!("{}/rotate", made.created()), "k3", json!({}))
        .await;
    rotated.ok();
    let member = operator
        .get(&format!("{tenant}/members?name=ann"))
        .await
        .ok();
    let member = member["items"][0]["id"].as_str().unwrap().to_owned();
    operator.delete(&format!("{tenant}/members/{member}")).await;
    let reply = stage
        .user(&here, "ann")
        .post_once(&format!("{}/rotate", made.created()), "k3", json!({}))
        .await;
    reply.refused(404, "not_found");
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let taken = operator.tenant("acme").await;
    let body = json!({"name": "acme"});
    operator
        .post_once("/v1/tenants", "k", body.clone())
        .await
        .refused(409, "already_exists");
    operator.patch(&taken, json!({"name": "other"})).await.ok();
    operator.post_once("/v1/tenants", "k", body).await.created();
    for key in ["", " ", "a b", &"k".repeat(257), "ü"] {
        let request = operator
            .request(reqwest::Method::POST, "/v1/tenants")
            .json(&json!({"name": "x"}));
        let request = request.header("idempotency-key", key.as_bytes());
        operator.send(request).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_key_may_be_used_again_after_a_day() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    operator
        .post_once("/v1/tenants", "k", json!({"name": "a"}))
        .await
        .created();
    stage.pass_ms(24 * 3_600 * 1_000);
    operator
        .post_once("/v1/tenants", "k", json!({"name": "b"}))
        .await
        .created();
}
