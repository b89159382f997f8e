//! What a log should hold, as the sequence of everything that was asked of it, and a random asker.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use highwater_proto::ids::ShardId;
use highwater_storage::{
    disk::fault::FaultDisk,
    log::{Entry, Log, LogError, LogId, LogOptions, ShardState, Vote},
};

use super::{block_on, entry};

const SHARDS: u32 = 3;

/// All shards after one more change.
type World = Vec<Shard>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shard {
    state: ShardState,
    entries: Vec<Entry>,
    term: u64,
}

/// Random numbers from a seed (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(2);
        dice
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start + 1)
    }
}

/// A log on a faulty disk and what it should hold.
pub struct Model {
    pub disk: FaultDisk,
    pub options: LogOptions,
    dice: Dice,
    /// The state after every change since the log was opened; the queue has one order for all shards, so after a
    /// crash it is one of these.
    worlds: Vec<World>,
    /// The last of them that is promised.
    durable: Arc<AtomicUsize>,
}

impl Model {
    pub fn new(seed: u64, options: LogOptions) -> Model {
        let worlds = vec![vec![Shard::default(); SHARDS as usize]];
        Model {
            disk: FaultDisk::new(),
            options,
            dice: Dice::new(seed),
            worlds,
            durable: Arc::default(),
        }
    }

    /// Opens the log, checks what it holds, asks for `changes` random changes, and stops. Returns whether it
    /// was able to do all that.
    pub fn round(&mut self, changes: usize) -> bool {
        let opened = Log::open(Arc::new(self.disk.clone()), self.options.clone());
        let (log, writer) = match opened {
            Ok(opened) => opened,
            Err(error) if self.disk.power_is_out() => {
                assert!(matches!(error, LogError::Io { .. }), "{error}");
                return false;
            }
            Err(error) => panic!("what a crash leaves is not corruption: {error}"),
        };
        if self.check(&log).is_err() {
            assert!(self.disk.power_is_out());
            return false;
        }
        let watch = log.watch_failure();
        block_on(async {
            tokio::join!(self.changes(log, changes), writer.run());
        });
        let failed = watch.borrow().is_some();
        if !failed {
            self.promise(self.worlds.len() - 1);
        }
        !failed
    }

    /// The power goes out and comes back.
    pub fn crash(&mut self) {
        self.disk.crash(self.dice.below(u64::from(u32::MAX)));
    }

    /// Finds which of the worlds the log holds.
    fn check(&mut self, log: &Log) -> io::Result<()> {
        let mut found = World::new();
        for shard in 0..SHARDS {
            let shard = log.shard(ShardId(shard));
            let live = shard.live();
            let entries = shard.read(0..u64::MAX, usize::MAX)?;
            assert_eq!(entries.len() as u64, live.end - live.start, "a hole");
            found.push(Shard {
                state: shard.state(),
                entries,
                term: 0,
            });
        }
        let promised = self.durable.load(Ordering::Relaxed);
        let matching = (promised..self.worlds.len())
            .rev()
            .find(|&world| agrees(&found, &self.worlds[world]));
        let Some(matching) = matching else {
            panic!(
                "promised {promised} of {}, found {found:#?}\n promised {:#?}\nlast {:#?}",
                self.worlds.len() - 1,
                self.worlds[promised],
                self.worlds.last()
            );
        };
        for (shard, was) in found.iter_mut().zip(&self.worlds[matching]) {
            shard.term = was.term;
        }
        self.worlds = vec![found];
        // Late callbacks of the log before this one must not count.
        self.durable = Arc::default();
        Ok(())
    }

    async fn changes(&mut self, log: Log, changes: usize) {
        for _ in 0..changes {
            if self.change(&log).await.is_err() {
                return;
            }
            if self.dice.below(3) == 0 {
                tokio::task::yield_now().await;
            }
            if self.dice.below(6) == 0 {
                self.read_something(&log);
            }
        }
    }

