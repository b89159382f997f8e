//! The documents of one kind, and how they are found.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{Debug, Display},
    hash::Hash,
    ops::Bound,
    str::FromStr,
    sync::Arc,
};

/// What can be kept in a [`Collection`].
pub trait Kept: Clone + PartialEq {
    /// What names one of them, for ever. Newer ones have higher ones.
    type Id: Copy + Ord + FromStr + Display + Debug;
    /// What it belongs to.
    type Parent: Copy + Ord + Hash + Debug;

    /// What this one belongs to, when that can be read.
    fn parent(&self) -> Option<Self::Parent>;

    /// A name that no other one with the same parent has; none while the name is free for others.
    fn name(&self) -> Option<&str>;
}

/// A resource, and what is known of its writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<T> {
    /// The catalogue's version when it was last written.
    pub version: u64,
    /// In milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// In milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
    /// The resource itself.
    pub value: T,
}

impl<T> Stored<T> {
    /// The same of another value.
    pub fn with<U>(&self, value: U) -> Stored<U> {
        Stored {
            version: self.version,
            created_at_ms: self.created_at_ms,
            updated_at_ms: self.updated_at_ms,
            value,
        }
    }
}

/// Documents of one kind.
#[derive(Debug)]
pub struct Collection<T: Kept> {
    all: BTreeMap<T::Id, Arc<Stored<T>>>,
    children: HashMap<T::Parent, BTreeSet<T::Id>>,
    names: HashMap<T::Parent, HashMap<String, T::Id>>,
}

impl<T: Kept> Default for Collection<T> {
    fn default() -> Collection<T> {
        Collection {
            all: BTreeMap::new(),
            children: HashMap::new(),
            names: HashMap::new(),
        }
    }
}

impl<T: Kept> Collection<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The one with this id.
    pub fn get(&self, id: T::Id) -> Option<&Arc<Stored<T>>> {
        self.all.get(&id)
    }

    /// The one with this name in a parent.
    pub fn named(&self, parent: T::Parent, name: &str) -> Option<(T::Id, &Arc<Stored<T>>)> {
        let id = *self.names.get(&parent)?.get(name)?;
        Some((id, self.all.get(&id)?))
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (T::Id, &Arc<Stored<T>>)> {
        self.all.iter().map(|(id, stored)| (*id, stored))
    }

    /// Those of a parent, in the order of their ids.
    pub fn of(&self, parent: T::Parent) -> impl Iterator<Item = (T::Id, &Arc<Stored<T>>)> {
        self.of_after(parent, None)
    }

    /// The same from behind an id on, whether or not that one is still there.
    pub fn of_after(
        &self,
        parent: T::Parent,
        after: Option<T::Id>,
    ) -> impl Iterator<Item = (T::Id, &Arc<Stored<T>>)> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let children = self.children.get(&parent).into_iter();
        children
            .flat_map(move |ids| ids.range((first, Bound::Unbounded)))
            .filter_map(|id| Some((*id, self.all.get(id)?)))
    }

    /// How many a parent has.
    pub fn count_of(&self, parent: T::Parent) -> usize {
        self.children.get(&parent).map_or(0, BTreeSet::len)
    }

    /// Puts one in the place of what has its id.
    pub fn insert(&mut self, id: &str, stored: Stored<T>) {
        self.remove(id);
        let (Ok(id), Some(parent)) = (id.parse::<T::Id>(), stored.value.parent()) else {
            tracing::warn!(id, "a document of the catalogue cannot be read");
            return;
        };
        self.children.entry(parent).or_default().insert(id);
        if let Some(name) = stored.value.name() {
            let names = self.names.entry(parent).or_default();
            names.insert(name.to_owned(), id);
        }
        self.all.insert(id, Arc::new(stored));
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &str) {
        let Ok(id) = id.parse::<T::Id>() else {
            return;
        };
        let Some(stored) = self.all.remove(&id) else {
            return;
        };
        let Some(parent) = stored.value.parent() else {
            return;
        };
        if let Some(children) = self.children.get_mut(&parent) {
            children.remove(&id);
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
        let (Some(name), Some(names)) = (stored.value.name(), self.names.get_mut(&parent)) else {
            return;
        };
        if names.get(name) == Some(&id) {
            names.remove(name);
        }
        if names.is_empty() {
            self.names.remove(&parent);
        }
    }
}
