#!/usr/bin/env bats
# vqa: the front door. What it prints and says, with the shipped model where the answer matters and a
# tiny checkpoint where any answer does.

load ../lib/helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    cp "$VQA_DATADIR"/examples/scene-[123].png "$VQA_DATADIR/examples/photo.jpg" .
    export VQA_MODEL=$repo/tests/fixtures/checkpoints/tiny-blip2-opt-bf16 HF_HUB_CACHE=$PWD/no-cache
    question='What shape is red?'
}

shipped_model() {
    [ -e "$VQA_DATADIR/demo-model/model.safetensors" ] || skip "no share/demo-model"
    unset VQA_MODEL
}

@test "the shipped model answers truly about the shipped pictures" {
    shipped_model
    status_is 0 vqa ask scene-1.png 'What shape is red?'
    [ "$output" = circle ]
    status_is 0 vqa ask scene-1.png 'How many shapes are there?'
    [[ $output =~ ^(4|four)$ ]]
    status_is 0 vqa caption scene-1.png
    [[ $output == *red*circle* ]]
    [ -z "$stderr" ]
}

@test "ask: one picture, the answer alone; the pipeline that --verbose shows gives the same" {
    status_is 0 vqa ask --verbose scene-1.png "$question"
    answer=$output
    [ "${#lines[@]}" -le 1 ]
    pipeline=$(grep '^img-encode' <<<"$stderr")
    [[ $pipeline == *"| tokenize -p 'Question: $question Answer:' |"* ]]
    run --separate-stderr bash -o pipefail -c "$pipeline"
    [ "$status" -eq 0 ]
    [ "$output" = "$answer" ]
}

@test "ask: several pictures, a path and a tab before each answer, in order" {
    status_is 0 vqa ask scene-1.png photo.jpg scene-2.png "$question"
    [ "$(cut -f1 <<<"$output")" = $'scene-1.png\nphoto.jpg\nscene-2.png' ]
    one=$(vqa ask photo.jpg "$question")
    [ "$(sed -n 2p <<<"$output")" = "photo.jpg"$'\t'"$one" ]
    printf 'scene-1.png\nphoto.jpg\nscene-2.png\n' >list
    [ "$(vqa ask -T list "$question")" = "$output" ]
    [ "$(tr '\n' '\0' <list | vqa ask -0 -T - "$question")" = "$output" ]
    mkdir dir && mv scene-1.png dir && echo text >dir/notes.txt
    status_is 0 vqa ask -r dir "$question"
    [ "$(cut -f1 <<<"$output")" = dir/scene-1.png ]
}

@test "ask: several questions, each as if it were alone" {
    a=$(vqa ask scene-1.png 'Is there a star?')
    b=$(vqa ask scene-1.png "$question")
    status_is 0 vqa ask --question 'Is there a star?' --question "$question" scene-1.png
    [ "$output" = "$a"$'\n'"$b" ]
    printf 'Is there a star?\n\n%s\n' "$question" >q.txt
    [ "$(vqa ask --questions q.txt scene-1.png)" = "$output" ]
    status_is 0 vqa ask --questions q.txt scene-1.png scene-2.png -b 3 -t 2
    [ "$(cut -f1 <<<"$output" | uniq -c | tr -s ' ')" = $' 2 scene-1.png\n 2 scene-2.png' ]
    [ "$(sed -n 2p <<<"$output" | cut -f2-)" = "$b" ]
}

