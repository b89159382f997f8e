//! A disk in memory that forgets, tears, flips bits and refuses, all of it on request.
//!
//! Synced and un-synced bytes are kept apart sector by sector (512 bytes). [`FaultDisk::crash`]
//! is the loss of power: of every sector written since the last sync any version may be what is
//! found afterwards, and of the changes of names since the last sync of the folder a prefix. The
//! choice follows from a seed, so a failing run is repeated by its number.

mod sectors;

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;

use self::sectors::Sectors;
use super::{Disk, File};

/// What is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`File::write_at`].
    Write,
    /// [`File::sync_data`].
    Sync,
    /// [`Disk::create`].
    Create,
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`File::read_at`].
    Read,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What [`Disk::list`] sees.
    names: BTreeMap<String, usize>,
    /// What a crash goes back to, with what was done since.
    names_synced: BTreeMap<String, usize>,
    names_unsynced: Vec<NameChange>,
    files: Vec<Sectors>,
    /// Handles of an earlier power cycle are dead.
    cycle: u64,
    /// Changes left before the power goes, if it is to go.
    changes_left: Option<u64>,
    changes: u64,
    power_is_out: bool,
    fault: Option<Fault>,
    flips_unsynced: bool,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

struct Fault {
    operation: Operation,
    /// How many of them still succeed.
    after: u64,
    error: rustix::io::Errno,
}

impl FaultDisk {
    /// An empty disk.
    pub fn new() -> FaultDisk {
        FaultDisk::default()
    }

    /// The power goes out and comes back. Open handles fail from here on, what was synced is there,
    /// and what was not is decided by `seed`. Injected errors are forgotten.
    pub fn crash(&self, seed: u64) {
        let mut state = self.state.lock();
        let mut dice = Dice(seed);
        let kept = match dice.below(3) {
            0 => 0,
            1 => state.names_unsynced.len(),
            _ => dice.below(state.names_unsynced.len() as u64 + 1) as usize,
        };
        let mut names = std::mem::take(&mut state.names_synced);
        for change in &state.names_unsynced[..kept] {
            change.clone().apply(&mut names);
        }
        state.names = names.clone();
        state.names_synced = names;
        state.names_unsynced.clear();

        let fate = Fate::roll(&mut dice);
        let flips = state.flips_unsynced;
        let live: Vec<usize> = state.names.values().copied().collect();
        for (id, file) in state.files.iter_mut().enumerate() {
            match live.contains(&id) {
                true => file.crash(fate, flips, &mut dice),
                // No name leads to it any more; its number stays taken.
                false => *file = Sectors::default(),
            }
        }
        state.begin_cycle();
    }

    /// The process ends and the machine does not: open handles fail from here on, and everything is found as it was
    /// written, synced or not. Injected errors are forgotten.
    pub fn restart(&self) {
        self.state.lock().begin_cycle();
    }

    /// From now on `changes` more writes, syncs and changes of names work; then the power is out and
    /// everything fails until [`FaultDisk::crash`] or
    /// [`FaultDisk::restart`]. A write during which it goes out may be found.
    pub fn cut_power_after(&self, changes: u64) {
        self.state.lock().changes_left = Some(changes);
    }

    /// Whether the power went out and [`FaultDisk::crash`] was not called since.
    pub fn power_is_out(&self) -> bool {
        self.state.lock().power_is_out
    }

    /// Writes, syncs and changes of names so far.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Lets `after` more operations of this kind succeed and every one after that fail with `EIO`
    /// or whatever `errno` says (28 is a full disk). A failed sync leaves its bytes readable and
    /// un-synced for good, as Linux does.
    pub fn fail_after(&self, operation: Operation, after: u64, errno: i32) {
        let error = rustix::io::Errno::from_raw_os_error(errno);
        self.state.lock().fault = Some(Fault {
            operation,
            after,
            error,
        });
    }

    /// Ends what [`FaultDisk::fail_after`] began.
    pub fn heal(&self) {
        self.state.lock().fault = None;
    }

    /// Whether a crash may also flip bits of what had not been synced. Off at first.
    pub fn flip_unsynced_bits(&self, on: bool) {
        self.state.lock().flips_unsynced = on;
    }

    /// Flips bit `bit` (0 to 7) of the byte at `offset`, as a rotting disk would.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        let mut state = self.state.lock();
        let id = state.names[name];
        state.files[id].flip_bit(offset, bit);
    }

    /// The bytes of a file as a reader sees them now.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state
            .names
            .get(name)
            .map(|&id| state.files[id].bytes().to_vec())
    }

    /// Puts a file there, durably: a sample of the past, or a mutilated one.
    pub fn put(&self, name: &str, contents: &[u8]) {
        let mut state = self.state.lock();
        let id = state.files.len();
        state.files.push(Sectors::synced(contents.to_vec()));
        state.names.insert(name.to_owned(), id);
        state.names_synced.insert(name.to_owned(), id);
    }

    fn file(&self, state: &State, id: usize) -> Box<dyn File> {
        Box::new(FaultFile {
            disk: self.clone(),
            id,
            cycle: state.cycle,
        })
    }
}

