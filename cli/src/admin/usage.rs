//! `highwater usage`: what a project or a whole tenant has used, by hour or day.

use clap::ValueEnum;

use super::quota::Whose;
use crate::{
    output::Output,
    text::{self, Column},
};

const COLUMNS: &[Column] = &[
    ("FROM", "start"),
    ("MESSAGES IN", "messages_in"),
    ("BYTES IN", "bytes_in"),
    ("MESSAGES OUT", "messages_out"),
    ("BYTES OUT", "bytes_out"),
    ("PEAK CONNECTIONS", "peak_connections"),
    ("CONNECTION MINUTES", "connection_minutes"),
    ("STORED BYTES", "stored_bytes"),
];

/// Arguments of `highwater usage`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The span that each line is about
    #[arg(long, value_enum, default_value = "hour")]
    by: Span,
    /// From which time on, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until which time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print CSV, with a line of headings and what each protocol has used
    #[arg(long, conflicts_with = "output")]
    csv: bool,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Span {
    /// Hours
    Hour,
    /// Days
    Day,
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let by = args.by.to_possible_value();
    let by = by.as_ref().map_or("hour", |by| by.get_name());
    let mut query = vec![("by", by)];
    query.extend(args.from.as_deref().map(|from| ("from", from)));
    query.extend(args.until.as_deref().map(|until| ("until", until)));
    let (api, path) = args.whose.open().await?;
    let path = format!("{path}/usage");
    match args.csv {
        true => output.bytes(api.text(&path, &query, "text/csv").await?.as_bytes()),
        false => text::list(output, COLUMNS, &api.page(&path, &query).await?.0),
    }
}
