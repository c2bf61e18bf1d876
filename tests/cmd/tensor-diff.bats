#!/usr/bin/env bats
# tensor-diff: differences as numbers and as an exit status.

load ../lib/helpers

make_stream() { # values...
    python3 - "$@" <<'P'
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "a", "t": "x", "x": np.float32([float(v) for v in sys.argv[1:]])}))
P
}

@test "equal, close, far" {
    make_stream 1 2 4 >a
    make_stream 1 2 4.004 >b
    status_is 0 tensor-diff a a
    [[ $output == *"max_abs 0"* ]]
    status_is 1 tensor-diff a b
    [[ $output == *"max_abs 0.004"*"max_rel 0.000999"*BEYOND* ]]
    status_is 0 tensor-diff --tol 0.002 a b
    status_is 1 tensor-diff -q a b
    [ -z "$output" ]
}

@test "NaN equals only NaN" {
    make_stream 1 nan >a
    make_stream 1 2 >b
    status_is 0 tensor-diff a a
    status_is 1 tensor-diff --tol 1e9 a b
    [[ $output == *"max_abs inf"* ]]
}

@test "a floating-point number is compared as a tensor of one value is, others byte for byte" {
    record() { python3 -c "import sys, msgpack; sys.stdout.buffer.write(msgpack.packb({'id': 'a', $1}))"; }
    record "'score': -0.5, 'n': 1" >a
    record "'score': -0.501, 'n': 1" >b
    status_is 0 tensor-diff a a
    status_is 1 tensor-diff --tol 0.001 a b
    [[ $output == *"score"*"max_abs 0.001"*"max_rel 0.002"*BEYOND* ]]
    status_is 0 tensor-diff --tol 0.002 a b
    record "'score': -0.5, 'n': 2" >b
    status_is 1 tensor-diff --tol 9 a b
    [[ $output == *"n	differs"* ]]
    record "'score': '-0.5', 'n': 1" >b
    status_is 1 tensor-diff --tol 9 a b
    [[ $output == *"score	differs"* ]]
}

@test "shapes, fields and lengths that differ" {
    make_stream 1 2 >a
    make_stream 1 2 3 >b
    status_is 1 tensor-diff a b
    [[ $output == *"shape (2,), other (3,)"* ]]
    cat a a >two
    status_is 1 tensor-diff a two
    [[ $output == *"a ends first"* ]]
    printf '\x81\xa2id\xa1a' >bare
    status_is 1 tensor-diff a bare
    [[ $output == *"only in the first"* ]]
}

@test "failures: operands, absent, truncated" {
    make_stream 1 >a
    status_is 64 tensor-diff a
    says "1 operands, expected two streams"
    status_is 66 tensor-diff a nosuch
    says "nosuch: No such file"
    head -c 20 a >cut
    status_is 65 tensor-diff a cut
    says "truncated"
    make_stream 2 >b
    status_is 74 bash -c 'tensor-diff a b >/dev/full'
    says "tensor-diff: standard output: No space left on device"
    one_line
    status_is 64 tensor-diff --tol x a a
    says "--tol: 'x', expected a number"
}
