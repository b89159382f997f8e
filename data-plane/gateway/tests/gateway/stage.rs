//! A gateway on a port of its own, its shards, and the keys to it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use highwater_broker::{
    Broker,
    catalogue::{ApiKey, Catalogue, Operation, Permissions, Policy, Project},
    fake::FakeShard,
    handle::TopicPolicy,
    tail::Tail,
};
use highwater_credentials::KeyHasher;
use highwater_gateway::{ALPN_PROTOCOLS, Clock, Gateway, Options, Peers};
use highwater_proto::{
    client::highwater_client::HighwaterClient,
    ids::{KeyId, ProjectId, ShardId, TenantId},
    names::TopicFilter,
    origin::OriginPattern,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(20);
const SECRET: &[u8] = b"a secret of the cluster";

pub struct Stage {
    pub address: SocketAddr,
    pub shards: Vec<FakeShard>,
    pub broker: Arc<Broker>,
    pub gateway: Gateway,
    pub clock: Clock,
    pub project: Project,
    pub stranger: Project,
    pub shutdown: CancellationToken,
    /// May do everything.
    pub key: String,
    /// May publish to `a/#` and read `a/b`, and nothing else.
    pub narrow_key: String,
    /// May do everything in another project.
    pub strangers_key: String,
    keys: Vec<ApiKey>,
    http: reqwest::Client,
    running: JoinSet<()>,
    keeping: JoinSet<()>,
    /// How far the clock was put ahead, in milliseconds.
    ahead_ms: Arc<AtomicU64>,
}

impl Stage {
    pub async fn open() -> Stage {
        Stage::with(1, Options::default(), None).await
    }

    /// A stage whose clock runs, for what happens at a time.
    pub async fn ticking() -> Stage {
        let begun = Instant::now();
        let clock = Arc::new(move || 1_000_000 + begun.elapsed().as_millis() as u64);
        Stage::of(clock, 1, Options::default(), None).await
    }

    pub async fn with(
        shards: u32,
        options: Options,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Stage {
        Stage::of(Arc::new(|| 1_000_000), shards, options, tls).await
    }

    async fn of(
        clock: Clock,
        shards: u32,
        options: Options,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Stage {
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let clock: Clock = {
            let ahead_ms = ahead_ms.clone();
            Arc::new(move || clock() + ahead_ms.load(Ordering::SeqCst))
        };
        let mut running = JoinSet::new();
        let mut shards: Vec<FakeShard> = (0..=shards)
            .map(|id| {
                let (shard, run) = FakeShard::new(ShardId(id), Tail::default(), clock.clone());
                running.spawn(run);
                shard
            })
            .collect();
        let meta = shards.pop().unwrap();
        let ids: Vec<ShardId> = shards.iter().map(|s| s.handle().id()).collect();
        let tenant = TenantId::generate();
        let mut project = Project::new(ProjectId::generate(), tenant, "ours", ids.clone());
        let must_exist = TopicPolicy {
            must_exist: true,
            ..Default::default()
        };
        let policy = Policy {
            topic: must_exist,
            ..Default::default()
        };
        project.policies = vec![(filter("made/#"), policy)];
        let stranger = Project::new(ProjectId::generate(), tenant, "theirs", ids);
        let everything = [Operation::Publish, Operation::Subscribe, Operation::Manage];
        let all = Permissions::new([(everything.to_vec(), filter("#"))]);
        let narrow = Permissions::new([
            (vec![Operation::Publish], filter("a/#")),
            (vec![Operation::Subscribe], filter("a/b")),
        ]);
        let (key, a) = make_key(project.id, all.clone());
        let (narrow_key, b) = make_key(project.id, narrow);
        let (strangers_key, c) = make_key(stranger.id, all);
        let keys = vec![a, b, c];
        let catalogue = Catalogue::new([project.clone(), stranger.clone()], keys.clone());
        let handles = shards.iter().map(|s| s.handle().clone()).collect();
        let broker = Arc::new(Broker::new(
            SECRET,
            catalogue,
            handles,
            meta.handle().clone(),
        ));
        let gateway = Gateway::new(broker.clone(), clock.clone(), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let tls = tls.map(|config| {
            let mut config = rustls::ServerConfig::clone(&config);
            config.alpn_protocols = ALPN_PROTOCOLS.map(|p| p.as_bytes().to_vec()).into();
            watch::Sender::new(Arc::new(config)).subscribe()
        });
        let serving = {
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move { gateway.serve(listener, tls, shutdown).await.unwrap() }
        };
        running.spawn(serving);
        Stage {
            address,
            shards,
            broker,
            gateway,
            clock,
            project,
            stranger,
            shutdown,
            key,
            narrow_key,
            strangers_key,
            keys,
            // Answers are looked at as they come.
            http: reqwest::Client::builder().no_gzip().build().unwrap(),
            running,
            keeping: JoinSet::new(),
            ahead_ms,
        }
    }

    /// Puts the clock ahead.
    pub fn advance(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sees to MQTT sessions without a connection, as a node of a cluster of one.
    pub fn keep_sessions(&mut self) {
        let gateway = self.gateway.clone();
        self.keeping.spawn(async move {
            let nobody = Peers::new(Vec::new(), Arc::new(|_| Box::pin(async { false })));
            gateway
                .keep_sessions(nobody, CancellationToken::new())
                .await;
        });
    }

    /// Puts another gateway, as after a restart, in the place of one that has stopped.
    pub async fn restart(&mut self, options: Options) {
        self.gateway = Gateway::new(self.broker.clone(), self.clock.clone(), options);
        self.shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (gateway, shutdown) = (self.gateway.clone(), self.shutdown.clone());
        self.running
            .spawn(async move { gateway.serve(listener, None, shutdown).await.unwrap() });
    }

    /// Lets the key that may do everything expire after a time, and gives that moment.
    pub fn expire_key_in(&self, ms: u64) -> u64 {
        let end_ms = (self.clock)() + ms;
        let mut keys = self.keys.clone();
        keys[0].expires_at_ms = Some(end_ms);
        self.set_keys(keys);
        end_ms
    }

    /// Takes the keys of our project away.
    pub fn revoke_keys(&self) {
        let keys = self.keys.iter().filter(|k| k.project != self.project.id);
        self.set_keys(keys.cloned());
    }

    /// Allows pages of these origins to use our project, and no others.
    pub fn allow_origins(&mut self, origins: &[&str]) {
        let patterns = origins.iter().map(|text| OriginPattern::try_from(*text));
        self.project.origins = patterns.map(Result::unwrap).collect();
        self.set_keys(self.keys.clone());
    }

    fn set_keys(&self, keys: impl IntoIterator<Item = ApiKey>) {
        let projects = [self.project.clone(), self.stranger.clone()];
        self.broker.set_catalogue(Catalogue::new(projects, keys));
    }

    /// Waits until somebody follows what comes to the first shard, or until nobody does any more.
    pub async fn followed(&self, followed: bool) {
        let tail = self.shards[0].handle().tail();
        within(async {
            while (tail.usage().0 > 0) != followed {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until the gateway has stopped; the shards go on.
    pub async fn stopped(&mut self) {
        self.shutdown.cancel();
        within(self.running.join_next()).await.unwrap().unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with the key that may do everything.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.url(path))
            .bearer_auth(&self.key)
    }

    /// A request without a credential.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, path).body(body)
    }

    /// Publishes over HTTP and gives the result.
    pub async fn publish(&self, topic: &str, payload: &str) -> Value {
        let path = format!("/v1/messages/{topic}");
        let request = self
            .post(&path, payload.to_owned())
            .header("content-type", "text/plain");
        expect(request, StatusCode::CREATED).await
    }

    /// A gRPC client, which sends the key by itself.
    pub async fn grpc(&self) -> HighwaterClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        HighwaterClient::new(within(endpoint.connect()).await.unwrap())
    }

    /// A gRPC request with the key that may do everything.
    pub fn call<T>(&self, message: T) -> tonic::Request<T> {
        with_key(message, &self.key)
    }
}

pub fn with_key<T>(message: T, key: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn make_key(project: ProjectId, permissions: Permissions) -> (String, ApiKey) {
    let id = KeyId::generate();
    let (text, secret_hash) = KeyHasher::new(SECRET).make_key(id, &[7; 32]);
    let key = ApiKey {
        id,
        project,
        secret_hash,
        previous: None,
        permissions: Arc::new(permissions),
        expires_at_ms: None,
        used_at_ms: Arc::default(),
    };
    (text, key)
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::try_from(text).unwrap()
}

/// Sends a request, checks its status and reads its JSON.
pub async fn expect(request: RequestBuilder, status: StatusCode) -> Value {
    let response = within(request.send()).await.unwrap();
    let (got, url) = (response.status(), response.url().clone());
    let text = within(response.text()).await.unwrap();
    assert_eq!(got, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Sends a request that must be refused with this code, as a problem document.
pub async fn refused(request: RequestBuilder, code: &str) -> Value {
    let response = within(request.send()).await.unwrap();
    let url = response.url().clone();
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").cloned();
    let text = within(response.text()).await.unwrap();
    let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{url}: {text}"));
    assert_eq!(problem["code"], code, "{url}: {text}");
    assert_eq!(problem["status"], status);
    assert_eq!(content_type.unwrap(), "application/problem+json");
    problem
}

/// Waits for something that must happen soon.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what)
        .await
        .expect("it happens in time")
}
