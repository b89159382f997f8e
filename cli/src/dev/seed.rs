//! The first tenant, project and key of a development cluster, put into its catalogue.

use std::time::Duration;

use anyhow::Context as _;
use highwater_credentials::{KeyHasher, ServiceCredential};
use highwater_proto::control::{
    self, CommitRequest, Document, catalogue_client::CatalogueClient, document::Resource,
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, transport::Endpoint};

use super::layout::{Identity, Layout};

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take until all nodes know of it.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Commits them, unless something was committed before: then they are there, or were taken away.
pub async fn plant(layout: &Layout) -> anyhow::Result<()> {
    let server = format!("http://{}", layout.nodes[0].client);
    let channel = Endpoint::from_shared(server)?
        .timeout(TIMEOUT)
        .connect_lazy();
    let secret = layout.identity.cluster_secret.as_bytes();
    let mut request = Request::new(CommitRequest {
        if_version: 0,
        documents: documents(&layout.identity)?,
        audit: Vec::new(),
    });
    let credential = format!("Bearer {}", ServiceCredential::new(secret).expose());
    let mut credential: tonic::metadata::MetadataValue<_> = credential.parse()?;
    credential.set_sensitive(true);
    request.metadata_mut().insert("authorization", credential);
    match CatalogueClient::new(channel).commit(request).await {
        Ok(_) => {}
        Err(status) if status.code() == Code::FailedPrecondition => {}
        Err(status) => return Err(status).context("cannot make the first project"),
    }
    // It may have been taken away since it was made.
    let _ = timeout(KNOWN_TIMEOUT, key_is_known(layout)).await;
    Ok(())
}

/// Waits until every node lets the key in.
async fn key_is_known(layout: &Layout) {
    let client = reqwest::Client::new();
    for node in &layout.nodes {
        let url = format!("http://{}/v1/topics?limit=1", node.client);
        let ask = || client.get(&url).bearer_auth(&layout.identity.key).send();
        while !ask().await.is_ok_and(|answer| answer.status().is_success()) {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One tenant, one project, one key that may do everything in it. The project lies in one shard, as
/// any project does of which nothing else is said: a filter then follows one log, and what is seen
/// here is what is seen elsewhere.
fn documents(identity: &Identity) -> anyhow::Result<Vec<Document>> {
    let hasher = KeyHasher::new(identity.cluster_secret.as_bytes());
    let (key, hash) = hasher
        .read_key(&identity.key)
        .context("dev.toml holds no key")?;
    let tenant = control::Tenant {
        name: "dev".into(),
        ..control::Tenant::default()
    };
    let project = control::Project {
        tenant: identity.tenant.clone(),
        name: "dev".into(),
        spread: 1,
        // Pages that are being written, from whatever serves them on this machine.
        origins: ["http://localhost:*", "http://127.0.0.1:*"]
            .map(str::to_owned)
            .to_vec(),
        ..control::Project::default()
    };
    let operations = ["publish", "subscribe", "manage"].map(str::to_owned);
    let secret = identity.key.as_bytes();
    let api_key = control::ApiKey {
        project: identity.project.clone(),
        name: "dev".into(),
        secret_hash: hash.as_bytes().to_vec().into(),
        permissions: vec![control::Permission {
            operations: operations.to_vec(),
            topics: "#".into(),
        }],
        hint: String::from_utf8_lossy(&secret[secret.len() - 4..]).into_owned(),
        ..control::ApiKey::default()
    };
    let now_ms = highwater_node::clock::system()();
    let document = |id: &str, resource| Document {
        id: id.to_owned(),
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        resource: Some(resource),
        ..Document::default()
    };
    Ok(vec![
        document(&identity.tenant, Resource::Tenant(tenant)),
        document(&identity.project, Resource::Project(project)),
        document(&key.to_string(), Resource::ApiKey(api_key)),
    ])
}
