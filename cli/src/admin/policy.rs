//! `highwater policy`: how topics of a project are kept. The first policy whose filter matches a topic decides.

use serde_json::{Value, json};

use super::{confirm::confirm, lifetime::parse_ms, quota::parse_amount, target::ProjectArgs};
use crate::{
    exit::Exit,
    output::Output,
    text::{self, Column},
};

const COLUMNS: &[Column] = &[
    ("FILTER", "filter"),
    ("MILLISECONDS", "retention_ms"),
    ("BYTES", "retention_bytes"),
    ("RECORDS", "retention_records"),
    ("LAST VALUE", "last_value"),
    ("MUST EXIST", "must_exist"),
];

/// Arguments of `highwater policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the policies of the project, in their order
    #[command(visible_alias = "show")]
    List {
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Set how the topics of a filter are kept; what is not given has no limit
    Set {
        /// Which topics: orders/#, devices/+/state
        filter: String,
        /// How long records stay, such as 7d
        #[arg(long, value_name = "DURATION", value_parser = parse_ms)]
        keep_for: Option<u64>,
        /// How many bytes of records stay, such as 10GiB
        #[arg(long, value_name = "BYTES", value_parser = parse_amount)]
        keep_bytes: Option<u64>,
        /// How many records stay, such as 1000
        #[arg(long, value_name = "RECORDS", value_parser = parse_amount)]
        keep_records: Option<u64>,
        /// Keep only the newest record of each key
        #[arg(long)]
        last_value: bool,
        /// Refuse a publish rather than create the topic
        #[arg(long)]
        must_exist: bool,
        /// Its place in the order, from 1 [default: where it is, or the last]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        place: Option<u32>,
        #[command(flatten)]
        at: ProjectArgs,
    },
    /// Remove the policy of a filter
    Delete {
        /// Its filter
        filter: String,
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
        Command::List { at } => {
            let project = at.open().await?;
            let read = project.api.get(&path(&project.path)).await?;
            print(output, &read.body)
        }
        Command::Set {
            filter,
            keep_for,
            keep_bytes,
            keep_records,
            last_value,
            must_exist,
            place,
            at,
        } => {
            let mut policy = json!({
                "filter": filter,
                "last_value": last_value,
                "must_exist": must_exist,
            });
            for (name, value) in [
                ("retention_ms", keep_for),
                ("retention_bytes", keep_bytes),
                ("retention_records", keep_records),
            ] {
                if let Some(value) = value {
                    policy[name] = value.into();
                }
            }
            let project = at.open().await?;
            let (path, place) = (path(&project.path), place.map(|place| place as usize - 1));
            let edit = project.api.edit(&path, |policies| {
                put(policies_of(policies)?, policy.clone(), place);
                Ok(())
            });
            print(output, &edit.await?)
        }
        Command::Delete { filter, yes, at } => {
            let project = at.open().await?;
            let path = path(&project.path);
            confirm(yes, &format!("remove the policy of {filter}?"))?;
            let edit = project.api.edit(&path, |policies| {
                let policies = policies_of(policies)?;
                let before = policies.len();
                policies.retain(|policy| policy["filter"] != filter.as_str());
                match policies.len() < before {
                    true => Ok(()),
                    false => {
                        let message = format!("there is no policy of the filter {filter}");
                        Err(Exit::not_found(message).into())
                    }
                }
            });
            print(output, &edit.await?)
        }
    }
}

fn path(project: &str) -> String {
    format!("{project}/topic-policies")
}

fn policies_of(document: &mut Value) -> anyhow::Result<&mut Vec<Value>> {
    let policies = document["policies"].as_array_mut();
    policies.ok_or_else(|| anyhow::anyhow!("the control plane answered without policies"))
}

/// Puts a policy in the place of that with its filter, or in another place.
fn put(policies: &mut Vec<Value>, policy: Value, place: Option<usize>) {
    let was = policies
        .iter()
        .position(|p| p["filter"] == policy["filter"]);
    if let Some(was) = was {
        policies.remove(was);
    }
    let place = place.or(was).unwrap_or(policies.len());
    policies.insert(place.min(policies.len()), policy);
}

fn print(output: Output, document: &Value) -> anyhow::Result<()> {
    let policies = document["policies"].as_array();
    text::list(output, COLUMNS, policies.map_or(&[], Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_put_in_its_place() {
        let of = |filter: &str, n: u64| json!({ "filter": filter, "retention_records": n });
        let check = |filter: &str, place: Option<usize>, expected: &str| {
            let mut policies = vec![of("a", 1), of("b", 1)];
            put(&mut policies, of(filter, 2), place);
            let shown: Vec<String> = policies
                .iter()
                .map(|p| {
                    format!(
                        "{}{}",
                        p["filter"].as_str().unwrap(),
                        p["retention_records"]
                    )
                })
                .collect();
            assert_eq!(shown.join(" "), expected);
        };
        check("a", None, "a2 b1");
        check("c", None, "a1 b1 c2");
        check("c", Some(0), "c2 a1 b1");
        check("a", Some(1), "b1 a2");
        check("b", Some(9), "a1 b2");
    }
}
