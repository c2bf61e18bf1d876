#!/usr/bin/env bats
# vqa search and vqa embed --pool itc: the best pictures for a sentence, from pictures and from what was kept.

load ../lib/helpers

setup_file() {
    repo=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    python3 "$repo/tests/lib/retrieval.py" "$BATS_FILE_TMPDIR/model"
    mkdir "$BATS_FILE_TMPDIR/pictures"
    cp "$repo"/share/examples/{scene-1,scene-2,scene-3}.png "$repo"/share/examples/photo.jpg "$BATS_FILE_TMPDIR/pictures"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    M=$BATS_FILE_TMPDIR/model
    P=$BATS_FILE_TMPDIR/pictures
    export VQA_CACHE=$PWD/cache
}

@test "pictures: as qformer-match scores them, best first; from the cache the second time" {
    vqa search -m "$M" 'a red circle' "$P" >a
    img-encode -m "$M" -r "$P" | qformer-match -m "$M" --head itc --text 'a red circle' | tensor-info --json |
        jq -r '[.itc_score, .id] | @tsv' | LC_ALL=C sort -gr | cut -f 2 >want
    [ "$(wc -l <want)" -eq 4 ]
    cut -f 2 a | diff want -
    vqa search -m "$M" 'a red circle' "$P" | cmp - a
    [ "$(vqa cache ls | awk '{ n += $3 } END { print n }')" -eq 4 ]
    vqa search -m "$M" -k 2 'a red circle' "$P" | cmp - <(head -2 a)
    vqa search -m "$M" --jsonl 'a red circle' "$P"/*.* >j
    jq -r .image j | diff want -
    jq -e -s 'map(.score) | . == (sort | reverse)' j
}

@test "vectors of vqa embed: the same hits, in parts or whole, without the failed ones" {
    echo broken >bad.png
    for i in 0 1 2; do
        status_is "$((i == 1))" vqa embed -m "$M" --pool itc -o three --shard $i/3 "$P"/scene-[12].png bad.png "$P"/scene-3.png "$P/photo.jpg"
    done
    python3 -c 'import numpy as np; a = np.load("three/part-00000-of-00003.npy"); assert a.shape[1:] == (4, 16) and a.dtype == "f4", a.shape'
    vqa search -m "$M" 'a red circle' "$P" >want
    vqa search -m "$M" 'a red circle' three | cmp - want
    cp -r three 'th[r]ee*'
    vqa search -m "$M" 'a red circle' 'th[r]ee*' | cmp - want
    status_is 0 vqa search -m "$M" -v 'a red circle' three
    says "tensor-convert --from npy --field image_embeds_proj"
}

@test "what cannot be searched" {
    status_is 78 vqa search x "$P"
    says "has no heads for matching"
    one_line
    status_is 78 vqa embed --pool itc -o out "$P/photo.jpg"
    [ ! -e out/part-00000-of-00001.npy ]
    status_is 64 vqa search x
    says "no pictures"
    status_is 64 vqa search -k 0 x "$P"
    status_is 1 vqa search -m "$M" x "$P/photo.jpg" nosuch.png
    says "nosuch.png"
    [[ $output == *photo.jpg ]]
    vqa embed -m "$M" -o cls "$P"/scene-[12].png
    status_is 65 vqa search -m "$M" x cls
    says "image_embeds_proj"
    one_line
    status_is 64 vqa search -m "$M" x cls "$P"/scene-1.png
    says "cls: vectors of vqa embed, expected nothing beside them"
    status_is 66 vqa search -m "$M" x nosuch.png
    one_line
    vqa embed -m "$M" --pool itc -o two "$P"/scene-[12].png
    head -1 two/part-*.jsonl >line
    cp line two/part-00000-of-00001.jsonl
    status_is 65 vqa search -m "$M" x two
    says "more rows in .npy than lines"
    rm two/*.jsonl
    status_is 66 vqa search -m "$M" x two
}
