//! Which control plane, tenant and project a command is about.

use std::{path::PathBuf, time::Duration};

use super::{
    api::Api,
    collection::{Collection, PROJECT, TENANT},
};
use crate::context::{ContextArg, Sources, Who};

/// Which control plane.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Where")]
pub struct PlatformArgs {
    #[command(flatten)]
    pub context: ContextArg,
    /// Address of a control plane; several (repeated, or divided by commas) are tried in turn
    /// [env: HIGHWATER_CONTROL_PLANE] [default: the context's, or http://127.0.0.1:8082]
    #[arg(long = "control-plane", value_name = "URL", value_delimiter = ',')]
    pub addresses: Vec<String>,
    /// File with the credential for administration, an operator's key or a token of a member; - asks for it, or
    /// reads it from stdin [env: HIGHWATER_ADMIN_KEY holds it itself]
    #[arg(long, value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// Authorities (PEM) of the control plane's certificate, when they are not the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Seconds to keep trying while the control plane is not available
    #[arg(long, default_value_t = 15)]
    pub timeout: u64,
}

/// Which tenant.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Where")]
pub struct TenantArg {
    /// The tenant, by its name or id [env: HIGHWATER_TENANT] [default: the context's]
    #[arg(long)]
    pub tenant: Option<String>,
}

/// Which tenant of which control plane.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Where")]
pub struct TenantArgs {
    #[command(flatten)]
    pub tenant: TenantArg,
    #[command(flatten)]
    pub platform: PlatformArgs,
}

/// Which project of which tenant.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Where")]
pub struct ProjectArgs {
    /// The project, by its name or id [env: HIGHWATER_PROJECT] [default: the context's]
    #[arg(long)]
    project: Option<String>,
    #[command(flatten)]
    tenant: TenantArgs,
}

/// A tenant.
pub struct Tenant {
    /// Where it is.
    pub api: Api,
    /// Its path.
    pub path: String,
}

/// A project.
pub struct Project {
    /// Where it is.
    pub api: Api,
    /// Its path.
    pub path: String,
}

impl PlatformArgs {
    /// The control plane.
    pub fn open(&self) -> anyhow::Result<Api> {
        self.open_as(&Sources::read(&self.context)?, Who::Administrator)
    }

    /// The control plane as sources say it, for somebody.
    pub fn open_as(&self, sources: &Sources, who: Who) -> anyhow::Result<Api> {
        let control_plane = sources.control_plane(self, who)?;
        Api::new(control_plane, Duration::from_secs(self.timeout))
    }

    /// The control plane, asked with the API key of a project.
    pub fn open_with_api_key(&self) -> anyhow::Result<Api> {
        self.open_as(&Sources::read(&self.context)?, Who::Client)
    }
}

impl TenantArgs {
    /// The tenant.
    pub async fn open(&self) -> anyhow::Result<Tenant> {
        self.open_named(None).await
    }

    /// This tenant, or else the one that is meant anyway.
    pub async fn open_named(&self, reference: Option<&str>) -> anyhow::Result<Tenant> {
        let sources = Sources::read(&self.platform.context)?;
        let reference = match reference {
            Some(reference) => reference.to_owned(),
            None => sources.tenant(&self.tenant)?,
        };
        let api = self.platform.open_as(&sources, Who::Administrator)?;
        let path = Collection::new(&api, "/v1", &TENANT)
            .find(&reference)
            .await?;
        Ok(Tenant { api, path })
    }
}

impl ProjectArgs {
    /// The project.
    pub async fn open(&self) -> anyhow::Result<Project> {
        let sources = Sources::read(&self.tenant.platform.context)?;
        let tenant = sources.tenant(&self.tenant.tenant)?;
        let project = sources.project(self.project.as_deref(), &tenant)?;
        let api = self.tenant.platform.open_as(&sources, Who::Administrator)?;
        let tenant = Collection::new(&api, "/v1", &TENANT).find(&tenant).await?;
        let path = Collection::new(&api, &tenant, &PROJECT)
            .find(&project)
            .await?;
        Ok(Project { api, path })
    }

    /// The tenant's arguments.
    pub fn tenant(&self) -> &TenantArgs {
        &self.tenant
    }
}
