//! `highwater tenant`: customers. For operators, but for what a tenant's own members may see and change.

use serde_json::{Value, json};

use super::{
    api::{Api, object},
    collection::{Collection, TENANT},
    label::{LabelChanges, Labels},
    target::{PlatformArgs, TenantArgs},
};
use crate::output::Output;

/// Arguments of `highwater tenant`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the tenants that you may see
    List {
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Show a tenant
    #[command(visible_alias = "get")]
    Show {
        /// Its name or id [default: the one that other commands are about]
        name: Option<String>,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Create a tenant
    Create {
        /// Its name, which no other tenant has
        name: String,
        #[command(flatten)]
        labels: Labels,
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Change a tenant
    Update {
        /// Its name or id
        name: String,
        /// Its name from now on
        #[arg(long = "name", value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Let nobody into a tenant; what it has stays
    Suspend {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Let people into a tenant again
    Resume {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: PlatformArgs,
    },
    /// Delete a tenant that has no projects any more
    Delete {
        /// Its name or id
        name: String,
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
        Command::List { at } => tenants(&at.open()?).list(output).await,
        Command::Show { name, at } => {
            let tenant = at.open_named(name.as_deref()).await?;
            crate::text::show(output, &tenant.api.get(&tenant.path).await?.body)
        }
        Command::Create { name, labels, at } => {
            let new = object([("name", Some(name.into())), ("labels", labels.document())]);
            tenants(&at.open()?).create_and_show(&new, output).await
        }
        Command::Update {
            name,
            new_name,
            labels,
            at,
        } => {
            let patch = object([
                ("name", new_name.map(Value::from)),
                ("labels", labels.patch()),
            ]);
            tenants(&at.open()?).update(&name, &patch, output).await
        }
        Command::Suspend { name, at } => set_state(&at, &name, "suspended", output).await,
        Command::Resume { name, at } => set_state(&at, &name, "active", output).await,
        Command::Delete { name, yes, at } => tenants(&at.open()?)
            .delete(&name, yes, output)
            .await
            .map(drop),
    }
}

fn tenants(api: &Api) -> Collection<'_> {
    Collection::new(api, "/v1", &TENANT)
}

async fn set_state(
    at: &PlatformArgs,
    name: &str,
    state: &str,
    output: Output,
) -> anyhow::Result<()> {
    let patch = json!({ "state": state });
    tenants(&at.open()?).update(name, &patch, output).await
}
