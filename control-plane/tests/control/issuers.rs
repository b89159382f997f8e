//! The keys of issuers come from where they say.

use std::time::Duration;

use highwater_credentials::KeySet;
use highwater_proto::control::document::Resource;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::stage::Stage;

/// A service that publishes keys, over TLS: another control plane.
struct Publisher {
    stage: Stage,
    /// Where the keys are.
    url: String,
    /// The authority of its certificate.
    authority: String,
    client: reqwest::Client,
    _stop: tokio_util::sync::DropGuard,
}

impl Publisher {
    async fn start() -> Publisher {
        let stage = Stage::new().await;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        stage.put("control.pem", &made.cert.pem());
        stage.put("control.key", &made.signing_key.serialize_pem());
        let tls = "tls_cert = \"control.pem\"\ntls_key = \"control.key\"\n";
        let control = stage.start(tls).await;
        let address = format!("https://localhost:{}", control.address().port());
        let stop = CancellationToken::new();
        tokio::spawn(control.run_until(stop.clone()));
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
        let publisher = Publisher {
            stage,
            url: format!("{address}/.well-known/jwks.json"),
            authority: made.cert.pem(),
            client: client.build().unwrap(),
            _stop: stop.drop_guard(),
        };
        publisher.add_key().await;
        publisher
    }

    async fn add_key(&self) {
        let url = self
            .url
            .replace("/.well-known/jwks.json", "/v1/signing-keys");
        let request = self.client.post(url).bearer_auth(&self.stage.operator);
        let response = request.json(&json!({})).send().await.unwrap();
        assert_eq!(response.status(), 201);
    }
}

/// Keys that are stored of the only issuer.
fn keys(stage: &Stage) -> Option<KeySet> {
    let log = stage.cluster.log();
    let newest = log.iter().rev().find(|d| d.id.starts_with("iss_"))?;
    match &newest.resource {
        Some(Resource::Issuer(issuer)) => KeySet::read(&issuer.jwks).ok(),
        _ => None,
    }
}

#[tokio::test]
async fn they_are_fetched_at_once_and_from_a_new_address_again() {
    let publisher = Publisher::start().await;
    let stage = Stage::new().await;
    stage.put("issuers-ca.pem", &publisher.authority);
    let served = stage
        .serve_with("[issuers]\nprivate_addresses = true\ntls_ca = \"issuers-ca.pem\"\n")
        .await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "p").await;
    let issuer =
        json!({"name": "login", "issuer": "x", "audiences": ["a"], "jwks_url": publisher.url});
    let issuers = format!("{project}/issuers");
    let path = operator.post(&issuers, issuer).await.created();
    let deadline = Instant::now() + Duration::from_secs(30);
    while operator
        .get(&path)
        .await
        .ok()
        .get("jwks_fetched_at")
        .is_none()
    {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(keys(&stage).is_some());
    let shown = operator.get(&path).await.ok();
    assert!(
        shown.get("jwks").is_none(),
        "keys of an address are the address's to show"
    );
    let entry = operator.get(&format!("{tenant}/audit?limit=1")).await.ok()["items"][0].clone();
    assert_eq!(
        (&entry["action"], &entry["actor"]),
        (&json!("issuer.fetch_keys"), &json!("service"))
    );

    publisher.add_key().await;
    let version = stage.cluster.log().len();
    let elsewhere = format!("{}?", publisher.url);
    operator
        .patch(&path, json!({"jwks_url": elsewhere}))
        .await
        .ok();
    while stage.cluster.log().len() < version + 2 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(keys(&stage).is_some());
}

#[tokio::test]
async fn nothing_is_fetched_from_inside() {
    let publisher = Publisher::start().await;
    let stage = Stage::new().await;
    stage.put("issuers-ca.pem", &publisher.authority);
    let served = stage
        .serve_with("[issuers]\ntls_ca = \"issuers-ca.pem\"\n")
        .await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "p").await;
    let issuer =
        json!({"name": "login", "issuer": "x", "audiences": ["a"], "jwks_url": publisher.url});
    operator
        .post(&format!("{project}/issuers"), issuer)
        .await
        .created();
    // Longer than until it is looked for the first time.
    sleep(Duration::from_millis(1_500)).await;
    assert!(keys(&stage).is_none());
}
