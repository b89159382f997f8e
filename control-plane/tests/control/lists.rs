//! Pages of lists and logs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::stage::{As, Stage};

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn rest(operator: &As<'_>, path: &str, mut page: Value) -> Vec<String> {
    let mut all = names(&page);
    while let Some(cursor) = page["next"].as_str() {
        page = operator
            .get(&format!("{path}?limit=3&cursor={cursor}"))
            .await
            .ok();
        all.extend(names(&page));
    }
    all
}

#[tokio::test]
async fn a_list_is_stable_while_others_write() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let mut paths = Vec::new();
    for n in 0..10 {
        paths.push(operator.project(&tenant, &format!("p{n}")).await);
    }
    let list = format!("{tenant}/projects");
    let first = operator.get(&format!("{list}?limit=3")).await.ok();
    assert_eq!(names(&first), ["p0", "p1", "p2"]);
    // One of the page goes, the one the cursor is at too, and one comes.
    let (key, _) = operator.key(&paths[2], "k").await;
    assert_eq!(operator.delete(&key).await.status, 204);
    for path in [&paths[1], &paths[2]] {
        assert_eq!(operator.delete(path).await.status, 202);
    }
    operator.project(&tenant, "p10").await;
    let all = rest(&operator, &list, first).await;
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), unique.len()), (11, 11));
    assert_eq!(all[10], "p10");
    let by_name = operator.get(&format!("{list}?name=p7")).await.ok();
    assert_eq!(names(&by_name), ["p7"]);
    assert_eq!(by_name.get("next"), None);
}

#[tokio::test]
async fn parameters_that_nobody_knows_are_refused() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=-1",
        "limit=1&limit=2",
        "x=1",
        "order=newest",
        "limit",
    ] {
        operator
            .get(&format!("/v1/tenants?{query}"))
            .await
            .refused(400, "invalid_request");
    }
    for query in ["order=x", "name=a", "order=newest&order=oldest"] {
        operator
            .get(&format!("{tenant}/audit?{query}"))
            .await
            .refused(400, "invalid_request");
    }
    operator
        .get(&format!("{tenant}?x=1"))
        .await
        .refused(400, "invalid_request");
    operator
        .get(&format!("{tenant}/quotas?x=1"))
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn the_audit_log_says_who_did_what() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    operator.member(&tenant, "ann", "owner").await;
    let ann = stage.user(&served, "ann");
    let project = ann.project(&tenant, "p").await;
    ann.patch(&project, serde_json::json!({"name": "q"}))
        .await
        .ok();
    let first = ann.get(&format!("{tenant}/audit?limit=1")).await.ok();
    let entry = &first["items"][0];
    assert_eq!(entry["action"], "project.update");
    assert_eq!(entry["actor"], "user:ann");
    assert_eq!(entry["from"], "127.0.0.1");
    assert_eq!(
        (&entry["before"]["name"], &entry["after"]["name"]),
        (&"p".into(), &"q".into())
    );
    assert!(project.ends_with(entry["resource"].as_str().unwrap()));
    let mut actions = vec![entry["action"].clone()];
    let mut next = first["next"].clone();
    while let Some(cursor) = next.as_str() {
        let page = ann
            .get(&format!("{tenant}/audit?limit=2&cursor={cursor}"))
            .await
            .ok();
        actions.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["action"].clone()),
        );
        next = page["next"].clone();
    }
    assert_eq!(
        actions,
        [
            "project.update",
            "project.create",
            "member.create",
            "tenant.create"
        ]
    );
    let cursor = first["next"].as_str().unwrap();
    ann.get(&format!("{tenant}/audit?order=oldest&cursor={cursor}"))
        .await
        .refused(400, "cursor_invalid");
    ann.get("/v1/audit").await.refused(403, "forbidden");
    let platform = operator.get("/v1/audit").await.ok();
    assert_eq!(platform["items"][0]["action"], "tenant.create");
}
