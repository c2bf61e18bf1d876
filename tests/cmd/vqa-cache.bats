#!/usr/bin/env bats
# The cache of embeddings: a hit is a miss to the bit, damage is a miss, and nothing costs an answer.

load ../lib/helpers

model="$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"
images="$VQA_FIXTURES/images"

pictures() {
    need_fixture images/astronaut.png
    need_fixture checkpoints/tiny-blip2-opt-bf16
    files=("$images"/{astronaut,rgba,chelsea,gray,coffee}.png)
}

# encode OUT OPTION... - the pictures; what -v says of the cache into $said
encode() {
    local out=$1
    shift
    img-encode -v -m "$model" -o "$out" "$@" "${files[@]}" 2>log
    said=$(grep 'from the cache' log | sed 's/^[a-z-]*: //')
}

@test "img-encode: with a cache, filled or not, the same bytes as without" {
    pictures
    local options
    for options in "" "-b 1" "-t 2 -b 3" "--keep" "--dtype f16" "--alpha white" "--resize torchvision" "--no-exif"; do
        rm -rf c
        # shellcheck disable=SC2086 # several words
        encode plain $options
        encode miss --cache=c $options
        [ "$said" = "0 from the cache, 5 computed" ]
        encode hit --cache=c $options
        [ "$said" = "5 from the cache, 0 computed" ]
        cmp plain miss
        cmp plain hit
    done
}

@test "img-encode: hits and misses mixed, from bytes, paths and pixels" {
    pictures
    img-encode -m "$model" -o plain "${files[@]}"
    img-encode -m "$model" --cache=c -o x "${files[1]}" "${files[3]}"
    encode mixed --cache=c -b 4
    [ "$said" = "2 from the cache, 3 computed" ]
    cmp plain mixed
    img-encode -m "$model" --cache=c -v - <"${files[0]}" 2>log >/dev/null
    grep -q "1 from the cache" log
    img-encode -m "$model" --pixels -o pixels "${files[@]}"
    img-encode -m "$model" -o plain <pixels
    for said in "0 from" "5 from"; do
        img-encode -m "$model" -v --cache=c -o out <pixels 2>log
        cmp plain out
        grep -q "$said" log
    done
}

@test "qformer: with a cache, filled or not, the same bytes as without" {
    pictures
    encode embeds
    local options
    for options in "" "-b 3" "--keep"; do
        rm -rf c
        # shellcheck disable=SC2086 # several words
        { qformer -m "$model" $options -o plain embeds
          qformer -m "$model" $options --cache=c -o miss embeds
          qformer -m "$model" $options --cache=c -v -o hit embeds 2>log; }
        cmp plain miss
        cmp plain hit
        grep -q "5 from the cache, 0 computed" log
    done
}

@test "whatever the result depends on is another entry" {
    pictures
    cp -r "$model" other
    printf '\1' | dd of=other/model.safetensors bs=1 seek=$(($(stat -c %s other/model.safetensors) - 1)) conv=notrunc status=none
    encode x --cache=c
    local options
    for options in "--dtype f16" "--alpha white" "--resize torchvision" "--no-exif" "--interpolate" "--max-pixels 99999999" "-m other"; do
        # shellcheck disable=SC2086 # several words
        encode x --cache=c $options
        [ "$said" = "0 from the cache, 5 computed" ] || { echo "$options: $said"; false; }
    done
    VQA_CPU=ref encode x --cache=c
    [ "$said" = "0 from the cache, 5 computed" ]
    cp -r "$model" same
    encode x --cache=c -m same
    [ "$said" = "5 from the cache, 0 computed" ]
}

# retrain FROM TO PATTERN - a copy of a checkpoint with one bit of one tensor changed whose name matches
retrain() {
    cp -r "$1" "$2"
    python3 - "$2/model.safetensors" "$3" <<'PY'
import json, re, struct, sys
f = open(sys.argv[1], "r+b")
n = struct.unpack("<Q", f.read(8))[0]
h = json.loads(f.read(n))
name = next(k for k in sorted(h) if re.search(sys.argv[2], k))
f.seek(8 + n + h[name]["data_offsets"][0])
b = f.read(1)[0]
f.seek(-1, 1)
f.write(bytes([b ^ 1]))
PY
}

