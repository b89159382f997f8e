//! What each resource does between its creation and its end.

use serde_json::json;

use crate::stage::{BEGIN_MS, Stage};

#[tokio::test]
async fn a_tenant_comes_changes_and_goes() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let settings = json!({"name": "acme", "quotas": {"topics": 5}, "labels": {"plan": "gold"}});
    let created = operator.post("/v1/tenants", settings).await;
    let tenant = created.created();
    let shown = operator.get(&tenant).await;
    assert_eq!((shown.ok(), shown.etag()), (created.json(), created.etag()));
    assert_eq!(shown.json()["state"], "active");

    let changed = operator
        .patch(
            &tenant,
            json!({"labels": {"plan": null, "a": "b"}, "quotas": {"connections": 3}}),
        )
        .await;
    let now = changed.ok();
    assert_eq!(now["labels"], json!({"a": "b"}));
    assert_eq!(now["quotas"], json!({"topics": 5, "connections": 3}));
    assert_ne!(changed.etag(), created.etag());
    // The same again changes nothing.
    let length = stage.cluster.log().len();
    let same = operator.patch(&tenant, json!({"labels": {"a": "b"}})).await;
    assert_eq!((same.ok(), same.etag()), (now, changed.etag()));
    assert_eq!(stage.cluster.log().len(), length);

    operator
        .patch(&tenant, json!({"x": 1}))
        .await
        .refused(400, "invalid_request");
    operator
        .patch(&tenant, json!({"name": null}))
        .await
        .refused(400, "invalid_request");
    operator.tenant("other").await;
    operator
        .patch(&tenant, json!({"name": "other"}))
        .await
        .refused(409, "already_exists");
    operator.member(&tenant, "ann", "owner").await;
    let ann = stage.user(&served, "ann");
    ann.patch(&tenant, json!({"name": "Acme"})).await.ok();
    ann.patch(&tenant, json!({"state": "suspended"}))
        .await
        .refused(403, "forbidden");
    ann.patch(&tenant, json!({"quotas": {"topics": 6}}))
        .await
        .refused(403, "forbidden");

    let project = operator.project(&tenant, "p").await;
    operator.delete(&tenant).await.refused(409, "conflict");
    assert_eq!(operator.delete(&project).await.status, 202);
    let going = operator.delete(&tenant).await;
    assert_eq!(
        (going.status.as_u16(), &going.json()["state"]),
        (202, &json!("deleting"))
    );
    assert_eq!(operator.delete(&tenant).await.text, going.text);
    ann.get(&tenant).await.refused(404, "not_found");
    operator
        .patch(&tenant, json!({"name": "b"}))
        .await
        .refused(409, "conflict");
    operator
        .post(&format!("{tenant}/projects"), json!({"name": "q"}))
        .await
        .refused(409, "conflict");
    // The name is free at once.
    operator.tenant("Acme").await;
}

#[tokio::test]
async fn a_version_that_was_not_seen_is_not_changed() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let created = operator.post("/v1/tenants", json!({"name": "acme"})).await;
    let tenant = created.created();
    let patch = |tag: &str| {
        let request = operator
            .request(reqwest::Method::PATCH, &tenant)
            .header("if-match", tag);
        request.json(&json!({"labels": {"at": tag.len().to_string()}}))
    };
    operator
        .send(patch("\"0\""))
        .await
        .refused(412, "precondition_failed");
    operator
        .send(patch("x"))
        .await
        .refused(400, "invalid_request");
    operator.send(patch(&created.etag())).await.ok();
    operator
        .send(patch(&created.etag()))
        .await
        .refused(412, "precondition_failed");
    operator.send(patch("*")).await.ok();
    let delete = operator
        .request(reqwest::Method::DELETE, &tenant)
        .header("if-match", created.etag());
    operator
        .send(delete)
        .await
        .refused(412, "precondition_failed");
}

#[tokio::test]
async fn a_project_comes_changes_and_goes() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let path = format!("{tenant}/projects");
    let body = json!({"name": "p", "spread": 4, "origins": ["https://*.example.com"], "quotas": {"payload_bytes": 10}});
    let project = operator.post(&path, body).await.created();
    assert_eq!(operator.get(&project).await.ok()["spread"], 4);
    for body in [
        json!({"name": "q", "spread": 5}),
        json!({"name": "q", "spread": 0}),
        json!({"name": "q", "origins": ["example.com"]}),
        json!({"name": "q", "quotas": {"payload_bytes": 10_000_000}}),
        json!({"name": "q", "expires_in_ms": 0}),
        json!({"name": "q", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "q", "expires_in_ms": 1, "expires_at": "2030-01-01T00:00:00Z"}),
        json!({"name": "q", "state": "suspended"}),
    ] {
        operator
            .post(&path, body)
            .await
            .refused(400, "invalid_request");
    }
    operator
        .patch(&project, json!({"spread": 2}))
        .await
        .refused(400, "invalid_request");
    operator
        .post(&path, json!({"name": "p"}))
        .await
        .refused(409, "already_exists");
    let suspended = operator
        .patch(&project, json!({"state": "suspended"}))
        .await
        .ok();
    assert_eq!(suspended["state"], "suspended");

    let policies = format!("{project}/topic-policies");
    let body = json!({"policies": [{"filter": "a/#", "retention_ms": 5}, {"filter": "#", "must_exist": true}]});
    let set = operator.put(&policies, body).await;
    assert_eq!(operator.get(&policies).await.ok(), set.ok());
    assert_eq!(
        set.json()["policies"][0],
        json!({"filter": "a/#", "retention_ms": 5, "last_value": false, "must_exist": false})
    );
    operator
        .put(&policies, json!({"policies": [{"filter": "a/#/b"}]}))
        .await
        .refused(400, "invalid_topic");
    operator
        .put(&policies, json!({"policies": [{"filter": "a", "x": 1}]}))
        .await
        .refused(400, "invalid_request");
    operator
        .put(&format!("{project}/quotas"), json!({"topics": 7}))
        .await
        .ok();
    assert_eq!(
        operator.get(&project).await.ok()["quotas"],
        json!({"topics": 7})
    );

    let (key, _) = operator.key(&project, "k").await;
    let length = stage.cluster.log().len();
    let going = operator.delete(&project).await;
    assert_eq!(
        (going.status.as_u16(), &going.json()["state"]),
        (202, &json!("deleting"))
    );
    assert_eq!(
        stage.cluster.log().len(),
        length + 2,
        "the key goes in the same commit"
    );
    operator.get(&key).await.refused(404, "not_found");
    operator
        .post(
            &format!("{project}/api-keys"),
            json!({"name": "k", "permissions": [{"operations": ["publish"], "topics": "#"}]}),
        )
        .await
        .refused(409, "conflict");
    operator.project(&tenant, "p").await;
}

