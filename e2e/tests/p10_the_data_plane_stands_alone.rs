//! P10: the data plane stands alone: no control plane runs in any of these tests, and what one has set up is in
//! force, restarts included. A node that cannot know what is in force lets nobody in.

use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    eventually,
};
use highwater_proto::control::{self, document::Resource};
use tonic::Code;

/// A policy that lets nobody make topics.
fn closed() -> control::TopicPolicy {
    control::TopicPolicy {
        filter: "made/#".to_owned(),
        must_exist: true,
        ..control::TopicPolicy::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_policies_and_quotas_are_in_force_after_a_restart() {
    let mut cluster = Cluster::start_with(Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await;
    cluster.revoke_key(1).await;
    cluster
        .edit_project(0, |project| {
            project.policies = vec![closed()];
            project.quotas = Some(control::Quotas {
                topics: 1,
                payload_bytes: 10,
                ..control::Quotas::default()
            });
        })
        .await;
    let (_, version) = cluster.documents().await;
    let before = async |cluster: &Cluster, node: usize| {
        let ours = cluster.client(node);
        let code = async |topic: &'static str, payload: &'static str| {
            let outcome = ours.publish(topic, payload).await;
            outcome.map_or_else(|status| status.code(), |_| Code::Ok)
        };
        eventually("what is allowed works", async || {
            code("a", "x").await == Code::Ok
        })
        .await;
        assert_eq!(code("made/1", "x").await, Code::NotFound);
        assert_eq!(code("a", "more than ten").await, Code::InvalidArgument);
        assert_eq!(code("b", "x").await, Code::ResourceExhausted);
        let revoked = cluster.client_of(node, 1).publish("a", "x").await;
        assert_eq!(revoked.unwrap_err().code(), Code::Unauthenticated);
    };
    for node in 0..cluster.size() {
        before(&cluster, node).await;
    }
    cluster.restart_all().await;
    for node in 0..cluster.size() {
        before(&cluster, node).await;
    }
    // Killed, and not stopped in order.
    cluster.kill_together(&[0, 1, 2]).await;
    cluster.start_all();
    cluster.all_ready().await;
    for node in 0..cluster.size() {
        before(&cluster, node).await;
    }
    assert_eq!(
        cluster.documents().await.1,
        version,
        "nobody has written since"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_lets_nobody_in_until_it_is_back() {
    let mut cluster = Cluster::start_with(Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await;
    cluster.allow_warning("cut off from the meta group");
    let alone = cluster.client(2);
    let live = alone.subscribe(&["a"], "latest").await.unwrap();
    cluster.kill_together(&[0, 1]).await;
    assert_eq!(live.end().await, Code::Unavailable);
    let refused = alone.read("a", "earliest", 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let request = cluster.http().get(cluster.url(2, "/v1/topics"));
    let response = request.bearer_auth(cluster.key()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    cluster.start_all();
    cluster.all_ready().await;
    eventually("it lets its clients in again", async || {
        alone.publish("a", "x").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_is_written_by_control_planes_of_the_cluster_alone() {
    let cluster = Cluster::start().await;
    let refusal = |outcome: Result<_, tonic::Status>| match outcome {
        Err(status) => status.code(),
        Ok(_) => Code::Ok,
    };
    for credential in [
        cluster.key(),
        "hws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "",
    ] {
        let mut client = cluster.catalogue_with(0, credential);
        let watch = client
            .watch(control::WatchRequest { from_version: 0 })
            .await;
        assert_eq!(refusal(watch.map(drop)), Code::Unauthenticated);
        let commit = control::CommitRequest {
            if_version: 0,
            documents: vec![control::Document {
                id: format!("ten_{:032x}", 9),
                resource: Some(Resource::Tenant(control::Tenant::default())),
                ..control::Document::default()
            }],
            audit: vec![],
        };
        assert_eq!(
            refusal(client.commit(commit).await.map(drop)),
            Code::Unauthenticated
        );
        let audit = client
            .read_audit(control::ReadAuditRequest::default())
            .await;
        assert_eq!(refusal(audit.map(drop)), Code::Unauthenticated);
        let nodes = client.get_cluster(control::GetClusterRequest {}).await;
        assert_eq!(refusal(nodes.map(drop)), Code::Unauthenticated);
    }
    let mut client = cluster.catalogue_at(1);
    let told = client
        .get_cluster(control::GetClusterRequest {})
        .await
        .unwrap();
    let told = told.into_inner();
    assert_eq!((told.nodes.len(), told.shards.len()), (3, 5));
    assert!(told.nodes.iter().all(|node| node.is_up));
    assert!(told.shards[4].is_meta && !told.shards[3].is_meta);
}
