#!/usr/bin/env bats
# stage-serve: any filter, its deaths, its keys, its manners.

load ../lib/helpers
load ../lib/net

@test "will not start: open addresses, bad keys and lists, commands that are none" {
    status_is 64 stage-serve
    status_is 64 stage-serve ipc://s
    says "expected an endpoint and a command"
    status_is 78 stage-serve 'tcp://*:5555' -- cat
    says "other machines could reach it"
    status_is 78 stage-serve tcp://0.0.0.0:5555 -- cat
    status_is 78 stage-serve tcp://eth0:5555 -- cat
    status_is 64 stage-serve nonsense -- cat
    status_is 66 stage-serve ipc://s -- nosuch-command
    says "nosuch-command: No such file"
    one_line
    status_is 78 timeout 20 stage-serve ipc://s -- sh -c 'exit 3'
    says "sh ended with status 3 before it was ready"
    status_is 78 timeout 20 stage-serve ipc://s -- ls /
    vqa-keygen s && vqa-keygen c
    status_is 64 stage-serve --key s.key ipc://s -- cat
    says "belong together"
    : >empty
    status_is 78 stage-serve --key s.key --allow empty ipc://s -- cat
    says "empty: no key in it"
    echo "not a key" >bad
    status_is 78 stage-serve --key s.key --allow bad ipc://s -- cat
    says "bad: line 1: not a public key"
    status_is 66 stage-serve --key nosuch --allow c.pub ipc://s -- cat
    chmod 640 s.key
    status_is 78 stage-serve --key s.key --allow c.pub ipc://s -- cat
    says "s.key: mode 0640, expected 0600: others could read it"
    chmod 600 s.key
    chmod 666 c.pub
    status_is 78 stage-serve --key s.key --allow c.pub ipc://s -- cat
    says "others could change it"
    chmod 644 c.pub
    ln -s s.key link
    status_is 78 stage-serve --key link --allow c.pub ipc://s -- cat
    says "link: a symbolic link"
    status_is 78 stage-serve --key c.pub --allow c.pub ipc://s -- cat
    if [ "$(id -u)" -eq 0 ]; then
        chown 1 s.key
        status_is 78 stage-serve --key s.key --allow c.pub ipc://s -- cat
        says "s.key: belongs to user 1, expected 0"
    fi
}

@test "an endpoint that is taken; an ipc socket is its owner's alone" {
    local port
    port=$(free_port)
    serve s "tcp://127.0.0.1:$port" -- cat
    ready "tcp://127.0.0.1:$port"
    status_is 69 stage-serve "tcp://127.0.0.1:$port" -- cat
    says "Address already in use"
    serve t ipc://t -- cat
    ready ipc://t
    [ "$(stat -c %a t)" = 700 ]
}

