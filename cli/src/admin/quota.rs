//! `highwater quota`: what a project or a whole tenant may use.

use serde_json::{Map, Value};

use super::{api::Api, target::ProjectArgs};
use crate::{exit::Exit, output::Output, text};

/// What numbers may end with.
const SUFFIXES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

/// Arguments of `highwater quota`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what the project may use; what is not listed is without limit
    #[command(visible_aliases = ["get", "list"])]
    Show {
        #[command(flatten)]
        whose: Whose,
    },
    /// Set quotas; those that are not named stay as they are
    Set {
        /// As name=number, such as connections=5000, publish_bytes_per_second=10MiB, or topics=none for no limit
        #[arg(required = true, value_name = "NAME=NUMBER", value_parser = parse)]
        quotas: Vec<(String, Option<u64>)>,
        #[command(flatten)]
        whose: Whose,
    },
}

/// A project or its tenant.
#[derive(Debug, clap::Args)]
pub struct Whose {
    /// All projects of the tenant together, instead of one
    #[arg(long, conflicts_with = "project")]
    whole_tenant: bool,
    #[command(flatten)]
    at: ProjectArgs,
}

impl Whose {
    /// The control plane, and the path of the project or the tenant.
    pub async fn open(&self) -> anyhow::Result<(Api, String)> {
        match self.whole_tenant {
            true => {
                let tenant = self.at.tenant().open().await?;
                Ok((tenant.api, tenant.path))
            }
            false => {
                let project = self.at.open().await?;
                Ok((project.api, project.path))
            }
        }
    }
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::Show { whose } => {
            let (api, path) = whose.open().await?;
            text::show(output, &api.get(&format!("{path}/quotas")).await?.body)
        }
        Command::Set { quotas, whose } => {
            let (api, path) = whose.open().await?;
            let path = format!("{path}/quotas");
            let edit = api.edit(&path, |document| {
                let members = document.as_object_mut();
                let members = members.ok_or_else(|| Exit::usage("quotas are no object"))?;
                change(members, &quotas);
                Ok(())
            });
            text::show(output, &edit.await?)
        }
    }
}

fn change(members: &mut Map<String, Value>, quotas: &[(String, Option<u64>)]) {
    for (name, value) in quotas {
        match value {
            Some(value) => drop(members.insert(name.clone(), (*value).into())),
            None => drop(members.remove(name)),
        }
    }
}

fn parse(text: &str) -> Result<(String, Option<u64>), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not name=number"))?;
    let value = match value {
        "none" => None,
        value => Some(parse_amount(value)?),
    };
    Ok((name.replace('-', "_"), value))
}

/// A number, with a suffix if it is large.
///
/// # Errors
/// When it is none.
pub fn parse_amount(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a number like 5000, 10k or 10GiB");
    let found = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix));
    let (suffix, factor) = found.ok_or_else(wrong)?;
    let number = &text[..text.len() - suffix.len()];
    let number = number.parse::<u64>().map_err(|_| wrong())?;
    number.checked_mul(*factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quotas_are_typed_with_suffixes() {
        for (text, expected) in [
            ("0", 0),
            ("5000", 5_000),
            ("10k", 10_000),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_amount(text), Ok(expected));
        }
        for text in ["", "k", "-1", "1.5", "1 k", "1x", "99999999999T"] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("stored-bytes=1M"),
            Ok(("stored_bytes".into(), Some(1_000_000)))
        );
        assert_eq!(parse("topics=none"), Ok(("topics".into(), None)));
        assert!(parse("topics").is_err() && parse("topics=").is_err());
    }

    #[test]
    fn quotas_that_are_not_named_stay() {
        let Value::Object(mut members) = json!({ "topics": 1, "connections": 2 }) else {
            panic!("an object");
        };
        change(
            &mut members,
            &[("topics".into(), None), ("subscriptions".into(), Some(3))],
        );
        assert_eq!(
            Value::Object(members),
            json!({ "connections": 2, "subscriptions": 3 })
        );
    }
}
