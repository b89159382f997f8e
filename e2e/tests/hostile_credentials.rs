//! Whatever is wrong with a key or a token, every entrance refuses it, each with one and the same answer, and nobody
//! writes it down. (What is wrong with each is found by `credentials` and the broker, whose own tests say so.)

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_e2e::{
    Client, Cluster,
    events::Events,
    eventually,
    mqtt::{Mqtt, connect},
    refusal::Refusal,
    socket::Socket,
};
use highwater_mqtt::Version;
use highwater_proto::control::{Issuer, Revocation, document::Resource, revocation::What};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const ISSUER: &str = "https://id.example.com";
const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1"}"#;

struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: u8) -> Signer {
        Signer(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]}).to_string()
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

fn message(header: &str, claims: &str) -> String {
    let part = |part: &str| URL_SAFE_NO_PAD.encode(part);
    format!("{}.{}", part(header), part(claims))
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn project() -> String {
    format!("prj_{:032x}", 1)
}

/// What a good token says, with some of it in other words.
fn claims(changes: &[(&str, Value)]) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": project(), "sub": "ann", "jti": "good",
        "iat": now_s(), "exp": now_s() + 600,
        "permissions": [{"operations": ["publish", "subscribe"], "topics": "#"}],
    });
    for (name, value) in changes {
        claims[name] = value.clone();
    }
    claims.to_string()
}

