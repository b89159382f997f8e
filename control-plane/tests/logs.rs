//! Logs say what happens, and hold no credential, no secret and no body.
//!
//! In a process of its own: which lines are of interest is remembered for all threads together.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tracing_subscriber::{EnvFilter, fmt};

use crate::stage::Stage;

#[allow(dead_code)]
#[path = "control/fake.rs"]
mod fake;
#[allow(dead_code)]
#[path = "control/stage.rs"]
mod stage;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_hold_no_secrets() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = fmt()
        .json()
        .with_env_filter(EnvFilter::new("error,highwater=trace"))
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let tenant = operator.tenant("a name nobody logs").await;
    let project = operator.project(&tenant, "p").await;
    let (key, secret) = operator.key(&project, "k").await;
    let rotated = operator
        .post_once(&format!("{key}/rotate"), "a-key-of-ours", json!({}))
        .await;
    let rotated = rotated.ok()["secret"].as_str().unwrap().to_owned();
    let bad = stage.sign(r#"{"alg":"none","kid":"k1"}"#, r#"{"sub":"mallory"}"#);
    served
        .with(&bad)
        .get(&tenant)
        .await
        .refused(401, "unauthenticated");
    let good = stage.token("ann", json!({"groups": ["platform"]}));
    served.with(&good).get(&tenant).await.ok();
    served
        .with(&good)
        .get(&format!("{tenant}?token={bad}"))
        .await
        .refused(400, "invalid_request");

    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("\"answered\"") && text.contains("/v1/tenants/{tenant}"),
        "{text}"
    );
    let secrets = [&stage.operator, &secret, &rotated, &bad, &good];
    for secret in
        secrets
            .map(String::as_str)
            .into_iter()
            .chain(["a name nobody", "mallory", "a-key-of-ours"])
    {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}
