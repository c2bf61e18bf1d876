#!/bin/sh
# 02-prompted-caption.sh [IMAGE [PREFIX]] - the model goes on from these words, which steers it.
image=${1:-scene-1.png} prefix=${2:-a picture of}
img-encode -- "$image" | qformer | tokenize -p "$prefix" | opt-generate | tokenize -d
