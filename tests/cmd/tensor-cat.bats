#!/usr/bin/env bats
# tensor-cat: streams in both directions, with the real msgpack and msgpack-numpy of Python.

load ../lib/helpers

python_stream() {
    python3 - "$@" <<'P'
import sys, numpy as np, msgpack_numpy as m
for i in range(int(sys.argv[1])):
    sys.stdout.buffer.write(m.packb({
        "id": f"x{i}", "f": np.arange(6, dtype="f4").reshape(2, 3), "h": np.float16([1, 2]),
        "d": np.ones(3), "i": np.int64([[1], [-2]]), "big": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 4), "f4"), "scalar": np.float32(3.5), "u2": np.arange(3, dtype="u2"),
        "list": [1, {"a": None}], "t": "h\u00e9", "b": b"\x00\xff", "flag": True, "neg": -70000}))
P
}

@test "Python's records, without a header, are accepted; Python reads ours, value for value" {
    python_stream 3 >in
    status_is 0 tensor-cat -o out in
    [ -z "$stderr" ]
    python3 - <<'P'
import msgpack_numpy as m, numpy as np
a = list(m.Unpacker(open("in", "rb"), max_buffer_size=0))
b = list(m.Unpacker(open("out", "rb"), max_buffer_size=0))
assert b[0]["stream"]["version"] == 1 and b[-1]["end"]["records"] == 3, (b[0], b[-1])
for x, y in zip(a, b[1:-1], strict=True):
    assert list(x) == list(y)
    for k in x:
        assert np.array_equal(x[k], y[k]) and type(x[k]) is type(y[k]), k
        if isinstance(x[k], np.ndarray):
            assert x[k].dtype == y[k].dtype and x[k].shape == y[k].shape, k
P
}

@test "a Python stage in the middle of a pipe" {
    python_stream 2 >in
    cat >double.py <<'P'
import sys, msgpack_numpy as m
for r in m.Unpacker(sys.stdin.buffer, max_buffer_size=0):
    if "f" in r:
        r["f"] = r["f"] * 2
        sys.stdout.buffer.write(m.packb(r))
P
    run bash -o pipefail -c 'tensor-cat in | python3 double.py | tensor-cat | tensor-info --json | jq -c "[.id, .f.max]"'
    [ "$status" -eq 0 ]
    [ "$output" = $'["x0",10]\n["x1",10]' ]
}

@test "streams are joined, and a stream twice through is the same records" {
    python_stream 2 | tensor-cat >a
    cat a a >b
    status_is 0 tensor-cat -o c a - <a
    [ "$(tensor-info c | grep -c '^x')" -eq 4 ]
    status_is 0 tensor-diff b c
}

@test "cut at every offset: never whole, and what was whole before is passed on" {
    python_stream 2 | tensor-cat >a
    cut_everywhere a tensor-cat
    size=$(stat -c %s a)
    head -c $((size - 1)) a >cut
    status_is 65 bash -c 'tensor-cat <cut >got'
    says "tensor-cat: standard input: truncated"
    one_line
    status_is 0 python3 -c 'import msgpack_numpy as m
print([list(r)[0] for r in m.Unpacker(open("got", "rb"))])'
    [ "$output" = "['stream', 'id', 'id', 'abort']" ]
    status_is 65 tensor-info got
}

@test "upstream killed: the reader says so although the shell does not" {
    python_stream 2 | tensor-cat >a
    status_is 65 bash -c '(head -c 300 a; kill -9 $BASHPID) | tensor-cat >/dev/null'
    status_is 65 sh -c '(exit 1) | tensor-cat >/dev/null'
    says "empty, expected a stream of records"
}

