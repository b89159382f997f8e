//! A map of which a changed copy costs little, however large it is.
//!
//! It is kept in parts that its copies share. To change an entry is to copy the part it is in, so a reader
//! of the copy before sees nothing of it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use rustc_hash::FxBuildHasher;

/// Parts of one table. A table of a hundred thousand entries has four hundred in each.
const PARTS: usize = 256;

type Part<K, V> = Arc<HashMap<K, V, FxBuildHasher>>;

#[derive(Debug, Clone)]
pub struct Table<K, V> {
    parts: Box<[Part<K, V>]>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        let empty = Part::default();
        Table {
            parts: vec![empty; PARTS].into(),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.parts[part_of(key)].get(key)
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        Arc::make_mut(&mut self.parts[part_of(&key)]).insert(key, value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let part = &mut self.parts[part_of(key)];
        match part.contains_key(key) {
            true => Arc::make_mut(part).remove(key),
            false => None,
        }
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }
}

fn part_of<K: Hash>(key: &K) -> usize {
    // The map inside uses other bits of the same hash.
    (FxBuildHasher.hash_one(key) >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_proto::ids::KeyId;

    #[test]
    fn a_copy_is_as_it_was() {
        let mut table = Table::default();
        let ids: Vec<KeyId> = (0..1_000).map(|_| KeyId::generate()).collect();
        for (number, id) in ids.iter().enumerate() {
            table.insert(*id, number);
        }
        let before = table.clone();
        assert_eq!(table.insert(ids[3], 0), Some(3));
        assert_eq!(table.remove(&ids[4]), Some(4));
        assert_eq!(table.remove(&ids[4]), None);
        assert_eq!((table.get(&ids[3]), table.get(&ids[4])), (Some(&0), None));
        assert_eq!(
            (before.get(&ids[3]), before.get(&ids[4])),
            (Some(&3), Some(&4))
        );
        assert_eq!(
            (before.values().count(), table.values().count()),
            (1_000, 999)
        );
    }

    #[test]
    fn ids_that_are_made_one_after_the_other_are_spread_over_the_parts() {
        let mut table = Table::default();
        for _ in 0..PARTS * 8 {
            table.insert(KeyId::generate(), ());
        }
        let largest = table.parts.iter().map(|part| part.len()).max();
        assert!(largest < Some(40), "{largest:?}");
    }
}
