//! A thousand tenants, each with a project, a key and a topic that has its first message: within a minute.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use highwater_e2e::dev::Dev;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{Scale, row::Row};

pub const NAME: &str = "provisioning";

/// Who provision at the same time.
const TOGETHER: usize = 16;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 100 } else { 1_000 };
    let dev = Dev::start(3).await;
    let begun = Instant::now();
    let tenants = stream::iter(0..count).map(Ok::<_, anyhow::Error>);
    let platform = Platform::of(&dev)?;
    tenants
        .try_for_each_concurrent(TOGETHER, async |number| platform.provision(number).await)
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    let most = 60.0 * count as f64 / 1_000.0;
    let note = format!("{count} tenants with project, key and topic in {seconds:.1} s");
    let goal = format!("≤ {most:.0} s");
    Ok(vec![
        Row::note("provisioning", "highwater", note).with_goal(&goal, seconds <= most),
    ])
}

struct Platform {
    http: Client,
    control_plane: String,
    operator_key: String,
    servers: Vec<String>,
}

impl Platform {
    fn of(dev: &Dev) -> Result<Platform> {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("it is said");
        let servers = dev.ready["servers"].as_array().context("servers")?;
        Ok(Platform {
            http: Client::builder().no_proxy().build()?,
            control_plane: text(&dev.ready["control_plane"])?,
            operator_key: text(&dev.ready["operator_key"])?,
            servers: servers.iter().map(text).collect::<Result<_>>()?,
        })
    }

    async fn provision(&self, number: usize) -> Result<()> {
        let tenant = json!({"name": format!("tenant-{number}")});
        let tenant = self.create("/v1/tenants", tenant).await?;
        let projects = format!("/v1/tenants/{}/projects", id(&tenant)?);
        let project = json!({"name": "production"});
        let project = self.create(&projects, project).await?;
        let project = format!("{projects}/{}", id(&project)?);
        let permissions = json!([{"operations": ["publish", "subscribe"], "topics": "#"}]);
        let key = json!({"name": "server", "permissions": permissions});
        let key = self.create(&format!("{project}/api-keys"), key).await?;
        let key = key["secret"].as_str().context("a key has a secret")?;
        let url = format!(
            "{}/v1/messages/first",
            self.servers[number % self.servers.len()]
        );
        // A node hears of a key some milliseconds after it was created.
        for _ in 0..200 {
            let published = self
                .http
                .post(&url)
                .bearer_auth(key)
                .body("x")
                .send()
                .await?;
            if published.status().is_success() {
                return Ok(());
            }
            ensure!(published.status() == 401, "{}", published.text().await?);
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("the key is never good")
    }

    async fn create(&self, path: &str, body: Value) -> Result<Value> {
        let url = format!("{}{path}", self.control_plane);
        let request = self.http.post(url).bearer_auth(&self.operator_key);
        let created = request.json(&body).send().await?;
        let (status, text) = (created.status(), created.text().await?);
        ensure!(status == 201, "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

fn id(resource: &Value) -> Result<&str> {
    resource["id"].as_str().context("it has an id")
}