/// Everything that is no good credential, by what is wrong with it.
fn attacks(cluster: &Cluster, signer: &Signer) -> Vec<(&'static str, String)> {
    let good = signer.sign(HEADER, &claims(&[]));
    let saying = |name, value: Value| signer.sign(HEADER, &claims(&[(name, value)]));
    let with_header = |header: &str| signer.sign(header, &claims(&[]));
    let unsigned = message(r#"{"alg":"none","kid":"k1"}"#, &claims(&[]));
    let symmetric = message(r#"{"alg":"HS256","kid":"k1"}"#, &claims(&[]));
    let public = hmac::Key::new(hmac::HMAC_SHA256, signer.0.public_key().as_ref());
    let tag = hmac::sign(&public, symmetric.as_bytes());
    let key = cluster.key();
    let (start, end) = good.rsplit_once('.').unwrap();
    let duplicate = claims(&[]).replacen("\"sub\":\"ann\"", "\"sub\":\"ann\",\"sub\":\"root\"", 1);
    assert!(duplicate.contains("root"));
    vec![
        ("no credential at all", "x".to_owned()),
        ("no algorithm", format!("{unsigned}.")),
        (
            "the public key as a secret",
            format!("{symmetric}.{}", URL_SAFE_NO_PAD.encode(tag)),
        ),
        (
            "an algorithm that is another key's",
            with_header(r#"{"alg":"ES256","kid":"k1"}"#),
        ),
        (
            "a path for a key",
            with_header(r#"{"alg":"EdDSA","kid":"../../../etc/passwd"}"#),
        ),
        (
            "a statement for a key",
            with_header(r#"{"alg":"EdDSA","kid":"k1' OR '1'='1"}"#),
        ),
        (
            "an address of keys",
            with_header(r#"{"alg":"EdDSA","kid":"k2","jku":"https://evil.example.com/"}"#),
        ),
        (
            "an address of certificates",
            with_header(r#"{"alg":"EdDSA","kid":"k2","x5u":"https://evil.example.com/"}"#),
        ),
        (
            "a key of its own",
            with_header(r#"{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}"#),
        ),
        (
            "something critical",
            with_header(r#"{"alg":"EdDSA","kid":"k1","crit":["x"],"x":1}"#),
        ),
        ("another signer", Signer::new(9).sign(HEADER, &claims(&[]))),
        (
            "a signature that is cut off",
            good[..good.len() - 2].to_owned(),
        ),
        ("a part too many", format!("{good}.x")),
        ("other claims", {
            let root = URL_SAFE_NO_PAD.encode(claims(&[("sub", json!("root"))]));
            let header = start.split('.').next().unwrap();
            format!("{header}.{root}.{end}")
        }),
        (
            "another issuer",
            saying("iss", json!("https://evil.example.com")),
        ),
        (
            "the service for an issuer",
            saying("iss", json!("highwater")),
        ),
        (
            "another project",
            saying("aud", json!(format!("prj_{:032x}", 2))),
        ),
        ("another audience", saying("aud", json!("other"))),
        ("an end that is over", saying("exp", json!(now_s() - 60))),
        ("a beginning to come", saying("nbf", json!(now_s() + 600))),
        ("an issue to come", saying("iat", json!(now_s() + 600))),
        (
            "an end as a string",
            saying("exp", json!((now_s() + 600).to_string())),
        ),
        (
            "an end as a fraction",
            saying("exp", json!(now_s() as f64 + 600.5)),
        ),
        ("a negative end", saying("exp", json!(-1))),
        ("no end", saying("exp", Value::Null)),
        (
            "a life too long",
            saying("exp", json!(now_s() + 10 * 86_400)),
        ),
        ("a claim twice", signer.sign(HEADER, &duplicate)),
        ("a subject that is no text", saying("sub", json!(["ann"]))),
        (
            "much too much",
            saying("padding", json!("x".repeat(20_000))),
        ),
        ("a token that was revoked", saying("jti", json!("revoked"))),
        (
            "a key of an API key that is not there",
            saying("highwater_key", json!(format!("key_{:032x}", 999))),
        ),
        ("a key that is cut off", key[..key.len() - 1].to_owned()),
        ("a key in capitals", key.to_uppercase()),
        ("the id of one key and the secret of another", {
            let secret = cluster.key_of(1).rsplit_once('_').unwrap().1;
            let id = key.rsplit_once('_').map(|(id, _)| id).unwrap();
            format!("{id}_{secret}")
        }),
        ("an operator's key", format!("hwa_{}", "A".repeat(43))),
        ("a service's credential", format!("hws_{}", "A".repeat(43))),
    ]
}

/// What an entrance says to a credential, in full; `None` when it is let in.
async fn told(cluster: &Cluster, entrance: &str, credential: &str) -> Option<String> {
    let address = cluster.address(0);
    let http = |method, path: &str| {
        let request = cluster.http().request(method, cluster.url(0, path));
        request.bearer_auth(credential).body("x")
    };
    match entrance {
        "HTTP publish" => answer(http(Method::POST, "/v1/messages/a")).await,
        "HTTP read" => answer(http(Method::GET, "/v1/messages/a?from=earliest")).await,
        "HTTP poll" => answer(http(Method::GET, "/v1/messages/a?from=latest&wait=1")).await,
        "HTTP topics" => answer(http(Method::GET, "/v1/topics")).await,
        "HTTP ticket" => answer(http(Method::POST, "/v1/tickets")).await,
        "SSE" => {
            refusal(Events::open(cluster.http(), (address, credential), &["a"], "latest").await)
        }
        "SSE by ticket" => {
            let mut url = reqwest::Url::parse(&cluster.url(0, "/v1/sse?topic=a")).unwrap();
            url.query_pairs_mut().append_pair("ticket", credential);
            refusal(Events::of(cluster.http().get(url)).await)
        }
        "WebSocket" => refusal(Socket::open(address, credential).await),
        "WebSocket frame" => {
            let request = format!("ws://{address}/v1/ws").into_client_request();
            let mut socket = Socket::of(request.unwrap()).await.unwrap();
            socket
                .send(&json!({"type": "auth", "id": 1, "credential": credential}))
                .await
                .unwrap();
            refusal(socket.next().await)
        }
        "gRPC publish" => {
            let refused = Client::new(address, credential).publish("a", "x").await;
            refused
                .err()
                .map(|status| format!("{:?} {}", status.code(), status.message()))
        }
        "gRPC subscribe" => {
            let refused = Client::new(address, credential)
                .subscribe(&["a"], "latest")
                .await;
            let status = refused
                .err()
                .map(|error| error.downcast::<tonic::Status>().unwrap());
            status.map(|status| format!("{:?} {}", status.code(), status.message()))
        }
        "MQTT 5.0" => refusal(Mqtt::open(address, connect(Version::V5, "m", credential)).await),
        "MQTT 3.1.1" => {
            refusal(Mqtt::open(address, connect(Version::V3_1_1, "m", credential)).await)
        }
        other => panic!("{other} is no entrance"),
    }
}

async fn answer(request: RequestBuilder) -> Option<String> {
    let response = request.send().await.unwrap();
    let status = response.status();
    match status.is_success() {
        true => None,
        false => Some(format!("{status} {}", response.text().await.unwrap())),
    }
}

fn refusal<T>(outcome: anyhow::Result<T>) -> Option<String> {
    let error = outcome.err()?;
    let refused = error.downcast_ref::<Refusal>();
    Some(refused.map_or_else(|| format!("{error:#}"), Refusal::to_string))
}

const ENTRANCES: [&str; 13] = [
    "HTTP publish",
    "HTTP read",
    "HTTP poll",
    "HTTP topics",
    "HTTP ticket",
    "SSE",
    "SSE by ticket",
    "WebSocket",
    "WebSocket frame",
    "gRPC publish",
    "gRPC subscribe",
    "MQTT 5.0",
    "MQTT 3.1.1",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entrance_refuses_what_is_no_good_credential_with_one_answer() {
    let (cluster, signer) = (Cluster::start().await, Signer::new(5));
    let issuer = Issuer {
        project: project(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["app".to_owned()],
        jwks: signer.jwks(),
        ..Issuer::default()
    };
    let trust = Resource::Issuer(issuer);
    let id = format!("iss_{:032x}", 1);
    cluster
        .edit(&id, |resource| *resource = Some(trust.clone()))
        .await;
    let revocation = Revocation {
        project: project(),
        what: Some(What::TokenId("revoked".to_owned())),
        forgotten_at_ms: u64::MAX,
        ..Revocation::default()
    };
    let revoked = Resource::Revocation(revocation);
    let id = format!("rev_{:032x}", 1);
    cluster
        .edit(&id, |resource| *resource = Some(revoked.clone()))
        .await;
    let good = signer.sign(HEADER, &claims(&[]));
    eventually("the issuer is known", async || {
        told(&cluster, "gRPC publish", &good).await.is_none()
    })
    .await;
    let attacks = attacks(&cluster, &signer);
    for entrance in ENTRANCES {
        // A good one is let in, so it is not for another reason that the others are refused. Tokens get no tickets, and
        // are none.
        let is_for_tokens = !entrance.contains("ticket");
        let told_good = told(&cluster, entrance, &good).await;
        assert_eq!(
            told_good.is_none(),
            is_for_tokens,
            "{entrance}: {told_good:?}"
        );
        let mut expected: Option<String> = None;
        for (what, credential) in &attacks {
            let told = told(&cluster, entrance, credential).await;
            let told = told.unwrap_or_else(|| panic!("{entrance}: {what} is let in"));
            assert!(
                credential.len() < 20 || !told.contains(&credential[credential.len() / 2..]),
                "{entrance}, {what}: {told}"
            );
            // That of a key in an address is by its form alone, good or not: it does not belong there.
            if entrance == "SSE by ticket" && credential.starts_with("hw_") {
                assert!(told.starts_with("unauthenticated"), "{what}: {told}");
                continue;
            }
            // A request that is too large is refused before it is known what it brings.
            if what == &"much too much" && expected.as_ref() != Some(&told) {
                let is_too_large = [
                    "431",
                    "too_large",
                    "Reset",
                    "reset",
                    "closed",
                    "ConnectionReset",
                ];
                assert!(
                    is_too_large.iter().any(|part| told.contains(part)),
                    "{entrance}: {told}"
                );
                continue;
            }
            assert_eq!(
                expected.get_or_insert_with(|| told.clone()),
                &told,
                "{entrance}: {what}"
            );
        }
    }
    let mut said = String::new();
    for node in 0..cluster.size() {
        said += &cluster.log(node);
        said += &cluster.get(node, "/metrics").await.unwrap();
    }
    for (what, credential) in attacks
        .iter()
        .filter(|(_, credential)| credential.len() > 20)
    {
        let end = &credential[credential.len() - 16..];
        assert!(!said.contains(end), "{what} is in a log or a metric");
    }
}
