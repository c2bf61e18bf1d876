#!/usr/bin/env bats
# tensor-plot: pictures are real and of the size asked for, numbers are NumPy's, text from records is
# nothing but text, and what cannot be drawn is said.

load ../lib/helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    command -v gnuplot >/dev/null || skip "no gnuplot (scripts/setup test)"
    unset NO_COLOR TERM_PROGRAM KITTY_WINDOW_ID TMUX STY
    cp "$VQA_DATADIR"/examples/*.png "$VQA_DATADIR"/examples/*.jpg .
}

# pack - a Python expression of a list of records, as a stream (to standard output)
pack() {
    python3 -c "import sys, numpy as np, msgpack_numpy as m
rng = np.random.default_rng(0)
for r in $1: sys.stdout.buffer.write(m.packb(r))"
}

# png FILE [WxH] - it is a whole PNG, of that size
png() {
    python3 - "$@" <<'P'
import struct, sys, zlib
b = open(sys.argv[1], "rb").read()
assert b[:8] == b"\x89PNG\r\n\x1a\n", b[:40]
at, data = 8, b""
while at < len(b):
    n, kind = struct.unpack(">I4s", b[at:at + 8])
    body = b[at + 8:at + 8 + n]
    assert zlib.crc32(kind + body) == struct.unpack(">I", b[at + 8 + n:at + 12 + n])[0]
    if kind == b"IHDR":
        size = "%dx%d" % struct.unpack(">II", body[:8])
    data += body if kind == b"IDAT" else b""
    at += 12 + n
assert kind == b"IEND" and len(zlib.decompress(data)) > 1000
assert len(sys.argv) < 3 or size == sys.argv[2], size
P
}

# drawn OPTION... - it is drawn as PNG, silently
drawn() {
    status_is 0 tensor-plot -o drawn.png "$@" || return
    [ -z "$output$stderr" ] && png drawn.png
}

@test "every kind, of the shipped model and of a checkpoint" {
    need_fixture checkpoints/tiny-blip2-opt-bf16/model.safetensors
    for VQA_MODEL in "$VQA_DATADIR/demo-model" "$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"; do
        export VQA_MODEL
        img-encode --pixels scene-1.png photo.jpg >pixels
        img-encode scene-1.png photo.jpg | qformer | tokenize -p 'What is it?' -p 'a photo of' >asked
        drawn --rgb pixels
        drawn --channel 2 pixels
        drawn --hist --stack pixels
        drawn --matrix --field input_ids asked
        drawn --field language_model_inputs asked
        drawn --line --field language_model_inputs --slice 1:3,: asked
        drawn --field query_tokens "$VQA_MODEL/model.safetensors"
        status_is 65 tensor-plot -o x.png "$VQA_MODEL/model.safetensors"
        says "tensors, expected 63 at most in a record, or --field NAME"
        img-encode --attention scene-1.png photo.jpg | qformer --attention >looked
        drawn --overlay scene-1.png --overlay photo.jpg --query 1 looked
        drawn --overlay photo.jpg --query mean --field cross_attentions --slice -1,:,:,: looked
        tokenize -p 'What is it?' looked | opt-generate --attention --max-new-tokens 3 >answered
        tensor-plot --overlay scene-1.png --data answered | grep -q '^# scene-1.png: What is it? answer_rollout, token 0 '
        drawn --overlay scene-1.png --overlay photo.jpg answered
        img-encode --attention photo.jpg | tensor-plot --overlay photo.jpg --field vision_rollout --query 0 >cls.png
        png cls.png
    done
}

@test "standard output, --output, a file for each record, --size" {
    img-encode --pixels scene-1.png scene-2.png scene-3.png >pixels
    tensor-plot --channel 0 <pixels >all.png
    png all.png
    status_is 0 tensor-plot --hist --size 300x200 -o 'p-%03d.png' pixels
    [ "$(echo p-*)" = "p-000.png p-001.png p-002.png" ]
    png p-002.png 300x200
    status_is 0 tensor-plot --rgb --size 500x400 -o page.png pixels
    png page.png 500x400
    # The same numbers as .npy, and straight from the file.
    tensor-convert --to npy --field pixel_values pixels p.npy
    tensor-plot --data --slice 1,2,:,: p.npy | tail -n +2 >a
    img-encode --pixels scene-2.png | tensor-plot --data --channel 2 | tail -n +2 >b
    cmp a b
    [ "$(wc -l <a)" -eq 64 ]
    [ -z "$(ls ./*.tmp.* 2>/dev/null)" ]
}

@test "histograms are those of numpy.histogram" {
    pack '[{"id": "a", "x": rng.standard_normal((3, 40, 50)).astype("f4")},
           {"id": "b", "x": (rng.random((3, 64, 64)) * 256).astype("u1")},
           {"id": "c", "x": rng.integers(-9, 9, (2, 30, 3)).astype("f2")},
           {"id": "d", "x": rng.random(999)},
           {"id": "e", "x": np.full((3, 2, 2), 7, "f4")},
           {"id": "f", "x": np.float32([[[1, np.nan, np.inf, 3], [2, 2, -np.inf, 5]]])}]' >in
    python3 - <<'P'
import itertools, subprocess, numpy as np, msgpack_numpy as m
records = list(m.Unpacker(open("in", "rb"), max_buffer_size=0))
for bins, stack, density in itertools.product([1, 7, 100], [[], ["--stack"]], [[], ["--density"]]):
    plots = []
    run = subprocess.run(["tensor-plot", "--hist", "--data", "--bins", str(bins), *stack, *density, "in"], check=True, stdout=-1)
    for line in run.stdout.decode().splitlines():
        if line[0] == "#":
            plots.append([])
        else:
            plots[-1].append(line.split("\t"))
    assert len(plots) == len(records)
    for got, r in zip(plots, records):
        x = r["x"].astype("f8")
        channels = x.reshape(len(x), -1) if x.ndim == 3 else x.reshape(1, -1)
        finite = x[np.isfinite(x)]
        got = np.array(got[1:], "f8")
        for c, values in enumerate(channels):
            n, edges = np.histogram(values[np.isfinite(values)], bins, (finite.min(), finite.max()))
            assert (got[:, 0] == edges[:-1]).all() and (got[:, 1] == edges[1:]).all(), r["id"]
            if density:
                n = n / (finite.size if stack else n.sum()) / np.diff(edges)
                assert np.allclose(got[:, 2 + c], n, rtol=1e-12, atol=0), (r["id"], c, bins, stack)
            else:
                assert (got[:, 2 + c] == n).all(), (r["id"], c, bins, stack)
P
}

@test "what matplotlib draws of the processor tour's tensors" {
    img-encode --pixels photo.jpg >pixels
    python3 - "$repo/tests/golden/plots.json" <<'P'
import json, subprocess, sys, numpy as np
for want in json.load(open(sys.argv[1]))["hist"]:
    options = [o for key, o in (("stacked", "--stack"), ("density", "--density")) if want.get(key)]
    of = "photo.jpg" if want["field"] == "image" else "pixels"
    text = subprocess.run(["tensor-plot", "--hist", "--data", *options, of], check=True, stdout=-1).stdout.decode()
    got = np.array([line.split("\t") for line in text.splitlines()[2:]], "f8")
    edges, n = np.array(want["edges"]), np.array(want["n"])
    assert (got[:, 0] == edges[:-1]).all() and (got[:, 1] == edges[1:]).all()
    ours = got[:, 2:].T.cumsum(0) if "stacked" in want else got[:, 2:].T
    assert np.allclose(ours, n, rtol=1e-12, atol=0) if "density" in want else (ours == n).all(), want["field"]
P
}

@test "slices are NumPy's" {
    pack '[{"id": "a", "x": rng.integers(0, 99, (3, 5, 7, 4))}]' >in
    python3 - <<'P'
import io, subprocess, numpy as np, msgpack_numpy as m
x = next(iter(m.Unpacker(open("in", "rb"), max_buffer_size=0)))["x"]
for s in "0,1 -1,-2 0,:,2 :,0,0 1,:,::2,3 2,1:3,-3:,0 ::2,4,6 1,1:99,0 :,-1,-7".split():
    text = subprocess.run(["tensor-plot", "--matrix", "--data", "--slice", s, "in"], check=True, stdout=-1).stdout
    want, got = np.atleast_2d(eval(f"x[{s}]")), np.loadtxt(io.BytesIO(text), ndmin=2)
    assert got.shape == want.shape and (got == want).all(), (s, got.shape, want.shape)
P
    for bad in 1:2:3:4 a 1,,2 , 0x1 1:2:0 1:2:-1 0,0,0,0,0; do
        status_is 64 tensor-plot --slice "$bad" in
        says "tensor-plot: slice '$bad':"
    done
    status_is 65 tensor-plot --slice 3 in
    says "a: x: index 3: axis 0 has 3"
    status_is 65 tensor-plot --slice 1:1 in
    says "a: x: (3, 5, 7, 4): empty, nothing to draw"
}

@test "--rgb gives back the levels that the picture had" {
    img-encode --pixels scene-3.png | tensor-plot --rgb --data | tail -n +2 >got
    python3 - "$VQA_DATADIR/demo-model" <<'P'
import json, subprocess, sys, numpy as np, msgpack_numpy as m
p = json.load(open(sys.argv[1] + "/preprocessor_config.json"))
s = subprocess.run(["img-encode", "--pixels", "scene-3.png"], stdout=-1).stdout
import io
x = [r for r in m.Unpacker(io.BytesIO(s), max_buffer_size=0) if "id" in r][0]["pixel_values"].astype("f8")
want = (x * np.reshape(p["image_std"], (3, 1, 1)) + np.reshape(p["image_mean"], (3, 1, 1))) / p["rescale_factor"]
assert abs(want - want.round()).max() < 1e-3
got = np.array([[c.split(",") for c in line.split("\t")] for line in open("got").read().splitlines()], int)
assert (got.transpose(2, 0, 1) == want.round()).all()
P
    # (H, W, 3) is a picture as well.
    pack '[{"id": "a", "x": np.uint8([[[1, 2, 3], [4, 5, 6]]])}]' | tensor-plot --rgb --data | tail -1 >hwc
    [ "$(cat hwc)" = $'1,2,3\t4,5,6' ]
    status_is 65 bash -c "$(declare -f pack); pack '[{\"id\": \"a\", \"x\": np.zeros((4, 5, 6), \"f4\")}]' | tensor-plot --rgb"
    says "a: x: expected three channels, (3, H, W)"
}

@test "attention over a picture: where, which query, which layer, the crop" {
    # One patch of 4 x 4 has all the weight: bright there, dark elsewhere.
    pack '[{"id": "a", "cross_attentions": np.eye(17, dtype="f4")[None, None, [1, 6, 16]]}]' >in
    drawn --overlay photo.jpg in
    tensor-plot --overlay photo.jpg --data in >data
    [ "$(grep -c '^#' data)" -eq 3 ]
    [ "$(sed -n 2p data)" = $'1\t0\t0\t0' ]
    [ "$(sed -n 8p data)" = $'0\t1\t0\t0' ]
    [ "$(tail -1 data)" = $'0\t0\t0\t1' ]
    tensor-plot --overlay photo.jpg --query mean --data in >data
    [[ $(sed -n 2p data) == 0.333* ]]
    grep -q '^# a cross_attentions, mean of all' data
    drawn --overlay photo.jpg --query 2 in
    status_is 65 tensor-plot --overlay photo.jpg --query 3 in
    says "a: cross_attentions: query 3, expected 0 to 2"
    # Layers and heads are averaged, or chosen by --slice; no class token here.
    pack '[{"id": "a", "attention_rollout": np.arange(16.), "w": np.stack([np.eye(4)[:1], 3 * np.eye(4)[1:2]])[:, None]}]' >in
    tensor-plot --overlay photo.jpg --field w --data in | tail -2 >got
    [ "$(cat got)" = $'0.5\t1.5\n0\t0' ]
    tensor-plot --overlay photo.jpg --field w --slice 1 --data in | tail -2 >got
    [ "$(cat got)" = $'0\t3\n0\t0' ]
    tensor-plot --overlay photo.jpg --data in | tail -1 >got
    [ "$(cat got)" = $'12\t13\t14\t15' ]
    pack '[{"id": "a", "x": np.zeros((2, 12), "f4")}]' >in
    status_is 65 tensor-plot --overlay photo.jpg in
    says "a: x: 12 places along the last axis, expected a square number of patches, or one more"
    pack '[{"id": i, "x": np.arange(4.)} for i in "abc"]' >in
    status_is 64 tensor-plot --overlay photo.jpg --overlay scene-1.png in
    says "2 pictures, expected one, or one for each record"
    drawn --overlay photo.jpg --overlay scene-1.png --overlay scene-2.png in
    pack '[{"id": "a", "x": np.ones((65, 4))}]' >rollout
    status_is 64 tensor-plot --overlay photo.jpg rollout
    says "a: x: 65 queries, more than 64 plots; expected --query"
    status_is 66 tensor-plot --overlay nosuch.jpg in
    status_is 65 tensor-plot --overlay in in
    says "in: not an image"
}

@test "the part of the picture that CLIP's crop cuts off is pale" {
    # Twice as wide as high: a quarter on either side is not seen. The picture is black.
    python3 -c 'import sys; sys.stdout.buffer.write(b"P6 80 40 255\n" + bytes(80 * 40 * 3))' >wide.ppm
    mkdir clip
    echo '{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "do_center_crop": true,
           "crop_size": {"height": 32, "width": 32}}' >clip/preprocessor_config.json
    pack '[{"id": "a", "x": np.ones(4)}]' >in
    for model in clip "$VQA_DATADIR/demo-model"; do
        tensor-plot -m "$model" --terminal ascii --overlay wide.ppm in | tail -n +3 >"$(basename "$model").txt"
    done
    python3 - <<'P'
clip, whole = (open(f).read().splitlines() for f in ("clip.txt", "demo-model.txt"))
assert len(clip) == len(whole) > 5
for a, b in zip(clip, whole):
    assert len(set(b)) == 1 and len(a) == len(b)
    n = len(a) - len(a.lstrip(a[0]))
    m = len(a) - len(a.rstrip(a[0]))
    assert abs(n - len(a) / 4) < 1.5 and abs(m - n) < 2 and set(a[n:len(a) - m]) == set(b), a
P
}

@test "NaN, infinity, one value, four axes, nothing" {
    pack '[{"id": "a", "x": np.float32([[1, np.nan, np.inf], [-np.inf, 2, 3]])}]' >some
    pack '[{"id": "a", "x": np.full((3, 4), np.nan, "f4")}]' >none
    pack '[{"id": "a", "x": np.full((3, 4, 4), 5, "f4")}]' >same
    pack '[{"id": "a", "x": np.array(3.0)}, {"id": "b", "x": np.float32([3])}, {"id": "c", "x": np.ones((1, 1, 1, 1))}]' >one
    pack '[{"id": "a", "x": rng.random((2, 3, 4, 5))}]' >four
    pack '[{"id": "a", "x": np.float64([1e308, -1e308, 1e-310])}]' >wide
    for kind in "" --matrix --line --hist; do
        # shellcheck disable=SC2086 # no word for none
        drawn $kind some
        # shellcheck disable=SC2086
        drawn $kind one
    done
    drawn same
    drawn --hist same
    drawn --line --slice 0,0 same
    drawn --matrix --slice 0 same
    drawn four
    drawn --hist four
    tensor-plot --data some | head -1 | grep -q '# a x  f32 (2, 3)  1 .. 3, 3 not finite'
    drawn none
    status_is 65 tensor-plot --hist none
    says "a: x: no finite value among 12, nothing to count"
    status_is 65 tensor-plot --line none
    says "a: x: no finite value among 12"
    drawn --line wide
    status_is 65 tensor-plot --hist wide
    says "too far apart for bins"
    pack '[{"id": "a", "x": np.zeros((0, 3), "f4")}]' >empty
    status_is 65 tensor-plot empty
    says "a: x: (0, 3): empty, nothing to draw"
    one_line
    pack '[{"id": "a", "x": rng.random((13, 5))}]' >lines
    status_is 65 tensor-plot --line lines
    says "a: x: 13 lines, expected at most 12"
    # Far more cells than a page has pixels: a column of ones in 5003 by 2000.
    pack '[{"id": "a", "x": np.arange(5003)[None].repeat(2000, 0) == 2500}]' >big
    drawn big
    drawn --slice 0:100,0:100 big
    status_is 65 tensor-plot --channel 0 --data lines
    says "a: x: (13, 5): no channels, expected (C, H, W)"
}

@test "an empty stream, error records, fields that are not there: nothing half done" {
    python3 -c 'import numpy as np; np.save("none.npy", np.zeros((0, 2)))'
    tensor-convert --from npy --field x -o none none.npy
    status_is 65 tensor-plot -o out.png none
    says "tensor-plot: no records: nothing to draw"
    status_is 65 tensor-plot -o out.png </dev/null
    says "empty, expected a stream"
    pack '[{"id": "bad", "err": {"kind": "data", "stage": "img-encode", "message": "not an image"}}]' >failed
    status_is 65 tensor-plot -o out.png failed
    says "tensor-plot: bad: not an image"
    one_line
    [ ! -e out.png ]
    { cat failed; pack '[{"id": "a", "x": np.ones(3)}, {"id": "b", "y": np.ones(3)}, {"id": "c", "t": "text"}]'; } >mixed
    status_is 1 tensor-plot --field x -o out.png mixed
    says "bad: not an image"
    says "b: no field x"
    png out.png
    status_is 65 tensor-plot --field t -o no.png mixed
    says "c: t: neither a tensor nor a picture"
    pack '[{"id": "a", "x": np.ones(3), "y": np.ones(3)}]' >two
    status_is 64 tensor-plot -o no.png two
    says "a: several tensors (x, y); expected --field"
    pack '[{"id": str(i), "x": np.ones(3)} for i in range(65)]' >many
    status_is 64 tensor-plot -o no.png many
    says "more than 64 plots on one page; -o plot-%d.png writes a file for each record"
    img-encode --pixels scene-1.png | head -c 20000 >cut
    status_is 65 tensor-plot -o no.png cut
    says "truncated"
    [ ! -e no.png ]
}

@test "an id is text, whatever it says" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
for i in ["`touch pwned`", '"; system("touch pwned") #', "'; system('touch pwned') #'", "a\n!touch pwned\n", "$(touch pwned)",
          "@GPVAL_TERM %d %s", "{/Symbol a}_b^c", "\\", "\\n\\", "\x1b]0;title\x07\x1b[31m", "e\u0301\u202e", "'", '"', "x" * 5000]:
    sys.stdout.buffer.write(m.packb({"id": i, "prompt": i, "x": np.ones((2, 2)), "t": np.int64([1, 2])}))
P
    drawn --field x in
    drawn --matrix --field t in
    drawn --hist --field x in
    for how in ascii symbols kitty; do
        status_is 0 tensor-plot --terminal $how --field x in
        [ -z "$stderr" ]
        [[ $how != ascii || $output != *$'\x1b'* ]]
        [[ $output != *$'\x1b]0'* && $output != *$'\x1b[31m'* ]]
    done
    status_is 0 tensor-plot --line --terminal ascii --field t in
    [[ $output != *$'\x1b'* ]]
    [ ! -e pwned ]
}

@test "terminals: kitty's PNG, sixel, symbols with chafa and without, ASCII" {
    tensor-plot --hist --terminal kitty scene-1.png >kitty
    python3 - <<'P'
import base64, re
b = open("kitty", "rb").read()
parts = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", b)
assert parts[0][0].startswith(b"a=T,f=100,m=1") and parts[-1][0] == b"m=0" and all(len(p) <= 4096 for _, p in parts)
open("k.png", "wb").write(base64.b64decode(b"".join(p for _, p in parts), validate=True))
P
    png k.png
    if command -v img2sixel chafa >/dev/null; then
        tensor-plot --terminal sixel scene-1.png | head -c 2 | cmp - <(printf '\033P')
    fi
    # Without chafa the same picture in half blocks: a red disc, white around it.
    mkdir bin
    for p in gnuplot tensor-plot; do ln -s "$(command -v $p)" bin/; done
    status_is 0 env PATH="$PWD/bin" tensor-plot --rgb --terminal symbols scene-1.png
    [[ ${lines[0]} == scene-1.png && ${lines[1]} == *"u8 (3, "* ]]
    [[ $output == *"▀"* && $output == *$'\x1b[38;2;'* && $output == *$'\x1b[0m'* ]]
    status_is 69 env PATH="$PWD/bin" tensor-plot --terminal sixel scene-1.png
    says "tensor-plot: chafa: not installed (Debian package chafa)"
    status_is 0 tensor-plot --hist --terminal symbols scene-1.png
    [[ $output == *"channel 0"* && $output == *$'\x1b[38;5;'* ]]
    status_is 0 tensor-plot --hist --terminal ascii scene-1.png
    [[ $output == *"channel 2"* && $output != *$'\x1b'* && $output == *"count"* ]]
}

@test "gnuplot missing, failing, dying; its init file is not read" {
    mkdir bin
    ln -s "$(command -v tensor-plot)" bin/
    status_is 69 env PATH="$PWD/bin" tensor-plot --hist scene-1.png
    says "tensor-plot: gnuplot: not installed (Debian package gnuplot-nox)"
    one_line
    [ -z "$output" ]
    printf '#!/bin/sh\necho >&2\necho "gnuplot> set" >&2\necho "  it is broken" >&2\necho >&2\nexit 3\n' >bin/gnuplot
    chmod +x bin/gnuplot
    status_is 69 env PATH="$PWD/bin:/usr/bin:/bin" tensor-plot --hist scene-1.png
    says "tensor-plot: gnuplot: status 3: it is broken"
    one_line
    # shellcheck disable=SC2016 # for that shell
    printf '#!/bin/sh\nkill -9 $$\n' >bin/gnuplot
    status_is 69 env PATH="$PWD/bin:/usr/bin:/bin" tensor-plot --channel 0 photo.jpg -o out.png
    says "tensor-plot: gnuplot: ended by signal 9"
    printf '#!/bin/sh\nexit 0\n' >bin/gnuplot
    status_is 69 env PATH="$PWD/bin:/usr/bin:/bin" tensor-plot --hist photo.jpg -o out.png
    says "gnuplot: drew nothing"
    [ ! -e out.png ]
    echo 'set output "pwned"; bad syntax here' >.gnuplot
    HOME=$PWD drawn --hist scene-1.png
    [ ! -e pwned ]
}

@test "the processor tour draws what its page shows, of the shipped model and of a checkpoint" {
    need_fixture checkpoints/tiny-blip2-opt-bf16/model.safetensors
    for VQA_MODEL in "$VQA_DATADIR/demo-model" "$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"; do
        export VQA_MODEL
        mkdir tour
        status_is 0 "$repo/examples/processor-tour.sh" photo.jpg tour
        [ -z "$stderr" ]
        [ "$(ls tour)" = "$(cd "$repo/examples/processor-tour" && ls ./*.png | sed 's|./||')" ]
        [ "${#lines[@]}" -eq 7 ]
        for f in tour/*; do png "$f"; done
        rm -r tour
    done
    status_is 1 "$repo/examples/processor-tour.sh" nosuch.jpg .
}

@test "usage" {
    usage() { # MESSAGE ARGUMENT...
        status_is 64 tensor-plot "${@:2}" scene-1.png && says "$1" && one_line
    }
    usage "expected one of --matrix, --line, --hist, --rgb and --overlay" --hist --rgb
    usage "expected one of --slice and --channel" --slice 0 --channel 1
    usage "--bins, --stack and --density go with --hist" --stack
    usage "--bins, --stack and --density go with --hist" --line --bins 4
    usage "--channel: not with --rgb and --overlay" --rgb --channel 1
    usage "--query goes with --overlay" --query 1
    usage "--query x: expected a number or mean" --overlay photo.jpg --query x
    usage "-m goes with --rgb and --overlay" -m x
    usage "--data is text" --data --size 200x200
    usage "--output is for PNG" -o x.png --terminal symbols
    usage "--size 10x10: expected WxH, each 100 to 8192" --size 10x10
    usage "--size 100x: expected" --size 100x
    usage "--size 100x100x: expected" --size 100x100x
    usage "expected one %d, or with zeros %03d" -o '%s.png'
    usage "expected one %d" -o '%d-%d.png'
    usage "expected one %d" -o '%5d.png'
    usage "--terminal" --terminal paper
    status_is 66 tensor-plot nosuch.png
    says "tensor-plot: nosuch.png: No such file or directory"
    status_is 66 tensor-plot --rgb -m nosuch scene-1.png
    status_is 74 tensor-plot -o nosuch/out.png --hist scene-1.png
    status_is 74 bash -c 'tensor-plot --hist scene-1.png >/dev/full'
    says "tensor-plot: standard output"
}
