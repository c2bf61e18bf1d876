#!/usr/bin/env bats
# tensor-convert: what it writes, NumPy and Python's safetensors layout read; what they write, it reads.

load ../lib/helpers

# records N - ids photos/0.jpg ..., fields x f32 (2, 3) and h f16 (2,)
records() {
    python3 - "$1" <<'P'
import sys, numpy as np, msgpack_numpy as m
for i in range(int(sys.argv[1])):
    sys.stdout.buffer.write(m.packb({"id": f"photos/{i}.jpg", "t": "x",
        "x": np.arange(6, dtype="f4").reshape(2, 3) + i, "h": np.float16([i, 2])}))
P
}

# read_safetensors - a Python function of that name: {name: array}, by the format's description
read_safetensors='
import json, numpy as np
def read_safetensors(path):
    b = open(path, "rb").read()
    n = int.from_bytes(b[:8], "little")
    types = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1", "BOOL": "?", "BF16": "<u2"}
    at, out = 0, {}
    for name, e in sorted(json.loads(b[8:8 + n]).items(), key=lambda x: x[1].get("data_offsets", [-1])):
        if name == "__metadata__":
            continue
        i, j = e["data_offsets"]
        assert i == at, (name, i, at)
        at = j
        out[name] = np.frombuffer(b[8 + n + i:8 + n + j], types[e["dtype"]]).reshape(e["shape"])
    assert 8 + n + at == len(b) and n % 8 == 0
    return out
'

@test "to npy: rows stacked as np.load reads them, ids beside" {
    records 3 >in
    status_is 0 tensor-convert --to npy --field x --ids ids.txt in out.npy
    [ -z "$output$stderr" ]
    [ "$(cat ids.txt)" = $'photos/0.jpg\nphotos/1.jpg\nphotos/2.jpg' ]
    python3 - <<'P'
import numpy as np
a = np.load("out.npy")
assert a.shape == (3, 2, 3) and a.dtype == np.float32 and a.flags.c_contiguous
assert (a[2] == np.arange(6).reshape(2, 3) + 2).all()
P
    # From a pipe, and with the mapping that users of big files want.
    records 3 | tensor-convert --to npy --field h h.npy
    python3 -c 'import numpy as np; a = np.load("h.npy", mmap_mode="r"); assert a.dtype == np.float16 and a.tolist() == [[0, 2], [1, 2], [2, 2]]'
}

@test "the only tensor needs no --field; among several it must be named" {
    python3 -c 'import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "a", "only": np.int64([7])}))' | tensor-convert --to npy out.npy
    python3 -c 'import numpy as np; assert np.load("out.npy").tolist() == [[7]]'
    records 1 >in
    status_is 64 tensor-convert --to npy in out2.npy
    says "several tensors (x, h); expected --field"
    [ ! -e out2.npy ]
}

