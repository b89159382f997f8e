//! What is over goes by itself.

use std::time::Duration;

use highwater_proto::control::document::Resource;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::stage::Stage;

#[tokio::test]
async fn an_ephemeral_project_and_an_old_answer_go() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator
        .post_once("/v1/tenants", "k", json!({"name": "acme"}))
        .await
        .created();
    let projects = format!("{tenant}/projects");
    let short = operator
        .post(&projects, json!({"name": "ci", "expires_in_ms": 60_000}))
        .await
        .created();
    let kept = operator
        .post(&projects, json!({"name": "ci2", "expires_in_ms": 60_000}))
        .await
        .created();
    operator
        .patch(&kept, json!({"expires_at": null}))
        .await
        .ok();
    stage.pass_ms(24 * 3_600 * 1_000);
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_forgotten = || {
        let is_gone = |r: &Option<Resource>| matches!(r, Some(Resource::Deleted(_)));
        stage
            .cluster
            .log()
            .iter()
            .any(|d| d.id.starts_with("req_") && is_gone(&d.resource))
    };
    while operator.get(&short).await.json()["state"] != "deleting" || !is_forgotten() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(operator.get(&kept).await.ok()["state"], "active");
    let entry = operator.get(&format!("{tenant}/audit?limit=1")).await.ok();
    assert_eq!(
        (&entry["items"][0]["actor"], &entry["items"][0]["action"]),
        (&json!("service"), &json!("project.delete"))
    );
}
