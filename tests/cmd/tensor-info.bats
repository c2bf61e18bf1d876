#!/usr/bin/env bats
# tensor-info: what is in a stream.

load ../lib/helpers

@test "names, types, shapes, ranges; NaN counted; JSON says the same" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "a", "x": np.float32([[1, 2], [np.nan, 4]]),
                                 "t": "two\nlines", "e": np.zeros((0, 3), "f4")}))
P
    status_is 0 tensor-info in
    [ "${lines[0]}" = a ]
    [[ $output == *"x "*"f32  (2, 2)"*"min 1 "*"max 4  1 not finite"* ]]
    [[ $output == *'"two lines"'* ]]
    [[ $output == *"(0, 3)"*empty* ]]
    status_is 0 tensor-info --json in
    [ "$(jq -c .x <<<"$output")" = '{"dtype":"f32","shape":[2,2],"min":1,"mean":2.3333333333333335,"max":4,"not_finite":1}' ]
    [ "$(jq -r .t <<<"$output")" = $'two\nlines' ]
    [ "$(jq -r .e.min <<<"$output")" = null ]
}

@test "an error record is shown, and the status is 1" {
    python3 - >in <<'P'
import sys, msgpack
sys.stdout.buffer.write(msgpack.packb({"id": "a", "err": {"kind": "data", "stage": "s", "message": "bad"}}))
P
    status_is 1 tensor-info in
    [[ $output == *"err"*"s: bad (data)"* ]]
    status_is 1 tensor-info --json in
    [ "$(jq -r .err.message <<<"$output")" = bad ]
}

@test "failures: nothing there, truncated, not a stream, arguments" {
    status_is 66 tensor-info nosuch
    says "tensor-info: nosuch: No such file or directory"
    echo hello >text
    status_is 65 tensor-info text
    one_line
    status_is 65 tensor-info </dev/null
    says "empty, expected a stream"
    status_is 64 tensor-info --jsn
    says "did you mean --json?"
    printf '\x81\xa2id\xa1x' >in
    status_is 74 bash -c 'tensor-info in >/dev/full'
}
