#!/usr/bin/env bats
# --tar: the images of an archive, from a file or a pipe, of every kind of header; damage and cuts.

load ../lib/helpers

export VQA_MODEL="$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"
images="$VQA_FIXTURES/images"

pictures() {
    need_fixture images/astronaut.png
    need_fixture checkpoints/tiny-blip2-opt-bf16
}

# pack FILE FORMAT - an archive as webdataset's writers make them: two pictures a directory, their
# captions and JSON, a long name, a name beside ASCII, a link, a directory, a file of macOS
pack() {
    python3 - "$images" "$@" <<'PY'
import io, sys, tarfile
images, out, kind = sys.argv[1:]
t = tarfile.open(out, "w", format=getattr(tarfile, kind + "_FORMAT"))
def add(name, data, **more):
    i = tarfile.TarInfo(name)
    i.size = len(data)
    for k, v in more.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))
def picture(name):
    return open(images + "/" + name, "rb").read()
add("a", b"", type=tarfile.DIRTYPE)
add("a/000.jpg", picture("exif6.jpg"))
add("a/000.txt", b"a caption\n")
add("a/000.json", b"{}")
add("a/001.seg.png", picture("rgba.png"))
add("a/001.cls", picture("gray.png"))
add("._a/002.jpg", b"")
add("b/._003.jpg", picture("gray.png"))
add("a/link.jpg", b"", type=tarfile.SYMTYPE, linkname="000.jpg")
add("b/004.JPG", b"no picture at all")
add("b/005.png", b"")
if kind != "USTAR":
    add("c/" + "long/" * 40 + "n\u00e4me.webp", picture("gray.png"))
add("one_pixel", picture("one_pixel.png"))
t.close()
PY
}

# records STREAM - a line a record: id and its fields, or the failure's kind
records() {
    python3 -c '
import sys, msgpack_numpy as m
for r in m.Unpacker(open(sys.argv[1], "rb"), max_buffer_size=0):
    if "err" in r: print(r["id"], r["err"]["kind"])
    elif "id" in r: print(r["id"], *[k for k in r if k != "id"])' "$1"
}

@test "ustar, GNU and pax archives, from a file and from a pipe" {
    pictures
    local kind want
    want=$(printf '%s\n' "a/000 image_embeds" "a/001 image_embeds" "a/001 image_embeds" "._a/002 data" "b/004 data" "b/005 data")
    for kind in USTAR GNU PAX; do
        pack $kind.tar $kind
        long="c/$(printf 'long/%.0s' {1..40})näme image_embeds"
        img-encode --tar $kind.tar -o out 2>log || [ $? -eq 1 ]
        [ $kind = USTAR ] && long=
        [ "$(records out)" = "$want${long:+$'\n'$long}"$'\n'"one_pixel image_embeds" ]
        [ "$(grep -c . log)" -eq 3 ]
        grep -q 'img-encode: b/004: .*not an image\|img-encode: b/004: ' log
        img-encode -b 1 -j 7 --tar - -o piped <$kind.tar 2>/dev/null || [ $? -eq 1 ]
        cmp out piped
        (cat $kind.tar; sleep 0.3) | img-encode --tar - -o piped 2>/dev/null || [ $? -eq 1 ]
        cmp out piped
    done
    img-encode -o file "$images/exif6.jpg" "$images/rgba.png" "$images/gray.png" "$images/one_pixel.png"
    python3 - out file <<'PY'
import sys, msgpack_numpy as m
a, b = ([r["image_embeds"].tobytes() for r in m.Unpacker(open(f, "rb"), max_buffer_size=0) if "image_embeds" in r] for f in sys.argv[1:])
assert [a[i] for i in (0, 1, 2, 4)] == b
PY
}

@test "several archives one after the other; what GNU tar packs" {
    pictures
    pack one.tar GNU
    img-encode --tar one.tar -o one 2>/dev/null || [ $? -eq 1 ]
    cat one.tar one.tar | img-encode --tar - -o two 2>/dev/null || [ $? -eq 1 ]
    [ "$(records two)" = "$(records one; records one)" ]
    mkdir d
    cp "$images"/{gray,rgba}.png d
    local format
    for format in gnu oldgnu pax posix ustar v7; do
        tar --format=$format --sort=name -cf d.tar d
        img-encode --tar d.tar -o out
        [ "$(records out)" = "$(printf 'd/%s image_embeds\n' gray rgba)" ]
    done
    truncate -s 100M sparse.png
    tar -S -cf sparse.tar sparse.png
    status_is 65 img-encode --tar sparse.tar -o none
    says "a sparse file, which is not read here"
    tar -cf empty.tar -T /dev/null
    status_is 0 img-encode --tar empty.tar -o none
    says "no images found"
}

