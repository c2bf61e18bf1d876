#!/usr/bin/env bats
# vqa ask and caption --sidecar: answers beside pictures, whole or not there, nobody's work replaced; progress.

load ../lib/helpers

export VQA_MODEL="$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"
images="$VQA_FIXTURES/images"

photos() {
    need_fixture images/astronaut.png
    need_fixture checkpoints/tiny-blip2-opt-bf16
    export VQA_CACHE=$PWD/cache
    mkdir -p photos/sub.dir
    cp "$images"/{astronaut,chelsea}.png photos
    cp "$images/gray.png" photos/sub.dir/noending
    cp "$images/exif6.jpg" 'photos/sub.dir/a.b & <c>.jpg'
    echo no picture >photos/bad.jpg
}

@test "txt: the answer that would be printed, beside each picture; nothing on standard output" {
    photos
    vqa caption --jsonl -r photos >printed 2>/dev/null || [ $? -eq 1 ]
    status_is 0 vqa caption --sidecar txt -r photos
    [ -z "$output" ]
    one_line
    says "vqa caption: 4 answers, 0 failed; 0 images encoded, 4 from the cache; "
    [ "$(find photos -name '*.txt' | sort)" = "$(printf 'photos/%s.txt\n' astronaut chelsea 'sub.dir/a.b & <c>' sub.dir/noending)" ]
    for f in photos/astronaut.png photos/sub.dir/noending; do
        [ "$(cat "${f%.png}.txt")" = "$(jq -r --arg f "$f" 'select(.image == $f) | .caption' printed)" ]
    done
    status_is 1 vqa ask --no-cache --overwrite --sidecar txt photos/bad.jpg photos/astronaut.png 'What is this?'
    says "vqa ask: 1 answers, 1 failed; 1 images encoded, 0 from the cache"
    [ "$(cat photos/astronaut.txt)" = "$(vqa ask photos/astronaut.png 'What is this?')" ]
    [ ! -e photos/bad.txt ]
}

@test "--skip-existing goes on where it was stopped; without it nothing is touched" {
    photos
    vqa caption --sidecar txt photos/astronaut.png
    echo mine >photos/chelsea.txt
    status_is 65 vqa caption --sidecar txt photos/chelsea.png
    says "photos/chelsea.txt: is there already"
    one_line
    status_is 0 vqa caption --sidecar txt --skip-existing -r photos
    says "vqa caption: 2 answers, 0 failed; 2 images encoded, 0 from the cache"
    [ "$(cat photos/chelsea.txt)" = mine ]
    status_is 0 vqa caption --sidecar txt --skip-existing -r photos
    says "vqa caption: 0 answers"
    status_is 0 vqa caption --sidecar txt --overwrite photos/chelsea.png
    [ "$(cat photos/chelsea.txt)" != mine ]
    # two pictures, one name beside them: the first has it
    cp photos/chelsea.png photos/two.png
    cp photos/chelsea.png photos/two.PNG
    status_is 65 vqa caption --sidecar txt photos/two.png photos/two.PNG
    rm photos/two.txt
    status_is 0 vqa caption --sidecar txt --skip-existing photos/two.png photos/two.PNG
    printf '%s\n' photos/two.png photos/astronaut.png photos/bad.jpg | img-encode --skip-existing txt -T - -o out || [ $? -eq 1 ]
    [ "$(tensor-info out | grep -c image_embeds)" -eq 0 ]
}

