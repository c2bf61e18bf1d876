#!/bin/bash
# scale-out.sh [MODEL [IMAGE]] - the same server on one machine and then on two, and how much faster
# two answer RECORDS (default 24) questions about a picture: three network namespaces of this
# machine, made here and removed at the end. Each server computes with one thread, so that two need
# two processors; on a machine with fewer, or busy ones, they are no faster. Then one of the two is
# killed in the middle, and the answers are still all there. Needs root.
#
#     asker  10.78.1.1 ---- 10.78.1.2  one   stage-serve opt-generate -t 1
#            10.78.2.1 ---- 10.78.2.2  two   stage-serve opt-generate -t 1
set -eu -o pipefail
model=(${1:+-m "$1"})
image=${2:-scene-1.png}
records=${RECORDS:-24}
tokens=${TOKENS:-40}
ns=vqa$$
dir=$(mktemp -d)
declare -A server
finish() {
    for p in "${server[@]}"; do
        kill "$p" 2>/dev/null && wait "$p" 2>/dev/null || true
    done
    for n in asker one two; do ip netns del $ns-$n 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT

host() { ip netns add $ns-"$1" && ip -n $ns-"$1" link set lo up; }
cable() { # NUMBER HOST
    ip link add name "to$1" netns $ns-asker type veth peer name to0 netns $ns-"$2"
    ip -n $ns-asker addr add "10.78.$1.1/24" dev "to$1" && ip -n $ns-asker link set "to$1" up
    ip -n $ns-"$2" addr add "10.78.$1.2/24" dev to0 && ip -n $ns-"$2" link set to0 up
}
on() { # HOST COMMAND...
    local h=$1
    shift
    ip netns exec $ns-"$h" "$@"
}
serve() { # HOST NUMBER
    ip netns exec $ns-"$1" stage-serve --key "$dir/$1.key" --allow "$dir/clients" "tcp://10.78.$2.2:5555" -- \
        opt-generate "${model[@]}" -t 1 --min-new-tokens "$tokens" --max-new-tokens "$tokens" &
    server[$1]=$!
}
ask() { # ENDPOINTS
    on asker stage-call --key "$dir/asker.key" --server-key "$dir/one.pub" --connect-timeout 60 "$1"
}
seconds() { # COMMAND... <stream - how long it took
    local begin end
    begin=$(date +%s%N)
    "$@" >"$dir/answers"
    end=$(date +%s%N)
    awk -v n=$((end - begin)) 'BEGIN { printf "%.2f", n / 1e9 }'
}

if ! host asker 2>/dev/null; then
    echo "scale-out.sh: cannot make network namespaces (root?)" >&2
    exit 77
fi
host one && host two
cable 1 one && cable 2 two
vqa-keygen "$dir/one" && vqa-keygen "$dir/asker"
cp "$dir/one.key" "$dir/two.key" # one service, one key
cp "$dir/asker.pub" "$dir/clients"
serve one 1
serve two 2
one=tcp://10.78.1.2:5555 both=tcp://10.78.1.2:5555,tcp://10.78.2.2:5555

prompts=()
for ((i = 0; i < records; i++)); do prompts+=(-p "Question: What is number $i? Answer:"); done
img-encode "${model[@]}" -- "$image" | qformer "${model[@]}" | tokenize "${model[@]}" "${prompts[@]}" >"$dir/questions"
for e in $one "${both#*,}"; do # both are ready
    on asker stage-call --key "$dir/asker.key" --server-key "$dir/one.pub" --connect-timeout 60 --info "$e" >/dev/null
done

t1=$(seconds ask $one <"$dir/questions")
tokenize -d -f tsv "${model[@]}" "$dir/answers" >"$dir/first"
t2=$(seconds ask $both <"$dir/questions")
tokenize -d -f tsv "${model[@]}" "$dir/answers" >"$dir/second"
disown "${server[one]}" # whose death is no news
(sleep "$(awk -v t="$t2" 'BEGIN { print t / 3 }')"; kill -9 "${server[one]}") &
seconds ask $both <"$dir/questions" >/dev/null
tokenize -d -f tsv "${model[@]}" "$dir/answers" >"$dir/third"

[ "$(wc -l <"$dir/first")" -eq "$records" ]
cmp "$dir/first" "$dir/second"
cmp "$dir/first" "$dir/third"
awk -v n="$records" -v a="$t1" -v b="$t2" -v c="$(nproc)" 'BEGIN {
    printf "%d answers: one server %s s, two %s s, %.2f times as fast (%d processors)\n", n, a, b, a / b, c }'
echo "one of two killed in the middle: the same answers, none lost"
