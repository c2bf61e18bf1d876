#!/usr/bin/env bats
# img-encode: pictures to embeddings, against transformers' goldens; every way in, every way to fail.

load ../lib/helpers

models="$VQA_FIXTURES/checkpoints"
images="$VQA_FIXTURES/images"
old="$models/tiny-blip2-opt-old" # the smallest: 56 x 56

# compare STREAM FIELD GOLDEN TENSOR TOL - the only record's field is the golden's tensor: max
# difference by max value within TOL, relative L2 within half of it (0: every bit)
cat_compare='
import json, struct, sys, numpy as np, msgpack_numpy as m
stream, field, golden, name, tol = sys.argv[1:]
rec = [r for r in m.Unpacker(open(stream, "rb"), max_buffer_size=0) if "id" in r]
assert len(rec) == 1, len(rec)
got = rec[0][field]
f = open(golden, "rb")
n = struct.unpack("<Q", f.read(8))[0]
h = json.loads(f.read(n))[name]
f.seek(8 + n + h["data_offsets"][0])
want = np.frombuffer(f.read(h["data_offsets"][1] - h["data_offsets"][0]), "<f4").reshape(h["shape"])
assert got.shape == want.shape, (got.shape, want.shape)
d = got.astype("f8") - want
most, l2 = np.abs(d).max() / np.abs(want).max(), np.linalg.norm(d) / np.linalg.norm(want)
print(f"{name}: {most:.1e}, L2 {l2:.1e}")
sys.exit(not (most <= float(tol) and l2 <= float(tol) / 2))
'
compare() {
    python3 -c "$cat_compare" "$@"
}

# fields STREAM - a line a record: id and its fields, or the error's kind and message
fields() {
    python3 -c '
import sys, msgpack_numpy as m
for r in m.Unpacker(open(sys.argv[1], "rb"), max_buffer_size=0):
    if "err" in r: print(r["id"], r["err"]["kind"] + ":", r["err"]["message"])
    elif "id" in r: print(r["id"], *[k for k in r if k != "id"])' "$1"
}

@test "every checkpoint, from the file to image_embeds: transformers' hidden states" {
    need_fixture images/coffee.png
    local done=0 m g file
    for m in "$models"/tiny-blip2-opt* "$models"/tiny-clip-vit*; do
        g="$VQA_FIXTURES/golden/$(basename "$m")/vision.safetensors"
        g=${g/-v5names/}
        [ -e "$g" ] || continue
        for file in astronaut coffee chelsea rocket gray; do
            grep -qa "last_hidden_state/$file.png" "$g" || continue
            img-encode -m "$m" --resize torchvision -o out "$images/$file.png"
            compare out image_embeds "$g" "last_hidden_state/$file.png" 2e-5
            done=$((done + 1))
        done
    done
    [ $done -ge 8 ]
}

@test "transparency on white, as transformers does with a PIL.Image" {
    need_fixture golden/tiny-blip2-opt-old/vision.safetensors
    img-encode -m "$old" --resize torchvision --alpha white -o out "$images/rgba.png"
    compare out image_embeds "$VQA_FIXTURES/golden/tiny-blip2-opt-old/vision.safetensors" \
        last_hidden_state/rgba.png 2e-5
    img-encode -m "$old" --resize torchvision -o dropped "$images/rgba.png"
    img-encode -m "$old" --resize torchvision --alpha black -o black "$images/rgba.png"
    status_is 1 tensor-diff --tol 1e-3 out dropped
    status_is 1 tensor-diff --tol 1e-3 out black
    status_is 1 tensor-diff --tol 1e-3 dropped black
}

@test "--pixels: pixel_values of both backends, every bit" {
    need_fixture golden/tiny-blip2-opt/preprocess.safetensors
    local g="$VQA_FIXTURES/golden/tiny-blip2-opt/preprocess.safetensors"
    img-encode -m "$models/tiny-blip2-opt" --pixels -o out "$images/astronaut.png"
    compare out pixel_values "$g" pixel_values_pil/astronaut.png 0
    img-encode -m "$models/tiny-blip2-opt" --pixels --resize torchvision -o out "$images/coffee.png"
    compare out pixel_values "$g" pixel_values/coffee.png 0
}

