#!/bin/sh
# Proves that the simulation finds bugs: compiles one at a time into the crates under test, and expects that
# one of 500 seeds finds it.
#
#   ./prove.sh                     all of them
#   ./prove.sh off-by-one-resume   this one
set -eu
cd "$(dirname "$0")"

SEEDS=500
OURS="-p highwater-broker -p highwater-storage -p highwater-cluster -p highwater-sim"

# Cargo does not know what the wrapper adds, so what was compiled with it must not stay.
forget() {
    # shellcheck disable=SC2086
    cargo clean --quiet --release $OURS
}
trap forget EXIT

[ $# -gt 0 ] || set -- ack-before-fsync vote-not-synced read-without-read-index off-by-one-resume
missed=0
for plant in "$@"; do
    forget
    HIGHWATER_PLANT=$plant RUSTC_WRAPPER="$PWD/plant-rustc.sh" cargo build --quiet --release
    cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/' | {
        read -r target
        "$target/release/highwater-sim" --plant "$plant" --seeds "$SEEDS"
    } || missed=1
done
exit $missed
