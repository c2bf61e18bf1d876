#!/usr/bin/env bats
# What people see: the commands at a real terminal (tmux's), its size, its colours, its Ctrl-C; and
# without one.

load lib/helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    command -v tmux >/dev/null || skip "no tmux (scripts/setup test)"
    cp "$VQA_DATADIR"/examples/*.png "$VQA_DATADIR"/examples/*.jpg .
    unset NO_COLOR
    socket=vqa-terminal-$$-$BATS_TEST_NUMBER
    # A shell without history and prompt of its own, so that screens are the same everywhere.
    tmux -L "$socket" -f /dev/null new-session -d -x 100 -y 40 \
        "env PS1='ready> ' TERM=tmux-256color bash --norc --noprofile"
    sees 'ready>'
}

teardown() {
    tmux -L "$socket" kill-server 2>/dev/null || true
}

screen() {
    tmux -L "$socket" capture-pane -p "$@"
}

types() {
    tmux -L "$socket" send-keys "$@"
}

# sees TEXT [N] - the screen comes to hold it, in N lines
sees() {
    for _ in $(seq 200); do
        [ "$(screen | grep -c -- "$1")" -ge "${2:-1}" ] && return
        sleep 0.1
    done
    echo "no '$1' in ${2:-1} lines of:"
    screen
    return 1
}

# does COMMAND - typed on a clean screen, and waited for; what it showed is in ./shown, its status in $st
does() {
    count=$((${count:-0} + 1))
    types "clear; tmux clear-history; $1; st=\$?; echo; echo \"status \$st, $count\"" Enter
    sees "^status [0-9]*, $count\$" || return
    screen -e -S - >coloured
    screen -S - | sed '/^ready>/d' >shown
    st=$(sed -n "s/^status \\([0-9]*\\), $count\$/\\1/p" shown)
    sed -i '/^status/d' shown
}

# width - the longest line shown
width() {
    sed 's/ *$//' shown | wc -L
}

@test "streams are not poured over a terminal, nor read from a keyboard" {
    does 'img-encode scene-1.png'
    grep -q '^img-encode: the output is a binary stream, not for a terminal' shown
    [ "$st" -eq 64 ]
    for c in 'tensor-info' 'tensor-plot' 'qformer >x' 'opt-generate >x' 'tokenize -d'; do
        does "$c"
        grep -q "^${c%% *}: .* is a terminal, expected a stream of records" shown
        [ "$st" -eq 64 ]
    done
}

@test "an answer, and an error, at the prompt" {
    does "vqa ask scene-1.png 'What shape is red?'"
    [ "$st" -eq 0 ]
    [ "$(grep -c . shown)" -eq 1 ] || { cat shown; false; }
    does 'vqa ask nosuch.png what'
    grep -q 'nosuch.png: No such file' shown
    [ "$st" -eq 66 ]
}

@test "tokenize --explain has colours; NO_COLOR, TERM=dumb and a pipe have none" {
    does 'tokenize --explain alongcompoundword'
    grep -q $'\x1b\\[' coloured
    [ "$st" -eq 0 ]
    for how in 'NO_COLOR=1 tokenize --explain alongcompoundword' 'TERM=dumb tokenize --explain alongcompoundword' \
        'tokenize --explain alongcompoundword | cat'; do
        does "$how"
        ! grep -q $'\x1b\\[[0-9;]*m' coloured || { cat -v coloured; false; }
    done
}

@test "tensor-plot draws in the terminal, as wide as it is" {
    command -v gnuplot >/dev/null || skip "no gnuplot (scripts/setup test)"
    does 'tensor-plot --hist photo.jpg'
    grep -q 'channel 0.*channel 1.*channel 2' shown
    grep -q $'\x1b\\[38;5;' coloured
    [ "$(width)" -gt 85 ]
    tmux -L "$socket" resize-window -x 60 -y 20
    does 'tensor-plot --hist photo.jpg'
    grep -q 'channel 0' shown
    [ "$(width)" -le 60 ]
    does 'tensor-plot --rgb photo.jpg'
    grep -q '^image  u8 (3, 768, 1024)' shown
    grep -q $'\x1b\\[[34]8;' coloured
    [ "$(width)" -le 60 ]
    [ "$(grep -c . shown)" -le 21 ]
    # From a pipe, one plot below the other.
    does 'img-encode --pixels scene-1.png scene-2.png | tensor-plot --channel 0'
    grep -q '^scene-1.png' shown
    grep -q '^scene-2.png' shown
    [ "$st" -eq 0 ]
}

@test "tensor-plot with NO_COLOR and TERM=dumb is ASCII; --terminal none is PNG" {
    command -v gnuplot >/dev/null || skip "no gnuplot (scripts/setup test)"
    for how in NO_COLOR=1 TERM=dumb; do
        for kind in --hist --rgb '--line --slice 0,0'; do
            does "$how tensor-plot $kind scene-1.png"
            [ "$st" -eq 0 ]
            ! grep -q $'\x1b\\[[0-9;]*m' coloured || { cat -v coloured; false; }
            ! LC_ALL=C grep -q $'[\x80-\xff]' shown
            [ "$(grep -c . shown)" -gt 8 ]
        done
    done
    does 'tensor-plot --hist --terminal none scene-1.png | head -c 4 | tail -c 3'
    grep -q '^PNG' shown
}

@test "Ctrl-C ends all stages, leaves nothing running and no file half written" {
    does 'true'
    yes scene-1.png | head -200000 >many
    types 'img-encode -o out.s -T many' Enter
    for _ in $(seq 100); do compgen -G 'out.s.tmp.*' >/dev/null && break; sleep 0.1; done
    compgen -G 'out.s.tmp.*'
    types C-c
    sees 'ready> *$'
    types 'echo "status $?."' Enter
    sees '^status 130\.'
    [ -z "$(compgen -G 'out.s*')" ]
    types 'clear; img-encode -T many | qformer | tokenize -p "What is it?" | opt-generate | tokenize -d' Enter
    for _ in $(seq 200); do [ "$(screen | grep -c .)" -gt 5 ] && break; sleep 0.1; done
    [ "$(screen | grep -c .)" -gt 5 ] # answers come while the pipe runs
    pane=$(tmux -L "$socket" display-message -p '#{pane_pid}')
    [ "$(pgrep -c -P "$pane")" -ge 5 ]
    types C-c
    sees 'ready> *$'
    for _ in $(seq 50); do pgrep -P "$pane" >/dev/null || break; sleep 0.1; done
    ! pgrep -P "$pane"
}

# shows TEXT - the screen has it within a line that is written over, the last one of it
shows() {
    sees "$1" || return
    [ "$(screen | grep -c .)" -le 2 ] || { screen; return 1; } # the command and the line
}

# interrupted STATUS - Ctrl-C ends what runs; the prompt comes at the begin of a line, and no escape is left over
interrupted() {
    types C-c
    sees '^ready> *$'
    types 'st=$?; clear; echo "ended $st."' Enter
    sees "^ended $1\\.\$"
}

@test "how far it is, on one line as wide as the terminal: embed and sidecars; Ctrl-C leaves nothing half written" {
    mkdir photos
    cp scene-1.png photos/0.png
    for i in $(seq 2000); do ln photos/0.png "photos/$i.png"; done
    does true
    yes photos/0.png | head -200000 >many
    types 'clear; vqa embed --no-cache -o out -T many' Enter
    shows '^[1-9][0-9]* of 200000 images, .* a second, .* left'
    tmux -L "$socket" resize-window -x 24 -y 12
    types C-l # what a narrower terminal made of the longer line
    for _ in 1 2 3; do sees '^[1-9][0-9]* of 200000 images'; sleep 0.3; done
    shows '^[1-9][0-9]* of 200000 images' # cut at the margin, not wrapped
    tmux -L "$socket" resize-window -x 100 -y 40
    interrupted 75
    [ -z "$(compgen -G 'out/*.safetensors')$(compgen -G 'out/*.jsonl')" ] || { ls out; false; }
    types 'clear; NO_COLOR=1 vqa caption --no-cache --sidecar txt -r photos' Enter
    shows '^[1-9][0-9]* images, .* a second'
    for _ in $(seq 100); do [ "$(compgen -G 'photos/*.txt' | wc -l)" -gt 3 ] && break; sleep 0.1; done
    interrupted 75
    find photos -type f ! -name '*.png' ! -name '*.txt' | (! grep .)
    want=$(cat "$(compgen -G 'photos/*.txt' | head -1)")
    [ -n "$want" ]
    for f in photos/*.txt; do [ "$(cat "$f")" = "$want" ]; done
}

@test "how far it is: TERM=dumb gets blanks for escapes; in a pipe there is the last line alone" {
    yes scene-1.png | head -1000 >many
    # What script(1) saw is what the command wrote, before tmux made a screen of it.
    for how in 'TERM=dumb' '-u TERM'; do
        does "script -qc \"env $how vqa embed --no-cache -o '${how#* }' -T many\" log >/dev/null"
        [ "$st" -eq 0 ]
        grep -q $'\r[0-9]* of 1000 images' log
        ! grep -q $'\x1b' log || { cat -v log; false; }
        [ "$(tail -n +2 log | sed '$d' | tr '\r' '\n' | wc -L)" -le 100 ]
        grep -q $'\rvqa embed: 1000 vectors, 0 failed' log
    done
    does 'script -qc "NO_COLOR=1 vqa embed --no-cache -o plain -T many" log >/dev/null'
    grep -q $'\r[0-9]* of 1000 images.*\x1b\\[K' log
    does 'vqa embed --no-cache -o piped -T many 2>&1 | cat -v'
    [ "$(grep -c . shown)" -eq 1 ] || { cat shown; false; }
    grep -q '^vqa embed: 1000 vectors, 0 failed; ' shown
}

@test "qformer-train: a bar, resized; Ctrl-C leaves a whole checkpoint" {
    python3 "$repo/tests/lib/retrieval.py" model
    printf '{"image": "scene-%d.png", "caption": "a red circle"}\n' 1 2 3 >pairs.jsonl
    does true
    types 'clear; qformer-train -m model -d pairs.jsonl -o out -b 3 --max-steps 1000000' Enter
    sees '^step [0-9]*/1000000  itc .* tokens/s  [0-9]*:[0-9][0-9]:[0-9][0-9] left'
    [ "$(screen | grep -c '^step')" -eq 1 ]
    tmux -L "$socket" resize-window -x 40 -y 12
    types C-l
    sees '^step [0-9]*/1000000  itc [0-9.]*'
    interrupted 75
    [ "$(compgen -G 'out/*' | wc -l)" -eq 1 ]
    img-encode -m out/checkpoint-* scene-1.png >/dev/null
    jq -e '.step > 0' out/checkpoint-*/training_state.json
    does 'script -qc "TERM=dumb qformer-train -m model -d pairs.jsonl -o dumb -b 3 --max-steps 20" log >/dev/null'
    grep -q 'step 20/20' log
    ! grep -q $'\x1b' log || { cat -v log; false; }
    does 'qformer-train -m model -d pairs.jsonl -o piped -b 3 --max-steps 20 2>&1 | cat -v'
    [ "$(cat shown)" = piped/checkpoint-000020 ] || { cat shown; false; }
}

