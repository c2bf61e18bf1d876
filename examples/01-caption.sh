#!/bin/sh
# 01-caption.sh [IMAGE...] - what is in these pictures? No prompt: the model describes what it sees.
[ $# -gt 0 ] || set -- scene-1.png scene-2.png
img-encode -- "$@" | qformer | tokenize | opt-generate --max-new-tokens 50 | tokenize -d