@test "ask: JSON holds the bare question, the exact answer and how it ended" {
    status_is 0 vqa ask --jsonl --question "$question" --question 'Is there "a star"?' scene-1.png
    [ "$(jq -r .image <<<"$output" | sort -u)" = scene-1.png ]
    [ "$(jq -r .question <<<"$output")" = "$question"$'\nIs there "a star"?' ]
    [ "$(jq -r '.finish | test("^(eos|length)$")' <<<"$output" | sort -u)" = true ]
    [ "$(jq -r '.answer | type' <<<"$output" | sort -u)" = string ]
    objects=$output
    status_is 0 vqa ask --json --question "$question" --question 'Is there "a star"?' scene-1.png
    [ "$(jq -c '.[]' <<<"$output")" = "$(jq -c . <<<"$objects")" ]
    status_is 0 vqa ask --format tsv scene-1.png "$question"
    [[ $output == scene-1.png$'\t'* ]]
    status_is 0 vqa ask --jsonl --num-beams 2 --num-return-sequences 2 scene-1.png "$question"
    [ "$(jq -r '.score | type' <<<"$output" | sort -u)" = number ]
    [ "$(wc -l <<<"$output")" -eq 2 ]
}

@test "caption: no prompt, or one to go on from; a last operand that is a file is a picture" {
    status_is 0 vqa caption --verbose scene-1.png
    [[ $stderr == *"| tokenize | opt-generate --max-new-tokens 50 |"* ]]
    status_is 0 vqa caption --verbose scene-1.png 'a picture of'
    [[ $stderr == *"| tokenize -p 'a picture of' |"* ]]
    status_is 0 vqa caption scene-1.png scene-2.png
    [ "$(cut -f1 <<<"$output")" = $'scene-1.png\nscene-2.png' ]
    status_is 0 vqa caption --jsonl scene-1.png 'a picture of'
    [ "$(jq -r .prefix <<<"$output")" = 'a picture of' ]
    [ "$(jq -r '.caption | type' <<<"$output")" = string ]
}

@test "ask: the template and the raw prompt are what the model reads" {
    status_is 0 vqa ask --verbose --template 'Q: {} A:' scene-1.png 'why?'
    [[ $stderr == *"-p 'Q: why? A:'"* ]]
    status_is 0 vqa ask --verbose --raw-prompt scene-1.png 'why'
    [[ $stderr == *"-p why "* ]]
    [ "$output" = "$(img-encode scene-1.png | qformer | tokenize -p why | opt-generate | tokenize -d)" ]
}

@test "generation options reach opt-generate under their own names" {
    status_is 0 vqa ask --verbose --max-new-tokens 3 --min-new-tokens 1 --num-beams 2 --length-penalty 0.5 \
        --early-stopping never --repetition-penalty 1.5 --no-repeat-ngram-size 2 scene-1.png "$question"
    [[ $stderr == *"opt-generate --max-new-tokens 3 --min-new-tokens 1 --num-beams 2 --length-penalty 0.5 --early-stopping never --repetition-penalty 1.5 --no-repeat-ngram-size 2"* ]]
    a=$(vqa ask --do-sample --temperature 2 --top-k 9 --top-p 0.9 --seed 7 scene-1.png "$question")
    b=$(vqa ask --do-sample --temperature 2 --top-k 9 --top-p 0.9 --seed 7 scene-1.png "$question")
    [ "$a" = "$b" ]
    status_is 64 vqa ask --num-beams none scene-1.png "$question"
    one_line
    says "opt-generate: --num-beams: 'none', expected an integer"
}

@test "a picture that cannot be read costs only its own answers" {
    echo 'not a picture' >bad.png
    head -c 700 scene-2.png >cut.png
    status_is 1 vqa ask scene-1.png bad.png nosuch.png cut.png scene-3.png "$question"
    [ "$(cut -f1 <<<"$output")" = $'scene-1.png\nscene-3.png' ]
    [ "$(grep -c . <<<"$stderr")" -eq 3 ]
    says "bad.png: "
    says "nosuch.png: No such file or directory"
    says "cut.png: "
    status_is 1 vqa ask --jsonl scene-1.png bad.png "$question"
    [ "$(jq -r 'select(.image == "bad.png") | .error | [.kind, .stage] | @tsv' <<<"$output")" = $'data\timg-encode' ]
    status_is 65 vqa ask bad.png "$question"
    one_line
    [ -z "$output" ]
    status_is 66 vqa ask nosuch.png "$question"
    one_line
    status_is 65 vqa ask --fail-fast bad.png scene-1.png "$question"
}

