//! A control plane on loopback over a fake cluster, and a client of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_control_plane::{Config, ControlPlane, clock::Clock};
use highwater_credentials::OperatorKeyHash;
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fake::Cluster;

pub const SECRET: &str = "secret of the cluster";
/// Where the clock begins, in milliseconds since the Unix epoch.
pub const BEGIN_MS: u64 = 1_800_000_000_000;

/// One or more control planes of a cluster.
pub struct Stage {
    pub cluster: Cluster,
    pub operator: String,
    /// Where the keys of the issuer are, as a line of the configuration.
    pub keys: String,
    node: String,
    signer: Arc<Ed25519KeyPair>,
    folder: TempDir,
    ms: Arc<AtomicU64>,
}

/// A control plane, until it is dropped.
pub struct Served {
    pub address: String,
    client: reqwest::Client,
    _stop: DropGuard,
}

/// Whoever sends requests.
#[derive(Clone)]
pub struct As<'a> {
    served: &'a Served,
    credential: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Stage {
    pub async fn new() -> Stage {
        let cluster = Cluster::new(SECRET.as_bytes());
        let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let (operator, _) = OperatorKeyHash::make_key(&[1; 32]);
        Stage {
            node: cluster.node().await,
            cluster,
            operator,
            keys: "jwks_file = \"jwks.json\"".into(),
            signer: Arc::new(signer),
            folder: tempfile::tempdir().unwrap(),
            ms: Arc::new(AtomicU64::new(BEGIN_MS)),
        }
    }

    /// The clock goes on.
    pub fn pass_ms(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// The public keys of the issuer.
    pub fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.signer.public_key().as_ref());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x});
        json!({"keys": [key]}).to_string()
    }

    /// Puts a file beside the configuration.
    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Another control plane, which has read the catalogue and does not serve yet; with more settings.
    pub async fn start(&self, more: &str) -> ControlPlane {
        self.put("jwks.json", &self.jwks());
        let (_, hash) = OperatorKeyHash::make_key(&[1; 32]);
        // Nobody answers at the first of the nodes.
        let text = format!(
            "listen = \"127.0.0.1:0\"\nnodes = [\"http://127.0.0.1:1\", \"{}\"]\ncluster_secret = \"{SECRET}\"\n{more}\
             [admin]\nkey_hash = \"{hash}\"\nissuer = \"https://id.example.com\"\naudiences = [\"highwater\"]\n\
             {}\noperator_claim = \"groups=platform\"\n",
            self.node, self.keys
        );
        self.put("control.toml", &text);
        let path = self.folder.path().join("control.toml");
        let config = Config::read(&path, std::iter::empty()).unwrap();
        let ms = self.ms.clone();
        let clock: Clock = Arc::new(move || ms.load(Ordering::SeqCst));
        let control = ControlPlane::start_at(config, clock).await.unwrap();
        assert!(control.becomes_ready(Duration::from_secs(10)).await);
        control
    }

    /// Another control plane, which serves and knows the keys of the issuer.
    pub async fn serve(&self) -> Served {
        let served = self.serve_without_keys().await;
        served
            .knows_the_issuer(&self.token("probe", json!({})))
            .await;
        served
    }

    /// Another control plane, which serves.
    pub async fn serve_without_keys(&self) -> Served {
        self.serve_with("").await
    }

    /// Another control plane, which serves, with more settings.
    pub async fn serve_with(&self, more: &str) -> Served {
        let control = self.start(more).await;
        let address = format!("http://{}", control.address());
        let stop = CancellationToken::new();
        tokio::spawn(control.run_until(stop.clone()));
        Served {
            address,
            // What is packed stays so, whatever other crates have reqwest do.
            client: reqwest::Client::builder()
                .no_proxy()
                .no_gzip()
                .build()
                .unwrap(),
            _stop: stop.drop_guard(),
        }
    }

    /// A token of the issuer for somebody.
    pub fn token(&self, subject: &str, more: Value) -> String {
        let now = self.ms.load(Ordering::SeqCst) / 1_000;
        let mut claims = json!({
            "iss": "https://id.example.com", "aud": "highwater", "sub": subject, "exp": now + 86_400 * 30,
        });
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        self.sign(r#"{"alg":"EdDSA","kid":"k1"}"#, &claims.to_string())
    }

    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = URL_SAFE_NO_PAD.encode(self.signer.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }

    /// Whoever has a token for this subject.
    pub fn user<'a>(&self, served: &'a Served, subject: &str) -> As<'a> {
        served.with(&self.token(subject, json!({})))
    }

    pub fn operator<'a>(&self, served: &'a Served) -> As<'a> {
        served.with(&self.operator)
    }
}

impl Served {
    /// Whoever has this credential.
    pub fn with(&self, credential: &str) -> As<'_> {
        As {
            served: self,
            credential: credential.to_owned(),
        }
    }

    /// The issuer's keys are read in the background.
    async fn knows_the_issuer(&self, token: &str) {
        for _ in 0..500 {
            if self.with(token).get("/v1/tenants").await.status == StatusCode::OK {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the keys of the issuer were not read");
    }
}

impl As<'_> {
    /// A request to be filled in.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.served.address);
        self.served
            .client
            .request(method, url)
            .bearer_auth(&self.credential)
    }

    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        Reply {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::PATCH, path).json(&body))
            .await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// POST with an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Reply {
        let request = self
            .request(Method::POST, path)
            .header("idempotency-key", key);
        self.send(request.json(&body)).await
    }

    /// A new tenant's path.
    pub async fn tenant(&self, name: &str) -> String {
        self.post("/v1/tenants", json!({"name": name}))
            .await
            .created()
    }

    /// A new project's path.
    pub async fn project(&self, tenant: &str, name: &str) -> String {
        self.post(&format!("{tenant}/projects"), json!({"name": name}))
            .await
            .created()
    }

    /// A new key's path and secret.
    pub async fn key(&self, project: &str, name: &str) -> (String, String) {
        let permissions = json!([{"operations": ["publish"], "topics": "#"}]);
        let body = json!({"name": name, "permissions": permissions});
        let reply = self.post(&format!("{project}/api-keys"), body).await;
        let secret = reply.json()["secret"].as_str().unwrap().to_owned();
        (reply.created(), secret)
    }

    /// Lets somebody administer a tenant; the member's path.
    pub async fn member(&self, tenant: &str, subject: &str, role: &str) -> String {
        let body = json!({"subject": subject, "role": role});
        self.post(&format!("{tenant}/members"), body)
            .await
            .created()
    }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    pub fn created(&self) -> String {
        assert_eq!(self.status, StatusCode::CREATED, "{}", self.text);
        self.headers["location"].to_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }

    /// It is a problem document with this status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail", "next_step", "request_id"] {
            assert!(
                problem[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{problem}"
            );
        }
        assert_eq!(
            self.headers["request-id"],
            problem["request_id"].as_str().unwrap()
        );
        problem
    }

    pub fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }

    /// All that a client can tell replies apart by, without what is different in each.
    pub fn seen(&self) -> String {
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !["request-id", "date", "ratelimit"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        headers.sort();
        let id = self.headers["request-id"].to_str().unwrap();
        format!(
            "{} {headers:?} {}",
            self.status,
            self.text.replace(id, "<id>")
        )
    }
}