@test "--interpolate: another size, not square" {
    need_fixture golden/tiny-blip2-opt-old/vision.safetensors
    local g="$VQA_FIXTURES/golden/tiny-blip2-opt-old/vision.safetensors"
    img-encode -m "$old" --resize torchvision --interpolate --image-size 84x126 --keep -o out \
        "$images/astronaut.png"
    compare out pixel_values "$g" interpolated/pixel_values/astronaut.png 1e-6
    compare out image_embeds "$g" interpolated/last_hidden_state/astronaut.png 2e-5
    status_is 64 img-encode -m "$old" --image-size 84x126 "$images/astronaut.png"
    says "images of 84 x 126, but the encoder's positions are for 56 x 56; --interpolate"
    status_is 64 img-encode -m "$old" --interpolate --image-size 85 "$images/astronaut.png"
    says "images of 85 x 85, expected multiples of the patch size 14"
    status_is 64 img-encode -m "$old" --image-size 84x "$images/astronaut.png"
    says "--image-size: '84x', expected N or HxW"
    tensor-cat out >in
    status_is 1 img-encode -m "$old" -o out2 <in
    says "pixel_values: shape (3, 84, 126), expected (3, 56, 56)"
    status_is 0 img-encode -m "$old" --interpolate -o out2 <in
}

@test "the same bits for any -b and any -t" {
    need_fixture images/odd_444.jpg
    set -- "$images"/{astronaut,small_64x48,gray,rgba,one_pixel,palette}.png "$images"/odd_4*.jpg nosuch \
        "$images"/{p6.ppm,lossy.webp,frame.gif}
    status_is 1 img-encode -m "$old" -b 1 -t 1 -o one "$@"
    for bt in "2 1" "1 2" "3 2" "5 3" "256 2"; do
        read -r b t <<<"$bt"
        status_is 1 img-encode -m "$old" -b "$b" -t "$t" -o other "$@"
        cmp one other
    done
}

@test "-j: the same bytes from any number of decoders, with bad images among good ones" {
    need_fixture images/astronaut.png
    echo not a picture >bad
    local i opts
    for i in 1 2 3 4; do
        printf '%s\n' "$images/astronaut.png" bad "$images/gray.png" nowhere "$images/exif6.jpg" "$images/one_pixel.png"
    done >list
    img-encode -m "$old" -j 1 -b 1 -T list -o one 2>/dev/null || [ $? -eq 1 ]
    [ "$(fields one | wc -l)" -eq 24 ]
    for opts in "" "-j 2 -b 3" "-j 16 -b 1" "-j 3 -b 16 --cache=c" "-j 5 --cache=c"; do
        # shellcheck disable=SC2086 # several words
        img-encode -m "$old" $opts -T list -o out 2>/dev/null || [ $? -eq 1 ]
        cmp one out
    done
    status_is 65 img-encode -m "$old" -j 4 --fail-fast -T list -o none
    [ ! -e none ]
    img-encode -m "$old" -v "$images/gray.png" 2>log >/dev/null
    grep -Eq 'the encoder was busy [0-9.]+ % of [0-9.]+ s' log
    status_is 64 img-encode -m "$old" -j 0 "$images/gray.png"
}

@test "-T -: no image waits for names that have not come yet" {
    need_fixture images/gray.png
    mkfifo names
    img-encode -m "$old" -T - <names | cat >out &
    exec 7>names
    echo "$images/gray.png" >&7
    local i
    for ((i = 0; i < 200; i++)); do
        [ "$(stat -c %s out)" -gt 1000 ] && break
        sleep 0.05
    done
    [ "$(stat -c %s out)" -gt 1000 ]
    printf '%s\n\n%s' "$images/one_pixel.png" "$images/rgba.png" >&7
    exec 7>&-
    wait $!
    [ "$(fields out | wc -l)" -eq 3 ]
}

@test "a path, the bytes or the pixels in a record: the same as the file itself" {
    need_fixture images/small_64x48.png
    cp "$images/small_64x48.png" a.png
    img-encode -m "$old" -o file a.png
    img-encode -m "$old" --pixels -o pixels a.png
    python3 - <<'P'
import msgpack_numpy as m, numpy as np
px = [r["pixel_values"] for r in m.Unpacker(open("pixels", "rb")) if "id" in r][0]
with open("in", "wb") as f:
    for rec in ({"path": "a.png"}, {"image": open("a.png", "rb").read(), "path": "elsewhere"},
                {"pixel_values": px}, {"pixel_values": px[None].astype("f8"), "mine": [1, {"x": 2}]}):
        f.write(m.packb({"id": "a.png", **rec}))
P
    status_is 0 img-encode -m "$old" -o out <in
    [ "$(fields out)" = "$(printf 'a.png %s\n' 'path image_embeds' 'path image_embeds' image_embeds 'mine image_embeds')" ]
    python3 - <<'P'
import msgpack_numpy as m, numpy as np
get = lambda f: [r["image_embeds"] for r in m.Unpacker(open(f, "rb")) if "id" in r]
want = get("file")[0]
for got in get("out"):
    assert got.dtype == np.float32 and got.shape == (17, 40) and np.array_equal(got, want)
P
    status_is 0 img-encode -m "$old" --keep -o out <in
    [ "$(fields out | sed -n 2p)" = "a.png image path pixel_values image_embeds" ]
}

