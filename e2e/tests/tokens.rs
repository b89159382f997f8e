//! Tokens of an issuer that a project trusts open it on every protocol, for what they say and no longer than they may.

use std::time::{SystemTime, UNIX_EPOCH};

use highwater_credentials::token::{Grant, ServiceClaims, SigningKey};
use highwater_e2e::{
    Client, Cluster,
    condition::{eventually, within_deadline},
    mqtt::{Mqtt, connect},
    socket::Socket,
};
use highwater_mqtt::{Qos, Version};
use highwater_proto::control::{Issuer, Revocation, document::Resource, revocation::What};
use tonic::Code;

const ISSUER: &str = "https://id.example.com";

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn key() -> SigningKey {
    SigningKey::from_seed("k1", &[5; 32]).unwrap()
}

/// A token for the first project, which lets its subject publish and subscribe below its own name.
fn token(change: impl FnOnce(&mut ServiceClaims)) -> String {
    let mut claims = ServiceClaims {
        iss: ISSUER,
        aud: format!("prj_{:032x}", 1),
        sub: Some("alice".to_owned()),
        jti: "t1".to_owned(),
        iat: now_s(),
        exp: now_s() + 600,
        permissions: vec![Grant {
            operations: vec!["publish".to_owned(), "subscribe".to_owned()],
            topics: "users/${sub}/#".to_owned(),
        }],
        highwater_key: None,
    };
    change(&mut claims);
    key().sign(&claims)
}

/// A cluster whose first project trusts the issuer.
async fn trusting() -> Cluster {
    let cluster = Cluster::start().await;
    let issuer = Issuer {
        project: format!("prj_{:032x}", 1),
        issuer: ISSUER.to_owned(),
        jwks: format!("{{\"keys\":[{}]}}", key().public_jwk()),
        ..Issuer::default()
    };
    let id = format!("iss_{:032x}", 1);
    cluster
        .edit(&id, |resource| {
            *resource = Some(Resource::Issuer(issuer.clone()))
        })
        .await;
    for node in 0..cluster.size() {
        let client = Client::new(cluster.address(node), &token(|_| {}));
        eventually("the issuer is known", async || {
            client.publish("users/alice/ready", "x").await.is_ok()
        })
        .await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_its_project_on_every_protocol_for_what_it_says() {
    let cluster = trusting().await;
    let token = token(|_| {});
    let client = Client::new(cluster.address(0), &token);
    client.publish("users/alice/a", "x").await.unwrap();
    let refused = client.publish("users/bob/a", "x").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = client.subscribe(&["users/#"], "latest").await;
    assert!(
        refused.is_err(),
        "a filter that is wider than what is allowed"
    );

    let request = cluster
        .http()
        .post(cluster.url(1, "/v1/messages/users/alice/a"));
    let response = request.bearer_auth(&token).body("y").send().await.unwrap();
    assert_eq!(response.status(), 201);

    let mut socket = Socket::open(cluster.address(2), &token).await.unwrap();
    socket
        .subscribe(1, &["users/alice/#"], "latest")
        .await
        .unwrap();

    let hello = connect(Version::V5, "alice-1", &token);
    let mut mqtt = Mqtt::open(cluster.address(1), hello).await.unwrap();
    mqtt.publish("users/alice/b", "z", Qos::AtLeastOnce)
        .await
        .unwrap();
    let message = within_deadline("it is delivered", socket.next())
        .await
        .unwrap();
    assert_eq!(message["records"][0]["topic"], "users/alice/b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_no_good_are_all_refused_alike() {
    let cluster = trusting().await;
    let other = SigningKey::from_seed("k1", &[6; 32]).unwrap();
    let good = token(|_| {});
    let (signed, _) = good.rsplit_once('.').unwrap();
    let tokens = [
        token(|claims| claims.exp = now_s()),
        token(|claims| claims.iat = now_s() + 3_600),
        token(|claims| claims.exp = now_s() + 8 * 24 * 3_600),
        token(|claims| claims.aud = format!("prj_{:032x}", 2)),
        token(|claims| claims.aud = format!("prj_{:032x}", 77)),
        token(|claims| claims.iss = "https://evil.example.com"),
        token(|claims| claims.iss = "highwater"),
        token(|claims| claims.highwater_key = Some(format!("key_{:032x}", 2))),
        other.sign_any(&serde_json::json!({"iss": ISSUER, "iat": now_s(), "exp": now_s() + 60})),
        format!("{signed}."),
        signed.to_owned(),
        format!("{good}A"),
        "ey".to_owned(),
    ];
    let ask = async |credential: &str| {
        let request = cluster.http().get(cluster.url(0, "/v1/topics"));
        let response = request.bearer_auth(credential).send().await.unwrap();
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert!(!body.contains(credential) || credential.len() < 3, "{body}");
        (status, body)
    };
    let unknown = ask(&format!("hw_{}_{}", "0".repeat(32), "x".repeat(43))).await;
    assert_eq!(unknown.0, 401);
    for token in &tokens {
        assert_eq!(ask(token).await, unknown, "{token}");
    }
    assert_eq!(ask(&good).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_subject_is_closed_on_every_node_and_others_go_on() {
    let cluster = trusting().await;
    let alice = token(|_| {});
    let bob = token(|claims| claims.sub = Some("bob".to_owned()));
    let mut open = Vec::new();
    for node in 0..cluster.size() {
        let client = Client::new(cluster.address(node), &alice);
        open.push(
            client
                .subscribe(&["users/alice/#"], "latest")
                .await
                .unwrap(),
        );
    }
    let bob = Client::new(cluster.address(0), &bob);
    let _goes_on = bob.subscribe(&["users/bob/#"], "latest").await.unwrap();
    let revocation = Revocation {
        project: format!("prj_{:032x}", 1),
        issued_before_ms: (now_s() + 1) * 1_000,
        what: Some(What::Subject("alice".to_owned())),
        ..Revocation::default()
    };
    cluster
        .edit(&format!("rev_{:032x}", 1), |resource| {
            *resource = Some(Resource::Revocation(revocation.clone()));
        })
        .await;
    for live in open {
        assert_eq!(live.end().await, Code::Unauthenticated);
    }
    let refused = Client::new(cluster.address(2), &alice)
        .publish("users/alice/a", "x")
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    bob.publish("users/bob/a", "x").await.unwrap();
}
