//! Every route × every role × the own tenant, another one, and none.

use std::collections::BTreeSet;

use highwater_proto::ids::{
    AdministratorId, IssuerId, KeyId, ProjectId, RevocationId, SigningKeyId, TenantId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{As, Reply, Served, Stage};

const ROLES: [&str; 5] = ["nobody", "viewer", "editor", "owner", "operator"];

/// What is for holders of API keys, and for no administrator.
const BY_KEY: &str = "POST /v1/tokens";

struct Row {
    method: &'static str,
    path: &'static str,
    /// The least role that it needs.
    least: &'static str,
    body: Value,
}

fn row(method: &'static str, path: &'static str, least: &'static str, body: Value) -> Row {
    Row {
        method,
        path,
        least,
        body,
    }
}

/// Every operation but [`BY_KEY`]. What deletes comes last.
fn rows() -> Vec<Row> {
    let key = json!({"name": "more", "permissions": [{"operations": ["publish"], "topics": "#"}]});
    let issuer = json!({"name": "more", "issuer": "https://more", "audiences": ["a"], "jwks_url": "https://more/jwks"});
    let token = json!({"permissions": [{"operations": ["publish"], "topics": "#"}]});
    let n = Value::Null;
    vec![
        row("GET", "/v1/cluster", "operator", n.clone()),
        row("GET", "/v1/nodes", "operator", n.clone()),
        row("GET", "/v1/shards", "operator", n.clone()),
        row("GET", "/v1/audit", "operator", n.clone()),
        row("GET", "/v1/signing-keys", "operator", n.clone()),
        row("POST", "/v1/signing-keys", "operator", json!({})),
        row(
            "GET",
            "/v1/signing-keys/{signing_key}",
            "operator",
            n.clone(),
        ),
        row(
            "DELETE",
            "/v1/signing-keys/{signing_key}",
            "operator",
            n.clone(),
        ),
        row("GET", "/v1/tenants", "nobody", n.clone()),
        row("POST", "/v1/tenants", "operator", json!({"name": "matrix"})),
        row("GET", "/v1/tenants/{tenant}", "viewer", n.clone()),
        row(
            "PATCH",
            "/v1/tenants/{tenant}",
            "owner",
            json!({"labels": {"a": "b"}}),
        ),
        row("GET", "/v1/tenants/{tenant}/audit", "viewer", n.clone()),
        row("GET", "/v1/tenants/{tenant}/quotas", "viewer", n.clone()),
        row("GET", "/v1/tenants/{tenant}/usage", "viewer", n.clone()),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/usage",
            "viewer",
            n.clone(),
        ),
        row(
            "PUT",
            "/v1/tenants/{tenant}/quotas",
            "operator",
            json!({"topics": 9}),
        ),
        row("GET", "/v1/tenants/{tenant}/members", "viewer", n.clone()),
        row(
            "POST",
            "/v1/tenants/{tenant}/members",
            "owner",
            json!({"subject": "more", "role": "viewer"}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/members/{member}",
            "viewer",
            n.clone(),
        ),
        row(
            "PATCH",
            "/v1/tenants/{tenant}/members/{member}",
            "owner",
            json!({"role": "editor"}),
        ),
        row("GET", "/v1/tenants/{tenant}/projects", "viewer", n.clone()),
        row(
            "POST",
            "/v1/tenants/{tenant}/projects",
            "editor",
            json!({"name": "more"}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}",
            "viewer",
            n.clone(),
        ),
        row(
            "PATCH",
            "/v1/tenants/{tenant}/projects/{project}",
            "editor",
            json!({"state": "suspended"}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/quotas",
            "viewer",
            n.clone(),
        ),
        row(
            "PUT",
            "/v1/tenants/{tenant}/projects/{project}/quotas",
            "editor",
            json!({"topics": 9}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/topic-policies",
            "viewer",
            n.clone(),
        ),
        row(
            "PUT",
            "/v1/tenants/{tenant}/projects/{project}/topic-policies",
            "editor",
            json!({"policies": [{"filter": "#"}]}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/api-keys",
            "viewer",
            n.clone(),
        ),
        row(
            "POST",
            "/v1/tenants/{tenant}/projects/{project}/api-keys",
            "editor",
            key,
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}",
            "viewer",
            n.clone(),
        ),
        row(
            "PATCH",
            "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}",
            "editor",
            json!({"disabled": true}),
        ),
        row(
            "POST",
            "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}/rotate",
            "editor",
            json!({}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/issuers",
            "viewer",
            n.clone(),
        ),
        row(
            "POST",
            "/v1/tenants/{tenant}/projects/{project}/issuers",
            "editor",
            issuer,
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/issuers/{issuer}",
            "viewer",
            n.clone(),
        ),
        row(
            "PATCH",
            "/v1/tenants/{tenant}/projects/{project}/issuers/{issuer}",
            "editor",
            json!({"audiences": ["b"]}),
        ),
        row(
            "POST",
            "/v1/tenants/{tenant}/projects/{project}/tokens",
            "editor",
            token,
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/revocations",
            "viewer",
            n.clone(),
        ),
        row(
            "POST",
            "/v1/tenants/{tenant}/projects/{project}/revocations",
            "editor",
            json!({"all": true}),
        ),
        row(
            "GET",
            "/v1/tenants/{tenant}/projects/{project}/revocations/{revocation}",
            "viewer",
            n.clone(),
        ),
        row(
            "DELETE",
            "/v1/tenants/{tenant}/projects/{project}/revocations/{revocation}",
            "editor",
            n.clone(),
        ),
        row(
            "DELETE",
            "/v1/tenants/{tenant}/projects/{project}/issuers/{issuer}",
            "editor",
            n.clone(),
        ),
        row(
            "DELETE",
            "/v1/tenants/{tenant}/projects/{project}/api-keys/{key}",
            "editor",
            n.clone(),
        ),
        row(
            "DELETE",
            "/v1/tenants/{tenant}/projects/{project}",
            "editor",
            n.clone(),
        ),
        row(
            "DELETE",
            "/v1/tenants/{tenant}/members/{member}",
            "owner",
            n.clone(),
        ),
        row("DELETE", "/v1/tenants/{tenant}", "operator", n),
    ]
}

/// The ids of what is in a tenant.
#[derive(Clone)]
struct Ids([(&'static str, String); 7]);

impl Ids {
    /// Of what does not exist.
    fn of_nothing() -> Ids {
        Ids([
            ("{tenant}", TenantId::generate().to_string()),
            ("{project}", ProjectId::generate().to_string()),
            ("{key}", KeyId::generate().to_string()),
            ("{issuer}", IssuerId::generate().to_string()),
            ("{member}", AdministratorId::generate().to_string()),
            ("{revocation}", RevocationId::generate().to_string()),
            ("{signing_key}", SigningKeyId::generate().to_string()),
        ])
    }

    /// Of a new tenant, of which somebody is a member for each role.
    async fn of_new(operator: &As<'_>, name: &str) -> Ids {
        let tenant = operator.tenant(name).await;
        for role in ["viewer", "editor", "owner"] {
            operator
                .member(&tenant, &format!("{name}-{role}"), role)
                .await;
        }
        let member = operator.member(&tenant, "somebody", "viewer").await;
        let project = operator.project(&tenant, "project").await;
        let (key, _) = operator.key(&project, "key").await;
        let body = json!({"name": "issuer", "issuer": "https://id", "audiences": ["a"], "jwks_url": "https://id/jwks"});
        let issuer = operator
            .post(&format!("{project}/issuers"), body)
            .await
            .created();
        let revocations = format!("{project}/revocations");
        let revocation = operator.post(&revocations, json!({"subject": "x"})).await;
        let signing_key = operator.post("/v1/signing-keys", json!({})).await;
        let last = |path: String| path.rsplit('/').next().unwrap().to_owned();
        Ids([
            ("{tenant}", last(tenant)),
            ("{project}", last(project)),
            ("{key}", last(key)),
            ("{issuer}", last(issuer)),
            ("{member}", last(member)),
            ("{revocation}", last(revocation.created())),
            ("{signing_key}", last(signing_key.created())),
        ])
    }

    fn fill(&self, path: &str) -> String {
        self.0
            .iter()
            .fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
    }

    /// The own tenant, and what is in another one.
    fn with_tenant_of(&self, own: &Ids) -> Ids {
        let mut mixed = self.clone();
        mixed.0[0] = own.0[0].clone();
        mixed
    }
}

async fn ask(who: &As<'_>, row: &Row, path: &str) -> Reply {
    let mut request = who.request(row.method.parse::<Method>().unwrap(), path);
    if !row.body.is_null() {
        request = request.json(&row.body);
    }
    who.send(request).await
}

fn who<'a>(stage: &Stage, served: &'a Served, tenant: &str, role: &str) -> As<'a> {
    match role {
        "operator" => stage.operator(served),
        role => stage.user(served, &format!("{tenant}-{role}")),
    }
}

fn rank(role: &str) -> usize {
    ROLES.iter().position(|known| *known == role).unwrap()
}

#[tokio::test]
async fn the_matrix_has_every_operation() {
    let document: Value =
        serde_json::from_str(&highwater_control_plane::openapi::document()).unwrap();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| *k != "parameters")
        {
            operations.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert!(operations.remove(BY_KEY));
    let rows = rows();
    let in_matrix: BTreeSet<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.method, row.path))
        .collect();
    assert_eq!(in_matrix, operations);
    assert_eq!(rows.len(), operations.len());
}

#[tokio::test]
async fn a_role_may_do_what_it_is_for_and_no_more() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    for role in ROLES {
        let ids = Ids::of_new(&stage.operator(&served), role).await;
        let caller = who(&stage, &served, role, role);
        for row in rows() {
            let path = ids.fill(row.path);
            if role == "operator" && row.method == "DELETE" {
                // What an earlier row has created would be in the way of the last.
                remove_more(&caller, &ids.fill("/v1/tenants/{tenant}/projects")).await;
            }
            let reply = ask(&caller, &row, &path).await;
            let is_of_tenant = row.path.contains("{tenant}");
            let at = format!("{role}: {} {}: {}", row.method, row.path, reply.text);
            match (rank(role) >= rank(row.least), role) {
                (true, _) => assert!(reply.status.is_success(), "{at}"),
                (false, "nobody") if is_of_tenant => assert_eq!(reply.status, 404, "{at}"),
                (false, _) => assert_eq!(reply.status, 403, "{at}"),
            }
        }
    }
}

async fn remove_more(operator: &As<'_>, projects: &str) {
    let more = operator.get(&format!("{projects}?name=more")).await.ok();
    if let Some(id) = more["items"][0]["id"].as_str() {
        assert_eq!(
            operator.delete(&format!("{projects}/{id}")).await.status,
            202
        );
    }
}

#[tokio::test]
async fn what_is_of_another_tenant_is_as_what_does_not_exist() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let own = Ids::of_new(&operator, "own").await;
    let other = Ids::of_new(&operator, "other").await;
    for role in ["nobody", "viewer", "editor", "owner"] {
        let caller = who(&stage, &served, "own", role);
        for row in rows().iter().filter(|row| row.path.contains("{tenant}")) {
            let check = async |there: &Ids, nowhere: &Ids| {
                let foreign = ask(&caller, row, &there.fill(row.path)).await;
                let none = ask(&caller, row, &nowhere.fill(row.path)).await;
                let at = format!("{role}: {} {}", row.method, row.path);
                assert_eq!(foreign.seen(), none.seen(), "{at}");
                assert!([403, 404].contains(&foreign.status.as_u16()), "{at}");
                foreign.status
            };
            let status = check(&other, &Ids::of_nothing()).await;
            assert_eq!(status, 404);
            if row.path.matches('{').count() > 1 {
                // The own tenant's path, with another's resource in it.
                let nothing = Ids::of_nothing().with_tenant_of(&own);
                check(&other.with_tenant_of(&own), &nothing).await;
            }
        }
    }
    // Nothing was changed.
    let path = other.fill("/v1/tenants/{tenant}/projects/{project}/api-keys/{key}");
    assert_eq!(operator.get(&path).await.ok()["disabled"], false);
}

#[tokio::test]
async fn a_cursor_of_another_tenant_is_none() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (own, other) = (operator.tenant("own").await, operator.tenant("other").await);
    for tenant in [&own, &other] {
        operator.project(tenant, "a").await;
        operator.project(tenant, "b").await;
    }
    operator.member(&own, "ann", "owner").await;
    let page = operator
        .get(&format!("{other}/projects?limit=1"))
        .await
        .ok();
    let cursor = page["next"].as_str().unwrap();
    let ann = stage.user(&served, "ann");
    for cursor in [cursor, "", "x", "%00", &"A".repeat(10_000)] {
        let reply = ann.get(&format!("{own}/projects?cursor={cursor}")).await;
        reply.refused(400, "cursor_invalid");
    }
}

#[tokio::test]
async fn lists_and_names_show_only_what_is_ones_own() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let own = operator.tenant("own").await;
    operator.tenant("other").await;
    operator.member(&own, "ann", "viewer").await;
    let ann = stage.user(&served, "ann");
    let listed = ann.get("/v1/tenants").await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["name"], "own");
    let named = ann.get("/v1/tenants?name=other").await.ok();
    assert_eq!(named, ann.get("/v1/tenants?name=nothing").await.ok());
}