@test "ways to name files: -, -T, -0, -r" {
    need_fixture images/small_64x48.png
    mkdir -p d/b d/a
    cp "$images/small_64x48.png" "d/a/new
line.png"
    cp "$images/one_pixel.png" d/b/2.png
    cp "$images/one_pixel.png" d/b/10.png
    cp "$images/lzw.tiff" d/c.dat
    echo "no image" >d/notes.txt
    : >d/b/empty
    ln -s ../b d/a/loop
    mkfifo d/fifo
    status_is 1 img-encode -m "$old" -r -o out d
    [ "$(fields out | tr '\n' ' ')" = "d/a/new line.png path image_embeds d/b/10.png path image_embeds d/b/2.png path image_embeds d/c.dat data: d/c.dat: TIFF, not read here; convert it first, as in: magick FILE png:- | img-encode - " ]
    one_line
    find d -name '*.png' -print0 | LC_ALL=C sort -z >list
    status_is 0 img-encode -m "$old" -0 -T list -o out0
    [ "$(fields out0 | grep -c image_embeds)" -eq 3 ]
    status_is 0 bash -c "img-encode -m $old -0 -T - -o out1 <list"
    cmp out0 out1
    printf 'd/b/2.png\n\nd/b/10.png\n' >lines
    status_is 0 img-encode -m "$old" -T lines -o out2 d/b/10.png
    [ "$(fields out2 | cut -d' ' -f1 | tr '\n' ' ')" = "d/b/10.png d/b/2.png d/b/10.png " ]
    status_is 0 bash -c "img-encode -m $old -o out3 - <d/b/2.png"
    [ "$(fields out3)" = "- image_embeds" ]
    status_is 0 bash -c "img-encode -m $old -o out4 <(cat d/b/2.png)"
    status_is 1 img-encode -m "$old" -o out5 d
    says "img-encode: d: is a directory; -r takes the images in it"
    mkdir none
    status_is 0 img-encode -m "$old" -r -o out6 none
    says "no images found"
    status_is 0 tensor-info out6
    status_is 66 img-encode -m "$old" -T nosuch
    says "nosuch: No such file or directory"
    status_is 64 img-encode -m "$old" -0 d/b/2.png
    status_is 64 img-encode -m "$old" -r
}

@test "a name that is not UTF-8 comes back as its bytes" {
    need_fixture images/one_pixel.png
    cp "$images/one_pixel.png" "$(printf 'caf\351.png')"
    status_is 0 bash -c "img-encode -m $old caf*.png | img-encode -m $old --keep -o out"
    python3 -c '
import msgpack_numpy as m
r = [r for r in m.Unpacker(open("out", "rb"), raw=False) if "id" in r]
assert r[0]["id"] == b"caf\xe9.png" == r[0]["path"], r'
}

