//! What the documents of each kind belong to, and which names are taken by them.

use highwater_proto::{
    control::{ApiKey, Issuer, Member, Project, Request, Revocation, SigningKey, State, Tenant},
    ids::{
        AdministratorId, IssuerId, KeyId, ProjectId, RequestId, RevocationId, SigningKeyId,
        TenantId,
    },
};

use super::Kept;

impl Kept for Tenant {
    type Id = TenantId;
    type Parent = ();

    fn parent(&self) -> Option<()> {
        Some(())
    }

    fn name(&self) -> Option<&str> {
        (self.state() != State::Deleting).then_some(&self.name)
    }
}

impl Kept for Project {
    type Id = ProjectId;
    type Parent = TenantId;

    fn parent(&self) -> Option<TenantId> {
        self.tenant.parse().ok()
    }

    fn name(&self) -> Option<&str> {
        (self.state() != State::Deleting).then_some(&self.name)
    }
}

impl Kept for ApiKey {
    type Id = KeyId;
    type Parent = ProjectId;

    fn parent(&self) -> Option<ProjectId> {
        self.project.parse().ok()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Kept for Issuer {
    type Id = IssuerId;
    type Parent = ProjectId;

    fn parent(&self) -> Option<ProjectId> {
        self.project.parse().ok()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Kept for Member {
    type Id = AdministratorId;
    type Parent = TenantId;

    fn parent(&self) -> Option<TenantId> {
        self.tenant.parse().ok()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.subject)
    }
}

impl Kept for Revocation {
    type Id = RevocationId;
    type Parent = ProjectId;

    fn parent(&self) -> Option<ProjectId> {
        self.project.parse().ok()
    }

    fn name(&self) -> Option<&str> {
        None
    }
}

impl Kept for SigningKey {
    type Id = SigningKeyId;
    type Parent = ();

    fn parent(&self) -> Option<()> {
        Some(())
    }

    fn name(&self) -> Option<&str> {
        None
    }
}

impl Kept for Request {
    type Id = RequestId;
    type Parent = ();

    fn parent(&self) -> Option<()> {
        Some(())
    }

    fn name(&self) -> Option<&str> {
        None
    }
}
