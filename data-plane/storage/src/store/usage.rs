//! What projects have used, as far as a shard knows.

use std::{collections::BTreeMap, ops::Range};

use highwater_broker::metering::Hour;
use highwater_proto::ids::ProjectId;

use super::{
    ShardStore, StoreError,
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
        let inner = self.inner.read();
        let mut found: BTreeMap<u64, Hour> = BTreeMap::new();
        let range = inner.prefix.usage(project, 0..hours.end);
        let mut iterator = self.shared.kv.iterate(range.clone());
        let first = inner.prefix.key(Key::Usage(project, hours.start));
        let mut more = iterator.seek_back(&first)? || iterator.seek(&first)?;
        while more {
            let Some(Key::Usage(_, at)) = Key::decode_whole(iterator.key()) else {
                return Err(damaged("the key of what a project has used"));
            };
            found.insert(at, decode_hour(iterator.value())?);
            more = iterator.next()?;
        }
        // What is pending is newer than what is stored.
        for table in inner.tables() {
            let of_project = table.used_before.iter().filter(|(of, _)| *of == project);
            found.extend(of_project.map(|(_, hour)| (hour.hour, hour.clone())));
        }
        let now = inner.state.ledger().hour(project);
        found.extend(now.map(|hour| (hour.hour, hour.clone())));
        let earlier = found.range(..hours.start).next_back();
        let earlier = earlier.map(|(_, hour)| hour.clone());
        let within = found.range(hours).map(|(_, hour)| hour.clone());
        Ok(earlier.into_iter().chain(within).collect())
    }
}
