//! Who may administer: an operator of the platform, or the members of a tenant.
//!
//! | role | may |
//! |---|---|
//! | viewer | read what is in the tenant, its audit log too |
//! | editor | and change what is in it: projects, policies, keys, issuers |
//! | owner | and the tenant's name and labels, and who its members are |
//! | operator | everything, in every tenant: what a tenant may use, whether it is suspended, that it exists |
//!
//! Of a tenant that a caller is no member of, the caller learns nothing: each answer is that of one that does
//! not exist.

use highwater_proto::{control::Role, ids::TenantId};

use crate::{
    catalogue::Catalogue,
    refusal::{Reason, Result},
};

mod authenticate;
mod issuer;

pub use authenticate::{Authenticator, OperatorIf, bearer};
pub use issuer::{AdminIssuer, KeySource};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// As the audit log has it.
    pub actor: String,
    /// Whether it is an operator of the platform.
    pub is_operator: bool,
    /// What members may be called to be meant by it: its subject, and its email address if that is verified.
    pub subjects: Vec<String>,
}

/// Who asks, from where, and with which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// From which address.
    pub from: String,
    /// The id of the request.
    pub request: String,
}

/// Whose request it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// An operator's.
    Operator,
    /// Anybody's who is known.
    Anybody,
    /// A member's of this tenant with this role or a higher one, or an operator's.
    Tenant(TenantId, Role),
}

impl Caller {
    /// The service itself, for what it does without being asked.
    pub fn service() -> Caller {
        Caller {
            principal: Principal {
                actor: "service".into(),
                is_operator: true,
                subjects: Vec::new(),
            },
            from: String::new(),
            request: String::new(),
        }
    }
}

impl Principal {
    /// What it may do in a tenant, by its highest role.
    pub fn role(&self, catalogue: &Catalogue, tenant: TenantId) -> Option<Role> {
        let roles = self.subjects.iter();
        roles
            .filter_map(|subject| catalogue.role(tenant, subject))
            .max_by_key(|role| *role as i32)
    }

    /// Whether it may see a tenant.
    pub fn sees(&self, catalogue: &Catalogue, tenant: TenantId) -> bool {
        self.is_operator || self.role(catalogue, tenant).is_some()
    }

    /// # Errors
    /// [`Reason::Forbidden`] when it is no operator.
    pub fn must_be_operator(&self) -> Result<()> {
        match self.is_operator {
            true => Ok(()),
            false => Err(Reason::Forbidden.because("this is for operators of the platform")),
        }
    }
}

impl Need {
    /// Whether a principal meets it.
    ///
    /// # Errors
    /// [`Reason::NotFound`] for a tenant that it may not know of, else [`Reason::Forbidden`].
    pub fn check(self, catalogue: &Catalogue, principal: &Principal) -> Result<()> {
        let (tenant, needed) = match self {
            Need::Anybody => return Ok(()),
            Need::Operator => return principal.must_be_operator(),
            Need::Tenant(tenant, role) => (tenant, role),
        };
        let exists = catalogue.tenants.get(tenant).is_some();
        if !exists || !principal.sees(catalogue, tenant) {
            return Err(Reason::NotFound.into());
        }
        let role = principal.role(catalogue, tenant);
        match principal.is_operator || role.is_some_and(|role| role as i32 >= needed as i32) {
            true => Ok(()),
            false => Err(Reason::Forbidden.because(format!(
                "this needs the role {}",
                crate::members::role_name(needed)
            ))),
        }
    }
}