impl std::fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultDisk")
            .field("names", &self.state.lock().names)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Says whether an operation works; with `Ok(false)` the power goes out in the middle of it.
    fn begin(&mut self, operation: Option<Operation>, changes: bool) -> io::Result<bool> {
        if self.power_is_out {
            return Err(power_is_out());
        }
        if let (Some(fault), Some(operation)) = (&mut self.fault, operation)
            && fault.operation == operation
        {
            match fault.after.checked_sub(1) {
                Some(left) => fault.after = left,
                None => return Err(fault.error.into()),
            }
        }
        if !changes {
            return Ok(true);
        }
        self.changes += 1;
        match self.changes_left.as_mut().map(|left| left.checked_sub(1)) {
            None => Ok(true),
            Some(Some(left)) => {
                self.changes_left = Some(left);
                Ok(true)
            }
            Some(None) => {
                self.power_is_out = true;
                Ok(false)
            }
        }
    }

    fn begin_cycle(&mut self) {
        self.cycle += 1;
        self.power_is_out = false;
        self.changes_left = None;
        self.fault = None;
    }

    fn change_names(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.names_unsynced.push(change);
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Set(name, id) => {
                names.insert(name, id);
            }
            NameChange::Remove(name) => {
                names.remove(&name);
            }
            NameChange::Rename(from, to) => {
                let id = names
                    .remove(&from)
                    .expect("changes of names are kept in order");
                names.insert(to, id);
            }
        }
    }
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.begin(None, false)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>> {
        let mut state = self.state.lock();
        let lights = state.begin(Some(Operation::Create), true)?;
        if state.names.contains_key(name) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                name.to_owned(),
            ));
        }
        let id = state.files.len();
        state.files.push(Sectors::synced(vec![0; bytes as usize]));
        state.change_names(NameChange::Set(name.to_owned(), id));
        if lights {
            Ok(self.file(&state, id))
        } else {
            Err(power_is_out())
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state.lock();
        state.begin(None, false)?;
        let id = state.id(name)?;
        Ok(self.file(&state, id))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let lights = state.begin(None, true)?;
        state.id(name)?;
        state.change_names(NameChange::Remove(name.to_owned()));
        if lights { Ok(()) } else { Err(power_is_out()) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let lights = state.begin(None, true)?;
        state.id(from)?;
        state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        if lights { Ok(()) } else { Err(power_is_out()) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.begin(Some(Operation::SyncDir), true)? {
            return Err(power_is_out());
        }
        state.names_synced = state.names.clone();
        state.names_unsynced.clear();
        Ok(())
    }
}

struct FaultFile {
    disk: FaultDisk,
    id: usize,
    cycle: u64,
}

impl FaultFile {
    fn with<T>(
        &self,
        operation: Option<Operation>,
        changes: bool,
        act: impl FnOnce(&mut Sectors, bool) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if state.cycle != self.cycle {
            return Err(io::Error::other("the handle is from before a crash"));
        }
        let begun = state.begin(operation, changes);
        if begun.is_err() && operation == Some(Operation::Sync) {
            state.files[self.id].fail_sync();
        }
        act(&mut state.files[self.id], begun?)
    }
}

impl File for FaultFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(Some(Operation::Write), true, |file, lights| {
            file.write(bytes, offset as usize);
            if lights { Ok(()) } else { Err(power_is_out()) }
        })
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(Some(Operation::Read), false, |file, _| {
            let offset = offset as usize;
            let found = file
                .bytes()
                .get(offset..offset + bytes.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(found);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Some(Operation::Sync), true, |file, lights| {
            if !lights {
                return Err(power_is_out());
            }
            file.sync();
            Ok(())
        })
    }

    fn bytes(&self) -> io::Result<u64> {
        self.with(None, false, |file, _| Ok(file.bytes().len() as u64))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(Some(Operation::Write), true, |file, lights| {
            file.truncate(bytes as usize);
            if lights { Ok(()) } else { Err(power_is_out()) }
        })
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.with(None, false, |file, _| {
            file.forget_failed();
            Ok(())
        })
    }
}

fn power_is_out() -> io::Error {
    io::Error::other("the power is out")
}

/// What a crash does to un-synced sectors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// None is found.
    Lost,
    /// All are found.
    Kept,
    /// Each for itself.
    Torn,
    /// Those before some point are found, the rest is not.
    Prefix,
}

impl Fate {
    fn roll(dice: &mut Dice) -> Fate {
        match dice.below(8) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            2 | 3 => Fate::Prefix,
            _ => Fate::Torn,
        }
    }
}

/// Random numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
