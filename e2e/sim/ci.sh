#!/bin/sh
# The simulation repeats itself, and so many seeds keep all promises: 200 if not said otherwise.
# The last line is `N passed, N failed`.
set -eu
cd "$(dirname "$0")"
cargo test --quiet --release --locked --lib --test determinism
cargo run --quiet --release --locked -- --seeds "${1:-200}"
