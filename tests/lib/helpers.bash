# helpers.bash - for bats files: `load ../lib/helpers`.
# Commands are on PATH (scripts/run-tests puts $BUILD/bin there).

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
}

# repo - the source tree's root
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

# need_fixture NAME - skips the test if that file of the fixtures is not on this machine
need_fixture() {
    [ -e "$VQA_FIXTURES/$1" ] || skip "fixtures: no $1"
}

# status_is N COMMAND... - runs it with stderr kept in $stderr and checks the exit status
status_is() {
    local want=$1
    shift
    run --separate-stderr "$@"
    [ "$status" -eq "$want" ] || {
        echo "status $status, expected $want: $*"
        echo "stdout: ${output:0:600}"
        echo "stderr: ${stderr:0:600}"
        return 1
    }
}

# says TEXT - the last command's stderr holds TEXT, and every line begins with a program's name
says() {
    [[ $stderr == *"$1"* ]] || {
        echo "stderr: $stderr"
        echo "expected: $1"
        return 1
    }
}

# one_line - the last command said exactly one line on stderr
one_line() {
    [ "$(grep -c . <<<"$stderr")" -eq 1 ] || {
        echo "stderr has several lines: $stderr"
        return 1
    }
}

# cut_everywhere FILE COMMAND... - feeds COMMAND every proper prefix of FILE; not one may succeed.
# Offsets are taken in steps when VQA_CUT_STEP is set; the first and last 64 always one by one.
cut_everywhere() {
    local file=$1 size k st bad=0
    shift
    size=$(stat -c %s "$file")
    for ((k = 0; k < size; k += (k < 64 || k >= size - 64 ? 1 : ${VQA_CUT_STEP:-1}))); do
        st=0
        head -c "$k" "$file" | timeout 10 "$@" >/dev/null 2>err || st=$?
        if [ $st -ne 65 ]; then
            echo "cut at $k of $size: status $st: $(head -1 err)"
            bad=1
        fi
    done
    return $bad
}
