//! A control plane for tools that find out by themselves what it does with which requests.

use std::{env, fs, time::Duration};

use serde_json::json;

use crate::stage::Stage;

/// Writes its address, an operator's key and the path of a project into the file that `HIGHWATER_FUZZ` names, and serves until
/// the file is gone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves until it is told to stop"]
async fn it_serves_for_others() {
    let Some(path) = env::var_os("HIGHWATER_FUZZ") else {
        return;
    };
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("acme").await;
    let project = operator.project(&tenant, "p").await;
    let (key, _) = operator.key(&project, "k").await;
    let member = operator.member(&tenant, "ann", "owner").await;
    let told = json!({
        "address": served.address, "key": stage.operator, "api_key": key, "member": member,
    });
    fs::write(&path, told.to_string()).unwrap();
    while fs::exists(&path).unwrap() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
