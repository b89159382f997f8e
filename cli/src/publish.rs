//! `highwater pub`: publishes one message or every line of stdin, and tries again without repeating.

use std::{
    io::{BufRead as _, Read as _},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream;
use highwater_proto::client::{
    self, Header, Message, PublishRequest, PublishResult, PublishStreamRequest,
    publish_outcome::Outcome,
};
use serde_json::json;

use crate::{
    client::{Attempts, Client, Server, ServerArgs, block_on},
    exit::Exit,
    output::Output,
};

/// Lines published in one go: order is kept, and the next go waits for the acknowledgements.
const LINES_AT_ONCE: usize = 256;

/// Arguments of `highwater pub`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic, such as orders/eu/42
    topic: String,
    /// The payload; without it, all of stdin is one
    #[arg(conflicts_with = "lines")]
    payload: Option<String>,
    /// Publish each line of stdin as a message of its own
    #[arg(long)]
    lines: bool,
    /// Content type of the payload [default: JSON, text or bytes, as it looks]
    #[arg(long)]
    content_type: Option<String>,
    /// A header as name=value; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Key of the record, for last-value topics
    #[arg(long, default_value = "")]
    record_key: String,
    /// Milliseconds after which the record is no longer delivered
    #[arg(long, default_value_t = 0)]
    ttl_ms: u64,
    /// Make it the topic's retained record, which `--from retained` begins with; an empty payload
    /// clears that
    #[arg(long)]
    retain: bool,
    /// The topic on which an answer is expected
    #[arg(long, default_value = "")]
    reply_to: String,
    /// Makes a repeated publish one message; made up when not given
    #[arg(long, conflicts_with = "lines")]
    idempotency_key: Option<String>,
    /// Append only if the topic still ends at this cursor
    #[arg(long, default_value = "", conflicts_with = "lines")]
    if_cursor: String,
    /// Seconds to keep trying while the service is not available
    #[arg(long, default_value_t = 15)]
    timeout: u64,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let server = args.server.resolve()?;
    block_on(async {
        let mut publisher = Publisher {
            client: None,
            server: &server,
            timeout: Duration::from_secs(args.timeout),
        };
        if !args.lines {
            let payload = match &args.payload {
                Some(payload) => payload.clone().into_bytes(),
                None => {
                    let mut payload = Vec::new();
                    std::io::stdin().read_to_end(&mut payload)?;
                    payload
                }
            };
            let request = args.request(payload.into())?;
            return print(output, &publisher.publish(vec![request]).await?);
        }
        let mut lines = std::io::stdin().lock().lines();
        loop {
            let batch = lines.by_ref().take(LINES_AT_ONCE);
            let batch = batch.map(|line| args.request(line?.into_bytes().into()));
            let batch = batch.collect::<anyhow::Result<Vec<_>>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            print(output, &publisher.publish(batch).await?)?;
        }
    })
}

impl Args {
    fn request(&self, payload: Bytes) -> anyhow::Result<PublishRequest> {
        let header = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok(Header {
                name: name.into(),
                value: value.into(),
            }),
            None => Err(Exit::usage(format!("`{text}` is not name=value"))),
        };
        let content_type = self.content_type.clone();
        let message = Message {
            content_type: content_type.unwrap_or_else(|| guess(&payload).into()),
            payload,
            headers: self.headers.iter().map(header).collect::<Result<_, _>>()?,
            key: self.record_key.clone(),
            ttl_ms: self.ttl_ms,
            retain: self.retain,
            reply_to: self.reply_to.clone(),
            ..Message::default()
        };
        // A key of its own makes every publish safe to try again.
        let key = self.idempotency_key.clone();
        Ok(PublishRequest {
            topic: self.topic.clone(),
            message: Some(message),
            idempotency_key: key.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
            if_cursor: self.if_cursor.clone(),
        })
    }
}

/// The content type of a payload that nobody named.
fn guess(payload: &[u8]) -> &'static str {
    match std::str::from_utf8(payload) {
        Err(_) => "application/octet-stream",
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            "application/json"
        }
        Ok(_) => "text/plain; charset=utf-8",
    }
}

struct Publisher<'a> {
    client: Option<Client>,
    server: &'a Server,
    timeout: Duration,
}

impl Publisher<'_> {
    /// Publishes all of them, in order.
    async fn publish(
        &mut self,
        requests: Vec<PublishRequest>,
    ) -> anyhow::Result<Vec<PublishResult>> {
        let mut attempts = Attempts::within(Some(self.timeout));
        loop {
            match self.attempt(attempts.server, &requests).await {
                Ok(results) => return Ok(results),
                Err(error) => {
                    self.client = None;
                    attempts.failed(error).await?;
                }
            }
        }
    }

    async fn attempt(
        &mut self,
        server: usize,
        requests: &[PublishRequest],
    ) -> anyhow::Result<Vec<PublishResult>> {
        if self.client.is_none() {
            self.client = Some(self.server.connect(server).await?);
        }
        let client = self.client.as_mut().context("not connected")?;
        let all = PublishStreamRequest {
            publishes: requests.to_vec(),
        };
        let mut answers = client
            .publish_stream(stream::iter([all]))
            .await?
            .into_inner();
        let mut results = Vec::with_capacity(requests.len());
        while let Some(answer) = answers.message().await? {
            for outcome in answer.outcomes {
                match outcome.outcome {
                    Some(Outcome::Result(result)) => results.push(result),
                    Some(Outcome::Error(error)) => return Err(refusal(&error)),
                    None => anyhow::bail!("the server sent an outcome of a kind unknown here"),
                }
            }
        }
        match results.len() == requests.len() {
            true => Ok(results),
            false => Err(tonic::Status::unavailable("the server ended the stream early").into()),
        }
    }
}

fn refusal(error: &client::Error) -> anyhow::Error {
    match error.retryable {
        true => tonic::Status::unavailable(format!("{}: {}", error.code, error.message)).into(),
        false => Exit::refused(error).into(),
    }
}

fn print(output: Output, results: &[PublishResult]) -> anyhow::Result<()> {
    for result in results {
        let json = json!({
            "topic": result.topic,
            "offset": result.offset,
            "cursor": result.cursor,
            "duplicate": result.duplicate,
        });
        output.result(&json, || {
            let again = if result.duplicate { " (was there)" } else { "" };
            format!(
                "{}\t{}\t{}{again}",
                result.topic, result.offset, result.cursor
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_what_it_is() {
        assert_eq!(guess(b"{\"n\": 1}"), "application/json");
        assert_eq!(guess(b"hello"), "text/plain; charset=utf-8");
        assert_eq!(guess(&[0xff]), "application/octet-stream");
    }
}
