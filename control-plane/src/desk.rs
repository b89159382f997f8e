//! For tests of rules: a catalogue to decide with, to which changes are made at once.

use highwater_proto::ids::TenantId;
use serde_json::{Value, from_value, json};

use crate::{
    admin::{Caller, Principal},
    catalogue::Catalogue,
    refusal::Result,
    tenants,
    write::{Answer, Change, Now},
};

/// A catalogue, a caller and a time.
pub struct Desk {
    pub catalogue: Catalogue,
    pub caller: Caller,
    pub ms: u64,
    /// How many documents the last change has written.
    pub written: usize,
}

impl Desk {
    /// An operator's, before anything is there.
    pub fn new() -> Desk {
        Desk {
            catalogue: Catalogue::default(),
            caller: Caller::service(),
            ms: 1_000,
            written: 0,
        }
    }

    /// With a tenant.
    pub fn with_tenant(name: &str) -> (Desk, TenantId) {
        let (mut desk, id) = (Desk::new(), TenantId::generate());
        let settings = parse(json!({"name": name}));
        desk.make(|now| tenants::create(now, id, &settings))
            .unwrap();
        (desk, id)
    }

    /// The caller is somebody with this subject.
    pub fn be(&mut self, subject: &str) {
        self.caller.principal = Principal {
            actor: format!("user:{subject}"),
            is_operator: false,
            subjects: vec![subject.to_owned()],
        };
    }

    /// Decides, and makes the change.
    pub fn make(&mut self, decide: impl FnOnce(&Now<'_>) -> Result<Change>) -> Result<Answer> {
        self.ms += 1;
        let version = self.catalogue.version();
        let change = decide(&Now {
            catalogue: &self.catalogue,
            caller: &self.caller,
            ms: self.ms,
        })?;
        self.written = change.documents.len();
        assert!(
            self.written == 0 || !change.audit.is_empty(),
            "each change is audited"
        );
        let mut documents = change.documents;
        for (index, document) in documents.iter_mut().enumerate() {
            document.version = version + index as u64 + 1;
        }
        self.catalogue
            .apply(documents, version + self.written as u64);
        Ok(change.answer)
    }
}

/// What a client would send.
pub fn parse<T: serde::de::DeserializeOwned>(body: Value) -> T {
    from_value(body).unwrap()
}
