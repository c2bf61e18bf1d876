#!/usr/bin/env bats
# vqa models: what is on this machine, where it lies, whether it is whole.

load ../lib/helpers
load ../lib/hub

tiny=checkpoints/tiny-blip2-opt-bf16
sharded=checkpoints/tiny-blip2-opt-fp16-sharded

cache() { # a cache with one model in it
    need_fixture $tiny/config.json
    export HF_HUB_CACHE=$PWD/hub
    publish "$VQA_FIXTURES/$tiny" org/tiny
}

tree_cache() { # the snapshot's files in place of links, and what the hub said their hashes are
    local dir f files=
    dir=$(snapshot org/tiny)
    for f in "$dir"/*; do
        files+="${files:+,}\"${f##*/}\":{\"size\":1,\"blob_id\":\"$(blob_name "$f")\"}"
        cp --remove-destination "$(readlink -f "$f")" "$f"
    done
    rm -r hub/models--org--tiny/blobs
    mkdir -p hub/models--org--tiny/trees
    sed 's/"\(model.safetensors":{"size":1,\)"blob_id"/"\1"lfs_sha256"/' <<<"{\"format_version\":1,\"files\":{$files}}" \
        >hub/models--org--tiny/trees/$commit.json
}

@test "where: by name, branch and commit; a directory is itself; the environment's ways to say where the cache is" {
    cache
    local want
    want=$(snapshot org/tiny)
    for name in org/tiny org/tiny@main org/tiny@$commit; do
        status_is 0 vqa models where $name
        [ "$output" = "$want" ]
    done
    status_is 0 vqa models where "$VQA_FIXTURES/$tiny"
    [ "$output" = "$VQA_FIXTURES/$tiny" ]
    VQA_MODEL=org/tiny status_is 0 vqa models where
    [ "$output" = "$want" ]
    status_is 0 vqa models where --json org/tiny
    [ "$(jq -r .dir <<<"$output")" = "$want" ]
    mkdir -p home/.cache/huggingface xdg/huggingface old
    cp -R hub home/.cache/huggingface/hub
    cp -R hub xdg/huggingface/hub
    unset HF_HUB_CACHE
    status_is 0 env -u XDG_CACHE_HOME HOME=home vqa models where org/tiny
    [ "$output" = home/.cache/huggingface/hub/models--org--tiny/snapshots/$commit ]
    status_is 0 env XDG_CACHE_HOME=xdg HOME=home vqa models where org/tiny
    [ "$output" = xdg/huggingface/hub/models--org--tiny/snapshots/$commit ]
    status_is 0 env HF_HOME=xdg/huggingface HOME=home vqa models where org/tiny
    status_is 0 env HUGGINGFACE_HUB_CACHE=hub HOME=home vqa models where org/tiny
    [ "$output" = hub/models--org--tiny/snapshots/$commit ]
    status_is 0 env HF_HUB_CACHE=hub HF_HOME=/nonexistent HOME=home vqa models where org/tiny
}

@test "where: what is not there is told with where it was looked for and what brings it" {
    cache
    status_is 66 vqa models where org/other
    one_line
    says "org/other: not in $HF_HUB_CACHE; 'fetch-model org/other' or 'hf download org/other' brings it"
    status_is 66 vqa models where org/tiny@v2
    says "no revision v2"
    status_is 66 vqa models where ./nothing
    says "./nothing: no such model directory, and not a name as ORG/NAME[@REV]"
    status_is 66 vqa models where ../tiny
    says "no such model directory"
    rm -r "$(snapshot org/tiny)"
    status_is 66 vqa models where org/tiny
    says "no such snapshot"
    VQA_DATADIR=/nonexistent status_is 66 vqa models where
    says "the shipped model is not there"
    status_is 66 env -u HF_HUB_CACHE -u XDG_CACHE_HOME -u HOME vqa models where org/tiny
    says "set HF_HUB_CACHE or HOME"
}

@test "a directory wins over a name; one snapshot needs no ref, two do" {
    cache
    rm hub/models--org--tiny/refs/main
    status_is 0 vqa models where org/tiny
    publish "$VQA_FIXTURES/$tiny" org/tiny 1123456789abcdef0123456789abcdef01234567 dev
    status_is 66 vqa models where org/tiny
    says "2 snapshots and no refs/main"
    status_is 0 vqa models where org/tiny@dev
    mkdir -p org/tiny
    status_is 0 vqa models where org/tiny
    [ "$output" = org/tiny ]
}

