#!/bin/sh
# weekend-baseline.sh [IMAGE [QUESTION]] - two ways to answer a question about a picture. The one that
# fits into a weekend: caption the picture and let a language model, which never sees it, answer from
# the caption. And BLIP-2: let the same language model read the picture itself. What the caption left
# out, the first cannot know.
image=${1:-scene-2.png} question=${2:-How many stars are there?}

caption=$(img-encode -- "$image" | qformer | tokenize | opt-generate --max-new-tokens 50 | tokenize -d) || exit
printf 'caption:                %s\n' "$caption"

printf 'asked of the caption:   '
# A record of nothing but an id, {"id": "text"}: there is no picture in this pipe.
printf '\201\242id\244text' | tokenize -p "$caption Question: $question Answer:" | opt-generate | tokenize -d

printf 'asked of the picture:   '
img-encode -- "$image" | qformer | tokenize -p "Question: $question Answer:" | opt-generate | tokenize -d
