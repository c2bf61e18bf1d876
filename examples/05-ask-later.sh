#!/bin/sh
# 05-ask-later.sh [IMAGE...] - the encoder costs most of the time; what it gives can be kept in a
# file, sent to another machine, and asked whenever there is a question.
[ $# -gt 0 ] || set -- scene-1.png scene-2.png scene-3.png
dir=$(mktemp -d) || exit
trap 'rm -rf "$dir"' EXIT

img-encode -- "$@" | qformer -o "$dir/pictures.s" || exit

for question in 'How many shapes are there?' 'Is there a star?'; do
    echo "$question"
    tokenize -p "Question: $question Answer:" <"$dir/pictures.s" | opt-generate | tokenize -d
done