@test "one bad image is one error record, and the others go on" {
    need_fixture images/bad/truncated.jpg
    cp "$images"/bad/* "$images/one_pixel.png" .
    status_is 1 img-encode -m "$old" -o out one_pixel.png nosuch.png empty.png truncated.jpg random.bin text.png \
        huge_60000x60000.png bad_crc.png truncated.bmp truncated.gif ./one_pixel.png
    cat >want <<'W'
one_pixel.png path image_embeds
nosuch.png noinput: nosuch.png: No such file or directory
empty.png data: empty.png: empty, expected an image
truncated.jpg data: truncated.jpg: JPEG: truncated (Premature end of JPEG file)
random.bin data: random.bin: not an image (expected JPEG, PNG, WebP, GIF, BMP or PNM)
text.png data: text.png: not an image (expected JPEG, PNG, WebP, GIF, BMP or PNM)
huge_60000x60000.png data: huge_60000x60000.png: PNG: 60000 x 60000 pixels, more than the limit of 178956970
bad_crc.png data: bad_crc.png: PNG: damaged: wrong checksum of chunk IDAT at offset 33
truncated.bmp data: truncated.bmp: BMP: truncated: 4946 bytes of pixels, expected 101916
truncated.gif data: truncated.gif: GIF: truncated at pixel 4685 of 33823
./one_pixel.png path image_embeds
W
    diff want <(fields out)
    diff <(sed -n '2,10s/^[^:]*: /img-encode: /p' want) <(echo "$stderr")
    status_is 65 img-encode -m "$old" --fail-fast -o whole one_pixel.png text.png one_pixel.png
    says "text.png: not an image"
    [ ! -e whole ]
    status_is 66 img-encode -m "$old" --fail-fast -o whole nosuch.png
    status_is 1 img-encode -m "$old" --max-pixels 3071 -o out "$images/small_64x48.png"
    says "PNG: 64 x 48 pixels, more than the limit of 3071"
    status_is 0 img-encode -m "$old" --max-pixels 3072 -o out "$images/small_64x48.png"
    truncate -s 300M big.png
    status_is 1 img-encode -m "$old" -o out big.png
    says "big.png: 314572800 bytes, more than the limit of 268435456"
    status_is 65 bash -c "img-encode -m $old <one_pixel.png >out"
    says "(an image on standard input is asked for by -)"
    one_line
}

@test "a 60000 x 60000 header costs no memory" {
    need_fixture images/bad/huge_65500x65500.jpg
    python3 - "$old" "$images"/bad/huge_* <<'P'
import os, resource, subprocess, sys
subprocess.run(["img-encode", "--pixels", "-o", "out", "-m", *sys.argv[1:]], stderr=subprocess.DEVNULL)
kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(kb)
sys.exit(kb > 60000)
P
}

@test "records that hold no image, or pixels that are none" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    python3 - <<'P'
import msgpack_numpy as m, numpy as np
px = np.zeros((3, 56, 56), "f4")
nan = px.copy(); nan[1, 2, 3] = np.nan
inf = px.copy(); inf[2, 0, 0] = -np.inf
with open("in", "wb") as f:
    for i, rec in enumerate(({}, {"pixel_values": nan}, {"pixel_values": inf}, {"pixel_values": px[:, :55]},
                             {"pixel_values": px.astype("u1")}, {"pixel_values": "x"}, {"image": "x"}, {"path": 3},
                             {"path": "/dev/zero"}, {"path": "-"}, {"path": "a\0b"}, {"image": b"GIF89a"},
                             {"pixel_values": px.astype("f2")})):
        f.write(m.packb({"id": str(i), **rec}))
P
    status_is 1 img-encode -m "$old" -o out <in
    cat >want <<'W'
0 data: no pixel_values, image or path in the record
1 data: pixel_values: NaN at index 3251, expected finite values
2 data: pixel_values: infinity at index 6272, expected finite values
3 data: pixel_values: shape (3, 55, 56), expected (3, 56, 56)
4 data: pixel_values: dtype u8, expected f32
W
    diff want <(fields out | head -5)
    [ "$(fields out | sed -n '6,8s/ data:.*//p' | tr '\n' ' ')" = "5 6 7 " ]
    [ "$(fields out | sed -n 9p)" = "8 noinput: /dev/zero: no such file" ]
    [ "$(fields out | sed -n 10p)" = "9 noinput: ./-: no such file" ]
    [ "$(fields out | sed -n 11p)" = "10 noinput: path: no name of a file" ]
    [ "$(fields out | sed -n 12p)" = "11 data: GIF: truncated: ends in its header" ]
    [ "$(fields out | sed -n 13p)" = "12 image_embeds" ]
}

@test "--dtype f16: half the bytes, near" {
    need_fixture images/one_pixel.png
    img-encode -m "$old" -o full "$images/astronaut.png"
    img-encode -m "$old" --dtype f16 -o half "$images/astronaut.png"
    python3 - <<'P'
import msgpack_numpy as m, numpy as np
get = lambda f: [r["image_embeds"] for r in m.Unpacker(open(f, "rb")) if "id" in r][0]
a, b = get("full"), get("half")
assert b.dtype == np.float16 and np.array_equal(a.astype("f2"), b)
P
}

