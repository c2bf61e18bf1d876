#!/usr/bin/env bats
# vqa ask, caption and embed into files: parts of a list, done once, whole or not there, whoever is killed.

load ../lib/helpers

export VQA_MODEL="$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"
images="$VQA_FIXTURES/images"

# A list of good pictures and two bad ones; a cache of its own for each test.
list() {
    need_fixture images/astronaut.png
    need_fixture checkpoints/tiny-blip2-opt-bf16
    export VQA_CACHE=$PWD/cache
    printf '%s\n' "$images"/{astronaut,chelsea,coffee,gray,rgba,rocket,palette,la}.png "$images"/{cmyk,exif6}.jpg >good
    echo not an image >text.png
    { head -4 good; echo nowhere.png; sed -n 5,7p good; echo text.png; tail -n +8 good; } >list
}

@test "caption: a part's file is what --jsonl prints; the parts together are the whole" {
    list
    vqa caption --jsonl -T list >printed 2>/dev/null || [ $? -eq 1 ]
    status_is 1 vqa caption -T list -o whole
    cmp printed whole/part-00000-of-00001.jsonl
    [ "$(find whole -type f | wc -l)" -eq 2 ]
    local i st
    for i in 0 1 2 3 4; do
        st=0
        vqa caption -T list -o five --shard $i/5 2>/dev/null || st=$?
        [ $st -le 1 ]
    done
    cat five/part-*-of-00005.jsonl | cmp - printed
    [ "$(jq -s 'map(.images) | add' five/*.stats.json)" -eq 12 ]
    [ "$(jq -s 'map(.errors) | add' five/*.stats.json)" -eq 2 ]
    [ "$(jq -r 'select(.error) | .error.kind' printed | sort | tr '\n' ' ')" = "data noinput " ]
}

@test "ask: several questions; a part of nothing is valid" {
    list
    status_is 0 vqa ask -T good -o out --question 'What is it?' --question 'How many?'
    [ "$(jq -s length out/*.jsonl)" -eq 20 ]
    status_is 0 vqa ask -T good -o many --shard 99/100 'What is it?'
    status_is 0 vqa ask -T good -o many --shard 0/100 'What is it?'
    [ ! -s many/part-00000-of-00100.jsonl ]
    [ "$(jq .images many/part-00000-of-00100.stats.json)" -eq 0 ]
    status_is 0 vqa ask -T good -o many --shard 0/100 'What is it?'
}

