#!/bin/sh
# 04-chat.sh [IMAGE [QUESTION...]] - a conversation by hand, as the article about BLIP-2 keeps it: each
# question is put after all that was said. vqa chat does the same without computing anything twice.
image=${1:-scene-2.png}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- 'How many shapes are there?' 'What color is the circle?'
dir=$(mktemp -d) || exit
trap 'rm -rf "$dir"' EXIT

img-encode -- "$image" | qformer -o "$dir/picture" || exit
said=
for question; do
    said="$said Question: $question Answer: "
    answer=$(tokenize -p "$said" <"$dir/picture" | opt-generate --max-new-tokens 40 | tokenize -d) || exit
    printf '%s\n' "$answer"
    said="$said$answer
"
done
