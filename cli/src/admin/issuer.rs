//! `highwater issuer`: who else signs tokens for a project.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    api::object,
    collection::{Collection, ISSUER},
    lifetime::parse_ms,
    permission::Allowed,
    target::{Project, ProjectArgs},
};
use crate::{exit::Exit, output::Output};

/// Arguments of `highwater issuer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the issuers of the project
    List {
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Show an issuer
    #[command(visible_alias = "get")]
    Show {
        /// Its name or id
        name: String,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Trust the tokens of an issuer
    Create {
        /// Its name, which no other issuer of the project has
        name: String,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Change an issuer
    Update {
        /// Its name or id
        name: String,
        /// Its name from now on
        #[arg(long = "name", value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        settings: Settings,
        /// Let its tokens allow whatever they say
        #[arg(long, conflicts_with = "allow")]
        no_limit: bool,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Trust the tokens of an issuer no more
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

#[derive(Debug, clap::Args)]
struct Settings {
    /// What its tokens say in `iss`, letter for letter
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// What its tokens must say in `aud`; may be repeated, then one of them
    #[arg(long = "audience", value_name = "AUD")]
    audiences: Vec<String>,
    /// Where its public keys are: an https address
    #[arg(long, value_name = "URL", group = "jwks")]
    jwks_url: Option<String>,
    /// File with its public keys, a JSON Web Key Set (RFC 7517)
    #[arg(long, value_name = "FILE", group = "jwks")]
    jwks_file: Option<PathBuf>,
    /// Longest time for which a token may be good, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_ms)]
    token_lifetime: Option<u64>,
    /// Without any, what its tokens say is what they allow; otherwise they allow no more than this.
    #[command(flatten)]
    allowed: Allowed,
}

impl Settings {
    /// As a patch: the one way to its keys takes the place of the other.
    fn document(&self) -> anyhow::Result<Value> {
        let mut document = object([
            ("issuer", self.issuer.clone().map(Value::from)),
            (
                "audiences",
                (!self.audiences.is_empty()).then(|| json!(self.audiences)),
            ),
            ("permissions_max", self.allowed.document()),
            (
                "token_lifetime_ms_max",
                self.token_lifetime.map(Value::from),
            ),
        ]);
        if let Some(url) = &self.jwks_url {
            document["jwks_url"] = url.as_str().into();
            document["jwks"] = Value::Null;
        }
        if let Some(path) = &self.jwks_file {
            let shown = path.display();
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            let jwks: Value = serde_json::from_str(&text)
                .map_err(|error| Exit::usage(format!("{shown}: {error}")))?;
            document["jwks"] = jwks;
            document["jwks_url"] = Value::Null;
        }
        Ok(document)
    }
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::List { at } => issuers(&at.open().await?).list(output).await,
        Command::Show { name, at } => issuers(&at.open().await?).show(&name, output).await,
        Command::Create { name, settings, at } => {
            let mut new = settings.document()?;
            new["name"] = name.into();
            if new["issuer"].is_null() || new["audiences"].is_null() {
                return Err(Exit::usage("say at least --issuer and --audience").into());
            }
            let project = at.open().await?;
            issuers(&project).create_and_show(&new, output).await
        }
        Command::Update {
            name,
            new_name,
            settings,
            no_limit,
            at,
        } => {
            let mut patch = settings.document()?;
            if let Some(name) = new_name {
                patch["name"] = name.into();
            }
            if no_limit {
                patch["permissions_max"] = json!([]);
            }
            let project = at.open().await?;
            issuers(&project).update(&name, &patch, output).await
        }
        Command::Delete { name, yes, at } => {
            let project = at.open().await?;
            issuers(&project).delete(&name, yes, output).await.map(drop)
        }
    }
}

fn issuers(project: &Project) -> Collection<'_> {
    Collection::new(&project.api, &project.path, &ISSUER)
}
