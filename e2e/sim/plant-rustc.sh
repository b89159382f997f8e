#!/bin/sh
# A compiler that plants the bug $HIGHWATER_PLANT, in our own crates only: the others stay as they were compiled.
rustc=$1
shift
case " $* " in
*" --crate-name highwater_"*) exec "$rustc" "$@" --cfg "highwater_plant=\"$HIGHWATER_PLANT\"" ;;
*) exec "$rustc" "$@" ;;
esac