@test "wrong arguments: one line and status 64" {
    for wrong in "" "asks scene-1.png x" "scene-1.png" "ask --qestion x scene-1.png" "ask" \
        "ask --template x scene-1.png y" "ask --format yaml scene-1.png x" "ask --question x --format msgpack scene-1.png" \
        "chat" "chat scene-1.png scene-2.png" "caption --nosuch"; do
        # shellcheck disable=SC2086 # words
        status_is 64 vqa $wrong </dev/null
        [ "$(grep -c '^vqa' <<<"$stderr")" -eq 1 ]
        [ -z "$output" ]
    done
    for wrong in "--weights int3" "-t 0" "-b x"; do # what all stages get is checked before they start
        # shellcheck disable=SC2086
        status_is 64 vqa ask $wrong scene-1.png x
        one_line
    done
    status_is 64 vqa ask --qestion x scene-1.png
    says "did you mean --question?"
    status_is 64 vqa caht scene-1.png
    says "unknown command 'caht'"
    for help in "--help" "help" "ask --help" "caption -h" "chat --help" "--version" "ask --version"; do
        # shellcheck disable=SC2086
        status_is 0 vqa $help
        [ -n "$output" ] && [ -z "$stderr" ]
    done
}

@test "no such model: said once, by the first stage that needs it" {
    status_is 66 vqa ask -m nowhere scene-1.png "$question"
    one_line
    says "nowhere"
    mkdir empty
    status_is 66 vqa ask -m empty scene-1.png "$question"
    says "config.json"
    cp -r "$VQA_MODEL" other
    sed -i 's/Blip2ForConditionalGeneration/GPT2LMHeadModel/' other/config.json
    status_is 78 vqa ask -m other scene-1.png "$question"
    says "unknown architecture 'GPT2LMHeadModel'"
}

@test "a stage that dies is not an answer" {
    mkdir bin
    cp "$(command -v vqa)" bin/
    printf '#!/bin/sh\nkill -9 $$\n' >bin/opt-generate
    chmod +x bin/opt-generate
    status_is 137 bin/vqa ask scene-1.png "$question"
    [ -z "$output" ]
    rm bin/opt-generate
    status_is 71 env PATH=/usr/bin:/bin bin/vqa ask scene-1.png "$question"
    says "cannot run img-encode: No such file or directory"
}

