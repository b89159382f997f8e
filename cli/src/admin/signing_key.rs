//! `highwater signing-key`: what the service signs tokens with. For operators.

use serde_json::{Value, json};

use super::{
    api::object,
    collection::{Collection, SIGNING_KEY},
    confirm::confirm,
    lifetime::parse_ms,
    target::PlatformArgs,
};
use crate::output::Output;

/// Arguments of `highwater signing-key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the keys
    List {
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Make another key, which signs after the lead; what the one before has signed stays good
    Rotate {
        /// For how long the new key is published before it signs [default: 10m]
        #[arg(long, value_name = "DURATION", value_parser = parse_ms)]
        lead: Option<u64>,
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Delete a key; what it has signed is good no more
    Delete {
        /// Its id
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: PlatformArgs,
    },
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::List { at } => {
            Collection::new(&at.open()?, "/v1", &SIGNING_KEY)
                .list(output)
                .await
        }
        Command::Rotate { lead, at } => {
            let rotation = object([("lead_ms", lead.map(Value::from))]);
            let api = at.open()?;
            let keys = Collection::new(&api, "/v1", &SIGNING_KEY);
            keys.create_and_show(&rotation, output).await
        }
        Command::Delete { id, yes, at } => {
            let api = at.open()?;
            let path = Collection::new(&api, "/v1", &SIGNING_KEY).find(&id).await?;
            let question = format!("delete signing key {id}? Tokens that it signed end at once.");
            confirm(yes, &question)?;
            api.delete(&path, None).await?;
            output.result(&json!({ "deleted": id, "kind": "signing key" }), || {
                format!("deleted signing key {id}")
            })
        }
    }
}
