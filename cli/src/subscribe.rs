//! `highwater sub`: prints records as they come, and goes on from the last cursor when a connection ends.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use highwater_proto::client::{
    SubscribeRequest, SubscribeResponse,
    subscribe_request::{Acks, Request, Start},
};

use tokio::sync::mpsc;

use crate::{
    client::{Attempts, Server, ServerArgs, block_on},
    output::Output,
    record::{Style, print_gap},
};

/// Acknowledgements that wait to be sent.
const ACKS_WAITING: usize = 16;

/// Arguments of `highwater sub`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topics, or filters with + and #
    #[arg(required = true)]
    topics: Vec<String>,
    /// Where to begin: latest, earliest, retained, last:<n>, time:<RFC 3339 or ms> or cursor:<cursor>
    #[arg(long, default_value = "latest")]
    from: String,
    /// Join the group of this name, whose members share the records; each is acknowledged when it is printed
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
    /// Stop after so many records
    #[arg(long)]
    count: Option<u64>,
    /// Seconds to keep trying when the service is not available [default: for ever once it was]
    #[arg(long, default_value_t = 15)]
    timeout: u64,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let mut reader = Reader {
        server: args.server.resolve()?,
        from: args.from.clone(),
        left: args.count.unwrap_or(u64::MAX),
        pause: Duration::ZERO,
        is_subscribed: false,
        output,
        args,
    };
    block_on(async move {
        let first = Duration::from_secs(reader.args.timeout);
        let mut attempts = Attempts::within(Some(first));
        loop {
            match reader.follow(attempts.server).await {
                Ok(End::Enough) => return Ok(()),
                Ok(End::Elsewhere) => {
                    tokio::time::sleep(reader.pause).await;
                    attempts.server += 1;
                }
                Err(error) => {
                    if std::mem::take(&mut reader.is_subscribed) {
                        let server = attempts.server;
                        attempts = Attempts::within(None);
                        attempts.server = server;
                    }
                    attempts.failed(error).await?;
                }
            }
        }
    })
}

/// Why one connection is done.
enum End {
    Enough,
    Elsewhere,
}

struct Reader {
    args: Args,
    server: Server,
    output: Output,
    from: String,
    left: u64,
    pause: Duration,
    is_subscribed: bool,
}

impl Reader {
    async fn follow(&mut self, server: usize) -> anyhow::Result<End> {
        let start = SubscribeRequest {
            request: Some(Request::Start(Start {
                topics: self.args.topics.clone(),
                from: self.from.clone(),
                credit: None,
                group: self.args.group.clone(),
            })),
        };
        // The request side stays open: closing it would end the subscription.
        let (acks, acked) = mpsc::channel(ACKS_WAITING);
        let acked = stream::unfold(acked, async |mut acked| Some((acked.recv().await?, acked)));
        let requests = stream::iter([start]).chain(acked);
        let mut client = self.server.connect(server).await?;
        let mut responses = client.subscribe(requests).await?.into_inner();
        while let Some(response) = responses.message().await? {
            let cursors = response.records.iter().map(|r| r.cursor.clone()).collect();
            let end = self.on_response(response)?;
            if !self.args.group.is_empty() {
                let acks_of = SubscribeRequest {
                    request: Some(Request::Ack(Acks { cursors })),
                };
                acks.send(acks_of).await?;
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Err(tonic::Status::unavailable("the server ended the subscription").into())
    }

    fn on_response(&mut self, response: SubscribeResponse) -> anyhow::Result<Option<End>> {
        if let Some(receipt) = response.subscribed {
            eprintln!("subscribed at {}", receipt.cursor);
            self.is_subscribed = true;
            self.resume_from(&receipt.cursor);
        }
        if let Some(gap) = response.gap {
            print_gap(self.output, &gap)?;
            self.resume_from(&gap.first_available);
        }
        for record in &response.records {
            self.args.style.print(self.output, record)?;
            self.resume_from(&record.cursor);
            self.left -= 1;
            if self.left == 0 {
                return Ok(Some(End::Enough));
            }
        }
        Ok(response.draining.map(|draining| {
            eprintln!("the server is about to stop; going on elsewhere");
            self.pause = Duration::from_millis(draining.reconnect_after_ms);
            End::Elsewhere
        }))
    }

    fn resume_from(&mut self, cursor: &str) {
        self.from.clear();
        self.from.push_str("cursor:");
        self.from.push_str(cursor);
    }
}
