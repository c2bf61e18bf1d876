# net.bash - for bats files about stage-serve and stage-call: `load ../lib/net` after helpers.
# Everything is on loopback, in the test's directory, and is killed by its process id at the end.

servers=()

# serve NAME ARG... - stage-serve on ipc://NAME with these arguments, ready; its process id in $pid
serve() {
    local name=$1
    shift
    stage-serve "$@" 2>>"$name.err" 3>&- &
    pid=$!
    servers+=("$pid")
}

# ready ENDPOINT [OPTION...] - waits for a server to be ready, 10 s
ready() {
    local k
    for ((k = 0; k < 100; k++)); do
        stage-call --connect-timeout 1 --info "$@" 2>/dev/null | grep -q 'ready [1-9]' && return
        sleep 0.1
    done
    echo "no server at $1"
    cat ./*.err
    return 1
}

teardown() {
    local p
    for p in "${servers[@]}"; do
        kill -CONT "$p" 2>/dev/null
        kill -9 "$p" 2>/dev/null
        wait "$p" 2>/dev/null
    done
    return 0
}

# metric NAME ENDPOINT [OPTION...] - one counter of a server
metric() {
    local name=$1
    shift
    stage-call --metrics "$@" | awk -v n="$name" '$1 == n { print $2 }'
}

# free_port - a TCP port of loopback that nobody listens on
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# records N - N small records with different ids
records() {
    python3 - "$1" <<'P'
import sys, numpy as np, msgpack_numpy as m
for i in range(int(sys.argv[1])):
    sys.stdout.buffer.write(m.packb({"id": f"r{i}", "v": np.float32([i, i + 0.5]), "n": i}))
P
}

# filters - Python filters for workers to run, into the present directory: see each
filters() {
    cat >filter.py <<'P'
"""filter.py [slow MS] [die N] [hang N] [many] [burn MS] [drop-id]: a filter with habits."""
import os, sys, time, signal
import msgpack_numpy as m
a = sys.argv[1:]
opt = {a[i]: int(a[i + 1]) for i in range(len(a) - 1) if a[i + 1].isdigit()}
held = b""
for r in m.Unpacker(open(0, "rb", buffering=0), max_buffer_size=0):
    out = sys.stdout.buffer
    if "err" in r:
        out.write(held + m.packb(r))
        out.flush()
        held = b""
        continue
    if r.get("n", -1) == opt.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if r.get("n", -1) == opt.get("hang") and not os.path.exists("hung"):
        open("hung", "w").close()
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(opt.get("slow", 0) / 1000)
    end = time.process_time() + opt.get("burn", 0) / 1000
    while time.process_time() < end:
        pass
    r["v"] = r["v"] * 2
    if "drop-id" in a:  # all of a batch at once, with its mark
        del r["id"]
        held += m.packb(r)
    elif "many" in a:
        for k in range(r["n"] % 4):
            out.write(m.packb({**r, "k": k}))
    else:
        out.write(m.packb(r))
    out.flush()
P
}

# doubled N <STREAM - whether it is the answer of filter.py to `records N`: all, once, in order
doubled() {
    python3 -c '
import sys, msgpack_numpy as m
rs = [r for r in m.Unpacker(sys.stdin.buffer, max_buffer_size=0) if "stream" not in r]
n, end = int(sys.argv[1]), rs.pop()
assert end["end"]["records"] == n == len(rs), (end, len(rs))
for i, r in enumerate(rs):
    assert r["id"] == f"r{i}" and r["n"] == i and list(r["v"]) == [2 * i, 2 * i + 1], (i, r)
' "$1"
}
