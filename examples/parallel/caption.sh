#!/bin/bash
# caption.sh LIST OUT [HOST...] - captions of the pictures named in LIST, a line each, into OUT, by GNU
# parallel on machines that share a file system (or on this one):
#
#     ./caption.sh photos.txt out 2/gpu1 2/gpu2      # two parts at a time on each
#     cat out/part-*.jsonl
#
# N parts (default 16), each done once: what fails (a machine is lost, a process killed) is tried three times,
# and on another machine; run it again, and only what is not done is done. OUT/joblog says what ran where.
# $PARALLEL_SSH is the ssh command, if it has to be another.
set -eu
: "${1:?names of pictures, one a line}" "${2:?a directory}"
list=$(realpath "$1") out=$(realpath -m "$2") vqa=$(command -v vqa) n=${N:-16}
shift 2
mkdir -p "$out"
hosts=()
for h; do hosts+=(--sshlogin "$h"); done
# Status 1, some pictures failed, is a part that is done, and says which.
seq 0 $((n - 1)) | parallel --will-cite "${hosts[@]}" --workdir "$PWD" --env VQA_CACHE --env VQA_MODEL --retries 3 \
    --joblog "$out/joblog" --resume-failed "$vqa caption -T '$list' -o '$out' --shard {}/$n || [ \$? -eq 1 ]"
