//! `highwater topic`: lists, describes and deletes topics.

use anyhow::Context as _;
use highwater_proto::client::{GetTopicRequest, Topic};
use serde_json::{Value, json};

use crate::{
    client::{ServerArgs, block_on},
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
        server: ServerArgs,
    },
    /// Say which offsets a topic retains
    Show {
        /// The topic
        topic: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remove a topic with all its records
    Delete {
        /// The topic
        topic: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    block_on(async {
        match args.command {
            Command::List { prefix, server } => list(&server, &prefix, output).await,
            Command::Show { topic, server } => {
                let mut client = server.connect(0).await?;
                let topic = client.get_topic(GetTopicRequest { topic }).await?;
                print(output, &topic.into_inner())
            }
            Command::Delete { topic, server } => {
                let mut url = url(&server, "/v1/topics")?;
                // One path segment a level, each escaped on its own.
                url.path_segments_mut()
                    .map_err(|()| Exit::usage("the server's address takes no path"))?
                    .extend(topic.split('/'));
                send(&server, reqwest::Method::DELETE, url).await?;
                output.result(&json!({ "deleted": topic }), || format!("deleted {topic}"))
            }
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

async fn list(server: &ServerArgs, prefix: &str, output: Output) -> anyhow::Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let mut url = url(server, "/v1/topics")?;
        url.query_pairs_mut().append_pair("prefix", prefix);
        if let Some(cursor) = &cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let page = send(server, reqwest::Method::GET, url).await?;
        let topics = page["topics"].as_array();
        for topic in topics.context("the answer holds no topics")? {
            let number = |name: &str| topic[name].as_u64().unwrap_or_default();
            print(
                output,
                &Topic {
                    topic: topic["topic"].as_str().unwrap_or_default().to_owned(),
                    first_offset: number("first_offset"),
                    next_offset: number("next_offset"),
                    cursor: topic["cursor"].as_str().unwrap_or_default().to_owned(),
                    bytes: number("bytes"),
                },
            )?;
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}

fn url(server: &ServerArgs, path: &str) -> anyhow::Result<reqwest::Url> {
    let address = &server.servers[0];
    let url = reqwest::Url::parse(&format!("{}{path}", address.trim_end_matches('/')));
    Ok(url.map_err(|_| Exit::usage(format!("`{address}` is not an address")))?)
}

/// Sends a request; anything but success is an error with the service's own words.
async fn send(
    server: &ServerArgs,
    method: reqwest::Method,
    url: reqwest::Url,
) -> anyhow::Result<Value> {
    let mut request = server.http()?.request(method, url);
    if let Some(key) = &server.key {
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
    let message = json["detail"].as_str().unwrap_or(body.trim()).to_owned();
    Err(Exit::http(status.as_u16(), format!("{status}: {message}")).into())
}
