//! schemathesis: requests that are made of the control plane's description (OpenAPI), good ones and bad ones. None of them is
//! answered with a failure of the service, or with something that the description does not say.

use std::{fs, path::Path};

use highwater_e2e::dev::Dev;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::foreign::{Foreign, has, installed};

/// What is looked at. Not whether every request that fits the description is granted: it does not say which names are
/// taken and which versions are there.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method";
/// Requests that are made up for each operation.
const EXAMPLES: &str = "25";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_and_everything_is_as_described() {
    if !has("schemathesis") {
        return;
    }
    let dev = Dev::start(1).await;
    let folder = tempfile::tempdir().unwrap();
    // What is there, so that not all answers are that there is nothing.
    let there = folder.path().join("there.toml");
    fs::write(&there, parameters(&dev).await).unwrap();
    run(&dev, &there, &["--exclude-method", "DELETE"]).await;
    let nothing = folder.path().join("nothing.toml");
    fs::write(&nothing, "[parameters]\n").unwrap();
    run(&dev, &nothing, &[]).await;
}

async fn run(dev: &Dev, config: &Path, more: &[&str]) {
    let told = |name: &str| dev.ready[name].as_str().unwrap();
    let description = format!("{}/v1/openapi.json", told("control_plane"));
    let mut command = Command::new(installed().join("venv/bin/schemathesis"));
    command
        .arg("--config-file")
        .arg(config)
        .args(["run", &description, "--header"])
        .arg(format!("Authorization: Bearer {}", told("operator_key")))
        .args(["--checks", CHECKS])
        .args(["--phases", "examples,coverage,fuzzing", "--seed", "7"])
        .args(["--continue-on-failure", "--max-examples", EXAMPLES])
        .args(more)
        .current_dir(config.parent().unwrap());
    Foreign::run(command).finish().await;
}

/// The ids of one resource of each kind, as the tool wants to be told them.
async fn parameters(dev: &Dev) -> String {
    let told = |name: &str| dev.ready[name].as_str().unwrap();
    let (tenant, project) = (told("tenant"), told("project"));
    let of_tenant = format!("/v1/tenants/{tenant}");
    let of_project = format!("{of_tenant}/projects/{project}");
    let create = async |path: String, body: Value| {
        let url = format!("{}{path}", told("control_plane"));
        let request = Client::new().post(url).bearer_auth(told("operator_key"));
        let created: Value = request
            .json(&body)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        created["id"].as_str().unwrap().to_owned()
    };
    let permissions = json!([{"operations": ["publish"], "topics": "#"}]);
    let key = json!({"name": "fuzzed", "permissions": permissions});
    let issuer = json!({"name": "i", "issuer": "i", "audiences": ["a"], "jwks_url": "https://id.example.com/"});
    let member = json!({"subject": "ann", "role": "owner"});
    let ids = [
        ("tenant", tenant.to_owned()),
        ("project", project.to_owned()),
        ("key", create(format!("{of_project}/api-keys"), key).await),
        (
            "issuer",
            create(format!("{of_project}/issuers"), issuer).await,
        ),
        (
            "member",
            create(format!("{of_tenant}/members"), member).await,
        ),
        (
            "revocation",
            create(format!("{of_project}/revocations"), json!({"subject": "x"})).await,
        ),
        (
            "signing_key",
            create("/v1/signing-keys".to_owned(), json!({})).await,
        ),
    ];
    let lines = ids.map(|(name, id)| format!("\"path.{name}\" = \"{id}\"\n"));
    format!("[parameters]\n{}", lines.concat())
}