@test "a part of the checkpoint that is another: what does not depend on it is used again" {
    pictures
    encode x --cache=c
    retrain "$model" qf '^qformer.*weight'
    retrain "$model" lm '^language_model.*weight'
    retrain "$model" vit '^vision_model.*weight'
    encode y --cache=c -m qf
    [ "$said" = "5 from the cache, 0 computed" ]
    encode y --cache=c -m lm
    [ "$said" = "5 from the cache, 0 computed" ]
    encode y --cache=c -m vit
    [ "$said" = "0 from the cache, 5 computed" ]
    cp -r "$model" config
    sed -i 's/"layer_norm_eps": 1e-0[56]/"layer_norm_eps": 0.001/' config/config.json
    ! cmp -s "$model/config.json" config/config.json
    encode y --cache=c -m config
    [ "$said" = "0 from the cache, 5 computed" ]
    img-encode -m "$model" --cache=c "${files[@]}" | qformer -m "$model" --cache=c -v 2>log >/dev/null
    grep -q "0 from the cache, 5 computed" log
    img-encode -m "$model" --cache=c "${files[@]}" | qformer -m lm --cache=c -v 2>log >/dev/null
    grep -q "5 from the cache, 0 computed" log
    retrain "$model" queries '^query_tokens$'
    retrain "$model" project '^language_projection.bias$'
    for m in qf queries project; do
        img-encode -m "$model" --cache=c "${files[@]}" | qformer -m $m --cache=c -v 2>log >/dev/null
        grep -q "0 from the cache, 5 computed" log
    done
}

@test "--inputs: what qformer kept comes straight from the cache, and is the same to the bit" {
    pictures
    img-encode -m "$model" "${files[@]}" | qformer -m "$model" -o plain
    both() { img-encode -m "$model" --cache=c --inputs -o first "${files[@]}" && qformer -m "$model" --cache=c -o out first; }
    both
    grep -qa image_embeds first
    cmp plain out
    both
    cmp plain out
    ! grep -qa image_embeds first
    [ "$(stat -c %s first)" -lt "$(($(stat -c %s out) + 2000))" ]
    # without what the encoder made, still
    grep -lra image_embeds c --include='*.msgpack' | xargs grep -La image_embeds_sha256 | xargs rm
    both
    cmp plain out
    ! grep -qa image_embeds first
    # without what the Q-Former made: from image_embeds, kept again
    encode x --cache=c
    vqa cache rm --cache=c "$(vqa cache ls --cache=c --json | jq -r '.[] | select(.program == "qformer") | .group')"
    both
    cmp plain out
    grep -qa image_embeds first
    both
    ! grep -qa image_embeds first
    # what is known of a picture is known when it was encoded before, without --inputs
    rm -rf c
    encode x --cache=c
    both
    both
    ! grep -qa image_embeds first
    cmp plain out
    # a damaged entry is a miss; another Q-Former, too; --keep and -b change nothing
    for e in $(grep -lra image_embeds_sha256 c --include='*.msgpack'); do printf x | dd of="$e" bs=1 seek=200 conv=notrunc status=none; done
    both
    cmp plain out
    retrain "$model" qf '^qformer.*weight'
    img-encode -m qf --cache=c --inputs -o first "${files[@]}"
    grep -qa image_embeds first
    img-encode -m "$model" --cache=c --inputs -b 1 -o first "${files[@]}"
    ! grep -qa image_embeds first
    status_is 64 img-encode -m "$model" --inputs "${files[0]}"
    says "--inputs: expected --cache with it"
    # what is asked of it besides needs the embeddings
    status_is 1 qformer -m "$model" --features first
    says "no image_embeds in the record"
}

