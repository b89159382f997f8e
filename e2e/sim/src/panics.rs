//! Panics inside a simulation are violations: they are kept for the report instead of printed.

use std::{
    cell::{Cell, RefCell},
    panic,
    sync::Once,
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of this thread are kept.
pub fn catch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                let text = info.to_string();
                FIRST.with_borrow_mut(|first| {
                    first.get_or_insert(text);
                });
            } else {
                print(info);
            }
        }));
    });
    CATCHING.set(true);
}

/// The first panic of this thread: those after it follow from it.
pub fn first() -> Option<String> {
    FIRST.take()
}