#[tokio::test]
async fn a_key_shows_its_secret_once() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "p").await;
    let (key, secret) = operator.key(&project, "k").await;
    let shown = operator.get(&key).await.ok();
    assert_eq!(shown.get("secret"), None);
    assert!(secret.ends_with(shown["hint"].as_str().unwrap()));
    let rotate = format!("{key}/rotate");
    let rotated = operator
        .post(&rotate, json!({"overlap_ms": 60_000}))
        .await
        .ok();
    assert_ne!(rotated["secret"], secret);
    let until = operator.get(&key).await.ok()["previous_secret_until"].clone();
    assert_eq!(until, "2027-01-15T08:01:00.000Z");
    stage.pass_ms(60_000);
    assert_eq!(
        operator.get(&key).await.ok().get("previous_secret_until"),
        None
    );
    operator
        .post(&rotate, json!({"overlap_ms": u64::MAX}))
        .await
        .refused(400, "invalid_request");
    // No body is no overlap.
    operator
        .send(operator.request(reqwest::Method::POST, &rotate))
        .await
        .ok();
    let expiry = json!({"disabled": true, "expires_at": "2028-01-01T00:00:00Z"});
    let changed = operator.patch(&key, expiry).await.ok();
    assert_eq!(
        (&changed["disabled"], &changed["expires_at"]),
        (&json!(true), &json!("2028-01-01T00:00:00.000Z"))
    );
    operator
        .patch(&key, json!({"permissions": []}))
        .await
        .refused(400, "invalid_request");
    operator
        .patch(
            &key,
            json!({"permissions": [{"operations": ["own"], "topics": "#"}]}),
        )
        .await
        .refused(400, "invalid_request");
    assert_eq!(
        operator
            .patch(&key, json!({"expires_at": null}))
            .await
            .ok()
            .get("expires_at"),
        None
    );
    assert_eq!(operator.delete(&key).await.status, 204);
    operator.delete(&key).await.refused(404, "not_found");
    assert_eq!(BEGIN_MS, 1_800_000_000_000);
}

#[tokio::test]
async fn a_tenant_keeps_an_owner() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let ann = operator.member(&tenant, "ann", "owner").await;
    let user = stage.user(&served, "ann");
    user.delete(&ann).await.refused(409, "conflict");
    user.patch(&ann, json!({"role": "viewer"}))
        .await
        .refused(409, "conflict");
    user.post(
        &format!("{tenant}/members"),
        json!({"subject": "ann", "role": "viewer"}),
    )
    .await
    .refused(409, "already_exists");
    user.post(
        &format!("{tenant}/members"),
        json!({"subject": "bob", "role": "admin"}),
    )
    .await
    .refused(400, "invalid_request");
    user.member(&tenant, "bob", "owner").await;
    user.patch(&ann, json!({"role": "viewer"})).await.ok();
    user.patch(&ann, json!({"role": "owner"}))
        .await
        .refused(403, "forbidden");
    assert_eq!(operator.delete(&ann).await.status, 204);
}

#[tokio::test]
async fn an_issuer_is_trusted_for_one_name() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "p").await;
    let path = format!("{project}/issuers");
    let body = json!({"name": "login", "issuer": "https://id", "audiences": ["app"], "jwks_url": "https://id/jwks.json"});
    let issuer = operator.post(&path, body.clone()).await.created();
    operator
        .post(&path, body)
        .await
        .refused(409, "already_exists");
    let other_name = json!({"name": "other", "issuer": "https://id", "audiences": ["app"], "jwks_url": "https://id/jwks.json"});
    operator
        .post(&path, other_name)
        .await
        .refused(409, "already_exists");
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let inline = operator
        .patch(&issuer, json!({"jwks_url": null, "jwks": keys}))
        .await
        .ok();
    assert_eq!((inline.get("jwks_url"), &inline["jwks"]), (None, &keys));
    operator
        .patch(
            &issuer,
            json!({"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}),
        )
        .await
        .refused(400, "invalid_request");
    operator
        .patch(&issuer, json!({"jwks_url": "https://id"}))
        .await
        .refused(400, "invalid_request");
    assert_eq!(operator.delete(&issuer).await.status, 204);
}