@test "list: names as -m takes them, sizes, and which stages can use each model" {
    cache
    export VQA_DATADIR=/nonexistent
    publish "$VQA_FIXTURES/$tiny" org/tiny 1123456789abcdef0123456789abcdef01234567 dev
    mkdir t5 other
    cp "$VQA_FIXTURES/$tiny"/* t5
    sed -i 's/"model_type": "opt"/"model_type": "t5"/' t5/config.json
    publish t5 org/t5
    echo '{"architectures": ["LlamaForCausalLM"]}' >other/config.json
    publish other org/llama
    echo '{"architectures": ["OPTForCausalLM"]}' >other/config.json
    echo PK >other/pytorch_model.bin
    publish other org/pickle
    status_is 0 vqa models list
    [ "${#lines[@]}" -eq 5 ]
    grep -q "^org/llama  .*LlamaForCausalLM .*none: no stage knows this architecture" <<<"$output"
    grep -q "^org/pickle  .*none: .*only .bin files" <<<"$output"
    grep -q "^org/t5  .* img-encode, qformer$" <<<"$output"
    grep -q "^org/tiny  .*Blip2ForConditionalGeneration .*all stages$" <<<"$output"
    grep -q "^org/tiny@1123456789abcdef0123456789abcdef01234567 .*all stages$" <<<"$output"
    status_is 0 vqa models list --json
    [ "$(jq length <<<"$output")" -eq 5 ]
    [ "$(jq -r '.[] | select(.model == "org/tiny") | .stages' <<<"$output")" = "all stages" ]
    local size
    size=$(cat "$VQA_FIXTURES/$tiny"/* | wc -c)
    [ "$(jq -r '.[] | select(.model == "org/tiny") | .bytes' <<<"$output")" -eq "$size" ]
    [ "$(jq -r '.[] | select(.model == "org/tiny") | .commit' <<<"$output")" = $commit ]
    HF_HUB_CACHE=/nonexistent status_is 0 vqa models list
    [ -z "$output" ]
    HF_HUB_CACHE=/nonexistent status_is 0 vqa models list --json
    [ "$output" = "[]" ]
}

@test "list: the shipped model is there" {
    [ -e "$VQA_DATADIR/demo-model/config.json" ] || skip "no shipped model yet"
    HF_HUB_CACHE=/nonexistent status_is 0 vqa models list
    [[ $output == "$VQA_DATADIR/demo-model "*"all stages" ]]
}

@test "verify: a good cache is good; every kind of damage is told by file and is status 65" {
    cache
    status_is 0 vqa models verify org/tiny
    [ "$(grep -c ^ok <<<"$output")" -eq "$(find "$VQA_FIXTURES/$tiny" -type f | wc -l)" ]
    ! grep -q '^bad\|^unknown' <<<"$output"
    local dir weights
    dir=$(snapshot org/tiny)
    weights=$(readlink -f "$dir/model.safetensors")
    chmod +w "$weights"
    cp "$weights" good

    printf x | dd of="$weights" bs=1 seek=$(($(stat -c %s good) - 1)) conv=notrunc status=none
    status_is 65 vqa models verify org/tiny
    grep -q "^bad	model.safetensors	SHA-256 [0-9a-f]*, expected ${weights##*/}" <<<"$output"
    one_line
    says "$dir: 1 bad"

    head -c 1000 good >"$weights"
    status_is 65 vqa models verify org/tiny
    grep -q "^bad	model.safetensors	SHA-256" <<<"$output"
    grep -q "^bad	\.	.*truncated" <<<"$output"

    rm "$weights"
    status_is 65 vqa models verify org/tiny
    grep -q "^bad	model.safetensors	its blob is missing" <<<"$output"
    cp good "$weights"

    echo >>"$(readlink -f "$dir/config.json")"
    status_is 65 vqa models verify org/tiny
    grep -q "^bad	config.json	git hash [0-9a-f]*, expected " <<<"$output"
    status_is 65 vqa models verify --json org/tiny
    [ "$(jq -c '[.ok, (.files[] | select(.state == "bad") | .file)]' <<<"$output")" = '[false,"config.json"]' ]
}

@test "verify: snapshots of plain files, by what the hub said when they were fetched" {
    cache
    tree_cache
    status_is 0 vqa models verify org/tiny
    ! grep -q '^bad\|^unknown' <<<"$output"
    echo >>"$(snapshot org/tiny)/merges.txt"
    status_is 65 vqa models verify org/tiny
    grep -q "^bad	merges.txt	git hash" <<<"$output"
}

@test "verify: hf download --local-dir leaves hashes too; without any a file is unknown, not good" {
    need_fixture $tiny/config.json
    cp -R "$VQA_FIXTURES/$tiny" m
    status_is 0 vqa models verify m
    ! grep -q '^ok' <<<"$output"
    mkdir -p m/.cache/huggingface/download
    printf '%s\n%s\n1.0\n' $commit "$(blob_name m/config.json)" >m/.cache/huggingface/download/config.json.metadata
    status_is 0 vqa models verify m
    grep -q '^ok	config.json' <<<"$output"
    echo >>m/config.json
    status_is 65 vqa models verify m
    grep -q '^bad	config.json' <<<"$output"
}

@test "verify: a missing shard, a git-lfs pointer, .bin alone" {
    need_fixture $sharded/config.json
    cp -R "$VQA_FIXTURES/$sharded" m
    chmod -R +w m
    mv m/model-00002-of-00004.safetensors away
    status_is 65 vqa models verify m
    grep -q "^bad	\.	m/model-00002-of-00004.safetensors: missing shard" <<<"$output"
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n' >m/model-00002-of-00004.safetensors
    status_is 65 vqa models verify m
    grep -q "^bad	\.	.*git-lfs pointer" <<<"$output"
    rm m/*.safetensors m/model.safetensors.index.json
    echo PK >m/pytorch_model.bin
    status_is 65 vqa models verify m
    grep -q "^bad	\.	.*only .bin files" <<<"$output"
}

@test "usage" {
    status_is 64 vqa models
    one_line
    says "expected list, where or verify"
    status_is 64 vqa models frobnicate
    status_is 64 vqa models list extra
    status_is 64 vqa models where a b
    status_is 0 vqa models --help
    status_is 74 bash -c 'vqa models --help >/dev/full'
}