@test "xmp: well-formed, dc:description as exiftool reads it; others' files stay" {
    photos
    vqa caption --sidecar xmp -r photos
    vqa caption --sidecar xmp:stem photos/astronaut.png
    cmp photos/astronaut.png.xmp photos/astronaut.xmp
    python3 - 'photos/sub.dir/a.b & <c>.jpg.xmp' photos/astronaut.png.xmp <<'PY'
import sys, xml.etree.ElementTree as E
for f in sys.argv[1:]:
    t = E.parse(f)
    li = t.find("./{http://www.w3.org/1999/02/22-rdf-syntax-ns#}RDF/*/{http://purl.org/dc/elements/1.1/}description/*/*")
    assert li.text and li.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"
    print(li.text)
PY
    want=$(vqa caption photos/astronaut.png | tr '\000-\037' ' ' | sed 's/ *$//') # XML holds no control characters
    if command -v exiftool >/dev/null; then
        [ "$(exiftool -s3 -XMP-dc:Description photos/astronaut.xmp)" = "$want" ]
        [ "$(exiftool -validate -warning -s3 photos/astronaut.xmp)" = OK ]
    fi
    status_is 0 vqa caption --sidecar xmp --overwrite photos/astronaut.png
    echo '<x:xmpmeta x:xmptk="XMP Core 4.4.0-Exiv2"/>' >photos/chelsea.png.xmp
    status_is 65 vqa caption --sidecar xmp --overwrite photos/chelsea.png
    says "photos/chelsea.png.xmp: made by another program, so not replaced"
    [ "$(wc -c <photos/chelsea.png.xmp)" -eq 44 ]
}

@test "a name that is not UTF-8; a place that cannot be written" {
    photos
    name=$(printf 'photos/\377.png')
    cp "$images/gray.png" "$name"
    status_is 0 vqa caption --sidecar txt "$name"
    [ -s "${name%.png}.txt" ]
    ln -s /proc/nowhere/x.txt photos/chelsea.txt
    status_is 65 vqa caption --sidecar txt photos/chelsea.png
    status_is 74 vqa caption --sidecar txt --overwrite /dev/fd/9 9<"$images/gray.png"
}

@test "on a terminal: how far it is" {
    photos
    command -v script >/dev/null || skip "no script"
    printf '%s\n' photos/{astronaut,chelsea}.png photos/bad.jpg >list
    for ((i = 0; i < 200; i++)); do cat list; done >long
    script -qec "vqa embed --no-cache -o out -T long" /dev/null >log 2>&1 </dev/null || [ $? -eq 1 ]
    tr '\r' '\n' <log >lines
    grep -Eq '^[0-9]+ of 600 images, [0-9.]+ a second, 0 from the cache, [0-9]+ failed, .* left' lines
    grep -q 'vqa embed: 400 vectors, 200 failed; 400 images encoded, 0 from the cache' lines
}

@test "SIGTERM: 75, what was answered is there, and it goes on" {
    photos
    mkfifo names
    vqa caption --sidecar txt -T names 2>log &
    local pid=$! st=0 i
    exec 7>names
    echo photos/astronaut.png >&7
    for ((i = 0; i < 200; i++)); do [ -s photos/astronaut.txt ] && break; sleep 0.05; done
    kill -TERM $pid
    wait $pid || st=$?
    exec 7>&-
    [ $st -eq 75 ]
    grep -q 'stopped by a signal' log
    [ -s photos/astronaut.txt ]
    [ -z "$(find photos -name '*.tmp.*')" ]
    status_is 0 vqa caption --sidecar txt --skip-existing photos/astronaut.png photos/chelsea.png
    says "1 answers"
}

@test "what it refuses" {
    photos
    status_is 64 vqa caption --sidecar json photos/chelsea.png
    says "--sidecar: 'json', expected txt, xmp or xmp:stem"
    status_is 64 vqa ask --sidecar txt --question a --question b photos/chelsea.png
    says "expected one question"
    status_is 64 vqa caption --sidecar txt -o out photos/chelsea.png
    status_is 64 vqa caption --sidecar txt --jsonl photos/chelsea.png
    status_is 64 vqa caption --sidecar txt --tar x.tar
    status_is 64 vqa caption --skip-existing photos/chelsea.png
    says "--skip-existing: expected --sidecar with it"
    status_is 64 vqa caption --sidecar txt --skip-existing --overwrite photos/chelsea.png
    says "--skip-existing and --overwrite: expected one of them"
    status_is 64 vqa caption --overwrite photos/chelsea.png
    says "--overwrite: expected -o DIR or --sidecar with it"
    status_is 64 bash -c 'img-encode --skip-existing jpg photos/chelsea.png >/dev/null'
    status_is 64 bash -c 'img-encode --skip-existing txt --tar x.tar >/dev/null'
    status_is 64 bash -c 'img-encode --skip-existing txt </dev/null >/dev/null'
    status_is 74 bash -c 'img-encode --tally /nowhere/x photos/chelsea.png >/dev/null'
}
