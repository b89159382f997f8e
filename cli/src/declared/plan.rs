//! Which changes lead from what is there to what a file says, in an order that works. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    document::{Document, Issuer, Named, Project},
    found::{Found, FoundProject},
};
use crate::{admin, exit::Exit};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there.
    Create,
    /// It was different.
    Update,
    /// It is not in the file.
    Delete,
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The tenant.
    Tenant,
    /// A member of it.
    Member,
    /// A project of it.
    Project,
    /// All topic policies of a project.
    Policies,
    /// A key of a project.
    Key,
    /// An issuer of a project.
    Issuer,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what.
    pub what: What,
    /// The project that it is in.
    pub project: Option<String>,
    /// Its name.
    pub name: String,
    /// Its id, when it is there.
    pub id: String,
    /// What it is now, as far as it changes.
    pub from: Value,
    /// What it is to be: a new document, a patch (RFC 7396), or all policies.
    pub to: Value,
}

/// All changes.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// What only pruning would delete.
    pub extras: Vec<Change>,
    /// The ids of the projects that are there, by their names.
    pub projects: BTreeMap<String, String>,
    prune: bool,
}

impl What {
    /// How the control plane has them; policies are of a kind of their own.
    pub fn kind(self) -> Option<&'static admin::Kind> {
        match self {
            What::Tenant => Some(&admin::TENANT),
            What::Member => Some(&admin::MEMBER),
            What::Project => Some(&admin::PROJECT),
            What::Policies => None,
            What::Key => Some(&admin::KEY),
            What::Issuer => Some(&admin::ISSUER),
        }
    }

    /// The member that holds their names.
    fn name(self) -> &'static str {
        self.kind().and_then(|kind| kind.name).unwrap_or("name")
    }
}

/// The plan that makes a tenant with this name what a file says.
///
/// # Errors
/// When it cannot be.
pub fn plan(document: &Document, name: &str, found: &Found, prune: bool) -> anyhow::Result<Plan> {
    let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
    let there = found.projects.iter();
    let mut plan = Plan {
        projects: there
            .map(|p| (p.name().to_owned(), id(&p.project)))
            .collect(),
        prune,
        ..Plan::default()
    };
    plan.tenant(document, name, found)?;
    let empty = Named(BTreeMap::new());
    for (name, project) in &document.projects.as_ref().unwrap_or(&empty).0 {
        let there = found.projects.iter().find(|found| found.name() == name);
        plan.project(name, project, there)?;
    }
    // What is let in last and put out last: those who may do all of this.
    if let Some(projects) = &document.projects {
        let items: Vec<Value> = found.projects.iter().map(|p| p.project.clone()).collect();
        let said = projects.0.keys().cloned().collect();
        plan.delete_others(What::Project, None, &said, &items);
    }
    if let Some(members) = &document.members {
        plan.members(members, &found.members)?;
    }
    Ok(plan)
}

impl Plan {
    /// The keys that are created, each with its project.
    pub fn new_keys(&self) -> Vec<String> {
        let is_new = |c: &&Change| (c.action, c.what) == (Action::Create, What::Key);
        self.changes
            .iter()
            .filter(is_new)
            .map(Change::title)
            .collect()
    }

    /// What is created, or updated, or deleted.
    pub fn names_of(&self, action: Action) -> Vec<String> {
        let changes = self.changes.iter().filter(|c| c.action == action);
        changes.map(Change::title).collect()
    }

    fn tenant(&mut self, document: &Document, name: &str, found: &Found) -> anyhow::Result<()> {
        let said = settings(&json!({
            "state": document.state,
            "labels": document.labels,
            "quotas": document.quotas,
        }))?;
        let said = said
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        self.put(What::Tenant, None, name, said, found.tenant.as_ref());
        Ok(())
    }

    fn project(
        &mut self,
        name: &str,
        said: &Project,
        found: Option<&FoundProject>,
    ) -> anyhow::Result<()> {
        let mut members = settings(said)?;
        for elsewhere in ["policies", "keys", "issuers"] {
            members.remove(elsewhere);
        }
        if let Some(found) = found {
            let is = &found.project["spread"];
            if members.remove("spread").is_some_and(|spread| spread != *is) {
                let message = format!("project `{name}`: its `spread` is {is}, and never changes");
                return Err(Exit::usage(message).into());
            }
        }
        self.put(
            What::Project,
            None,
            name,
            members,
            found.map(|f| &f.project),
        );
        let nothing = FoundProject::default();
        let found = found.unwrap_or(&nothing);
        if let Some(policies) = &said.policies {
            self.policies(name, &serde_json::to_value(policies)?, &found.policies);
        }
        if let Some(issuers) = &said.issuers {
            // One that takes the place of another may have its `issuer`.
            let names = issuers.0.keys().cloned().collect();
            self.delete_others(What::Issuer, Some(name), &names, &found.issuers);
            for (issuer, said) in &issuers.0 {
                let members = settings_of_issuer(name, issuer, said)?;
                let there = named(What::Issuer, issuer, &found.issuers);
                self.put(What::Issuer, Some(name), issuer, members, there);
            }
        }
        if let Some(keys) = &said.keys {
            for (key, said) in &keys.0 {
                let there = named(What::Key, key, &found.keys);
                self.put(What::Key, Some(name), key, settings(said)?, there);
            }
            let names = keys.0.keys().cloned().collect();
            self.delete_others(What::Key, Some(name), &names, &found.keys);
        }
        Ok(())
    }

