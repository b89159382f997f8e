//! The one source of randomness of a simulation: the C library's `getrandom`, answered from the seed.
//!
//! Whatever asks the system for random bytes ends here: the generator that openraft draws its election
//! time-outs from, the keys of the standard library's hash maps, the salts of the log. So the crates
//! under test run with the code they are shipped with. A simulation has a thread of its own, because
//! both the generator and the hash keys are kept by thread.

use std::{
    cell::Cell,
    ffi::{c_uint, c_void},
};

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on everything random on this thread follows from the seed. For a thread that has not asked
/// for anything random yet.
pub fn seed_thread(seed: u64) {
    STATE.set(Some(seed));
}

/// Takes the place of the C library's function of the same name, for everything in this program.
///
/// # Safety
/// `buffer` has room for `bytes` bytes, as getrandom(2) demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, bytes: usize, flags: c_uint) -> isize {
    let Some(mut state) = STATE.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the same call with the same arguments.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, bytes, flags) as isize };
    };
    // SAFETY: the caller owns these bytes, by the contract above.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) };
    for chunk in buffer.chunks_mut(8) {
        chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
    }
    STATE.set(Some(state));
    bytes as isize
}

/// splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::{
        hash::{BuildHasher, RandomState},
        thread,
    };

    use rand::{TryRngCore, rngs::OsRng};

    use super::seed_thread;

    #[test]
    fn what_is_random_elsewhere_follows_from_the_seed_here() {
        let draw = |seed| {
            let drawn = move || {
                seed_thread(seed);
                (
                    RandomState::new().hash_one(1),
                    OsRng.try_next_u64().unwrap(),
                )
            };
            thread::spawn(drawn).join().unwrap()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
