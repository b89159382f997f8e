//! The catalogue of a cluster, written as a control plane writes it.

use std::time::Duration;

use highwater_credentials::ServiceCredential;
use highwater_proto::control::{
    self, CommitRequest, Deleted, Document, WatchRequest, catalogue_client::CatalogueClient,
    document::Resource,
};
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};

use super::{CLUSTER_SECRET, Cluster, files};
use crate::client::{Bearer, Endpoints};

/// Documents of one commit.
const TOGETHER: usize = 500;
/// Attempts of a commit beside other writers.
const ATTEMPTS: usize = 20;

/// How control planes reach a node.
pub type Client = CatalogueClient<InterceptedService<Channel, Bearer>>;

impl Cluster {
    /// A client of the catalogue at a node, with the credential of a control plane.
    pub fn catalogue_at(&self, node: usize) -> Client {
        let service = ServiceCredential::new(CLUSTER_SECRET.as_bytes());
        self.catalogue_with(node, service.expose())
    }

    /// The same with another credential.
    pub fn catalogue_with(&self, node: usize, credential: &str) -> Client {
        let endpoint = Endpoints {
            address: self.address(node),
            ca: self.ca.as_deref(),
        };
        CatalogueClient::new(endpoint.connect(credential)).max_decoding_message_size(16 << 20)
    }

    /// Everything that is in the catalogue, and its version.
    ///
    /// # Panics
    /// When no node tells.
    pub async fn documents(&self) -> (Vec<Document>, u64) {
        let watch = async {
            let mut client = self.catalogue_at(self.running());
            let stream = client.watch(WatchRequest { from_version: 0 }).await?;
            let mut stream = stream.into_inner();
            let mut documents: Vec<Document> = Vec::new();
            loop {
                let next = stream.message().await?;
                let next = next.ok_or_else(|| Status::unavailable("the stream has ended"))?;
                for document in next.documents {
                    documents.retain(|known| known.id != document.id);
                    documents.push(document);
                }
                if next.is_current {
                    return Ok::<_, Status>((documents, next.version));
                }
            }
        };
        watch.await.expect("the catalogue is told")
    }

    /// Writes what was there before, or was not, as `change` leaves it.
    ///
    /// # Panics
    /// When it cannot be committed.
    pub async fn edit(&self, id: &str, change: impl Fn(&mut Option<Resource>)) {
        for _ in 0..ATTEMPTS {
            let (documents, version) = self.documents().await;
            let known = documents.into_iter().find(|document| document.id == id);
            let mut document = known.unwrap_or_else(|| Document {
                id: id.to_owned(),
                ..Document::default()
            });
            change(&mut document.resource);
            if self.commit(version, vec![document]).await.is_some() {
                return;
            }
        }
        panic!("other writers never let {id} be written");
    }

    /// Changes one of the cluster's projects.
    pub async fn edit_project(&self, project: usize, change: impl Fn(&mut control::Project)) {
        let id = files::id("prj_", project + 1);
        let edit = self.edit(&id, |resource| match resource {
            Some(Resource::Project(project)) => change(project),
            other => panic!("{other:?} is no project"),
        });
        edit.await;
    }

    /// Changes the key of one of the cluster's projects.
    pub async fn edit_key(&self, project: usize, change: impl Fn(&mut control::ApiKey)) {
        let id = files::id("key_", project + 1);
        let edit = self.edit(&id, |resource| match resource {
            Some(Resource::ApiKey(key)) => change(key),
            other => panic!("{other:?} is no key"),
        });
        edit.await;
    }

    /// Takes the key of one of the cluster's projects away.
    pub async fn revoke_key(&self, project: usize) {
        let id = files::id("key_", project + 1);
        self.edit(&id, |resource| {
            *resource = Some(Resource::Deleted(Deleted::default()));
        })
        .await;
    }

    /// Commits what a new cluster begins with.
    pub(super) async fn seed(&self, documents: &[Document]) {
        let mut version = 0;
        for part in documents.chunks(TOGETHER) {
            let committed = self.commit(version, part.to_vec()).await;
            version = committed.expect("nobody else writes yet");
        }
        // Seen everywhere before any test begins.
        for node in 0..self.size() {
            if !self.is_running(node) {
                continue;
            }
            let client = self.client_of(node, self.keys.len() - 1);
            crate::eventually("the keys are known", async || {
                let answer = client.read("seed", "earliest", 1).await;
                answer.is_ok()
            })
            .await;
        }
    }

    /// Commits at a version; nothing when another commit came first.
    async fn commit(&self, if_version: u64, documents: Vec<Document>) -> Option<u64> {
        let request = CommitRequest {
            if_version,
            documents,
            audit: Vec::new(),
        };
        let mut client = self.catalogue_at(self.running());
        let commit = client.commit(request);
        let commit = tokio::time::timeout(Duration::from_secs(20), commit).await;
        match commit.expect("a commit is answered") {
            Ok(answer) => Some(answer.into_inner().version),
            Err(status) if status.code() == Code::FailedPrecondition => None,
            Err(status) => panic!("the catalogue cannot be written: {status}"),
        }
    }

    /// A node that runs.
    fn running(&self) -> usize {
        let mut nodes = 0..self.size();
        let running = nodes.find(|node| self.is_running(*node));
        running.expect("a node runs")
    }
}
