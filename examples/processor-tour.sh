#!/bin/sh
# processor-tour.sh [IMAGE [DIRECTORY]] - what the processor makes of a picture and of questions, and
# where the queries look: in the terminal, or as PNG files in DIRECTORY (the present one, if standard
# output is no terminal).
image=${1:-photo.jpg} dir=$2
[ -t 1 ] || dir=${dir:-.}
tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT

# show NAME WHAT OPTION... - one figure
show() {
    name=$1 what=$2
    shift 2
    printf '%s: %s\n' "${dir:+$dir/$name.png}" "$what" | sed 's/^: //'
    tensor-plot ${dir:+-o "$dir/$name.png"} "$@" || exit
}

img-encode --pixels -- "$image" >"$tmp/pixels" || exit
img-encode --attention -- "$image" | qformer --attention >"$tmp/looked" || exit
tokenize -p 'Question: What color is the star? Answer:' -p 'a photo of' -p 'alongcompoundword' \
    <"$tmp/looked" >"$tmp/asked" || exit
# The visual rows: as many places are before the text, of which two are enough to see.
rows=$(tensor-info "$tmp/looked" | sed -n 's/^  language_model_inputs *[a-z0-9]* *(\([0-9]*\),.*/\1/p')

show 1-raw-histogram 'the levels of the picture, by channel' --hist "$image"
show 2-processed-histogram 'the same after the processor: resized, scaled, normalised' --hist "$tmp/pixels"
show 3-channel 'the red channel as the encoder gets it' --channel 0 "$tmp/pixels"
show 4-processed 'all three, with the normalisation undone' --rgb "$tmp/pixels"
show 5-token-ids 'three prompts as token ids, after the places of the picture' \
    --matrix --field input_ids --slice "$((rows - 2)):" "$tmp/asked"
show 6-mask 'and what of them the language model may look at' \
    --matrix --field attention_mask --slice "$((rows - 2)):" "$tmp/asked"
show 7-attention 'where the queries look, on the average' --overlay "$image" --query mean "$tmp/looked"
