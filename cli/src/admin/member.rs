//! `highwater member`: who may administer a tenant.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    collection::{Collection, MEMBER},
    target::{Tenant, TenantArgs},
};
use crate::output::Output;

/// Arguments of `highwater member`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the members of the tenant
    List {
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Show a member
    #[command(visible_alias = "get")]
    Show {
        /// Its subject or id
        subject: String,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Let somebody administer the tenant
    Create {
        /// `sub` of its tokens, or an email address that the identity provider has verified
        subject: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Change what a member may do
    Update {
        /// Its subject or id
        subject: String,
        /// What it may do from now on
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Let a member administer the tenant no more
    Delete {
        /// Its subject or id
        subject: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: TenantArgs,
    },
}

/// What a member may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Read
    Viewer,
    /// And change what is in projects, keys included
    Editor,
    /// And the tenant's name and labels, and who its members are
    Owner,
}

impl Role {
    fn document(self) -> Value {
        let value = self.to_possible_value();
        value
            .map(|value| json!(value.get_name()))
            .unwrap_or_default()
    }
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::List { at } => members(&at.open().await?).list(output).await,
        Command::Show { subject, at } => members(&at.open().await?).show(&subject, output).await,
        Command::Create { subject, role, at } => {
            let new = json!({ "subject": subject, "role": role.document() });
            members(&at.open().await?)
                .create_and_show(&new, output)
                .await
        }
        Command::Update { subject, role, at } => {
            let patch = json!({ "role": role.document() });
            members(&at.open().await?)
                .update(&subject, &patch, output)
                .await
        }
        Command::Delete { subject, yes, at } => {
            let tenant = at.open().await?;
            members(&tenant)
                .delete(&subject, yes, output)
                .await
                .map(drop)
        }
    }
}

fn members(tenant: &Tenant) -> Collection<'_> {
    Collection::new(&tenant.api, &tenant.path, &MEMBER)
}
