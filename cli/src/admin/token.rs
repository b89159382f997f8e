//! `highwater token`: short-lived credentials, which stand alone on stdout and are kept nowhere.

use serde_json::{Value, json};

use super::{api::object, lifetime::parse_ms, permission::Allowed, target::ProjectArgs};
use crate::{exit::Exit, output::Output, text::cell};

/// Arguments of `highwater token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token, and print it
    Create {
        #[command(flatten)]
        allowed: Allowed,
        /// Who it is for, which ${sub} in the topics of its permissions stands for
        #[arg(long)]
        subject: Option<String>,
        /// For how long it is good, a day at most [default: 15m]
        #[arg(long, value_name = "DURATION", value_parser = parse_ms)]
        lifetime: Option<u64>,
        /// Ask with the API key (HIGHWATER_KEY or the context's) instead of as an administrator: the token allows
        /// no more than the key, and ends with it
        #[arg(long, conflicts_with_all = ["project", "tenant", "admin_key_file"])]
        with_api_key: bool,
        #[command(flatten)]
        at: ProjectArgs,
    },
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let Command::Create {
        allowed,
        subject,
        lifetime,
        with_api_key,
        at,
    } = args.command;
    let permissions = allowed.document();
    if permissions.is_none() && !with_api_key {
        let message = "say what the token allows, such as --allow subscribe:orders/#";
        return Err(Exit::usage(message).into());
    }
    let new = object([
        ("permissions", permissions),
        ("subject", subject.map(Value::from)),
        ("lifetime_ms", lifetime.map(|ms| json!(ms))),
    ]);
    let made = match with_api_key {
        true => {
            let api = at.tenant().platform.open_with_api_key()?;
            api.post("/v1/tokens", &new).await?
        }
        false => {
            let project = at.open().await?;
            project
                .api
                .post(&format!("{}/tokens", project.path), &new)
                .await?
        }
    };
    let token = made.body;
    output.result(&token, || {
        let member = |name: &str| cell(&token[name]);
        eprintln!(
            "made token {} until {}, which allows {}:",
            member("id"),
            member("expires_at"),
            member("permissions"),
        );
        member("token")
    })
}