@test "model-quantize: how far it is; Ctrl-C takes away what was begun" {
    # Large enough to be met at work; holes in a file, which only what is read before Ctrl-C fills.
    python3 - <<'P'
import json
M = 4096
h = {f"language_model.model.decoder.layers.{i}.fc1.weight": {"dtype": "F32", "shape": [M, M], "data_offsets": [4 * M * M * i, 4 * M * M * (i + 1)]} for i in range(200)}
h = json.dumps(h).encode()
import os
os.mkdir("m")
with open("m/model.safetensors", "wb") as f:
    f.write(len(h).to_bytes(8, "little") + h)
    f.truncate(8 + len(h) + 200 * 4 * M * M)
P
    cp "$VQA_DATADIR/demo-model/config.json" m
    does true
    types 'clear; model-quantize --weights int4 m small' Enter
    shows '^[1-9][0-9]* of 200 tensors$'
    compgen -G 'small.tmp.*'
    interrupted 130
    [ -z "$(compgen -G 'small*')" ]
    rm -r m
    does "model-quantize --weights int8 $VQA_DATADIR/demo-model small"
    [ "$st" -eq 0 ]
    [ "$(grep -c . shown)" -eq 0 ] || { cat shown; false; }
    [ -e small/config.json ]
}

@test "vqa ask --explain: an answer and a page, no more; Ctrl-C leaves neither page nor files" {
    mkdir tmp
    does "TMPDIR=$PWD/tmp vqa ask --explain=p.html scene-1.png 'what color is the circle?'"
    [ "$st" -eq 0 ]
    [ "$(grep -c . shown)" -eq 1 ] || { cat shown; false; }
    [ -s p.html ]
    # A picture that never comes: the first stage waits for it.
    types "clear; cat <>$(mkfifo never; echo never) | TMPDIR=$PWD/tmp vqa ask --explain=q.html - what" Enter
    for _ in $(seq 100); do [ -n "$(ls tmp)" ] && break; sleep 0.1; done
    [ -n "$(ls tmp)" ]
    interrupted 130
    [ -z "$(ls tmp)" ]
    [ ! -e q.html ]
}

