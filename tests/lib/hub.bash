# hub.bash - for bats files: `load ../lib/hub`. A Hugging Face cache, made as huggingface_hub makes it.

commit=0123456789abcdef0123456789abcdef01234567

# blob_name FILE - SHA-256 for what git-lfs would hold, git's own hash for the rest
blob_name() {
    case $1 in
    *.safetensors) sha256sum <"$1" | cut -d' ' -f1 ;;
    *) { printf 'blob %d\0' "$(stat -Lc %s "$1")"; cat "$1"; } | sha1sum | cut -d' ' -f1 ;;
    esac
}

# publish DIR ORG/NAME [COMMIT [REF]] - puts the files of DIR into $HF_HUB_CACHE under that name
publish() {
    local repo=$HF_HUB_CACHE/models--${2/\//--} rev=${3:-$commit} f blob
    mkdir -p "$repo/blobs" "$repo/refs" "$repo/snapshots/$rev"
    for f in "$1"/*; do
        blob=$(blob_name "$f")
        cp "$f" "$repo/blobs/$blob"
        ln -s "../../blobs/$blob" "$repo/snapshots/$rev/${f##*/}"
    done
    printf %s "$rev" >"$repo/refs/${4:-main}"
}

# snapshot ORG/NAME [COMMIT] - its directory
snapshot() {
    echo "$HF_HUB_CACHE/models--${1/\//--}/snapshots/${2:-$commit}"
}
