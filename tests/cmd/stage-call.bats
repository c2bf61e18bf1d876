#!/usr/bin/env bats
# stage-call: a filter like any other, whatever happens to the servers.

load ../lib/helpers
load ../lib/net

@test "a called filter gives what the local one gives: records, order, errors, header, status" {
    records 50 >in
    python3 -c 'import msgpack; import sys
sys.stdout.buffer.write(msgpack.packb({"id": "bad", "err": {"kind": "data", "stage": "x", "message": "m"}})
                        + msgpack.packb({"nothing": 1}) + msgpack.packb({"id": 7, "a": None}))' >>in
    filters
    serve s -b 4 ipc://s -- tensor-cat
    ready ipc://s
    status_is 1 bash -c 'tensor-cat <in | stage-call ipc://s >out'
    [ -z "$stderr" ]
    tensor-cat <in | tensor-cat >local || [ $? -eq 1 ]
    status_is 0 tensor-diff local out
    python3 - <<'P'
import msgpack
a, b = ([r for r in msgpack.Unpacker(open(f, "rb"), max_buffer_size=0)] for f in ("local", "out"))
assert [list(r) for r in a[1:-1]] == [list(r) for r in b[1:-1]], "fields or their order"
via = [[p["program"] for p in x[0]["stream"]["via"]] for x in (a, b)]
assert via[0] == via[1] == ["tensor-cat", "tensor-cat"], via
P
}

@test "an empty stream, and inputs that are none" {
    serve s ipc://s -- cat
    ready ipc://s
    python3 -c '
import sys, msgpack, hashlib
h = msgpack.packb({"stream": {"version": 1, "via": []}})
end = {"records": 0, "errors": 0, "sha256": hashlib.sha256(h).digest()}
sys.stdout.buffer.write(h + msgpack.packb({"end": end}))' >empty
    status_is 0 bash -o pipefail -c 'stage-call ipc://s <empty | tensor-cat >/dev/null'
    status_is 65 bash -c ': | stage-call ipc://s | cat >/dev/null; exit ${PIPESTATUS[1]}'
    says "empty, expected a stream"
    records 3 | tensor-cat >whole
    head -c 200 whole >cut
    status_is 65 bash -c 'stage-call ipc://s <cut >got'
    says "truncated"
    one_line
    python3 -c 'import msgpack
rs = list(msgpack.Unpacker(open("got", "rb")))
assert [list(r)[0] for r in rs] == ["stream", "id", "id", "abort"], rs'
}

@test "-o FILE: complete or not at all; FILE is the input" {
    filters
    records 20 >in
    python3 filter.py <in >local
    serve s ipc://s -- python3 filter.py
    ready ipc://s
    status_is 0 stage-call -o out ipc://s in
    [ -z "$output" ]
    status_is 0 tensor-diff local out
    records 3 | tensor-cat | head -c 200 >cut
    status_is 65 stage-call -o out2 ipc://s cut
    [ ! -e out2 ]
    [ -z "$(find . -name '*out2*')" ]
    status_is 0 bash -c 'stage-call -o - ipc://s - <in >out3'
    cmp out out3
    mkfifo p
    cat p >out4 &
    status_is 0 stage-call -o p ipc://s in
    [ -z "$output" ]
    wait $!
    [ -p p ]
    cmp out out4
}

@test "nobody there: says so, within the time to connect, naming the endpoint and the records" {
    records 3 >in
    local port begin=$SECONDS
    port=$(free_port)
    status_is 69 timeout 10 bash -c "stage-call --connect-timeout 1 tcp://127.0.0.1:$port,ipc://no <in >out"
    [ $((SECONDS - begin)) -le 8 ]
    says "tcp://127.0.0.1:$port (cannot connect), ipc://no (cannot connect): no server answers, in 1 s; unanswered: r0 r1 r2"
    one_line
    status_is 69 timeout 10 stage-call --connect-timeout 1 --info ipc://no
    status_is 69 bash -c "tensor-cat <in | stage-call --connect-timeout 1 ipc://no | tensor-cat | tensor-info"
    one_line
}

@test "a server that is there and says nothing is one that is not there" {
    local port
    port=$(free_port)
    records 1 >in
    python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', $port)); s.listen(); time.sleep(8)" 3>&- &
    servers+=($!)
    sleep 0.3
    status_is 69 timeout 10 bash -c "stage-call --connect-timeout 1 tcp://127.0.0.1:$port <in | cat >/dev/null; exit \${PIPESTATUS[0]}"
}

