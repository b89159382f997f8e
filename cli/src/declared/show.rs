//! How changes are told.

use serde_json::{Value, json};

use super::plan::{Action, Change, Plan, What};
use crate::{
    output::Output,
    text::{cell, plain},
};

/// Prints all of them.
pub fn changes(output: Output, plan: &Plan) -> anyhow::Result<()> {
    plan.changes
        .iter()
        .try_for_each(|change| print(output, change))
}

/// Prints one.
pub fn print(output: Output, change: &Change) -> anyhow::Result<()> {
    let mut json = json!({ "action": change.action, "what": change.what });
    for (name, value) in [
        ("project", change.project.clone().map(Value::from)),
        (
            "name",
            (!change.name.is_empty()).then(|| change.name.as_str().into()),
        ),
        (
            "id",
            (!change.id.is_empty()).then(|| change.id.as_str().into()),
        ),
        (
            "from",
            (change.action == Action::Update).then(|| change.from.clone()),
        ),
        (
            "to",
            (change.action != Action::Delete).then(|| change.to.clone()),
        ),
    ] {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    output.result(&json, || text(change))
}

/// Says on stderr what is there and not in the file.
pub fn extras(plan: &Plan) {
    if !plan.extras.is_empty() {
        let titles: Vec<String> = plan.extras.iter().map(Change::title).collect();
        eprintln!(
            "not in the file, and left alone without --prune: {}",
            titles.join(", ")
        );
    }
}

/// How many changes there are.
pub fn summary(plan: &Plan) -> String {
    let count = |action| plan.names_of(action).len();
    match plan.changes.is_empty() {
        true => "nothing is different".into(),
        false => format!(
            "{} to create, {} to change, {} to delete",
            count(Action::Create),
            count(Action::Update),
            count(Action::Delete)
        ),
    }
}

fn text(change: &Change) -> String {
    let title = change.title();
    match change.action {
        Action::Create => format!("+ {title}{}", said(&change.to)),
        Action::Delete => format!("- {title}"),
        Action::Update => {
            let mut text = format!("~ {title}");
            if change.what == What::Policies {
                let list = |policies: &Value| {
                    let policies = policies.as_array().into_iter().flatten();
                    policies
                        .map(|policy| format!("[{}]", cell(policy)))
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                return format!(
                    "{text}\n    {} → {}",
                    or_none(list(&change.from)),
                    or_none(list(&change.to))
                );
            }
            lines("", &change.from, &change.to, &mut text);
            text
        }
    }
}

/// A line for each member that changes.
fn lines(name: &str, from: &Value, to: &Value, text: &mut String) {
    let is_list = |value: &Value| value.is_object() || value.is_null();
    match to {
        Value::Object(members) if is_list(from) && !name.ends_with("jwks") => {
            for (member, to) in members {
                let name = match name {
                    "" => plain(member),
                    _ => format!("{name}.{}", plain(member)),
                };
                lines(&name, &from[member.as_str()], to, text);
            }
        }
        _ => {
            *text += &format!(
                "\n    {name}: {} → {}",
                or_none(cell(from)),
                or_none(cell(to))
            )
        }
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

fn said(new: &Value) -> String {
    let members = new.as_object().into_iter().flatten();
    let members = members.filter(|(name, _)| !["name", "subject"].contains(&name.as_str()));
    members
        .map(|(name, value)| format!("\n    {name}: {}", or_none(cell(value))))
        .collect()
}

impl Change {
    /// What it is about.
    pub fn title(&self) -> String {
        let what = match self.what {
            What::Tenant => "tenant",
            What::Member => "member",
            What::Project => "project",
            What::Policies => "policies",
            What::Key => "key",
            What::Issuer => "issuer",
        };
        let name = match self.name.as_str() {
            "" => String::new(),
            name => format!(" {}", plain(name)),
        };
        let of = self
            .project
            .as_deref()
            .map(|p| format!(" of project {}", plain(p)));
        format!("{what}{name}{}", of.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_was_and_what_will_be() {
        let change = Change {
            action: Action::Update,
            what: What::Project,
            project: None,
            name: "prod".into(),
            id: "prj_1".into(),
            from: json!({ "origins": [], "quotas": { "topics": 1, "connections": 5 } }),
            to: json!({ "origins": ["http://a"], "quotas": { "topics": null, "connections": 6 } }),
        };
        let expected = "~ project prod\n    origins: none → http://a\n    quotas.connections: 5 → 6\n    quotas.topics: 1 → none";
        assert_eq!(text(&change), expected);
        let created = Change {
            action: Action::Create,
            what: What::Key,
            project: Some("prod".into()),
            name: "reader".into(),
            to: json!({ "name": "reader", "permissions": [{"operations": ["subscribe"], "topics": "#"}] }),
            ..change
        };
        let expected = "+ key reader of project prod\n    permissions: subscribe:#";
        assert_eq!(text(&created), expected);
    }
}
