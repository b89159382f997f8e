//! `highwater revocation`: tokens that are good no more although their time is not over.

use serde_json::Value;

use super::{
    api::object,
    collection::{Collection, REVOCATION},
    target::{Project, ProjectArgs},
};
use crate::output::Output;

/// Arguments of `highwater revocation`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the revocations of the project that are remembered
    List {
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Show a revocation
    #[command(visible_alias = "get")]
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Revoke tokens of the project
    Create {
        #[command(flatten)]
        which: Which,
        /// Only tokens that were issued before this time, such as 2027-01-31T12:00:00Z [default: now]
        #[arg(long, value_name = "TIME")]
        issued_before: Option<String>,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Take a revocation back: its tokens are good again until their time is over
    Delete {
        /// Its id
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: ProjectArgs,
    },
}

/// Which tokens.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The token with this id (`jti`)
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// All tokens of this subject (`sub`)
    #[arg(long)]
    subject: Option<String>,
    /// All tokens of the project
    #[arg(long)]
    all: bool,
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::List { at } => revocations(&at.open().await?).list(output).await,
        Command::Show { id, at } => revocations(&at.open().await?).show(&id, output).await,
        Command::Create {
            which,
            issued_before,
            at,
        } => {
            let new = object([
                ("token_id", which.token.map(Value::from)),
                ("subject", which.subject.map(Value::from)),
                ("all", which.all.then_some(Value::Bool(true))),
                ("issued_before", issued_before.map(Value::from)),
            ]);
            let project = at.open().await?;
            revocations(&project).create_and_show(&new, output).await
        }
        Command::Delete { id, yes, at } => {
            let project = at.open().await?;
            revocations(&project)
                .delete(&id, yes, output)
                .await
                .map(drop)
        }
    }
}

fn revocations(project: &Project) -> Collection<'_> {
    Collection::new(&project.api, &project.path, &REVOCATION)
}
