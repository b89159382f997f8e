//! Makes the changes of a plan, each as it was planned or not at all.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{
    found::Place,
    plan::{Action, Change, Plan, What},
    secrets::SecretsFile,
    show,
};
use crate::{
    admin::{self, Answer, Collection, PROJECT, TENANT, is_not_found},
    exit::Exit,
    output::Output,
};

/// What creating something does not take: it is set afterwards.
const SET_LATER: &[(What, &str)] = &[(What::Project, "state"), (What::Key, "disabled")];

/// On its way through a plan.
pub struct CarryOut {
    place: Place,
    secrets: Option<SecretsFile>,
    /// Paths of projects, by their names.
    projects: BTreeMap<String, String>,
}

impl CarryOut {
    /// In this place; the secrets of keys go into this file.
    pub fn new(place: Place, secrets: Option<SecretsFile>) -> CarryOut {
        CarryOut {
            place,
            secrets,
            projects: BTreeMap::new(),
        }
    }

    /// Makes all changes, and prints each when it is made.
    ///
    /// # Errors
    /// That of the first change that cannot be made; those before it are.
    pub async fn all(mut self, plan: &Plan, output: Output) -> anyhow::Result<()> {
        for (index, change) in plan.changes.iter().enumerate() {
            let made = self.one(plan, change).await;
            if let (Err(_), 1..) = (&made, index) {
                let all = plan.changes.len();
                eprintln!(
                    "{index} of {all} changes were made; the same command goes on with the rest"
                );
            }
            made.with_context(|| change.title())?;
            show::print(output, change)?;
        }
        Ok(())
    }

    async fn one(&mut self, plan: &Plan, change: &Change) -> anyhow::Result<()> {
        let below = self.below(plan, change)?;
        let api = &self.place.api;
        let Some(kind) = change.what.kind() else {
            let path = format!("{below}/topic-policies");
            let Answer { body, etag } = api.get(&path).await?;
            is_as_planned(&change.from, &body["policies"])?;
            api.put(&path, &json!({ "policies": change.to }), etag.as_deref())
                .await?;
            return Ok(());
        };
        let collection = Collection::new(api, &below, kind);
        let path = collection.at(&change.id);
        match change.action {
            Action::Create => self.create(&below, kind, change).await,
            Action::Update => {
                let Answer { body, etag } = api.get(&path).await?;
                for (name, was) in change.from.as_object().into_iter().flatten() {
                    is_as_planned(was, &body[name.as_str()])?;
                }
                api.patch(&path, &change.to, etag.as_deref())
                    .await
                    .map(drop)
            }
            Action::Delete => match api.get(&path).await {
                Ok(answer) => api.delete(&path, answer.etag.as_deref()).await.map(drop),
                Err(error) if is_not_found(&error) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }

    async fn create(
        &mut self,
        below: &str,
        kind: &'static admin::Kind,
        change: &Change,
    ) -> anyhow::Result<()> {
        let api = &self.place.api;
        let collection = Collection::new(api, below, kind);
        let mut new = change.to.clone();
        let mut later = Map::new();
        if let Value::Object(members) = &mut new {
            for (_, name) in SET_LATER.iter().filter(|(what, _)| *what == change.what) {
                later.extend(members.remove_entry(*name));
            }
        }
        let created = collection.create(&new).await?;
        let path = collection.at(created["id"].as_str().unwrap_or_default());
        if let (What::Key, Some(secrets)) = (change.what, &mut self.secrets) {
            let line = json!({
                "tenant": self.place.name,
                "project": change.project,
                "name": change.name,
                "id": created["id"],
                "secret": created["secret"],
            });
            let kept = secrets.add(&line);
            kept.context("its secret could not be kept, so delete the key, or rotate it")?;
        }
        if !later.is_empty() {
            api.patch(&path, &later.into(), None).await?;
        }
        match change.what {
            What::Tenant => self.place.path = Some(path),
            What::Project => drop(self.projects.insert(change.name.clone(), path)),
            _ => {}
        }
        Ok(())
    }

    /// The path below which a change is made.
    fn below(&self, plan: &Plan, change: &Change) -> anyhow::Result<String> {
        if change.what == What::Tenant {
            return Ok("/v1".into());
        }
        let tenant = self.place.path.as_ref();
        let tenant = tenant.with_context(|| format!("there is no {}", TENANT.what))?;
        let Some(project) = &change.project else {
            return Ok(tenant.clone());
        };
        if let Some(created) = self.projects.get(project) {
            return Ok(created.clone());
        }
        let id = plan.projects.get(project);
        let id = id.with_context(|| format!("there is no project {project}"))?;
        Ok(Collection::new(&self.place.api, tenant, &PROJECT).at(id))
    }
}

/// # Errors
/// When somebody else has changed it since the plan was made.
fn is_as_planned(was: &Value, is: &Value) -> anyhow::Result<()> {
    match was == is {
        true => Ok(()),
        false => {
            let message =
                "somebody else has changed it meanwhile: look at `diff`, and run this again";
            Err(Exit::unavailable(message).into())
        }
    }
}
