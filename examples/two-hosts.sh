#!/bin/bash
# two-hosts.sh [MODEL [IMAGE...]] - the photographs on one machine, the Q-Former on a second, the
# language model on a third: three network namespaces of this machine, made here and removed at the
# end, joined by cables of their own. Prints the answers of the pipeline across them and says whether
# they are, to the bit, those of the pipeline on one machine. Needs root.
#
#     photos  10.77.1.1 ---- 10.77.1.2  middle   stage-serve qformer
#             10.77.2.1 ---- 10.77.2.2  memory   stage-serve opt-generate
set -eu -o pipefail
model=(${1:+-m "$1"})
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- scene-1.png scene-2.png scene-3.png
question=${QUESTION:-Question: What shape is red? Answer:}
ns=vqa$$
dir=$(mktemp -d)
servers=()
finish() {
    for p in "${servers[@]}"; do
        kill "$p" 2>/dev/null && wait "$p" 2>/dev/null || true
    done
    for n in photos middle memory; do ip netns del $ns-$n 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT

host() { ip netns add $ns-"$1" && ip -n $ns-"$1" link set lo up; }
cable() { # NUMBER HOST
    ip link add name "to$1" netns $ns-photos type veth peer name to0 netns $ns-"$2"
    ip -n $ns-photos addr add "10.77.$1.1/24" dev "to$1" && ip -n $ns-photos link set "to$1" up
    ip -n $ns-"$2" addr add "10.77.$1.2/24" dev to0 && ip -n $ns-"$2" link set to0 up
}
on() { # HOST COMMAND...
    local h=$1
    shift
    ip netns exec $ns-"$h" "$@"
}

if ! host photos 2>/dev/null; then
    echo "two-hosts.sh: cannot make network namespaces (root?)" >&2
    exit 77
fi
host middle && host memory
cable 1 middle && cable 2 memory

# Everybody has a key; the servers list the one client.
for k in photos middle memory; do vqa-keygen "$dir/$k"; done
cp "$dir/photos.pub" "$dir/clients"
ip netns exec $ns-middle stage-serve --key "$dir/middle.key" --allow "$dir/clients" tcp://10.77.1.2:5555 -- qformer "${model[@]}" &
servers+=($!)
ip netns exec $ns-memory stage-serve --key "$dir/memory.key" --allow "$dir/clients" tcp://10.77.2.2:5555 -- opt-generate "${model[@]}" &
servers+=($!)

across() {
    on photos img-encode "${model[@]}" -- "$@" |
        on photos stage-call --key "$dir/photos.key" --server-key "$dir/middle.pub" --connect-timeout 60 tcp://10.77.1.2:5555 |
        tokenize "${model[@]}" -p "$question" |
        on photos stage-call --key "$dir/photos.key" --server-key "$dir/memory.pub" --connect-timeout 60 tcp://10.77.2.2:5555
}
here() {
    img-encode "${model[@]}" -- "$@" | qformer "${model[@]}" | tokenize "${model[@]}" -p "$question" | opt-generate "${model[@]}"
}
across "$@" >"$dir/across"
tokenize -d -f tsv "${model[@]}" "$dir/across"
here "$@" >"$dir/here"
tensor-diff -q "$dir/here" "$dir/across"
echo "the same, to the bit, as on one machine"