@test "what is done is not done again; what was asked of others is not replaced" {
    list
    vqa caption -T good -o out
    touch -d '1 hour ago' out/*
    before=$(stat -c %Y out/*)
    status_is 0 vqa caption -v -t 1 -b 2 --no-cache -T good -o out
    says "out/part-00000-of-00001: done before"
    [ "$before" = "$(stat -c %Y out/*)" ]
    local other
    for other in "--num-beams 2" "--resize torchvision" "-m $VQA_FIXTURES/checkpoints/tiny-blip2-opt-old"; do
        # shellcheck disable=SC2086 # several words
        status_is 65 vqa caption -T good -o out $other
        says "made of other images, options or another model; --overwrite replaces it"
        one_line
    done
    status_is 65 vqa caption -T <(head -3 good) -o out
    status_is 0 vqa caption -T good -o out --num-beams 2 --overwrite
    [ "$before" != "$(stat -c %Y out/*)" ]
    cp out/part-00000-of-00001.jsonl sound
    printf x | dd of=out/part-00000-of-00001.jsonl bs=1 seek=9 conv=notrunc status=none
    status_is 0 vqa caption -T good -o out --num-beams 2
    cmp sound out/part-00000-of-00001.jsonl
    rm out/*.stats.json
    status_is 0 vqa caption -T good -o out --num-beams 2
    [ -s out/part-00000-of-00001.stats.json ]
}

@test "--retry-failed: only where images failed" {
    list
    status_is 1 vqa caption -T list -o out
    status_is 1 vqa caption -T list -o out
    [ -z "$stderr" ]
    cp "$images/astronaut.png" nowhere.png
    status_is 1 vqa caption -T list -o out
    status_is 1 vqa caption -T list -o out --retry-failed
    [ "$(jq .errors out/*.stats.json)" -eq 1 ]
    cp "$images/coffee.png" text.png
    status_is 0 vqa caption -T list -o out --retry-failed
    touch -d '1 hour ago' out/*
    before=$(stat -c %Y out/*)
    status_is 0 vqa caption -T list -o out --retry-failed
    [ "$before" = "$(stat -c %Y out/*)" ]
}

@test "embed: rows of image_embeds, or their means, in the order of the list" {
    list
    img-encode -o all.s $(cat good)
    status_is 1 vqa embed -T list -o cls
    status_is 1 vqa embed -T list -o mean --pool mean
    for i in 0 1 2; do vqa embed -T good -o three --shard $i/3; done
    python3 - <<'P'
import glob, json, numpy as np, msgpack_numpy as m
want = [r["image_embeds"] for r in m.Unpacker(open("all.s", "rb"), max_buffer_size=0) if "id" in r]
cls, mean = (np.load(d + "/part-00000-of-00001.npy") for d in ("cls", "mean"))
assert cls.shape == (10, 32) and cls.dtype == np.float32 and cls.flags.c_contiguous
assert all((c == w[0]).all() for c, w in zip(cls, want))
assert np.allclose(mean, [w[1:].mean(0) for w in want], atol=1e-5)
parts = np.concatenate([np.load(f) for f in sorted(glob.glob("three/*.npy"))])
assert (parts == cls).all()
lines = [json.loads(l) for l in open("cls/part-00000-of-00001.jsonl")]
assert [l["row"] for l in lines if "row" in l] == list(range(10))
assert [l["image"] for l in lines] == open("list").read().split("\n")[:-1]
P
    status_is 0 vqa embed -T good -o many --shard 0/100
    [ "$(python3 -c 'import numpy; print(numpy.load("many/part-00000-of-00100.npy").shape)')" = "(0, 32)" ]
}

@test "killed at random and run again: the same files, and no others, $(echo "${VQA_KILLS:-12}") times" {
    list
    vqa caption -T list -o whole 2>/dev/null || [ $? -eq 1 ]
    local i pid st
    rm -rf "$VQA_CACHE"
    for ((i = 0; i < ${VQA_KILLS:-12}; i++)); do
        ((i % 4)) || rm -rf out "$VQA_CACHE"
        vqa caption -T list -o out --overwrite 2>/dev/null &
        pid=$!
        sleep "0.$(printf %02d $((RANDOM % 30)))"
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        [ ! -e out/part-00000-of-00001.jsonl ] || cmp whole/part-00000-of-00001.jsonl out/part-00000-of-00001.jsonl
        vqa cache verify >/dev/null
    done
    st=0
    vqa caption -T list -o out 2>/dev/null || st=$?
    [ $st -eq 1 ]
    cmp whole/part-00000-of-00001.jsonl out/part-00000-of-00001.jsonl
    cmp whole/part-00000-of-00001.stats.json out/part-00000-of-00001.stats.json
    [ "$(find out -type f | wc -l)" -eq 2 ]
}

@test "SIGTERM: status 75, nothing half written, and what was encoded is not encoded again" {
    list
    mkfifo slow
    vqa caption -b 1 -o out slow $(cat good) 2>log & # the first picture does not come
    local pid=$! st=0
    sleep 0.5
    kill -TERM $pid
    wait $pid || st=$?
    [ $st -eq 75 ]
    grep -q 'vqa caption: stopped by a signal; run it again' log
    [ -z "$(ls out)" ]
    vqa embed -T good -o vectors
    [ "$(vqa cache du --json | jq .entries)" -eq 10 ]
    img-encode -v --cache $(cat good) 2>&1 >/dev/null | grep -q '10 from the cache, 0 computed'
}

@test "two at one part: the same file" {
    list
    vqa caption -T good -o a &
    vqa caption -T good -o a
    wait $!
    vqa caption -T good -o b
    cmp a/part-00000-of-00001.jsonl b/part-00000-of-00001.jsonl
    [ "$(find a -type f | wc -l)" -eq 2 ]
}

@test "--shard slurm: the task's place in its array" {
    list
    local id
    vqa caption -T good -o whole
    for id in 10 12 14; do
        SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=3 \
            vqa caption -T good -o out --shard slurm
    done
    cat out/part-*.jsonl | cmp - whole/part-00000-of-00001.jsonl
    SLURM_ARRAY_TASK_ID=11 SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=3 \
        status_is 64 vqa caption -T good -o out --shard slurm
    status_is 64 vqa caption -T good -o out --shard slurm
    says "--shard slurm: not in a task of an array"
}

@test "SIGTERM to a stage alone, as when Slurm signals one process after the other: the same" {
    list
    mkfifo slow
    vqa caption -b 1 -o out slow $(cat good) 2>log &
    local pid=$! st=0 k
    for ((k = 0; k < 50; k++)); do
        pgrep -P $pid img-encode >/dev/null && break
        sleep 0.1
    done
    kill -TERM "$(pgrep -P $pid img-encode)"
    wait $pid || st=$?
    [ $st -eq 75 ]
    grep -q 'vqa caption: stopped by a signal; run it again' log
    [ -z "$(ls out)" ]
}

@test "the job scripts of examples/" {
    list
    [ -e "$repo/examples/slurm/caption.sbatch" ] || skip "none"
    local id
    vqa caption -T good -o whole
    for id in 0 1 2 3; do
        LIST=good OUT=slurm SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=4 \
            bash "$repo/examples/slurm/caption.sbatch"
    done
    cat slurm/part-*.jsonl | cmp - whole/part-00000-of-00001.jsonl
}

@test "what it refuses" {
    list
    status_is 64 vqa caption --shard 0/2 -T good
    says "--shard: expected -o DIR with it"
    status_is 64 vqa ask --overwrite -T good 'What?'
    status_is 64 vqa caption --retry-failed -T good
    local s
    for s in 2/2 -1/2 1 1/0 a/b 0/2x 0/999999; do
        status_is 64 vqa caption -o out --shard="$s" -T good
        says "--shard: '$s', expected I/N"
        one_line
    done
    status_is 64 vqa caption -o out --shard 0/2 -T - <good
    says "expected -T FILE, not standard input"
    status_is 64 vqa caption -o out -f tsv -T good
    status_is 64 vqa caption -o out --stream -T good
    status_is 66 vqa caption -o out -T nothing
    status_is 74 vqa caption -o good/out -T good
    status_is 64 vqa embed -T good
    says "expected -o DIR"
    status_is 64 vqa embed -o out
    status_is 64 vqa embed -o out --pool max -T good
    status_is 66 vqa embed -o out -m nowhere -T good
    one_line
}
