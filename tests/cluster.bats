#!/usr/bin/env bats
# The job scripts of examples/ under what they are for: a real Slurm of one node, and GNU parallel over ssh.
# Daemons are the test's own: configuration, keys, ports and logs in its directory, ended by their process ids.

load lib/helpers
load lib/net # free_port

# A list of pictures in which picture 9, of the third quarter, is a pipe: who reads it waits until it is killed.
setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    [ -e "$VQA_DATADIR/demo-model/model.safetensors" ] || skip "no share/demo-model"
    daemons=()
    export VQA_MODEL=$VQA_DATADIR/demo-model VQA_CACHE=$PWD/cache
    local i
    for ((i = 0; i < 16; i++)); do
        cp "$VQA_DATADIR/examples/scene-$((i % 3 + 1)).png" "p$i.png"
        echo "$PWD/p$i.png"
    done >list
    vqa caption --no-cache -T list -o whole
    mv p9.png kept.png
    mkfifo p9.png
}

teardown() {
    local p pid k
    [ ! -e slurmctld.pid ] || scancel --full --signal=KILL "$(squeue -h -o %A)" 2>/dev/null || true
    for p in $(reader); do kill -9 "$p" || true; done
    for p in "${daemons[@]}"; do
        pid=$(cat "$p" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        for ((k = 0; k < 50; k++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    done
    return 0
}

# until_true N COMMAND... - true as soon as it is, within N seconds
until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@"; do
        [ $SECONDS -lt $end ] || { echo "not within its time: $*"; tail -n 20 ./*.out; return 1; }
        sleep 0.2
    done
}

parts_are_whole() {
    cat out/part-*.jsonl | cmp - whole/part-00000-of-00001.jsonl
    [ "$(cat out/part-*.stats.json | jq -s 'map(.errors) | add')" -eq 0 ]
}

# The process that waits for the picture that does not come. And an end for it and who runs it, as when memory
# is short; the picture is there for the next one.
reader() {
    pgrep -f "[i]mg-encode .*$PWD/out/"
}
# N parts, all but that of the picture that does not come
done_are() { [ "$(find out -name 'part-*.stats.json' 2>/dev/null | wc -l)" -eq "$1" ]; }
has_reader() { [ -n "$(reader)" ]; }
kill_reader() {
    local p
    p=$(reader)
    rm p9.png && mv kept.png p9.png
    kill -9 "$(ps -o ppid= "$p" | xargs)" "$p"
}

start_slurm() {
    local d=$PWD f
    for f in munged slurmctld slurmd srun jq; do
        command -v $f >/dev/null || skip "no $f"
    done
    [ "$(id -u)" -eq 0 ] || skip "Slurm's daemons are started by root"
    mkdir state spool
    dd if=/dev/urandom of=munge.key bs=1024 count=1 status=none
    chmod 400 munge.key
    cat >slurm.conf <<C
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$d/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
StateSaveLocation=$d/state
SlurmdSpoolDir=$d/spool
SlurmctldPidFile=$d/slurmctld.pid
SlurmdPidFile=$d/slurmd.pid
SlurmctldLogFile=$d/slurmctld.log
SlurmdLogFile=$d/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
NodeName=localhost CPUs=8 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
C
    printf 'CgroupPlugin=cgroup/v1\nIgnoreSystemd=yes\n' >cgroup.conf # nothing is asked of cgroups
    export SLURM_CONF=$d/slurm.conf
    daemons=("$d/slurmd.pid" "$d/slurmctld.pid" "$d/munged.pid")
    { munged --force --key-file="$d/munge.key" --socket="$d/munge.socket" --pid-file="$d/munged.pid" \
        --log-file="$d/munged.log" --seed-file="$d/munged.seed" && slurmctld -c && slurmd -c -N localhost; } \
        >daemons.log 2>&1 3>&- || skip "Slurm does not start here: $(tail -n 1 daemons.log)"
    local k
    for ((k = 0; k < 150; k++)); do
        sinfo -h -o %T 2>/dev/null | grep -q idle && return
        sleep 0.2
    done
    skip "Slurm's node does not get ready here: $(tail -n 1 slurmd.log)"
}

job() { scontrol show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; } # ID FIELD
restarted() { [ "$(job "$1" Restarts)" = "$2" ] && has_reader; }
all_are_done() { [ -z "$(squeue -h -j "$1" 2>/dev/null)" ]; }

@test "Slurm: four tasks of an array, one stopped by its time, killed, and put back: the same bytes as one run" {
    start_slurm
    local id
    id=$(LIST=$PWD/list OUT=$PWD/out sbatch --parsable -o task-%a.out "$repo/examples/slurm/caption.sbatch")
    until_true 60 done_are 3
    until_true 20 has_reader
    scancel --signal=TERM "${id}_2" # as Slurm does a minute before the time is up
    until_true 60 restarted "${id}_2" 1
    kill_reader
    until_true 60 all_are_done "$id"
    [ "$(job "${id}_2" Restarts)" -eq 2 ]
    [ "$(job "${id}_2" JobState)" = COMPLETED ]
    parts_are_whole
}

start_ssh() {
    local port f
    for f in parallel sshd ssh-keygen jq; do
        command -v $f >/dev/null || skip "no $f"
    done
    port=$(free_port)
    ssh-keygen -q -t ed25519 -N '' -f host.key
    ssh-keygen -q -t ed25519 -N '' -f me.key
    cp me.key.pub allowed
    [ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
    cat >sshd.conf <<C
Port $port
ListenAddress 127.0.0.1
HostKey $PWD/host.key
AuthorizedKeysFile $PWD/allowed
PidFile $PWD/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
C
    cat >ssh.conf <<C
Host one two
    HostName 127.0.0.1
    Port $port
    IdentityFile $PWD/me.key
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile $PWD/known
    LogLevel ERROR
C
    daemons=("$PWD/sshd.pid")
    "$(command -v sshd)" -f "$PWD/sshd.conf" -E "$PWD/sshd.log" 3>&- || skip "sshd does not start here: $(tail -n 1 sshd.log)"
    ssh -F ssh.conf one true 2>ssh.log || skip "no ssh to this machine: $(tail -n 1 ssh.log)"
    export PARALLEL_SSH="ssh -F $PWD/ssh.conf" PARALLEL_HOME=$PWD/parallel
}

@test "GNU parallel over ssh: eight parts on two hosts, one killed and tried again: the same bytes as one run" {
    start_ssh
    local st=0 job
    N=8 "$repo/examples/parallel/caption.sh" list out 2/one 2/two >log.out 2>&1 3>&- &
    job=$!
    until_true 60 done_are 7
    until_true 20 has_reader
    kill_reader
    wait $job || { st=$?; cat log.out; }
    [ $st -eq 0 ]
    parts_are_whole
    [ "$(cut -f 7 out/joblog | sort -n | tail -n 1)" = Exitval ]
    [ "$(awk 'NR > 1 && $7 == 0' out/joblog | wc -l)" -eq 8 ]
    [ "$(cut -f 2 out/joblog | grep -c -e one -e two)" -ge 8 ]
    # and again: nothing is left to do
    touch -d '1 hour ago' out/part-*
    before=$(stat -c %Y out/part-*)
    status_is 0 env N=8 "$repo/examples/parallel/caption.sh" list out 2/one 2/two
    [ "$before" = "$(stat -c %Y out/part-*)" ]
}

# plan OPTION... - rows of the table of cluster-plan.py for one perfect node, but for the options
plan() {
    "$repo/examples/cluster-plan.py" --nodes 1 --mtbf-h 0 --slow 0 --spread 0 --list-s 0 --fs-ms 0 --image-mb 0 --runs 4 "$@" |
        tail -n +3
}

@test "cluster-plan.py: one perfect node by arithmetic; the same numbers again; what failures, stragglers and disks cost" {
    local one=(--images 36000 --full-ms 100 --start-s 36)
    [ "$(plan "${one[@]}" --parts 36000 3600 | awk '{ print $2, $3, $5 }')" = $'1 1.01 1.0\n10 1.10 1.1' ]
    [ "$(plan "${one[@]}" --parts 36000 --image-mb 400 --fs-gbs 2 | awk '{ print $3 }')" = 2.01 ] # a disk that is slower
    [ "$(plan "${one[@]}" --parts 3600 --nodes 10 | awk '{ print $3 }')" = 0.11 ]
    [ "$(plan "${one[@]}" --parts 3600 --slow 1 --slow-by 3 | awk '{ print $3 }')" = 3.30 ]
    plan --images 1000000 --nodes 16 --mtbf-h 20 --slow 0.1 --spread 0.1 --parts 1000 100000 >a
    plan --images 1000000 --nodes 16 --mtbf-h 20 --slow 0.1 --spread 0.1 --parts 1000 100000 >b
    cmp a b
    awk '{ lost[NR] = $7 } END { exit !(lost[1] > 0 && lost[2] > 10 * lost[1]) }' a # large parts lose more
    head -8 list >few
    status_is 0 "$repo/examples/cluster-plan.py" --measure few --images 1000 --parts 100
    [[ $output == "1000 pictures, 32 nodes: a picture "* ]]
    status_is 1 "$repo/examples/cluster-plan.py" --measure /dev/null
    [[ $stderr == *"/dev/null: 0 pictures, expected at least 8"* ]]
}
