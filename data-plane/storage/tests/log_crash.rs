//! Power cuts at every step: what was promised is there, what never was is not, and no log has a hole.

mod log;

use highwater_storage::{disk::fault::Operation, log::LogOptions};
use log::{
    model::{Dice, Model},
    options,
};

const EIO: i32 = 5;

/// Small enough that a few changes fill it and files come back.
fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 4 << 10,
        cache_bytes_max: 4 << 10,
        ..options()
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_promised() {
    for seed in 0..20 {
        let mut cut = 0;
        loop {
            let mut model = Model::new(seed, small());
            model.disk.flip_unsynced_bits(seed % 2 == 0);
            model.disk.cut_power_after(cut);
            let survived = model.round(40);
            model.crash();
            model.round(5);
            if survived {
                break;
            }
            cut += 1;
        }
        assert!(cut > 20, "the power was cut at {cut} steps only");
    }
}

#[test]
fn a_log_survives_one_power_cut_after_the_other() {
    for seed in 0..300 {
        let mut model = Model::new(seed, small());
        let mut dice = Dice::new(seed);
        model.disk.flip_unsynced_bits(seed % 3 == 0);
        for _ in 0..15 {
            if dice.below(5) > 0 {
                model.disk.cut_power_after(dice.below(60));
            }
            let clean = model.round(60);
            // Now and then the process stops and the machine does not.
            if !clean || dice.below(2) == 0 {
                model.crash();
            }
        }
    }
}

#[test]
fn what_recovery_found_survives_the_next_crash() {
    for seed in 0..200 {
        let mut model = Model::new(seed, small());
        model.disk.cut_power_after(10 + seed % 50);
        model.round(100);
        model.crash();
        // Checked at each opening: once found, a state is promised.
        for _ in 0..3 {
            model.round(0);
            model.crash();
        }
    }
}

#[test]
fn a_process_started_again_after_a_failed_sync_does_not_trust_the_page_cache() {
    for seed in 0..200 {
        let mut model = Model::new(seed, small());
        model.disk.fail_after(Operation::Sync, 1 + seed % 40, EIO);
        assert!(!model.round(200));
        model.disk.restart();
        // Not a crash: the cache still has what the disk does not.
        assert!(model.round(20));
        model.crash();
        assert!(model.round(20));
    }
}

#[test]
fn what_a_killed_process_left_in_the_page_cache_is_durable_once_it_was_found() {
    for seed in 0..200 {
        let mut model = Model::new(seed, small());
        model.disk.cut_power_after(5 + seed % 70);
        model.round(100);
        model.disk.restart();
        // Found, and so promised, before the machine goes down too.
        model.disk.cut_power_after(seed % 3);
        model.round(0);
        model.crash();
        assert!(model.round(20));
    }
}

#[test]
fn what_is_written_after_a_killed_process_survives_the_machine_too() {
    for seed in 0..400 {
        let mut model = Model::new(seed, small());
        model.disk.cut_power_after(5 + seed % 80);
        model.round(100);
        model.disk.restart();
        model.disk.cut_power_after(4 + seed % 7);
        model.round(20);
        model.crash();
        assert!(model.round(20));
    }
}
