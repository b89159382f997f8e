//! What a credential allows: operations × topic filters.

use highwater_proto::names::{TopicFilter, TopicName};

/// What a credential may do to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Append records.
    Publish = 1,
    /// Read and subscribe.
    Subscribe = 2,
    /// Delete topics.
    Manage = 4,
}

impl Operation {
    /// The operation with this name.
    pub fn from_name(name: &str) -> Option<Operation> {
        match name {
            "publish" => Some(Operation::Publish),
            "subscribe" => Some(Operation::Subscribe),
            "manage" => Some(Operation::Manage),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Publish => "publish",
            Operation::Subscribe => "subscribe",
            Operation::Manage => "manage",
        }
    }
}

/// Operations × topic filters.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    grants: Vec<(u8, TopicFilter)>,
    /// They allow nothing that these do not.
    within: Option<Box<Permissions>>,
}

impl Permissions {
    /// Permissions that allow each of these operations on the topics that match its filter.
    pub fn new(grants: impl IntoIterator<Item = (Vec<Operation>, TopicFilter)>) -> Permissions {
        let compile = |(operations, filter): (Vec<Operation>, TopicFilter)| {
            let bits = operations.iter().fold(0, |bits, o| bits | *o as u8);
            (bits, filter)
        };
        Permissions {
            grants: grants.into_iter().map(compile).collect(),
            within: None,
        }
    }

    /// The same from numbers of operations, each the sum of its [`Operation`]s.
    pub fn from_bits(grants: impl IntoIterator<Item = (u8, TopicFilter)>) -> Permissions {
        Permissions {
            grants: grants.into_iter().collect(),
            within: None,
        }
    }

    /// What is granted, without its limits: for [`Permissions::from_bits`].
    pub fn bits(&self) -> &[(u8, TopicFilter)] {
        &self.grants
    }

    /// What limits them.
    pub fn limits(&self) -> Option<&Permissions> {
        self.within.as_deref()
    }

    /// What both these and others allow.
    pub fn within(self, others: Permissions) -> Permissions {
        Permissions {
            within: Some(Box::new(others)),
            ..self
        }
    }

    /// Whether the operation is allowed on the topic.
    pub fn allow(&self, operation: Operation, topic: &TopicName) -> bool {
        let is_granted = self.granted(operation).any(|f| f.matches(topic.as_str()));
        let within = self.within.as_ref();
        is_granted && within.is_none_or(|within| within.allow(operation, topic))
    }

    /// Whether the operation is allowed on every topic the filter could match.
    pub fn allow_all(&self, operation: Operation, filter: &TopicFilter) -> bool {
        let mut granted = self.granted(operation);
        let within = self.within.as_ref();
        granted.any(|granted| granted.covers(filter))
            && within.is_none_or(|within| within.allow_all(operation, filter))
    }

    fn granted(&self, operation: Operation) -> impl Iterator<Item = &TopicFilter> {
        let grants = self.grants.iter();
        grants.filter_map(move |(bits, f)| (bits & operation as u8 != 0).then_some(f))
    }
}