    fn policies(&mut self, project: &str, said: &Value, found: &Value) {
        let none = json!([]);
        let found = if found.is_null() { &none } else { found };
        if said != found {
            self.changes.push(Change {
                action: Action::Update,
                what: What::Policies,
                project: Some(project.to_owned()),
                name: String::new(),
                id: String::new(),
                from: found.clone(),
                to: said.clone(),
            });
        }
    }

    /// Owners first, and who is put out last: a tenant always keeps an owner.
    fn members<T: Serialize>(&mut self, said: &Named<T>, found: &[Value]) -> anyhow::Result<()> {
        let begin = self.changes.len();
        for (subject, role) in &said.0 {
            let members = Map::from_iter([("role".to_owned(), serde_json::to_value(role)?)]);
            let there = named(What::Member, subject, found);
            self.put(What::Member, None, subject, members, there);
        }
        self.changes[begin..].sort_by_key(|change| change.to["role"] != "owner");
        let names = said.0.keys().cloned().collect();
        self.delete_others(What::Member, None, &names, found);
        Ok(())
    }

    /// Creates something, or changes it where it is different.
    fn put(
        &mut self,
        what: What,
        project: Option<&str>,
        name: &str,
        said: Map<String, Value>,
        found: Option<&Value>,
    ) {
        let (action, id, from, to) = match found {
            None => {
                let mut new: Map<String, Value> = said
                    .into_iter()
                    .filter(|(_, value)| !value.is_null())
                    .collect();
                new.insert(what.name().to_owned(), name.into());
                (Action::Create, None, Map::new(), new)
            }
            Some(found) => {
                let patch = patch(&said, found);
                if patch.is_empty() {
                    return;
                }
                let is = |name: &String| (name.clone(), found[name].clone());
                let from = patch.keys().map(is).collect();
                (Action::Update, found["id"].as_str(), from, patch)
            }
        };
        self.changes.push(Change {
            action,
            what,
            project: project.map(str::to_owned),
            name: name.to_owned(),
            id: id.unwrap_or_default().to_owned(),
            from: from.into(),
            to: to.into(),
        });
    }

    fn delete_others(
        &mut self,
        what: What,
        project: Option<&str>,
        said: &BTreeSet<String>,
        found: &[Value],
    ) {
        for item in found {
            let name = item[what.name()].as_str().unwrap_or_default();
            if said.contains(name) {
                continue;
            }
            let deletion = Change {
                action: Action::Delete,
                what,
                project: project.map(str::to_owned),
                name: name.to_owned(),
                id: item["id"].as_str().unwrap_or_default().to_owned(),
                from: Value::Null,
                to: Value::Null,
            };
            match self.prune {
                true => self.changes.push(deletion),
                false => self.extras.push(deletion),
            }
        }
    }
}

fn named<'a>(what: What, name: &str, found: &'a [Value]) -> Option<&'a Value> {
    found.iter().find(|item| item[what.name()] == name)
}

/// What is said of something, member by member; `null` for what it is to have no more.
fn settings(said: &impl Serialize) -> anyhow::Result<Map<String, Value>> {
    let Value::Object(mut members) = serde_json::to_value(said)? else {
        anyhow::bail!("settings are an object");
    };
    if members.get("expires_at").is_some_and(|at| at == "never") {
        members.insert("expires_at".into(), Value::Null);
    }
    Ok(members)
}

fn settings_of_issuer(
    project: &str,
    name: &str,
    said: &Issuer,
) -> anyhow::Result<Map<String, Value>> {
    let mut members = settings(said)?;
    let other = match (&said.jwks, &said.jwks_url) {
        (Some(_), None) => "jwks_url",
        (None, Some(_)) => "jwks",
        _ => {
            let message =
                format!("issuer `{name}` of project `{project}` has either `jwks` or `jwks_url`");
            return Err(Exit::usage(message).into());
        }
    };
    members.insert(other.into(), Value::Null);
    Ok(members)
}

/// What is to change (RFC 7396) so that everything that is said is so.
fn patch(said: &Map<String, Value>, found: &Value) -> Map<String, Value> {
    let different = said
        .iter()
        .filter(|(name, value)| found[name.as_str()] != **value);
    different
        .map(|(name, value)| (name.clone(), whole(value, &found[name.as_str()])))
        .collect()
}

/// What makes a value wholly another one.
fn whole(to: &Value, from: &Value) -> Value {
    let (Value::Object(to), Value::Object(from)) = (to, from) else {
        return to.clone();
    };
    let gone = from.keys().filter(|name| !to.contains_key(*name));
    let mut patch: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).collect();
    for (name, value) in to {
        match from.get(name) {
            Some(was) if was == value => {}
            Some(was) => drop(patch.insert(name.clone(), whole(value, was))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    patch.into()
}

#[cfg(test)]
mod tests;
