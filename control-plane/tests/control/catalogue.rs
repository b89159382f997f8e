//! How the catalogue is changed when others change it too, and when nobody knows what became of a change.

use std::{sync::atomic::Ordering, time::Duration};

use highwater_proto::control::document::Resource;
use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn of_many_creators_of_one_name_one_wins() {
    let stage = Stage::new().await;
    let (here, there) = (stage.serve().await, stage.serve().await);
    let tenant = stage.operator(&here).tenant("acme").await;
    let path = format!("{tenant}/projects");
    let creators = (0..32).map(|n| {
        let served = if n % 2 == 0 { &here } else { &there };
        let (operator, path) = (stage.operator(served), path.clone());
        async move {
            operator
                .post(&path, json!({"name": "one"}))
                .await
                .status
                .as_u16()
        }
    });
    let mut statuses = futures_util::future::join_all(creators).await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..].iter().all(|status| *status == 409),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_burst_at_two_control_planes_loses_nothing() {
    let stage = Stage::new().await;
    let (here, there) = (stage.serve().await, stage.serve().await);
    let creators = (0..60).map(|n| {
        let operator = stage.operator(if n % 2 == 0 { &here } else { &there });
        async move { operator.tenant(&format!("tenant {n}")).await }
    });
    let created = futures_util::future::join_all(creators).await;
    for path in &created {
        stage.operator(&here).get(path).await.ok();
    }
    assert_eq!(stage.cluster.log().len(), 60);
    assert_eq!(
        stage.cluster.audit().len(),
        120,
        "in the tenant's log and the platform's"
    );
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_made_twice() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    stage.cluster.lose_answers.store(1, Ordering::SeqCst);
    let tenant = operator.tenant("acme").await;
    stage.cluster.lose_commits.store(2, Ordering::SeqCst);
    operator.project(&tenant, "p").await;
    stage.cluster.lose_answers.store(1, Ordering::SeqCst);
    let changed = operator.patch(&tenant, json!({"name": "other"})).await;
    assert_eq!(changed.ok()["name"], "other");
    assert_eq!(changed.etag(), operator.get(&tenant).await.etag());
    assert_eq!(stage.cluster.log().len(), 3);
    assert_eq!(stage.cluster.audit().len(), 4);
}

#[tokio::test]
async fn what_was_written_is_read_at_once() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    for n in 0..50 {
        let created = operator.tenant(&format!("t{n}")).await;
        assert_eq!(operator.get(&created).await.status, 200);
    }
}

#[tokio::test]
async fn what_others_write_is_shown() {
    let stage = Stage::new().await;
    let (here, there) = (stage.serve().await, stage.serve().await);
    let tenant = stage.operator(&here).tenant("acme").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while stage.operator(&there).get(&tenant).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_a_cluster_what_is_known_is_shown_and_nothing_changes() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    stage.cluster.is_down.store(true, Ordering::SeqCst);
    assert_eq!(operator.get(&tenant).await.status, 200);
    operator
        .get(&format!("{tenant}/audit"))
        .await
        .refused(503, "no_leader");
    stage.cluster.is_down.store(false, Ordering::SeqCst);
    // It finds the way back by itself.
    operator.tenant("other").await;
}

#[tokio::test]
async fn a_cluster_that_was_made_anew_is_read_anew() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    stage.cluster.forget();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while operator.get(&tenant).await.status != 404 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    operator.tenant("acme").await;
}

#[tokio::test]
async fn no_document_and_no_audit_entry_holds_a_secret() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "p").await;
    let body = json!({"name": "k", "permissions": [{"operations": ["publish"], "topics": "#"}]});
    let made = operator
        .post_once(&format!("{project}/api-keys"), "once", body)
        .await;
    let rotated = operator
        .post(
            &format!("{}/rotate", made.created()),
            json!({"overlap_ms": 1_000}),
        )
        .await;
    for reply in [made, rotated] {
        let secret = reply.json()["secret"].as_str().unwrap().to_owned();
        let secret = secret.splitn(3, '_').nth(2).unwrap();
        let everything = format!("{:?} {:?}", stage.cluster.log(), stage.cluster.audit());
        assert!(!everything.contains(secret));
    }
    let log = stage.cluster.log();
    let is_key = |r: &Option<Resource>| matches!(r, Some(Resource::ApiKey(key)) if key.secret_hash.len() == 32);
    assert_eq!(
        log.iter()
            .filter(|document| is_key(&document.resource))
            .count(),
        2
    );
}