@test "models that cannot encode" {
    need_fixture checkpoints/tiny-opt-350m-style/config.json
    need_fixture images/one_pixel.png
    status_is 66 img-encode -m nosuch "$images/one_pixel.png"
    status_is 78 img-encode -m "$models/tiny-opt-350m-style" "$images/one_pixel.png"
    one_line
    cp -r "$old" broken && chmod -R u+w broken
    sed -i 's/"height": 56/"height": 112/' broken/preprocessor_config.json
    status_is 78 img-encode -m broken "$images/one_pixel.png"
    says "images of 112 x 56, but the encoder's positions are for 56 x 56"
    sed -i 's/"resample": 3/"resample": 2/' broken/preprocessor_config.json
    status_is 78 img-encode -m broken --pixels "$images/one_pixel.png"
    says "resample: 2, only 3 (bicubic) is done here"
    rm broken/preprocessor_config.json
    status_is 66 img-encode -m broken "$images/one_pixel.png"
    says "no preprocessor_config.json"
}

@test "--pixels needs preprocessor_config.json alone" {
    need_fixture images/one_pixel.png
    mkdir m
    cp "$old/preprocessor_config.json" m
    status_is 0 img-encode -m m --pixels -o out "$images/one_pixel.png"
    status_is 0 img-encode -m "$old" -o out2 <out
    img-encode -m "$old" -o out3 "$images/one_pixel.png"
    [ "$(fields out2)" = "$(fields out3)" ]
    status_is 0 tensor-diff out2 out3
}

@test "truncated at every offset; disk full; reader gone; wrong options" {
    need_fixture images/one_pixel.png
    img-encode -m "$old" --pixels -o out "$images/one_pixel.png"
    VQA_CUT_STEP=997 cut_everywhere out img-encode -m "$old"
    status_is 74 bash -c "img-encode -m $old $images/one_pixel.png >/dev/full"
    says "No space left on device"
    rm out
    status_is 74 bash -c "ulimit -f 8; img-encode -m $old --pixels -o out $images/one_pixel.png"
    one_line && says "File too large"
    [ -z "$(ls -d out* 2>/dev/null)" ]
    run bash -c "yes $images/one_pixel.png | img-encode -m $old -T - | head -c 100 >/dev/null; echo \${PIPESTATUS[1]}"
    [ "$output" = 141 ]
    status_is 64 img-encode --resize bilinear
    says "--resize: 'bilinear', expected one of pillow, torchvision"
    status_is 64 img-encode -b 0
    status_is 0 img-encode --version
    [[ $output == *libjpeg-turbo*libwebp* ]]
    status_is 1 img-encode -m "$old" -v -o out nosuch "$images/one_pixel.png"
    says "2 records out, 1 of them errors"
}

@test "memory does not grow with the number of files" {
    need_fixture images/small_64x48.png
    python3 - "$old" "$images/small_64x48.png" <<'P'
import os, resource, subprocess, sys
def peak(n):
    subprocess.run(["img-encode", "-m", sys.argv[1], "-T", "-", "-o", "out"], check=True, env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"},
                   input=(sys.argv[2] + "\n").encode() * n)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
few, many = peak(20), peak(2000)
print(few, many)
sys.exit(many > few + 2000)
P
}

@test "--no-post-layernorm: the same but for the last norm, and kept apart in the cache" {
    M=$PWD/model
    python3 "$repo/tests/lib/retrieval.py" "$M"
    pictures=("$repo"/share/examples/scene-[12].png)
    img-encode -m "$M" --cache=c "${pictures[@]}" >after
    img-encode -m "$M" --cache=c --no-post-layernorm "${pictures[@]}" >before
    [ "$(VQA_CACHE=c vqa cache ls | awk '{ n += $3 } END { print n }')" -eq 4 ]
    img-encode -m "$M" --cache=c --no-post-layernorm "${pictures[@]}" | cmp - before
    PYTHONPATH=$repo/tests/lib python3 - "$M" <<'P'
import sys, golden, numpy as np, msgpack_numpy as m
w = golden.load(sys.argv[1] + "/model.safetensors")
get = lambda f: [r["image_embeds"] for r in m.Unpacker(open(f, "rb"), max_buffer_size=0) if "id" in r]
for x, y in zip(get("before"), get("after")):
    z = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    z = z * w["vision_model.post_layernorm.weight"] + w["vision_model.post_layernorm.bias"]
    assert np.abs(z - y).max() < 1e-5, np.abs(z - y).max()
    assert np.abs(x - y).max() > 0.1
P
}
