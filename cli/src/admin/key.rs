//! `highwater key`: API keys, whose secrets are shown once and stand alone on stdout.

use serde_json::{Value, json};

use super::{
    api::object,
    collection::{Collection, KEY},
    lifetime::{Expiry, parse_ms},
    permission::Allowed,
    target::{Project, ProjectArgs},
};
use crate::{exit::Exit, output::Output, text::cell};

/// Arguments of `highwater key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the keys of the project, without their secrets
    List {
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Show a key, without its secret
    #[command(visible_alias = "get")]
    Show {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Create a key, and print its secret, which is shown only this once
    Create {
        /// Its name, which no other key of the project has
        name: String,
        #[command(flatten)]
        allowed: Allowed,
        #[command(flatten)]
        expiry: Expiry,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Change a key; what is open with it is held to it within a second
    Update {
        /// Its name or id
        name: String,
        /// Its name from now on
        #[arg(long = "name", value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        allowed: Allowed,
        #[command(flatten)]
        expiry: Expiry,
        /// Let it never expire
        #[arg(long, conflicts_with_all = ["expires_at", "expires_in"])]
        no_expiry: bool,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Give a key another secret, and print it
    Rotate {
        /// Its name or id
        name: String,
        /// For how long the secret that it has now stays good, such as 1h
        #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_ms)]
        overlap: u64,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Let nothing in with a key until it is resumed
    Suspend {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Let things in with a key again
    Resume {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Delete a key; what is open with it is closed within a second
    Delete {
        /// Its name or id
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: ProjectArgs,
    },
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::List { at } => keys(&at.open().await?).list(output).await,
        Command::Show { name, at } => keys(&at.open().await?).show(&name, output).await,
        Command::Create {
            name,
            allowed,
            expiry,
            at,
        } => {
            let permissions = allowed.document();
            let permissions = permissions.ok_or_else(|| {
                Exit::usage("say what the key allows, such as --allow publish,subscribe:orders/#")
            })?;
            let new = object([
                ("name", Some(name.into())),
                ("permissions", Some(permissions)),
                ("expires_at", expiry.expires_at.map(Value::from)),
                ("expires_in_ms", expiry.expires_in.map(Value::from)),
            ]);
            let created = keys(&at.open().await?).create(&new).await?;
            print_secret(output, "created", &created)
        }
        Command::Update {
            name,
            new_name,
            allowed,
            expiry,
            no_expiry,
            at,
        } => {
            let mut patch = object([
                ("name", new_name.map(Value::from)),
                ("permissions", allowed.document()),
                ("expires_at", expiry.at()?.map(Value::from)),
            ]);
            if no_expiry {
                patch["expires_at"] = Value::Null;
            }
            let project = at.open().await?;
            keys(&project).update(&name, &patch, output).await
        }
        Command::Rotate { name, overlap, at } => {
            let project = at.open().await?;
            let path = keys(&project).find(&name).await?;
            let rotation = json!({ "overlap_ms": overlap });
            let path = format!("{path}/rotate");
            let rotated = project.api.post(&path, &rotation).await?;
            print_secret(output, "rotated", &rotated.body)
        }
        Command::Suspend { name, at } => set_disabled(&at, &name, true, output).await,
        Command::Resume { name, at } => set_disabled(&at, &name, false, output).await,
        Command::Delete { name, yes, at } => {
            let project = at.open().await?;
            keys(&project).delete(&name, yes, output).await.map(drop)
        }
    }
}

fn keys(project: &Project) -> Collection<'_> {
    Collection::new(&project.api, &project.path, &KEY)
}

async fn set_disabled(
    at: &ProjectArgs,
    name: &str,
    disabled: bool,
    output: Output,
) -> anyhow::Result<()> {
    let patch = json!({ "disabled": disabled });
    keys(&at.open().await?).update(name, &patch, output).await
}

/// The secret alone on stdout, so that it can be captured; the rest is told beside it.
fn print_secret(output: Output, what: &str, key: &Value) -> anyhow::Result<()> {
    output.result(key, || {
        let member = |name: &str| cell(&key[name]);
        eprintln!(
            "{what} key {} ({}), which allows {}; this is its secret, which is not shown again:",
            member("name"),
            member("id"),
            member("permissions"),
        );
        member("secret")
    })
}
