#!/usr/bin/env bats
# scripts/bench: what it refuses, before it makes gigabytes of weights.

load lib/helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    /usr/bin/python3 -c 'import numpy, msgpack, msgpack_numpy' 2>no || skip "no python3-numpy, python3-msgpack-numpy"
}

@test "wrong arguments, nothing built, no place for a checkpoint: the last line says so" {
    refused() { # refused STATUS TEXT OPTION...
        local want=$1 text=$2
        shift 2
        status_is "$want" "$repo/scripts/bench" --dir d "$@"
        [[ $(tail -1 <<<"$stderr") == *"$text"* ]] || { echo "$stderr"; false; }
        [ ! -e d ]
    }
    refused 2 "--work: 'sleep', expected some of load, vision" --work load,sleep
    refused 2 "--rounds, --threads: expected 1 or more" --rounds 0
    BUILD=none refused 2 "none/tests/bench/probe: not built" --work load
    mkdir -p built/tests/bench
    touch built/tests/bench/probe
    BUILD=$PWD/built refused 1 "full-size" --work load --dir /proc/none
    says "full-size: [Errno 2]"
}