    async fn change(&mut self, log: &Log) -> io::Result<()> {
        let number = self.dice.below(u64::from(SHARDS)) as usize;
        let shard = log.shard(ShardId(number as u32));
        let mut world = self.worlds.last().unwrap().clone();
        let was = &mut world[number];
        let nth = self.worlds.len();
        match self.dice.below(20) {
            0..11 => {
                let next = was.state.last.map_or(0, |last| last.index + 1);
                let bytes = if self.dice.below(30) == 0 {
                    6_000
                } else {
                    self.dice.below(700)
                };
                let count = self.dice.between(1, 4);
                let added: Vec<Entry> = (next..next + count)
                    .map(|index| entry(was.term, index, bytes as usize))
                    .collect();
                was.entries.extend(added.iter().cloned());
                was.state.last = added.last().map(|entry| entry.id);
                self.worlds.push(world);
                let durable = self.durable.clone();
                let on_durable = move |result: io::Result<()>| {
                    if result.is_ok() {
                        durable.fetch_max(nth, Ordering::Relaxed);
                    }
                };
                shard.append(added, Box::new(on_durable)).await?;
            }
            11..14 => {
                was.term += 1;
                let vote = Vote {
                    term: was.term,
                    node: self.dice.below(3),
                    committed: self.dice.below(2) == 0,
                };
                was.state.vote = Some(vote);
                self.worlds.push(world);
                shard.save_vote(vote).await?;
                self.promise(nth);
            }
            14..16 => {
                let Some(last) = was.state.last else {
                    return Ok(());
                };
                let first = was
                    .entries
                    .first()
                    .map_or(last.index + 1, |entry| entry.id.index);
                let floor = was
                    .state
                    .committed
                    .map_or(first, |committed| first.max(committed.index + 1));
                if floor > last.index {
                    return Ok(());
                }
                let next = self.dice.between(floor, last.index);
                was.entries.retain(|entry| entry.id.index < next);
                was.state.last = was
                    .entries
                    .last()
                    .map(|entry| entry.id)
                    .or(was.state.purged);
                was.term += 1;
                self.worlds.push(world);
                shard.truncate_after(next.checked_sub(1)).await?;
                self.promise(nth);
            }
            16..18 => {
                let Some(last) = was.state.last else {
                    return Ok(());
                };
                let id = match (was.state.committed, self.dice.below(8)) {
                    (_, 0) => LogId {
                        index: last.index + self.dice.below(5),
                        ..last
                    },
                    (Some(committed), _) => {
                        let down = self.dice.below(5);
                        let index = committed.index.saturating_sub(down);
                        let Some(entry) = was.entries.iter().find(|entry| entry.id.index == index)
                        else {
                            return Ok(());
                        };
                        entry.id
                    }
                    (None, _) => return Ok(()),
                };
                if was
                    .state
                    .purged
                    .is_some_and(|purged| purged.index >= id.index)
                {
                    return Ok(());
                }
                was.entries.retain(|entry| entry.id.index > id.index);
                was.state.purged = Some(id);
                was.state.last = was.entries.last().map_or(Some(id), |entry| Some(entry.id));
                self.worlds.push(world);
                shard.purge(id).await?;
            }
            _ => {
                let (Some(first), Some(last)) = (was.entries.first(), was.entries.last()) else {
                    return Ok(());
                };
                let index = self.dice.between(first.id.index, last.id.index);
                let id = was.entries[(index - first.id.index) as usize].id;
                if was
                    .state
                    .committed
                    .is_none_or(|committed| committed.index < index)
                {
                    was.state.committed = Some(id);
                }
                shard.set_committed(id);
                *self.worlds.last_mut().unwrap() = world;
            }
        }
        Ok(())
    }

    fn promise(&self, nth: usize) {
        self.durable.fetch_max(nth, Ordering::Relaxed);
    }

    /// What callers see is what they did, durable or not.
    fn read_something(&mut self, log: &Log) {
        let number = self.dice.below(u64::from(SHARDS)) as usize;
        let (shard, should) = (
            log.shard(ShardId(number as u32)),
            &self.worlds.last().unwrap()[number],
        );
        assert_eq!(shard.state(), should.state);
        match shard.read(0..u64::MAX, usize::MAX) {
            Ok(entries) => assert_eq!(entries, should.entries),
            Err(error) => assert!(self.disk.power_is_out(), "{error}"),
        }
    }
}

/// Whether a log that was found is that world. What is committed may be older than it was, never newer or other.
fn agrees(found: &World, world: &World) -> bool {
    found.iter().zip(world).all(|(found, world)| {
        let committed = found.state.committed;
        let older = match (committed, world.state.committed) {
            (Some(found), Some(was)) => found.index <= was.index,
            (found, _) => found.is_none(),
        };
        let same = found
            .entries
            .iter()
            .find(|entry| committed.is_some_and(|committed| committed.index == entry.id.index))
            .is_none_or(|entry| Some(entry.id) == committed);
        let with_committed = ShardState {
            committed,
            ..world.state
        };
        older && same && found.state == with_committed && found.entries == world.entries
    })
}