@test "chat: a resized window and Ctrl-C" {
    types "clear; vqa chat scene-1.png" Enter
    sees '^? *$'
    tmux -L "$socket" resize-window -x 50 -y 12
    types 'What is this?' Enter
    sees '^?' 2
    types C-c
    sees 'ready> *$'
    pane=$(tmux -L "$socket" display-message -p '#{pane_pid}')
    for _ in $(seq 50); do pgrep -P "$pane" >/dev/null || break; sleep 0.1; done
    ! pgrep -P "$pane"
}

@test "no terminal at all: no controlling tty, standard streams closed" {
    status_is 0 setsid -w bash -c "vqa ask scene-1.png 'What shape is red?' </dev/null"
    [ -n "$output" ]
    status_is 0 setsid -w bash -c 'img-encode scene-1.png </dev/null | qformer | tokenize -p what | opt-generate | tokenize -d'
    [ -n "$output" ]
    command -v gnuplot >/dev/null || return 0
    setsid -w bash -c 'tensor-plot --hist scene-1.png <&- 2>&- >plot.png'
    [ "$(head -c 4 plot.png | tail -c 3)" = PNG ]
    status_is 0 setsid -w env -u TERM bash -c 'tensor-plot --terminal ascii --hist scene-1.png'
    [[ $output == *"channel 1"* ]]
}
