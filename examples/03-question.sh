#!/bin/sh
# 03-question.sh [IMAGE [QUESTION]] - a question, in the form that BLIP-2 answers.
image=${1:-scene-1.png} question=${2:-What shape is red?}
img-encode -- "$image" | qformer | tokenize -p "Question: $question Answer:" | opt-generate | tokenize -d
