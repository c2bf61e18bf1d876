#!/usr/bin/env bats
# Every command that a manual page shows after "$", as the reader sees it, and every program in
# examples/ runs: status 0, and something on standard output or a file that was not there. They
# run beside copies of the shipped pictures, on the shipped model.

load lib/helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    [ -e "$VQA_DATADIR/demo-model/model.safetensors" ] || skip "no share/demo-model"
    touch .stdout .stderr
    cp "$VQA_DATADIR"/examples/*.png "$VQA_DATADIR"/examples/*.jpg .
    export VQA_MODEL=$VQA_DATADIR/demo-model HF_HUB_CACHE=$PWD/no-cache
}

# commands_of PAGE - one a line
commands_of() {
    mandoc -T ascii -O width=1000 "$1" | col -bx | sed -n 's/^ *\$ //p'
}

# runs NAME COMMAND... - true if it does what an example must, or says that it may not here (77)
runs() {
    local name=$1 st=0 before
    shift
    before=$(find . -type f | sort)
    timeout 60 "$@" >.stdout 2>.stderr </dev/null || st=$?
    [ $st -eq 0 ] && { [ -s .stdout ] || [ "$(find . -type f | sort)" != "$before" ]; } && return
    [ $st -eq 77 ] && echo "# $(cat .stderr)" >&3 && return
    echo "$name: status $st, $(stat -c %s .stdout) bytes of output"
    cat .stderr
    return 1
}

@test "what the manual pages show" {
    bad=0 count=0
    for page in "$repo"/man/*.[1-9]; do
        while IFS= read -r command; do
            count=$((count + 1))
            runs "$(basename "$page"): $command" bash -o pipefail -c "$command" || bad=1
        done < <(commands_of "$page")
    done
    [ $count -gt 20 ]
    [ $bad -eq 0 ]
}

@test "examples/" {
    bad=0
    for script in "$repo"/examples/*.sh; do
        runs "$script" "$script" || bad=1
    done
    [ $bad -eq 0 ]
}

@test "the conversation by hand is that of vqa chat" {
    "$repo/examples/04-chat.sh" scene-1.png 'How many shapes are there?' 'What shape is red?' >by-hand
    printf '%s\n' 'How many shapes are there?' 'What shape is red?' | vqa chat scene-1.png >chat
    cmp by-hand chat
}
