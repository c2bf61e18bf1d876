#!/usr/bin/env bats
# The four stages together: pictures and prompts to text, against transformers' own answers.

load ../lib/helpers

whole() { # whole NAME - every golden case of a checkpoint through the real pipe
    need_fixture "checkpoints/$1"
    run python3 "$repo/tests/lib/pipeline.py" "$VQA_FIXTURES/checkpoints/$1" \
        "$VQA_FIXTURES/golden/$1/generate.json" "$VQA_FIXTURES/images"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "OPT's vocabulary, f32" { whole tiny-blip2-opt; }
@test "a checkpoint of 2023: no image token, defaults left out" { whole tiny-blip2-opt-old; }
@test "bf16" { whole tiny-blip2-opt-bf16; }
@test "fp16 in shards, Q-Former in f32" { whole tiny-blip2-opt-fp16-sharded; }
@test "OPT with norms after the blocks" { whole tiny-blip2-opt-postnorm; }

small() { echo "$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16"; }

ask() { # ask OPTION... - two questions about two pictures, all stages with OPTION...
    img-encode -m "$(small)" "$@" "$VQA_FIXTURES"/images/{astronaut,interlaced}.png |
        qformer -m "$(small)" "$@" | tokenize -m "$(small)" -p 'what is this?' -p 'a' |
        opt-generate -m "$(small)" "$@" | tokenize -m "$(small)" -d -f jsonl
}

@test "the same answers from any thread count and batch size, and through saved files" {
    ask -t 1 >a
    [ "$(wc -l <a)" -eq 4 ]
    ask -t 2 >b
    cmp a b
    ask -b 3 -t 2 >b
    cmp a b
    img-encode -m "$(small)" -o 1.s "$VQA_FIXTURES"/images/{astronaut,interlaced}.png
    qformer -m "$(small)" -o 2.s 1.s
    tokenize -m "$(small)" -p 'what is this?' -p 'a' -o 3.s 2.s
    opt-generate -m "$(small)" -o 4.s 3.s
    tokenize -m "$(small)" -d -f jsonl 4.s >b
    cmp a b
}

@test "a stage that is given wrong arguments is the only one to speak" {
    export VQA_MODEL
    VQA_MODEL=$(small)
    status_is 64 vqa ask --max-new-tokens x "$VQA_FIXTURES"/images/gray.png what
    says "opt-generate: --max-new-tokens: 'x', expected an integer"
    one_line
    run bash -c "img-encode -b 0 '$VQA_FIXTURES'/images/gray.png | qformer >/dev/null; echo \${PIPESTATUS[@]}"
    [ "${lines[1]}" = "64 64" ]
    [ "${#lines[@]}" -eq 2 ]
}

@test "a stage killed in the middle: every later one exits with a failure" {
    M=$(small)
    run bash -c "img-encode -m '$M' '$VQA_FIXTURES'/images/{astronaut,interlaced}.png |
        (head -c 4000; kill -9 \$BASHPID) | qformer -m '$M' | tokenize -m '$M' -p a | opt-generate -m '$M' |
        tokenize -m '$M' -d; echo \"\${PIPESTATUS[@]:2}\""
    [[ ${lines[-1]} == "65 65 65 65" ]]
    [[ $output == *"qformer: standard input: truncated"* ]]
    [ "$(grep -c truncated <<<"$output")" -eq 1 ]
}
