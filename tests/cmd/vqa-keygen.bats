#!/usr/bin/env bats
# vqa-keygen: files, modes, what is refused.

load ../lib/helpers

@test "a pair of keys: the secret half for its owner only, nothing is replaced" {
    umask 000
    status_is 0 vqa-keygen gpu1
    [ -z "$output$stderr" ]
    [ "$(stat -c %a gpu1.key)" = 600 ] && [ "$(stat -c %a gpu1.pub)" = 644 ]
    [ "$(wc -c <gpu1.key)" -eq 41 ] && [ "$(wc -c <gpu1.pub)" -eq 41 ]
    run ! cmp -s gpu1.key gpu1.pub
    cp gpu1.key before
    status_is 64 vqa-keygen gpu1
    says "gpu1.pub: File exists"
    rm gpu1.pub
    status_is 64 vqa-keygen gpu1
    says "gpu1.key: File exists"
    cmp gpu1.key before
}

@test "keys are ones that libzmq takes, and never the same twice" {
    vqa-keygen a && vqa-keygen b
    run ! cmp -s a.key b.key
    python3 -c '
import zmq
assert zmq.curve_public(open("a.key", "rb").read().strip()) == open("a.pub", "rb").read().strip()'
}

@test "bad usage and a place that cannot be written" {
    status_is 64 vqa-keygen
    says "expected one operand"
    status_is 64 vqa-keygen a b
    status_is 74 vqa-keygen nosuch/dir/name
    says "No such file"
}
