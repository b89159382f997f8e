//! What was used is shown by the hour and the day, as JSON and as a table.

use std::{sync::atomic::Ordering, time::Duration};

use highwater_proto::control::{Hour, Traffic};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::stage::{BEGIN_MS, Stage};

const NOW: u64 = BEGIN_MS / 3_600_000;

fn hour(hour: u64, protocol: &str, messages: u64) -> Hour {
    Hour {
        hour,
        traffic: vec![Traffic {
            protocol: protocol.into(),
            messages_in: messages,
            bytes_in: 100 * messages,
            messages_out: 2 * messages,
            bytes_out: 200 * messages,
            connection_ms: 90_000,
        }],
        stored_bytes: 1_000 + messages,
        peak_connections: 3,
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn projects_are_added_up_to_their_tenant_also_those_that_are_gone() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let (a, b) = (
        operator.project(&tenant, "a").await,
        operator.project(&tenant, "b").await,
    );
    let hours = vec![hour(NOW - 2, "mqtt", 5), hour(NOW, "http", 7)];
    stage.cluster.set_usage(last(&a), hours);
    stage
        .cluster
        .set_usage(last(&b), vec![hour(NOW, "http", 11)]);

    let of_a = operator.get(&format!("{a}/usage")).await.ok();
    let items = of_a["items"].as_array().unwrap();
    assert_eq!((items.len(), &of_a["by"]), (24, &json!("hour")));
    assert_eq!(items[21]["protocols"]["mqtt"]["messages_in"], 5);
    assert_eq!(items[22]["messages_in"], 0);
    assert_eq!(items[22]["stored_bytes"], 1_005);
    let now = &items[23];
    assert_eq!(
        (&now["messages_in"], &now["bytes_out"]),
        (&json!(7), &json!(1_400))
    );
    assert_eq!(
        (&now["connection_minutes"], &now["peak_connections"]),
        (&json!(1.5), &json!(3))
    );

    let messages = async || {
        let day = operator
            .get(&format!("{tenant}/usage?by=day&from=2027-01-15T00:00:00Z"))
            .await
            .ok();
        assert_eq!(day["items"].as_array().unwrap().len(), 1);
        (
            day["items"][0]["messages_in"].clone(),
            day["items"][0]["peak_connections"].clone(),
        )
    };
    assert_eq!(messages().await, (json!(23), json!(6)));
    assert_eq!(operator.delete(&b).await.status, 202);
    stage.cluster.remove_project(last(&tenant), last(&b));
    let deadline = Instant::now() + Duration::from_secs(10);
    while operator.get(&b).await.status != 404 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(messages().await, (json!(23), json!(6)));
}

#[tokio::test]
async fn it_is_a_table_for_who_asks_for_one() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "a").await;
    stage
        .cluster
        .set_usage(last(&project), vec![hour(NOW, "sse", 7)]);
    let request = operator.request(Method::GET, &format!("{project}/usage"));
    let reply = operator.send(request.header("accept", "text/csv")).await;
    assert_eq!(
        reply.headers["content-type"],
        "text/csv; charset=utf-8; header=present"
    );
    let lines: Vec<Vec<&str>> = reply
        .text
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(lines.len(), 25);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let cell = |name: &str| {
        let column = lines[0].iter().position(|n| *n == name).unwrap();
        lines[24][column]
    };
    assert_eq!(cell("start"), "2027-01-15T08:00:00.000Z");
    assert_eq!(
        (
            cell("messages_in"),
            cell("sse_messages_out"),
            cell("mqtt_bytes_in")
        ),
        ("7", "14", "0")
    );
}

#[tokio::test]
async fn a_time_that_is_none_or_too_long_is_refused() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    for query in [
        "by=week",
        "from=yesterday",
        "until=1",
        "from=2027-01-16T00:00:00Z",
        "from=2026-01-01T00:00:00Z",
        "by=day&from=2025-01-01T00:00:00Z",
        "limit=1",
    ] {
        let reply = operator.get(&format!("{tenant}/usage?{query}")).await;
        reply.refused(400, "invalid_request");
    }
    operator.project(&tenant, "a").await;
    stage.cluster.is_down.store(true, Ordering::SeqCst);
    let reply = operator.get(&format!("{tenant}/usage")).await;
    reply.refused(503, "no_leader");
}

#[tokio::test]
async fn a_key_shows_when_it_was_last_used() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "a").await;
    let (used, _) = operator.key(&project, "used").await;
    let (unused, _) = operator.key(&project, "unused").await;
    stage.cluster.use_key(last(&used), BEGIN_MS);
    let key = operator.get(&used).await.ok();
    assert_eq!(key["last_used_at"], "2027-01-15T08:00:00.000Z");
    assert!(
        operator
            .get(&unused)
            .await
            .ok()
            .get("last_used_at")
            .is_none()
    );
    let keys = operator.get(&format!("{project}/api-keys")).await.ok();
    assert_eq!(keys["items"][0]["last_used_at"], "2027-01-15T08:00:00.000Z");
    // Keys are shown, too, when no node answers.
    stage.cluster.is_down.store(true, Ordering::SeqCst);
    assert!(operator.get(&used).await.ok().get("last_used_at").is_none());
}
