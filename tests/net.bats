#!/usr/bin/env bats
# Everything that happens to servers, wires and peers, with real processes. VQA_REQUESTS says how many
# requests each of the long tests makes (default 400; 10000 for the real thing: `make torture`).

load lib/helpers
load lib/net

n=${VQA_REQUESTS:-400}

# kill_workers SECONDS PID... - kill -9 to one of the servers' workers every 0.2 to 2 s; in the background
kill_workers() {
    exec python3 - "$@" <<'P'
import os, random, signal, subprocess, sys, time
end, kills = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    time.sleep(random.uniform(0.2, 2))
    kids = subprocess.run(["pgrep", "-P", ",".join(sys.argv[2:])], capture_output=True, text=True).stdout.split()
    if kids:
        try:
            os.kill(int(random.choice(kids)), signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            pass
        open("kills", "w").write(str(kills))
P
}

@test "workers killed every 0.2 to 2 s: none lost, none doubled, none mispaired, order kept" {
    filters
    records "$n" >in
    local a
    serve a -j 3 ipc://a -- python3 filter.py slow 15
    a=$pid
    serve b -j 3 ipc://b -- python3 filter.py slow 15
    ready ipc://a && ready ipc://b
    kill_workers 600 "$a" "$pid" 3>&- &
    servers+=($!)
    status_is 0 bash -c 'stage-call --timeout 0 ipc://a,ipc://b <in >out'
    [ -z "$stderr" ]
    doubled "$n" <out
    echo "# $n requests, $(cat kills 2>/dev/null || echo 0) workers killed" >&3
}

@test "servers stopped, killed and started again, all gone for 10 s: the same" {
    filters
    records "$n" >in
    local a b client st=0
    serve a -j 2 ipc://a -- python3 filter.py slow 15
    a=$pid
    serve b -j 2 ipc://b -- python3 filter.py slow 15
    b=$pid
    ready ipc://a && ready ipc://b
    (python3 -c 'import time, shutil, sys
f, o = open("in", "rb"), sys.stdout.buffer
while d := f.read(4096):
    o.write(d); o.flush(); time.sleep(0.05)'; sleep 8; python3 -c '
import sys, numpy as np, msgpack_numpy as m
n = int(sys.argv[1])
for i in range(n, n + 20):
    sys.stdout.buffer.write(m.packb({"id": f"r{i}", "v": np.float32([i, i + 0.5]), "n": i}))' "$n") |
        stage-call --timeout 0 ipc://a,ipc://b >out 2>err 3>&- &
    client=$!
    sleep 0.5
    kill -STOP "$a"
    sleep 4.5
    kill -CONT "$a"
    kill -9 "$b"
    sleep 0.5
    kill -9 "$a"
    sleep 10
    serve a -j 2 ipc://a -- python3 filter.py slow 5
    serve b -j 2 ipc://b -- python3 filter.py slow 5
    wait $client || st=$?
    cat err
    [ $st -eq 0 ] && [ ! -s err ]
    doubled $((n + 20)) <out
}

@test "a wire that delays, cuts, swallows and turns bits: the same" {
    filters
    records "$n" >in
    local p q x y
    p=$(free_port) && q=$(free_port) && x=$(free_port) && y=$(free_port)
    serve a "tcp://127.0.0.1:$p" -- python3 filter.py
    serve b "tcp://127.0.0.1:$q" -- python3 filter.py
    python3 "$repo/tests/lib/chaos.py" "$x" "$p" 1 delay 20 cut 60 hole 150 flip 200 until 25 3>&- &
    servers+=($!)
    python3 "$repo/tests/lib/chaos.py" "$y" "$q" 2 delay 5 cut 80 hole 250 flip 100 until 25 3>&- &
    servers+=($!)
    ready "tcp://127.0.0.1:$p" && ready "tcp://127.0.0.1:$q"
    status_is 0 timeout 300 bash -c "stage-call -v --timeout 0 tcp://127.0.0.1:$x,tcp://127.0.0.1:$y <in 2>err >out"
    doubled "$n" <out
    echo "# $n requests, $(grep -c lost err) connections lost, $(metric 'vqa_errors_total{kind="malformed"}' "tcp://127.0.0.1:$p") messages damaged at the first server" >&3
}

# attack PORT WHAT [ARG] - while a client of good manners is answered
attack() {
    local port=$1 begin=$EPOCHREALTIME st=0
    python3 "$repo/tests/lib/attack.py" "$@" >attack.out 2>&1 3>&- &
    local attacker=$!
    sleep 1
    stage-call --timeout 60 "tcp://127.0.0.1:$port" <in >out 2>err || st=$?
    [ $st -eq 0 ] || { echo "the client, under $*: status $st: $(cat err)"; return 1; }
    doubled 20 <out
    wait $attacker || { cat attack.out; return 1; }
    local kib
    kib=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status")
    echo "# $2 ${3:-}: at most $((kib / 1024)) MiB resident; $(tr '\n' ' ' <attack.out | head -c 120)" >&3
    [ "$kib" -lt $((1024 * 1024)) ]
}

@test "hostile peers: the client keeps its answers, memory stays below 1 GiB" {
    filters
    records 20 >in
    local port e
    port=$(free_port)
    e=tcp://127.0.0.1:$port
    serve s "$e" -- python3 filter.py
    ready "$e"
    attack "$port" garbage 300
    attack "$port" slow 100
    attack "$port" idle 1000
    attack "$port" silent 50
    attack "$port" huge
    attack "$port" endless 1000000
    attack "$port" endless 8
    attack "$port" frames
    attack "$port" unread 200
    kill -0 "$pid"
    [ "$(metric 'vqa_errors_total{kind="cut_unfinished"}' "$e")" -ge 2 ]
    [ "$(metric 'vqa_errors_total{kind="malformed"}' "$e")" -ge 10 ]
    [ "$(metric vqa_worker_deaths_total "$e")" -eq 0 ]
}

@test "who is cut for a bad message takes nobody along who came after" {
    filters
    local port
    port=$(free_port)
    serve s "tcp://127.0.0.1:$port" -- tensor-cat
    ready "tcp://127.0.0.1:$port"
    status_is 0 python3 "$repo/tests/lib/attack.py" "$port" reuse 300
    echo "# $output of 300 were cut" >&3
    [ "$output" -le 1 ] # between libzmq's word and a shutdown() are microseconds
}

@test "requests that are no records are refused, each with what is wrong, and reach no worker" {
    filters
    local port
    port=$(free_port)
    serve s "tcp://127.0.0.1:$port" -- tensor-cat
    ready "tcp://127.0.0.1:$port"
    status_is 0 python3 "$repo/tests/lib/attack.py" "$port" records
    [ "$(grep -c '^5 data' <<<"$output")" -eq 18 ]
    [[ $output == *"a stream's 'end'"* && $output == *"bytes after a record"* && $output == *"twice"* ]]
    [ "$(metric vqa_requests_total "tcp://127.0.0.1:$port")" -eq 0 ]
    [ "$(metric vqa_worker_deaths_total "tcp://127.0.0.1:$port")" -eq 0 ]
}

@test "the whole pipeline across three network namespaces: the same to the bit, on a checkpoint of Hugging Face's" {
    need_fixture images/astronaut_q90.jpg
    local model=$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16
    need_fixture checkpoints/tiny-blip2-opt-bf16/model.safetensors
    ip netns add "t$$" 2>/dev/null || skip "network namespaces are not permitted here"
    ip netns del "t$$"
    status_is 0 timeout 120 "$repo/examples/two-hosts.sh" "$model" "$VQA_FIXTURES/images/astronaut_q90.jpg"
    [[ $output == *"the same, to the bit, as on one machine" ]]
    [ -z "$(ip netns list | grep vqa)" ]
}

@test "tokens stream through, each as it comes; answers of requests with one id are told apart" {
    local model=$repo/share/demo-model
    [ -e "$model/model.safetensors" ] || skip "no share/demo-model"
    img-encode -m "$model" "$repo/share/examples/scene-1.png" | qformer -m "$model" |
        tokenize -m "$model" -p 'Question: What shape is red? Answer:' -p 'Question: How many shapes are there? Answer:' >in
    opt-generate -m "$model" --stream -b 1 in >local
    serve s -b 4 ipc://s -- opt-generate -m "$model" --stream
    ready ipc://s
    status_is 0 bash -c 'stage-call ipc://s <in >out'
    status_is 0 tensor-diff local out
    python3 -c 'import msgpack
rs = [r for r in msgpack.Unpacker(open("out", "rb"), max_buffer_size=0)]
assert sum("partial" in r for r in rs) >= 4, rs'
}
