//! `highwater topic`: lists, describes and deletes topics.

use std::time::Duration;

use anyhow::Context as _;
use highwater_proto::client::{GetTopicRequest, Topic};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::{
    client::{Attempts, Server, ServerArgs, block_on},
    exit::Exit,
    output::Output,
};

/// Arguments of `highwater topic`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the topics of the project by name
    List {
        /// Only topics that begin like this
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Say which offsets a topic retains
    Show {
        /// The topic
        topic: String,
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Remove a topic with all its records
    Delete {
        /// The topic
        topic: String,
        #[command(flatten)]
        service: ServiceArgs,
    },
}

/// Who is asked, and for how long.
#[derive(Debug, clap::Args)]
struct ServiceArgs {
    /// Seconds to keep trying while the service is not available
    #[arg(long, default_value_t = 15)]
    timeout: u64,
    #[command(flatten)]
    server: ServerArgs,
}

/// The same with what was not typed.
struct Service {
    timeout: u64,
    server: Server,
}

impl ServiceArgs {
    fn resolve(&self) -> anyhow::Result<Service> {
        Ok(Service {
            timeout: self.timeout,
            server: self.server.resolve()?,
        })
    }
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    block_on(async {
        match args.command {
            Command::List { prefix, service } => service.resolve()?.list(&prefix, output).await,
            Command::Show { topic, service } => service.resolve()?.show(topic, output).await,
            Command::Delete { topic, service } => service.resolve()?.delete(&topic, output).await,
        }
    })
}

fn print(output: Output, topic: &Topic) -> anyhow::Result<()> {
    let json = json!({
        "topic": topic.topic,
        "first_offset": topic.first_offset,
        "next_offset": topic.next_offset,
        "bytes": topic.bytes,
        "cursor": topic.cursor,
    });
    output.result(&json, || {
        format!(
            "{}\toffsets {}..{}\t{} bytes\t{}",
            topic.topic, topic.first_offset, topic.next_offset, topic.bytes, topic.cursor
        )
    })
}

impl Service {
    fn attempts(&self) -> Attempts {
        Attempts::within(Some(Duration::from_secs(self.timeout)))
    }

    async fn list(&self, prefix: &str, output: Output) -> anyhow::Result<()> {
        let mut cursor: Option<String> = None;
        // Goes on where the page before was answered.
        let mut server = 0;
        loop {
            let mut attempts = self.attempts();
            attempts.server = server;
            let page = loop {
                let mut url = self.url(attempts.server, "/v1/topics")?;
                url.query_pairs_mut().append_pair("prefix", prefix);
                if let Some(cursor) = &cursor {
                    url.query_pairs_mut().append_pair("cursor", cursor);
                }
                match self.send(Method::GET, url).await {
                    Ok(page) => break page,
                    Err(error) => attempts.failed(error).await?,
                }
            };
            server = attempts.server;
            let topics = page["topics"].as_array();
            for topic in topics.context("the answer holds no topics")? {
                print(output, &listed(topic))?;
            }
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }

    async fn show(&self, topic: String, output: Output) -> anyhow::Result<()> {
        let request = GetTopicRequest { topic };
        let mut attempts = self.attempts();
        loop {
            let answer = async {
                let mut client = self.server.connect(attempts.server).await?;
                Ok(client.get_topic(request.clone()).await?.into_inner())
            };
            match answer.await {
                Ok(topic) => return print(output, &topic),
                Err(error) => attempts.failed(error).await?,
            }
        }
    }

    async fn delete(&self, topic: &str, output: Output) -> anyhow::Result<()> {
        let mut attempts = self.attempts();
        // Whether an attempt may have deleted the topic although its answer did not say so.
        let mut in_doubt = false;
        loop {
            let mut url = self.url(attempts.server, "/v1/topics")?;
            // One path segment a level, each escaped on its own.
            url.path_segments_mut()
                .map_err(|()| Exit::usage("the server's address takes no path"))?
                .extend(topic.split('/'));
            match self.send(Method::DELETE, url).await {
                Ok(_) => break,
                Err(error) if in_doubt && is_not_found(&error) => break,
                Err(error) => {
                    in_doubt |= !is_unreachable(&error);
                    attempts.failed(error).await?;
                }
            }
        }
        output.result(&json!({ "deleted": topic }), || format!("deleted {topic}"))
    }

    fn url(&self, index: usize, path: &str) -> anyhow::Result<Url> {
        let address = self.server.address(index);
        let url = Url::parse(&format!("{}{path}", address.trim_end_matches('/')));
        Ok(url.map_err(|_| Exit::usage(format!("`{address}` is not an address")))?)
    }

    /// Sends a request; anything but success is an error with the service's own words.
    async fn send(&self, method: Method, url: Url) -> anyhow::Result<Value> {
        let mut request = self.server.http()?.request(method, url);
        if let Some(key) = &self.server.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await?;
        let status = response.status();
        let body = response.text().await?;
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(json);
        }
        // A problem document (RFC 9457).
        let message = json["detail"].as_str().unwrap_or(body.trim());
        let message = format!("{status}: {message}");
        Err(Exit::http(status.as_u16(), json["retryable"].as_bool(), message).into())
    }
}

/// One topic of a listing.
fn listed(topic: &Value) -> Topic {
    let number = |name: &str| topic[name].as_u64().unwrap_or_default();
    let text = |name: &str| topic[name].as_str().unwrap_or_default().to_owned();
    Topic {
        topic: text("topic"),
        first_offset: number("first_offset"),
        next_offset: number("next_offset"),
        cursor: text("cursor"),
        bytes: number("bytes"),
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(Exit::is_not_found)
}

/// Whether the request certainly did not reach the server.
fn is_unreachable(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<reqwest::Error>();
    error.is_some_and(reqwest::Error::is_connect)
}
