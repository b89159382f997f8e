//! `highwater read`: prints one page of records and the cursor of the next.

use std::time::Duration;

use highwater_proto::client::ReadRequest;
use serde_json::json;

use crate::{
    client::{Attempts, ServerArgs, block_on},
    output::Output,
    record::{Style, print_gap},
};

/// Arguments of `highwater read`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topics, or filters with + and #
    #[arg(required = true)]
    topics: Vec<String>,
    /// Where to begin: earliest, latest, retained, last:<n>, time:<RFC 3339 or ms> or cursor:<cursor>
    #[arg(long, default_value = "earliest")]
    from: String,
    /// At most so many records; 0 is the server's default
    #[arg(long, default_value_t = 0)]
    limit: u32,
    /// With nothing to read, wait so many milliseconds for something
    #[arg(long, default_value_t = 0)]
    wait_ms: u64,
    /// Seconds to keep trying while the service is not available
    #[arg(long, default_value_t = 15)]
    timeout: u64,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let server = args.server.resolve()?;
    let request = ReadRequest {
        topics: args.topics,
        from: args.from,
        limit: args.limit,
        wait_ms: args.wait_ms,
    };
    let page = block_on(async {
        let mut attempts = Attempts::within(Some(Duration::from_secs(args.timeout)));
        loop {
            let answer = async {
                let mut client = server.connect(attempts.server).await?;
                Ok(client.read(request.clone()).await?.into_inner())
            };
            match answer.await {
                Ok(page) => return Ok(page),
                Err(error) => attempts.failed(error).await?,
            }
        }
    })?;
    for gap in page.gap.iter().chain(&page.further_gaps) {
        print_gap(output, gap)?;
    }
    for record in &page.records {
        args.style.print(output, record)?;
    }
    match output.is_json() {
        true => output.result(&json!({ "next": page.next }), String::new),
        false => {
            eprintln!("next: --from cursor:{}", page.next);
            Ok(())
        }
    }
}
