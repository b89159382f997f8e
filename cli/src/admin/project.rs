//! `highwater project`: isolated namespaces of topics and keys in a tenant.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    api::{Api, is_not_found, object},
    collection::{Collection, PROJECT},
    label::{LabelChanges, Labels},
    lifetime::Expiry,
    target::{ProjectArgs, TenantArgs},
};
use crate::{output::Output, text};

/// How often it is looked whether a project is gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `highwater project`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the projects of the tenant
    List {
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Show a project
    #[command(visible_alias = "get")]
    Show {
        /// Its name or id [default: the one that other commands are about]
        name: Option<String>,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Create a project
    Create {
        /// Its name, which no other project of the tenant has
        name: String,
        /// Over how many shards its topics are spread, for ever: more allow more throughput, and make reading by
        /// filters dearer
        #[arg(long, default_value_t = 1)]
        spread: u32,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        labels: Labels,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Change a project
    Update {
        /// Its name or id
        name: String,
        /// Its name from now on
        #[arg(long = "name", value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        settings: Settings,
        /// Let no web pages use it
        #[arg(long, conflicts_with = "origins")]
        no_origins: bool,
        /// Let it never expire
        #[arg(long, conflicts_with_all = ["expires_at", "expires_in"])]
        no_expiry: bool,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Let nobody into a project; its data stays
    Suspend {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Let people into a project again
    Resume {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: TenantArgs,
    },
    /// Delete a project with its keys and all its data
    Delete {
        /// Its name or id
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Wait until its data is gone
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        at: TenantArgs,
    },
}

#[derive(Debug, clap::Args)]
struct Settings {
    /// Web pages that may use it, such as https://app.example.com or http://localhost:*; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    #[command(flatten)]
    expiry: Expiry,
}

impl Settings {
    fn origins(&self) -> Option<Value> {
        (!self.origins.is_empty()).then(|| json!(self.origins))
    }
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::List { at } => {
            let tenant = at.open().await?;
            projects(&tenant.api, &tenant.path).list(output).await
        }
        Command::Show { name, at } => show(name, &at, output).await,
        Command::Create {
            name,
            spread,
            settings,
            labels,
            at,
        } => {
            let new = object([
                ("name", Some(name.into())),
                ("spread", Some(spread.into())),
                ("origins", settings.origins()),
                ("expires_at", settings.expiry.expires_at.map(Value::from)),
                ("expires_in_ms", settings.expiry.expires_in.map(Value::from)),
                ("labels", labels.document()),
            ]);
            let tenant = at.open().await?;
            let projects = projects(&tenant.api, &tenant.path);
            projects.create_and_show(&new, output).await
        }
        Command::Update {
            name,
            new_name,
            settings,
            no_origins,
            no_expiry,
            labels,
            at,
        } => {
            let mut patch = object([
                ("name", new_name.map(Value::from)),
                ("origins", settings.origins()),
                ("expires_at", settings.expiry.at()?.map(Value::from)),
                ("labels", labels.patch()),
            ]);
            if no_origins {
                patch["origins"] = json!([]);
            }
            if no_expiry {
                patch["expires_at"] = Value::Null;
            }
            update(&at, &name, &patch, output).await
        }
        Command::Suspend { name, at } => {
            update(&at, &name, &json!({ "state": "suspended" }), output).await
        }
        Command::Resume { name, at } => {
            update(&at, &name, &json!({ "state": "active" }), output).await
        }
        Command::Delete {
            name,
            yes,
            wait,
            at,
        } => {
            let tenant = at.open().await?;
            let projects = projects(&tenant.api, &tenant.path);
            let path = projects.delete(&name, yes, output).await?;
            match wait {
                true => until_gone(&tenant.api, &path).await,
                false => Ok(()),
            }
        }
    }
}

fn projects<'a>(api: &'a Api, tenant: &str) -> Collection<'a> {
    Collection::new(api, tenant, &PROJECT)
}

async fn show(name: Option<String>, at: &ProjectArgs, output: Output) -> anyhow::Result<()> {
    let Some(name) = name else {
        let project = at.open().await?;
        return text::show(output, &project.api.get(&project.path).await?.body);
    };
    let tenant = at.tenant().open().await?;
    projects(&tenant.api, &tenant.path)
        .show(&name, output)
        .await
}

async fn update(at: &TenantArgs, name: &str, patch: &Value, output: Output) -> anyhow::Result<()> {
    let tenant = at.open().await?;
    let projects = projects(&tenant.api, &tenant.path);
    projects.update(name, patch, output).await
}

async fn until_gone(api: &Api, path: &str) -> anyhow::Result<()> {
    eprintln!("waiting until its data is gone");
    loop {
        match api.get(path).await {
            Ok(_) => sleep(LOOK_EVERY).await,
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