@test "keys: listed, unlisted, none, the wrong server's; the list is read again, and revokes" {
    local port e
    port=$(free_port)
    e=tcp://127.0.0.1:$port
    vqa-keygen s && vqa-keygen alice && vqa-keygen eve
    echo "$(cat alice.pub) alice" >list
    records 5 >in
    filters
    serve s --key s.key --allow list "$e" -- python3 filter.py
    ready "$e" --key alice.key --server-key s.pub
    status_is 0 bash -c "stage-call --key alice.key --server-key s.pub $e <in >out"
    doubled 5 <out
    status_is 77 bash -c "stage-call --connect-timeout 2 --key eve.key --server-key s.pub $e <in >out"
    says "refuses this key"
    status_is 77 bash -c "stage-call --connect-timeout 1 --key eve.key --server-key s.pub $e <in >out"
    [ "$(metric 'vqa_errors_total{kind="denied"}' "$e" --key alice.key --server-key s.pub)" -ge 2 ]
    [ "$(grep -cF "refused the key $(cat eve.pub) from 127.0.0.1: not on the list (1 times" s.err)" -eq 1 ]
    [ "$(grep -c 'refused the key' s.err)" -eq 1 ] # of many tries
    status_is 77 bash -c "stage-call --connect-timeout 2 $e <in >out"
    says "handshake failed"
    status_is 77 bash -c "stage-call --connect-timeout 2 --key alice.key --server-key eve.pub $e <in >out"
    says "handshake failed"
    [ "$(metric 'vqa_errors_total{kind="handshake"}' "$e" --key alice.key --server-key s.pub)" -ge 2 ]
    [ "$(metric 'vqa_requests_total' "$e" --key alice.key --server-key s.pub)" -eq 5 ] # alice's alone
    [ "$(metric 'vqa_errors_total{kind="malformed"}' "$e" --key alice.key --server-key s.pub)" -eq 0 ]
    cat eve.pub >>list
    kill -HUP "$pid"
    status_is 0 bash -c "stage-call --key eve.key --server-key s.pub $e <in >out"
    doubled 5 <out
    (cat in; sleep 3; cat in) | stage-call --lost-timeout 2 --key eve.key --server-key s.pub "$e" >out 2>err 3>&- &
    local client=$! st=0
    sleep 1
    echo "rubbish" >list
    kill -HUP "$pid"
    sleep 0.3
    grep -q 'not a public key.*the list as it was stays' s.err
    cat alice.pub >list
    kill -HUP "$pid"
    wait $client || st=$?
    [ $st -eq 75 ]
    status_is 0 bash -c "stage-call --key alice.key --server-key s.pub $e <in >out"
    run bash -c "tr '\0' ' ' </proc/$pid/cmdline; cat /proc/$pid/environ | tr '\0' '\n'"
    [[ $output != *"$(cat s.key)"* ]]
}

@test "a worker that is killed: its record is done again; one that kills is put away" {
    filters
    records 30 >in
    serve s -v -j 2 ipc://s -- python3 filter.py die 17
    ready ipc://s
    status_is 1 timeout 60 bash -c 'stage-call ipc://s <in >out'
    says "r17: the command died each time it was given this record"
    one_line
    python3 - <<'P'
import msgpack
rs = [r for r in msgpack.Unpacker(open("out", "rb"), max_buffer_size=0)][1:-1]
assert [r["id"] for r in rs] == [f"r{i}" for i in range(30)], rs
assert [r["id"] for r in rs if "err" in r] == ["r17"]
P
    [ "$(metric vqa_worker_deaths_total ipc://s)" -eq 3 ]
    status_is 1 timeout 60 bash -c 'stage-call ipc://s <in >out'
    says "in quarantine"
    [ "$(metric vqa_worker_deaths_total ipc://s)" -eq 3 ]
    [ "$(metric 'vqa_errors_total{kind="poisoned"}' ipc://s)" -eq 1 ]
}

@test "a batch is given together, and a filter that loses ids is still answered" {
    filters
    records 12 >in
    serve s -b 4 --batch-wait 500 ipc://s -- python3 filter.py
    ready ipc://s
    status_is 0 timeout 60 bash -c 'stage-call ipc://s <in >out'
    doubled 12 <out
    [ "$(metric vqa_batches_total ipc://s)" -le 4 ]
    serve t -b 4 ipc://t -- python3 filter.py drop-id
    ready ipc://t
    status_is 0 timeout 60 bash -c 'stage-call ipc://t <in >out'
    run tensor-info --json out
    [ "$(grep -c '"v"' <<<"$output")" -eq 12 ]
    grep -q 'without the id it got' t.err
}

@test "a worker that stands still is killed by the watchdog, one that computes is not" {
    filters
    records 5 >in
    serve s --watchdog 2 ipc://s -- python3 filter.py hang 3
    ready ipc://s
    status_is 0 timeout 120 bash -c 'stage-call ipc://s <in >out'
    doubled 5 <out
    [ "$(metric vqa_worker_stalls_total ipc://s)" -eq 1 ]
    serve t --watchdog 2 ipc://t -- python3 filter.py burn 4000
    ready ipc://t
    records 1 >one
    status_is 0 timeout 120 bash -c 'stage-call ipc://t <one >out'
    doubled 1 <out
    [ "$(metric vqa_worker_stalls_total ipc://t)" -eq 0 ]
}

@test "SIGTERM finishes what was taken, and the client goes on with the other server" {
    filters
    records 100 >in
    serve a ipc://a -- python3 filter.py slow 10
    local first=$pid st=0
    serve b ipc://b -- python3 filter.py slow 10
    ready ipc://a && ready ipc://b
    stage-call ipc://a,ipc://b <in >out 2>err 3>&- &
    local client=$!
    sleep 0.5
    kill "$first"
    wait "$first"
    wait $client || st=$?
    [ $st -eq 0 ] && [ ! -s err ]
    doubled 100 <out
    serve c --drain 1 ipc://c -- python3 filter.py slow 60000
    ready ipc://c
    (stage-call --lost-timeout 1 ipc://c <in >/dev/null 2>&1 3>&- &)
    sleep 0.5
    local begin=$SECONDS
    kill "$pid"
    wait "$pid"
    [ $((SECONDS - begin)) -le 12 ]
}

@test "no workers are left behind when the server is killed" {
    filters
    serve s -j 3 ipc://s -- python3 filter.py slow 60000
    ready ipc://s
    local kids
    kids=$(pgrep -P "$pid" | xargs)
    [ "$(wc -w <<<"$kids")" -eq 3 ]
    kill -9 "$pid"
    sleep 1
    for k in $kids; do
        [ ! -d "/proc/$k" ] || grep -q '^State:.*Z' "/proc/$k/status"
    done
}

@test "--metrics is text that Prometheus takes, --info what people ask" {
    filters
    records 5 >in
    serve s ipc://s -- python3 filter.py
    ready ipc://s
    stage-call ipc://s <in >/dev/null
    stage-call --metrics ipc://s >m
    python3 - <<'P'
import re
types = {}
for line in open("m"):
    if line.startswith("# TYPE"):
        _, _, name, kind = line.split(); types[name] = kind
    elif not line.startswith("# HELP"):
        g = re.fullmatch(r'([a-z_]+)(\{[a-z_]+="[^"]*"\})? ([0-9.eE+-]+)\n', line)
        assert g, line
        assert g[1] in types or g[1].removesuffix("_count") in types, line
assert types["vqa_requests_total"] == "counter" and types["vqa_request_seconds"] == "summary"
P
    grep -q '^vqa_requests_total 5$' m
    run stage-call --info ipc://s
    [[ $output == *"command python3 filter.py"*"input v f32 (2,)"*"output v f32 (2,)"*"workers 1, ready 1"* ]]
}

@test "img-encode served: images as bytes give what they give here; names of files are not read" {
    need_fixture images/astronaut_q90.jpg
    local model=$VQA_FIXTURES/checkpoints/tiny-blip2-opt
    [ -e "$model" ] || model=$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16
    need_fixture "checkpoints/${model##*/}/model.safetensors"
    python3 -c 'import msgpack, sys
b = open(sys.argv[1], "rb").read()
w = sys.stdout.buffer.write
w(msgpack.packb({"id": "good", "image": b}))
open("first", "wb").write(msgpack.packb({"id": "good", "image": b}))
w(msgpack.packb({"id": "cut", "image": b[:5000]}))
w(msgpack.packb({"id": "name", "path": sys.argv[1]}))' "$VQA_FIXTURES/images/astronaut_q90.jpg" >in
    serve s ipc://s -- img-encode -m "$model"
    ready ipc://s
    status_is 1 bash -c 'stage-call ipc://s <in >out'
    [ -z "$stderr" ]
    grep -q 'name.*files are not read for others' s.err
    img-encode -m "$model" <first >local
    python3 - <<'P'
import msgpack
a, b = ([r for r in msgpack.Unpacker(open(f, "rb"), max_buffer_size=0)] for f in ("local", "out"))
assert a[1] == b[1] and "image_embeds" in a[1], "the embedding"
assert [r["err"]["kind"] for r in b[2:4]] == ["data", "noinput"], b[2:4]
P
}
