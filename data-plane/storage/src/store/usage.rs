//! What projects have used, as far as a shard knows.

use std::{collections::BTreeMap, ops::Range};

use highwater_broker::metering::Hour;
use highwater_proto::ids::ProjectId;

use super::{
    ShardStore, StoreError,
    pending::Pending,
    value::{damaged, decode_hour},
};
use crate::keys::Key;

impl ShardStore {
    /// What a project has used in each of these hours in which anything has changed, in their order, and before them
    /// the last hour that was earlier: what it stored stays so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self, project: ProjectId, hours: Range<u64>) -> Result<Vec<Hour>, StoreError> {
        let (prefix, mut iterator, pending) = {
            let inner = self.inner.read();
            let of_project = |table: &Pending| {
                let before = table.used_before.iter().filter(|(of, _)| *of == project);
                before.map(|(_, hour)| hour.clone()).collect::<Vec<_>>()
            };
            let mut pending: Vec<Hour> = inner.tables().flat_map(of_project).collect();
            pending.extend(inner.state.ledger().hour(project).cloned());
            // It goes on to show the store as it is now, and applying need not wait until it is read.
            (inner.prefix, inner.iterate(&self.shared), pending)
        };
        let mut found: BTreeMap<u64, Hour> = BTreeMap::new();
        let range = prefix.usage(project, 0..hours.end);
        let first = prefix.key(Key::Usage(project, hours.start));
        let is_there = iterator.seek_back(&first)? && iterator.key() >= &range.start[..];
        let mut more = is_there || iterator.seek(&first)?;
        while more && iterator.key() < &range.end[..] {
            let Some(Key::Usage(_, at)) = Key::decode_whole(iterator.key()) else {
                return Err(damaged("the key of what a project has used"));
            };
            found.insert(at, decode_hour(iterator.value())?);
            more = iterator.next()?;
        }
        // What is pending is newer than what is stored.
        found.extend(pending.into_iter().map(|hour| (hour.hour, hour)));
        let earlier = found.range(..hours.start).next_back();
        let earlier = earlier.map(|(_, hour)| hour.clone());
        let within = found.range(hours).map(|(_, hour)| hour.clone());
        Ok(earlier.into_iter().chain(within).collect())
    }
}