@test "an entry is a stream: cat replays it, and what is in it is told by its group's description" {
    pictures
    img-encode -m "$model" --cache=c -o one "${files[0]}"
    cat c/emb/v1/*/*/*.msgpack | qformer -m "$model" -o a
    qformer -m "$model" -o b one
    cmp <(tensor-info a | tail -n +2) <(tensor-info b | tail -n +2 | grep -v ' path')
    grep -q '^program img-encode' c/emb/v1/*/about
    grep -q '^Signature: 8a477f597d28d172789f06886806bc55$' c/CACHEDIR.TAG
    [ "$(stat -c %a c)" = 700 ]
}

@test "a hit has no weights in memory" {
    pictures
    python3 "$repo/tests/lib/vit.py" big 768 8 12 3072 56
    peak() { # peak COMMAND... - its resident set at most, in MB
        python3 -c 'import resource, subprocess, sys
assert subprocess.run(sys.argv[1:]).returncode == 0
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)' "$@"
    }
    size=$(($(stat -c %s big/model.safetensors) >> 20))
    [ "$size" -gt 100 ]
    sleep 3 # for the digest to be remembered
    miss=$(peak img-encode -m big --cache=c -o miss "${files[@]}")
    hit=$(peak img-encode -m big --cache=c -o hit "${files[@]}")
    echo "$size MB of weights; $miss MB computing, $hit MB from the cache"
    cmp miss hit
    [ "$miss" -gt "$size" ]
    [ "$hit" -lt 40 ]
}

@test "damaged, swapped, empty and cut entries are computed again and replaced" {
    pictures
    encode plain
    encode x --cache=c
    local e
    mapfile -t e < <(find c -name '*.msgpack' | sort)
    printf x | dd of="${e[0]}" bs=1 seek=300 conv=notrunc status=none
    cp "${e[2]}" "${e[1]}"
    : >"${e[2]}"
    truncate -s -1 "${e[3]}"
    status_is 65 vqa cache verify --cache=c
    [ "$(grep -c ^bad <<<"$output")" -eq 4 ]
    says "4 bad"
    encode x --cache=c
    [ "$said" = "1 from the cache, 4 computed" ]
    cmp plain x
    status_is 0 vqa cache verify --cache=c
    [ "$output" = "5 entries, 0 bad" ]
}

@test "killed at every system call of writing an entry: nothing wrong is ever read" {
    pictures
    command -v strace >/dev/null || skip "no strace"
    strace -qq -o /dev/null true 2>/dev/null || skip "no ptrace here"
    img-encode -m "$model" -o plain "${files[0]}"
    local call n done
    for call in mkdir openat write rename close lseek; do
        for n in $(seq 1 60); do
            rm -rf c
            strace -qq -f -o /dev/null -e trace=$call -e inject=$call:signal=SIGKILL:when="$n" \
                img-encode -m "$model" --cache=c -o out "${files[0]}" 2>/dev/null && break
            img-encode -m "$model" --cache=c -o out "${files[0]}"
            cmp plain out
            vqa cache verify --cache=c >/dev/null
            done=$((done + 1))
        done
    done
    echo "$done kills"
    [ "$done" -gt 20 ]
}

@test "killed at random, among others that read and write the same entries: $(echo "${VQA_KILLS:-30}") times" {
    pictures
    encode plain
    local i pid pids
    for ((i = 0; i < ${VQA_KILLS:-30}; i++)); do
        ((i % 5)) || rm -rf c
        pids=()
        for n in 1 2 3; do
            img-encode -m "$model" --cache=c -o out.$n "${files[@]}" &
            pids+=($!)
        done
        sleep "0.0$((RANDOM % 100))"
        kill -9 "${pids[RANDOM % 3]}" 2>/dev/null || true
        for n in 0 1 2; do
            if wait "${pids[n]}" 2>/dev/null; then cmp plain out.$((n + 1)); fi
        done
        vqa cache verify --cache=c >/dev/null
    done
    encode x --cache=c
    cmp plain x
}

@test "full disk, no inodes, read-only: said once, and every answer is there" {
    pictures
    unshare -m mount -t tmpfs -o size=64k t /mnt 2>/dev/null || skip "no mount namespaces here"
    encode plain
    run_on() { # run_on MOUNT-OPTIONS [REMOUNT] - in a cache on such a file system
        unshare -m bash -c "mount -t tmpfs -o $1 t /mnt && chmod 700 /mnt && ${2:-true} &&
            img-encode -m '$model' -o out --cache=/mnt/c ${files[*]@Q}" 2>log
    }
    run_on size=16k
    cmp plain out
    [ "$(grep -c . log)" -eq 1 ]
    grep -q 'img-encode: cache: .*No space left on device; going on without writing to it' log
    run_on size=1m,nr_inodes=6
    cmp plain out
    [ "$(grep -c 'No space left' log)" -eq 1 ]
    run_on size=1m "mount -o remount,ro /mnt"
    cmp plain out
    [ "$(grep -c 'Read-only file system; going on' log)" -eq 1 ]
    encode x --cache=c
    run_on size=1m "cp -r c /mnt && mount -o remount,ro /mnt"
    cmp plain out
    [ ! -s log ]
}

@test "--cache-ro: used and not written to; a directory that everybody may write to is not used" {
    pictures
    encode x --cache=shared
    sum=$(find shared -type f -exec cat {} + | sha256sum)
    encode y --cache-ro shared
    [ "$said" = "5 from the cache, 0 computed" ]
    cmp x y
    files+=("$images/one_pixel.png")
    encode y --cache=own --cache-ro shared
    [ "$said" = "5 from the cache, 1 computed" ]
    [ "$(vqa cache du --json --cache=own | jq .entries)" -eq 1 ]
    [ "$sum" = "$(find shared -type f -exec cat {} + | sha256sum)" ]
    chmod o+w shared
    encode y --cache-ro shared
    [ -z "$said" ]
    grep -q 'shared: everybody may write there' log
}

@test "the directory goes away in the middle: made again, no answer lost" {
    pictures
    encode plain
    (echo "${files[0]}"; sleep 0.5; rm -rf c; printf '%s\n' "${files[@]:1}") |
        img-encode -m "$model" -b 1 --cache=c -o out -T -
    cmp plain out
}

@test "--cache-max: the least recently used go" {
    pictures
    encode x --cache=c
    size=$(stat -c %s "$(find c -name '*.msgpack' | head -1)")
    rm -r c
    encode x --cache=c --cache-max $((size * 3))
    [ "$(vqa cache du --cache=c | cut -f1)" -le $((size * 3)) ]
    [ "$(vqa cache du --json --cache=c | jq .entries)" -ge 2 ]
    VQA_CACHE_MAX=$size encode x --cache=d
    [ "$(vqa cache du --cache=d | cut -f1)" -le "$size" ]
}

@test "vqa ask, caption and chat keep embeddings unless told not to; the answers are the same" {
    pictures
    export VQA_CACHE=$PWD/c
    a() { vqa ask -m "$model" "$@" "${files[0]}" 'what is this?'; }
    a --no-cache >none
    [ ! -e c ]
    a >miss
    [ "$(vqa cache du --json | jq .entries)" -eq 3 ]
    a >hit
    cmp none miss
    cmp none hit
    a --cache=d >other
    cmp none other
    [ "$(vqa cache du --json --cache=d | jq .entries)" -eq 3 ]
    [[ "$(a --verbose 2>&1)" == *"img-encode "*" --cache --inputs -- "*"qformer "*" --cache |"* ]]
    env -u VQA_CACHE -u HOME -u XDG_CACHE_HOME vqa ask -m "$model" "${files[0]}" 'what is this?' >homeless
    cmp none homeless
    vqa caption -m "$model" --cache=e "${files[0]}"
    [ "$(vqa cache du --json --cache=e | jq .entries)" -eq 3 ]
    echo 'what?' | vqa chat -m "$model" --cache=f "${files[0]}"
    [ "$(vqa cache du --json --cache=f | jq .entries)" -eq 3 ]
}

@test "path, ls, du, prune, rm" {
    pictures
    export VQA_CACHE=$PWD/c
    [ "$(vqa cache path)" = "$PWD/c" ]
    [ "$(env -u VQA_CACHE XDG_CACHE_HOME=/x vqa cache path)" = /x/vqa ]
    [ "$(env -u VQA_CACHE -u XDG_CACHE_HOME HOME=/h vqa cache path)" = /h/.cache/vqa ]
    status_is 0 vqa cache ls
    [ -z "$output" ]
    vqa ask -m "$model" "${files[@]}" 'what?' >/dev/null
    status_is 0 vqa cache ls
    [ "${#lines[@]}" -eq 2 ]
    grep -q "img-encode  *10 entries.*$model" <<<"$output"
    group=$(vqa cache ls --json | jq -r '.[] | select(.program == "qformer") | .group')
    touch -d '2 days ago' "$(find "c/emb/v1/$group" -name '*.msgpack' | head -1)"
    [ "$(vqa cache prune --older 1d)" = "1 entries removed, 0.0 MB" ]
    [[ "$(vqa cache rm "$group")" == "4 entries removed"* ]]
    [ "$(vqa cache ls --json | jq length)" -eq 1 ]
    [ "$(vqa cache rm --json | jq .removed)" -eq 10 ]
    [ "$(vqa cache du)" = "0	$PWD/c" ]
    status_is 0 vqa cache verify
    [ "$output" = "0 entries, 0 bad" ]
}

@test "vqa cache: what it refuses" {
    mkdir plain
    status_is 66 vqa cache rm --cache=plain
    says "plain: no CACHEDIR.TAG, so not a cache"
    one_line
    status_is 66 vqa cache prune --cache=plain
    status_is 66 env -u VQA_CACHE -u XDG_CACHE_HOME -u HOME vqa cache path
    says "set VQA_CACHE or HOME"
    status_is 64 vqa cache
    says "expected path, ls, du, verify, prune or rm"
    status_is 64 vqa cache list
    status_is 64 vqa cache ls x
    status_is 64 vqa cache ls --older 1d
    status_is 64 vqa cache prune --older 1w
    says "--older: '1w', expected days or hours"
    status_is 64 vqa cache prune --cache-max 20X
    says "--cache-max: '20X', expected a size as 500M or 20G"
    status_is 74 bash -c 'vqa cache path >/dev/full'
}

@test "img-encode and qformer: what they refuse of a cache's options" {
    need_fixture checkpoints/tiny-blip2-opt-bf16
    status_is 64 img-encode -m "$model" --cache-max 1G x.png
    says "--cache-max: expected --cache with it"
    status_is 64 img-encode -m "$model" --pixels --cache=c x.png
    says "--pixels: only image_embeds are kept"
    status_is 64 qformer -m "$model" --features --cache=c
    says "--features: only language_model_inputs are kept"
    VQA_CACHE_MAX=much status_is 64 img-encode -m "$model" --cache=c "$images/one_pixel.png"
    says "VQA_CACHE_MAX: 'much'"
}