@test "a signal to vqa alone ends its stages, too" {
    python3 - <<'P'
import signal, subprocess, time
def alive(pid): # one that nobody waits for may stay as a zombie
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
for command in (["ask", "-", "what?"], ["caption", "-"], ["chat", "scene-1.png"]):
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        p = subprocess.Popen(["vqa", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stages = lambda: subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True, text=True).stdout.split()
        for _ in range(200):
            begun = stages()
            if len(begun) >= 3 and b"opt-generate" in b"".join(open(f"/proc/{i}/cmdline", "rb").read() for i in begun):
                break
            time.sleep(0.05)
        assert len(begun) >= 3, (command, begun)
        p.send_signal(sig)
        assert p.wait() == -sig, (command, p.returncode)
        # Their standard input, which is ours, is still open: none of them ends for want of it.
        for _ in range(100):
            left = [i for i in begun if alive(i)]
            if not left:
                break
            time.sleep(0.05)
        assert not left, (command, sig, left)
        p.stdin.close()
P
}

@test "disk full, reader gone" {
    status_is 74 bash -c "vqa ask scene-1.png '$question' >/dev/full"
    one_line
    for i in $(seq 40); do echo scene-1.png; done >list
    run bash -c "vqa caption -T list | true; echo \${PIPESTATUS[0]}"
    [ "$output" = 141 ]
}

@test "many pictures: memory does not grow, each model is loaded once" {
    [[ $BUILD != *-san ]] || skip "a sanitizer keeps freed memory"
    for i in $(seq 300); do echo scene-1.png; done >many
    head -10 many >few
    python3 - <<'P'
import resource, subprocess
def peak(name):
    import os
    r, w = os.pipe()
    if os.fork() == 0:
        n = subprocess.run(["vqa", "ask", "-T", name, "What shape is red?"], capture_output=True).stdout.count(b"\n")
        os.write(w, b"%d %d" % (resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, n))
        os._exit(0)
    os.wait()
    return map(int, os.read(r, 100).split())
few, n = peak("few")
many, m = peak("many")
assert (n, m) == (10, 300), (n, m)
assert many < few * 1.25 + 2000, (few, many)
P
}

@test "chat: each question after all that was said; an empty line is skipped" {
    printf '%s\n' 'What is this?' '' 'Which color?' >talk
    status_is 0 vqa chat scene-1.png <talk
    [ "$(wc -l <<<"$output")" -eq 2 ]
    [ -z "$stderr" ]
    img-encode scene-1.png | qformer -o picture
    said=' Question: What is this? Answer: '
    a=$(tokenize -p "$said" <picture | opt-generate --max-new-tokens 40 | tokenize -d -f jsonl | jq -r .text)
    b=$(tokenize -p "$said$a"$'\n'' Question: Which color? Answer: ' <picture | opt-generate --max-new-tokens 40 | tokenize -d)
    [ "$(sed -n 2p <<<"$output")" = "$b" ]
    status_is 0 vqa chat --jsonl scene-1.png <talk
    [ "$(jq -r .question <<<"$output")" = $'What is this?\nWhich color?' ]
    [ "$(jq -r .answer <<<"$output" | head -1)" = "$(head -1 <<<"$a")" ]
}

@test "chat: the picture fails, nobody asks, the conversation outgrows the model" {
    status_is 66 vqa chat nosuch.png </dev/null
    one_line
    echo 'not a picture' >bad.png
    status_is 65 vqa chat bad.png </dev/null
    one_line
    status_is 0 vqa chat scene-1.png </dev/null
    [ -z "$output$stderr" ]
    yes 'What is in the picture, and where is it, and why?' | head -20 >talk
    status_is 1 vqa chat scene-1.png <talk
    [[ $stderr == *"scene-1.png: "* ]]
}

@test "chat: the answer comes before the next question is read" {
    status_is 0 python3 - <<'P'
import subprocess
p = subprocess.Popen(["vqa", "chat", "scene-1.png"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for q in "What is this?", "Which color?":
    p.stdin.write(q + "\n")
    p.stdin.flush()
    assert p.stdout.readline().endswith("\n")
p.stdin.close()
assert p.wait(20) == 0 and p.stdout.read() == ""
P
}

@test "chat: in a terminal, with a sign to type at" {
    command -v tmux >/dev/null || skip "no tmux"
    tmux -L "vqa$$" -f /dev/null new-session -d -x 200 -y 50 "vqa chat '$PWD/scene-1.png'; echo ended with \$?; sleep 30"
    screen() { tmux -L "vqa$$" capture-pane -p; }
    wait_for() { for _ in $(seq 100); do screen | grep -q -- "$1" && return; sleep 0.1; done; screen; return 1; }
    wait_for '^? *$'
    tmux -L "vqa$$" send-keys 'What is this?' Enter
    wait_for '^? What is this?'
    for _ in $(seq 100); do [ "$(screen | grep -c '^?')" -eq 2 ] && break; sleep 0.1; done
    [ "$(screen | grep -c '^?')" -eq 2 ]
    tmux -L "vqa$$" send-keys C-d
    wait_for 'ended with 0'
    tmux -L "vqa$$" kill-server
}
