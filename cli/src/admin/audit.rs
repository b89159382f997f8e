//! `highwater audit`: who changed what, in the order in which it was.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;
use tokio::time::sleep;

use super::{api::Api, target::TenantArgs};
use crate::{
    output::Output,
    text::{self, Column},
};

/// Entries of one page.
const PAGE: usize = 100;

const COLUMNS: &[Column] = &[
    ("WHEN", "at"),
    ("WHO", "actor"),
    ("FROM", "from"),
    ("WHAT", "action"),
    ("RESOURCE", "resource"),
    ("REQUEST", "request"),
];

/// Arguments of `highwater audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many entries at most, the newest
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only entries about the resource with this id
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Only entries whose action begins like this, such as api_key
    #[arg(long)]
    action: Option<String>,
    /// Only what was done by this actor, such as operator or user:ann@example.com
    #[arg(long)]
    actor: Option<String>,
    /// Go on with what comes
    #[arg(long)]
    follow: bool,
    /// Seconds between two looks for what has come
    #[arg(long, default_value_t = 2, requires = "follow", value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// What belongs to no tenant, for operators
    #[arg(long, conflicts_with = "tenant")]
    platform: bool,
    #[command(flatten)]
    at: TenantArgs,
}

/// Runs it.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let (api, path) = match args.platform {
        true => (args.at.platform.open()?, "/v1".to_owned()),
        false => {
            let tenant = args.at.open().await?;
            (tenant.api, tenant.path)
        }
    };
    let log = Log {
        api,
        path: format!("{path}/audit"),
    };
    let (mut newest, mut seen) = log.newest(args.limit, |entry| args.wants(entry)).await?;
    newest.reverse();
    if !args.follow {
        return text::list(output, COLUMNS, &newest);
    }
    loop {
        for entry in newest.iter().filter(|entry| args.wants(entry)) {
            output.result(entry, || text::line(COLUMNS, entry))?;
        }
        sleep(Duration::from_secs(args.every)).await;
        newest = log.since(&seen).await?;
        if !newest.is_empty() {
            seen = ids(&newest);
        }
        newest.reverse();
    }
}

impl Args {
    fn wants(&self, entry: &Value) -> bool {
        let member = |name: &str| entry[name].as_str().unwrap_or_default();
        let is = |wanted: &Option<String>, name| wanted.as_ref().is_none_or(|w| w == member(name));
        let action = self.action.as_deref().unwrap_or_default();
        is(&self.resource, "resource")
            && is(&self.actor, "actor")
            && member("action").starts_with(action)
    }
}

/// An audit log, which is read from its newest entry on.
struct Log {
    api: Api,
    path: String,
}

impl Log {
    /// The newest entries that are wanted, and the ids of the newest of all.
    async fn newest(
        &self,
        limit: usize,
        wants: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<(Vec<Value>, HashSet<String>)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut pages = Pages::of(self);
        while let Some(page) = pages.next().await? {
            if seen.is_empty() {
                seen = ids(&page);
            }
            found.extend(page.into_iter().filter(&wants));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok((found, seen))
    }

    /// The entries that are newer than these.
    async fn since(&self, seen: &HashSet<String>) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut pages = Pages::of(self);
        while let Some(page) = pages.next().await? {
            for entry in page {
                if id(&entry).is_some_and(|id| seen.contains(id)) {
                    return Ok(found);
                }
                found.push(entry);
            }
        }
        Ok(found)
    }
}

struct Pages<'a> {
    log: &'a Log,
    /// Of the next page; none on the first one.
    cursor: Option<String>,
    is_over: bool,
}

impl Pages<'_> {
    fn of(log: &Log) -> Pages<'_> {
        Pages {
            log,
            cursor: None,
            is_over: false,
        }
    }

    async fn next(&mut self) -> anyhow::Result<Option<Vec<Value>>> {
        if self.is_over {
            return Ok(None);
        }
        let limit = PAGE.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let (items, next) = self.log.api.page(&self.log.path, &query).await?;
        self.is_over = next.is_none();
        self.cursor = next;
        Ok(Some(items))
    }
}

fn id(entry: &Value) -> Option<&str> {
    entry["id"].as_str()
}

fn ids(entries: &[Value]) -> HashSet<String> {
    entries.iter().filter_map(id).map(str::to_owned).collect()
}