@test "an archive that is not there, or not alone, is said once in a pipeline" {
    cd "$BATS_TEST_TMPDIR"
    pack x.tar GNU
    status_is 64 vqa caption --tar x.tar a.png
    says "img-encode: --tar: expected no other images, no -T and no -r with it"
    one_line
    status_is 66 vqa caption --tar nosuch.tar
    says "img-encode: nosuch.tar: No such file"
    one_line
}

@test "vqa: --tar, printed and into files" {
    pictures
    pack x.tar PAX
    status_is 1 vqa caption --jsonl --tar - <x.tar
    printed=$output
    [ "$(wc -l <<<"$output")" -eq 8 ]
    [ "$(jq -r .image <<<"$output" | head -1)" = a/000 ]
    status_is 1 vqa caption --tar x.tar -o out
    [ "$(cat out/part-00000-of-00001.jsonl)" = "$printed" ]
    [ "$(jq .images out/part-00000-of-00001.stats.json)" -eq 8 ]
    touch -d '1 hour ago' out/*.jsonl
    status_is 1 vqa caption --tar x.tar -o out
    [ "$(find out -name '*.jsonl' -mmin +30 | wc -l)" -eq 1 ] # done before
    status_is 1 vqa embed --tar x.tar -o vectors
    [ "$(jq -c 'select(.row != null) | .row' vectors/*.jsonl | tail -1)" -eq 4 ]
    status_is 1 vqa ask --jsonl --tar x.tar 'What is this?'
    [ "$(wc -l <<<"$output")" -eq 8 ]
}

@test "cut anywhere, it is told; what came before the cut is whole" {
    pictures
    pack x.tar GNU
    local size n
    size=$(stat -c %s x.tar)
    for n in 1 511 512 700 1024 5000 20000 $((size / 2)) $((size * 2 / 3)); do
        head -c "$n" x.tar >cut.tar
        status_is 65 bash -c 'img-encode --tar cut.tar >/dev/null'
        says "cut.tar: tar archive, at byte"
        status_is 65 bash -c 'img-encode --tar - <cut.tar >/dev/null'
        status_is 65 vqa caption --no-cache --tar cut.tar
    done
    printf x | dd of=x.tar bs=1 seek=3 conv=notrunc status=none
    status_is 65 bash -c 'img-encode --tar x.tar >/dev/null'
    says "at byte 512: no header (checksum), is it a tar archive?"
    status_is 65 bash -c 'img-encode --tar "$0" >/dev/null' "$images/gray.png"
}

@test "what it refuses" {
    pictures
    pack x.tar PAX
    status_is 64 bash -c 'img-encode --tar x.tar y.png >/dev/null'
    says "--tar: expected no other images, no -T and no -r with it"
    status_is 64 vqa caption --tar x.tar -T x -o out
    status_is 64 vqa caption --tar - -o out <x.tar
    says "expected --tar FILE, not standard input"
    status_is 64 vqa caption --tar x.tar -o out --shard 0/2
    says "an archive is not cut"
    status_is 66 bash -c 'img-encode --tar nowhere.tar >/dev/null'
    says "nowhere.tar: No such file"
    status_is 74 bash -c 'img-encode --tar . >/dev/null'
    python3 - <<'PY'
import tarfile
i = tarfile.TarInfo("huge.png"); i.size = 1 << 40
open("huge.tar", "wb").write(i.tobuf(tarfile.GNU_FORMAT))
i.pax_headers = {"path": "x" * 99}
b = bytearray(i.tobuf(tarfile.PAX_FORMAT))
b[512:514] = b"99"
open("pax.tar", "wb").write(b)
PY
    status_is 65 bash -c 'img-encode --tar huge.tar | tensor-info'
    status_is 65 bash -c 'img-encode --tar pax.tar >/dev/null'
    says "a pax header that is none"
}
