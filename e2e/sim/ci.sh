#!/bin/sh
# What is checked on every change: the simulation repeats itself, and 200 seeds keep all promises.
# The last line is `N passed, N failed`.
set -eu
cd "$(dirname "$0")"
cargo test --quiet --release
cargo run --quiet --release -- --seeds "${1:-200}"
