//! `highwater apply`, `diff` and `export`: a tenant as a file says it.
//!
//! What the file does not mention is left as it is; what it mentions is made so. Names are identities: what has another
//! name is another thing. With `--prune`, the lists that the file mentions hold nothing else afterwards.
//!
//! ```text
//! document.rs   what a file may say ── schema.rs, its JSON Schema
//! found.rs      what is there
//! plan.rs       which changes lead from one to the other; no I/O
//! carry_out.rs  makes them
//! ```

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

mod carry_out;
mod document;
mod found;
mod plan;
mod schema;
mod secrets;
mod show;

use carry_out::CarryOut;
use document::Document;
use found::{Found, Place};
use plan::{Action, Plan};
use secrets::SecretsFile;

use crate::{
    admin::{TenantArgs, confirm},
    client::block_on,
    exit::Exit,
    output::Output,
};

/// Arguments of `highwater apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// The file, TOML or JSON; - is stdin
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Delete members, projects, keys and issuers that are not in the lists of the file
    #[arg(long)]
    prune: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before something is deleted
    #[arg(long)]
    yes: bool,
    /// File for the secrets of keys that are created, a line of JSON each; it is for its owner only
    #[arg(long, value_name = "FILE")]
    secrets_out: Option<PathBuf>,
    /// Print the JSON Schema of the file, and do nothing
    #[arg(long, conflicts_with_all = ["file", "prune", "dry_run", "secrets_out"])]
    schema: bool,
    #[command(flatten)]
    at: TenantArgs,
}

/// Arguments of `highwater diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The file, TOML or JSON; - is stdin
    file: PathBuf,
    /// With what `apply --prune` would delete
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    at: TenantArgs,
}

/// Arguments of `highwater export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    at: TenantArgs,
}

/// Makes a tenant what a file says.
pub fn apply(args: ApplyArgs, output: Output) -> anyhow::Result<()> {
    if args.schema {
        return output.bytes(schema::text()?.as_bytes());
    }
    let document = read(&args.file.context("clap requires it")?)?;
    block_on(async {
        let (place, plan) = compare(&args.at, &document, args.prune).await?;
        show::extras(&plan);
        if args.dry_run {
            show::changes(output, &plan)?;
            eprintln!("{}; nothing was done", show::summary(&plan));
            return Ok(());
        }
        let keys = plan.new_keys();
        let secrets = match (&args.secrets_out, keys.is_empty()) {
            (_, true) => None,
            (Some(path), false) => Some(SecretsFile::open(path)?),
            (None, false) => {
                let message = format!(
                    "secrets are shown once, and these keys are to be created: {}. Say --secrets-out FILE",
                    keys.join(", ")
                );
                return Err(Exit::usage(message).into());
            }
        };
        let deleted = plan.names_of(Action::Delete);
        if !deleted.is_empty() {
            confirm(args.yes, &format!("delete {}?", deleted.join(", ")))?;
        }
        CarryOut::new(place, secrets).all(&plan, output).await?;
        eprintln!("{}", show::summary(&plan));
        Ok(())
    })
}

/// Says what `apply` would do.
pub fn diff(args: DiffArgs, output: Output) -> anyhow::Result<()> {
    let document = read(&args.file)?;
    block_on(async {
        let (_, plan) = compare(&args.at, &document, args.prune).await?;
        show::extras(&plan);
        show::changes(output, &plan)?;
        match plan.changes.is_empty() {
            true => Ok(()),
            false => Err(Exit::different(show::summary(&plan)).into()),
        }
    })
}

/// Prints a tenant as a file.
pub fn export(args: ExportArgs, output: Output) -> anyhow::Result<()> {
    block_on(async {
        let place = Place::find(&args.at, None).await?;
        let found = Found::read(&place, |_| true).await?;
        let document = found.document()?;
        match output.is_json() {
            true => output.result(&document, String::new),
            false => {
                let text = toml::to_string(&document);
                let text = text.context("this cannot be said in TOML: take -o json")?;
                output.bytes(text.as_bytes())
            }
        }
    })
}

async fn compare(
    at: &TenantArgs,
    document: &Document,
    prune: bool,
) -> anyhow::Result<(Place, Plan)> {
    let place = Place::find(at, document.tenant.as_deref()).await?;
    let found = Found::read(&place, |name| document.mentions(name)).await?;
    let plan = plan::plan(document, &place.name, &found, prune)?;
    Ok((place, plan))
}

fn read(path: &Path) -> anyhow::Result<Document> {
    let shown = path.display().to_string();
    let text = match shown.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| Exit::usage(format!("cannot read {shown}: {error}")))?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_json = match extension {
        Some("json") => true,
        Some("toml") => false,
        // Nothing in TOML begins like this.
        _ => text.trim_start().starts_with('{'),
    };
    let document = match is_json {
        true => Document::from_json(&text),
        false => Document::from_toml(&text),
    };
    Ok(document.map_err(|error| Exit::usage(format!("{shown}: {}", error.trim_end())))?)
}