@test "there and back: the same stream through npy, one file or many, and through safetensors" {
    records 3 >in
    tensor-convert --to npy --field x --ids ids in x.npy
    tensor-convert --to npy --field h in h.npy
    tensor-convert --from npy --field x --ids ids -o x.s x.npy
    python3 - <<'P'
import msgpack_numpy as m
a = [r for r in m.Unpacker(open("in", "rb"), max_buffer_size=0)]
b = [r for r in m.Unpacker(open("x.s", "rb"), max_buffer_size=0) if "id" in r]
assert [r["id"] for r in a] == [r["id"] for r in b]
for x, y in zip(a, b, strict=True):
    assert (x["x"] == y["x"]).all() and list(y) == ["id", "x"] and y["x"].dtype == "f4"
P
    status_is 0 tensor-convert --to npy --per-record --field x in files
    [ "$(ls files)" = $'000000.npy\n000001.npy\n000002.npy' ]
    python3 -c 'import numpy as np; assert (np.load("files/000001.npy") == np.arange(6).reshape(2, 3) + 1).all()'
    tensor-convert --from npy --per-record --field x --ids ids -o y.s files/*.npy
    status_is 0 tensor-diff x.s y.s
    status_is 0 tensor-convert --to safetensors in all.safetensors
    tensor-convert --from safetensors -o z.s all.safetensors
    python3 - <<'P'
import msgpack_numpy as m
a = [r for r in m.Unpacker(open("in", "rb"), max_buffer_size=0)]
b = [r for r in m.Unpacker(open("z.s", "rb"), max_buffer_size=0) if "id" in r]
for x, y in zip(a, b, strict=True):
    assert x["id"] == y["id"] and (x["x"] == y["x"]).all() and (x["h"] == y["h"]).all()
P
    status_is 0 tensor-convert --from safetensors --field x -o w.s all.safetensors
    status_is 0 tensor-diff x.s w.s
}

@test "safetensors: FIELD/ID, every dtype, several records of one id" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
for q in range(3):
    sys.stdout.buffer.write(m.packb({"id": "a.jpg", "q": np.int64([q])}))
sys.stdout.buffer.write(m.packb({"id": "b", "u": np.uint8([1, 2, 3]), "d": np.array(2.5), "b": np.array([True]),
    "e": np.zeros((0, 4), "f4"), "i": np.arange(4, dtype=">i4")}))
P
    status_is 0 tensor-convert --to safetensors in out.safetensors
    python3 - <<P
$read_safetensors
t = read_safetensors("out.safetensors")
assert list(t) == ["q/a.jpg", "q/a.jpg#2", "q/a.jpg#3", "u/b", "d/b", "b/b", "e/b", "i/b"], list(t)
assert t["q/a.jpg#3"][0] == 2 and t["d/b"] == 2.5 and t["d/b"].shape == () and t["e/b"].shape == (0, 4)
assert t["i/b"].tolist() == [0, 1, 2, 3]
P
    # What lies at odd offsets is read as well.
    status_is 0 bash -c 'tensor-convert --from safetensors out.safetensors | tensor-info --json'
    [ "$(jq -c 'select(.id == "b") | .d.max' <<<"$output")" = 2.5 ]
}

@test "a checkpoint's tensors as one record; bf16 becomes f32 in npy" {
    need_fixture checkpoints/tiny-blip2-opt-bf16/model.safetensors
    model=$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16/model.safetensors
    status_is 0 bash -c "tensor-convert --from safetensors --field query_tokens '$model' | tee q.s | tensor-info --json"
    [ "$(jq -c '[.id, .query_tokens.dtype, .query_tokens.shape]' <<<"$output")" = '["model","bf16",[1,4,24]]' ]
    tensor-convert --to npy q.s q.npy
    python3 - "$model" <<P
import sys
$read_safetensors
want = (read_safetensors(sys.argv[1])["query_tokens"].astype("u4") << 16).view("f4")
got = np.load("q.npy")
assert got.dtype == np.float32 and (got[0] == want).all()
P
    # Without --field the model has more tensors than a record may hold.
    status_is 65 tensor-convert --from safetensors "$model" -o all.s
    says "123 tensors, expected 63 at most in a record, or --field NAME"
}

@test "from npy: what NumPy writes in other forms" {
    python3 - <<'P'
import numpy as np
np.save("big.npy", np.arange(6, dtype=">f4").reshape(2, 3))
np.save("fortran.npy", np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)))
np.save("complex.npy", np.zeros((2, 2), "c8"))
np.save("struct.npy", np.zeros(2, [("a", "f4")]))
np.save("scalar.npy", np.float32(1))
np.save("six.npy", np.zeros((1, 1, 1, 1, 1, 1), "f4"))
np.lib.format.write_array(open("v2.npy", "wb"), np.ones((2, 2), "f4"), version=(2, 0))
P
    status_is 0 bash -c 'tensor-convert --from npy --field x big.npy v2.npy | tensor-info --json | jq -c "[.id, .x.max, .x.shape]"'
    [ "$output" = $'["0",2,[3]]\n["1",5,[3]]\n["2",1,[2]]\n["3",1,[2]]' ]
    status_is 65 tensor-convert --from npy --field x -o o fortran.npy
    says "fortran.npy: Fortran order"
    status_is 65 tensor-convert --from npy --field x -o o complex.npy
    says "element type '<c8', expected float16"
    status_is 65 tensor-convert --from npy --field x -o o struct.npy
    status_is 65 tensor-convert --from npy --field x -o o scalar.npy
    says "scalar.npy: one number, expected an array with a row for each record"
    status_is 65 tensor-convert --from npy --field x -o o six.npy
    says "more than 5 dimensions"
    [ ! -e o ]
}

@test "records that do not fit together, lack the field, or failed" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
for i in range(2):
    sys.stdout.buffer.write(m.packb({"id": f"r{i}", "x": np.zeros(i + 1, "f4")}))
P
    status_is 65 tensor-convert --to npy --field x in out.npy
    says "r1: x: f32 (2,), expected f32 (1,) as in the first record; --per-record"
    status_is 65 tensor-convert --to npy --field y in out.npy
    says "r0: no field y"
    status_is 65 tensor-convert --to safetensors --field y in out.npy
    [ -z "$(ls out* 2>/dev/null)" ]
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "bad", "err": {"kind": "data", "stage": "img-encode", "message": "not an image"}}))
sys.stdout.buffer.write(m.packb({"id": "good", "x": np.zeros(1, "f4")}))
P
    status_is 1 tensor-convert --to npy --ids ids in out.npy
    says "bad: not an image"
    [ "$(cat ids)" = good ]
    python3 -c 'import numpy as np; assert np.load("out.npy").shape == (1, 1)'
}

@test "no records: an array of no rows" {
    python3 -c 'import numpy as np; np.save("none.npy", np.zeros((0, 3), "f4"))'
    tensor-convert --from npy --field x -o none.s none.npy
    status_is 0 tensor-convert --to npy --field x none.s again.npy
    python3 -c 'import numpy as np; assert len(np.load("again.npy")) == 0'
}

@test "damaged files: cut at every offset, never taken for whole; nothing half-written stays" {
    records 2 >in
    tensor-convert --to npy --field x in x.npy
    tensor-convert --to safetensors in x.safetensors
    for kind in npy safetensors; do
        size=$(stat -c %s "x.$kind")
        for ((k = 0; k < size; k += 5)); do
            head -c $k "x.$kind" >"cut.$kind"
            run tensor-convert --from $kind --field x -o out "cut.$kind"
            [ "$status" -eq 65 ] && [ ! -e out ] || { echo "$kind cut at $k: $status $output"; return 1; }
        done
    done
    tensor-cat -o whole in
    head -c 200 whole >cut
    status_is 65 tensor-convert --to npy --field x cut y.npy
    status_is 65 tensor-convert --to safetensors cut y.safetensors
    status_is 65 tensor-convert --to npy --field x --ids y.ids cut y.npy
    [ -z "$(ls y.* 2>/dev/null)" ]
}

@test "disk full, no such file, wrong arguments" {
    records 1 >in
    tensor-convert --to npy --field x in x.npy
    status_is 74 bash -c 'tensor-convert --from npy --field x x.npy >/dev/full'
    status_is 74 tensor-convert --to npy --field x in nowhere/x.npy
    says "nowhere/x.npy: No such file or directory"
    status_is 66 tensor-convert --to npy --field x nosuch x2.npy
    status_is 66 tensor-convert --from npy --field x -o o nosuch.npy
    status_is 64 tensor-convert in out.npy
    says "expected one of --to and --from"
    status_is 64 tensor-convert --to npz in out
    says "--to: 'npz', expected one of npy, safetensors"
    status_is 64 tensor-convert --from npy -o o x.npy
    says "expected --field NAME"
    status_is 64 tensor-convert --to npy --field x
    status_is 64 tensor-convert --to npy -o out in x2.npy
    status_is 64 tensor-convert --to safetensors --per-record in x2
    printf 'one\ntwo\n' >ids
    status_is 65 tensor-convert --from npy --field x --ids ids -o o x.npy
    says "ids: more ids than the 1 records"
    : >ids
    status_is 65 tensor-convert --from npy --field x --ids ids -o o x.npy
    says "ids: 0 ids, expected more"
    one_line
}