@test "a failure is said once, by the program it happened in, and all later ones stop with its status" {
    run bash -c 'tensor-cat nosuch | tensor-cat | tensor-cat | tensor-info; echo "${PIPESTATUS[@]}"'
    [ "$output" = $'tensor-cat: nosuch: No such file or directory\n66 66 66 66' ]
    status_is 66 bash -c 'tensor-cat nosuch >saved'
    status_is 66 tensor-info saved
    says "tensor-info: saved: tensor-cat: nosuch: No such file or directory"
    printf '\x81\xa5abort\x01' >number
    status_is 0 tensor-cat -o out number # a record of somebody's whose only field is called so
    printf '\x81\xa5abort\x80' >empty
    status_is 65 tensor-cat -o out2 empty
    says "malformed: an abort record without kind and message"
}

@test "an output file appears whole or not at all" {
    python_stream 1 | tensor-cat >a
    head -c 100 a >cut
    status_is 65 tensor-cat -o out cut
    [ ! -e out ]
    [ -z "$(ls out.tmp* 2>/dev/null)" ]
}

@test "a signal leaves nothing of an output file; one that is ignored is" {
    python_stream 1 >in
    python3 - <<'P'
import glob, os, signal, subprocess, time
def begun(**more):
    p = subprocess.Popen(["tensor-cat", "-o", "out"], stdin=subprocess.PIPE, **more)
    p.stdin.write(open("in", "rb").read())
    p.stdin.flush()
    for _ in range(500):
        if glob.glob("out.tmp.*"):
            return p
        time.sleep(0.01)
    raise SystemExit("no file after 5 s")
for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    p = begun()
    p.send_signal(sig)
    assert p.wait() == -sig, p.returncode
    assert not glob.glob("out*"), sig
p = begun(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
p.send_signal(signal.SIGHUP)
p.stdin.close()
assert p.wait() == 0 and glob.glob("out*") == ["out"]
P
}

@test "disk full, reader gone, terminal" {
    python_stream 1 >in
    status_is 74 bash -c 'tensor-cat in >/dev/full'
    says "No space left on device"
    one_line
    python_stream 100 >many
    status_is 74 bash -c 'ulimit -f 1; exec tensor-cat -o out many'
    says "tensor-cat: out: output: write: File too large"
    one_line
    run bash -c 'python3 -c "
import sys
while True: sys.stdout.buffer.write(b\"\x81\xa2id\xa1x\" * 1000)" 2>/dev/null | tensor-cat | head -c 100 >/dev/null; echo ${PIPESTATUS[1]}'
    [ "$output" = 141 ]
    status_is 64 script -qec 'tensor-cat in' /dev/null </dev/null
}

@test "wrong arguments" {
    status_is 64 tensor-cat --outptu x
    says "unknown option --outptu; did you mean --output?"
    status_is 64 tensor-cat -o
    says "needs an argument"
    status_is 66 tensor-cat -o out nosuch
    says "tensor-cat: nosuch: No such file or directory"
    status_is 0 tensor-cat --help
    [ -z "$stderr" ]
    status_is 0 tensor-cat --version
    [[ $output == "tensor-cat (vqatools) $(cat "$repo/VERSION")"* ]]
}

@test "-o to a pipe or a device writes into it: nothing takes its name" {
    python3 -c 'import sys, msgpack; sys.stdout.buffer.write(msgpack.packb({"id": "x"}))' >in
    mkfifo p
    cat p >got &
    tensor-cat -o p in
    wait $!
    [ -p p ]
    tensor-cat -o whole in
    cmp whole got
    ! ls p.tmp.* 2>/dev/null
    ln -s /dev/full full
    status_is 74 tensor-cat -o full in
    [ -c full ]
}

@test "memory does not grow with the stream" {
    python3 -c '
import sys, numpy as np, msgpack_numpy as m
r = m.packb({"id": "x", "e": np.zeros((257, 1408), "f4")})
for i in range(300): sys.stdout.buffer.write(r)' |
        /usr/bin/env python3 -c '
import resource, subprocess, sys
subprocess.run(["tensor-cat"], stdout=subprocess.DEVNULL, check=True)
kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(kb)
sys.exit(kb > 40000)'
}