@test "bad usage" {
    status_is 64 stage-call
    says "0 operands, expected the endpoints and at most one file"
    status_is 64 stage-call ipc://a in in
    status_is 64 stage-call --info ipc://a in
    says "2 operands, expected the endpoints"
    status_is 64 stage-call --info --metrics ipc://a
    says "expected one of them, and no -o"
    status_is 64 stage-call --metrics -o out ipc://a
    status_is 64 bash -c 'set -o pipefail; stage-call | tensor-cat >/dev/null'
    says "try 'stage-call --help'" # and tensor-cat, which got an abort, says nothing
    one_line
    records 1 >in
    status_is 66 stage-call ipc://a nosuch
    says "nosuch: No such file"
    status_is 74 stage-call -o no/such ipc://a in
    status_is 64 bash -c 'stage-call nonsense <in >/dev/null'
    status_is 64 bash -c 'stage-call foo://x <in >/dev/null'
    says "foo://x: not an endpoint"
    status_is 78 bash -c 'stage-call tcp://192.0.2.1:5 <in >/dev/null'
    says "not on this machine"
    status_is 64 bash -c 'stage-call --key x tcp://127.0.0.1:5 <in >/dev/null'
    says "belong together"
}

@test "zero, one or many records for one, and a record that fails" {
    filters
    records 20 >in
    python3 filter.py many <in >local
    serve s -b 3 -j 2 ipc://s -- python3 filter.py many
    ready ipc://s
    status_is 0 bash -c 'stage-call ipc://s <in >out'
    status_is 0 tensor-diff local out
}

@test "the pyzmq client of the manual page, ten lines" {
    filters
    records 10 >in
    serve s ipc://s -- python3 filter.py
    ready ipc://s
    status_is 0 bash -c "python3 '$repo/examples/call.py' ipc://s <in | tensor-cat | tee out >/dev/null"
    doubled 10 <out
    diff <(sed -n '/^import os, struct/,/^\.Ed/p' "$repo/man/stage-protocol.7" | sed '$d') <(sed -n '/^import os, struct/,$p' "$repo/examples/call.py")
}

@test "two servers share the work, and one that dies is not missed" {
    filters
    records 200 >in
    serve a ipc://a -- python3 filter.py slow 10
    local first=$pid
    serve b ipc://b -- python3 filter.py slow 10
    ready ipc://a && ready ipc://b
    (sleep 1; kill -9 "$first") 3>&- &
    status_is 0 timeout 60 bash -c 'stage-call ipc://a,ipc://b <in >out'
    doubled 200 <out
    [ "$(metric vqa_answers_total ipc://b)" -gt 100 ]
}

@test "gone for a while: waits; gone for long: gives up with 75 and the list" {
    filters
    records 60 >in
    serve a ipc://a -- python3 filter.py slow 20
    ready ipc://a
    (sleep 0.5; kill -9 "$pid"; sleep 3; exec stage-serve ipc://a -- python3 filter.py) 3>&- 2>/dev/null &
    servers+=($!)
    status_is 0 timeout 60 bash -c 'stage-call ipc://a <in >out'
    doubled 60 <out
    records 60 >in
    serve b ipc://b -- python3 filter.py slow 20
    ready ipc://b
    (sleep 0.5; kill -9 "$pid") 3>&- &
    status_is 75 timeout 60 bash -c 'stage-call --lost-timeout 2 ipc://b <in >out'
    says "ipc://b (cannot connect): all servers are lost, in 2 s; unanswered: r"
    one_line
    status_is 75 bash -c 'tensor-cat out >/dev/null' # it ends as we did: no end record
}

@test "--timeout: a record that takes too long" {
    filters
    records 3 >in
    serve s ipc://s -- python3 filter.py slow 30000
    ready ipc://s
    status_is 75 timeout 20 bash -c 'stage-call --timeout 1 ipc://s <in >out'
    says "no answer in time, in 1 s; unanswered: r0 r1 r2"
    run stage-call --info ipc://s # what waited is not done for nobody
    [[ $output == *"load 0 waiting, 1 running"* ]]
}

@test "a stream of another model is refused; so are two servers of different ones" {
    cat >stage.py <<'P'
import sys, msgpack
w = sys.stdout.buffer
w.write(msgpack.packb({"stream": {"version": 1, "via": [{"program": "qformer", "version": "1", "model": sys.argv[1]}]}}))
w.flush()
for r in msgpack.Unpacker(open(0, "rb", buffering=0), max_buffer_size=0):
    w.write(msgpack.packb(r)); w.flush()
P
    serve a ipc://a -- python3 stage.py aaaa
    serve b ipc://b -- python3 stage.py bbbb
    ready ipc://a && ready ipc://b
    records 2 >in
    status_is 76 bash -c 'python3 stage.py aaaa <in 2>/dev/null | stage-call ipc://b >/dev/null'
    says "the stream was made by qformer with the model aaaa, this server has bbbb"
    status_is 76 bash -c '(cat in; sleep 3; cat in) | stage-call ipc://a,ipc://b >/dev/null'
    says "another server"
    run bash -c 'stage-call --info ipc://a'
    [[ $output == *"program qformer 1"*"model aaaa"*"workers 1, ready 1"* ]]
}
