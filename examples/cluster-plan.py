#!/usr/bin/env python3
"""cluster-plan.py - how long a batch takes on many machines, what it costs, what is lost: by size of part.

    cluster-plan.py --images 10000000 --nodes 32 --measure photos.txt      # costs measured here
    cluster-plan.py --full-ms 900 --again-ms 400 --start-s 20              # or given
    cluster-plan.py --check photos.txt     # is the prediction for one machine right? runs it

What it assumes. Parts wait in one queue and each free node takes the next (a Slurm array). A part costs a
start (the model is mapped, the list is read as a whole and counted) and then the same for each picture; reading
and decoding overlap with computing, so that a picture costs no less than the file system takes to bring it:
its latency over the readers of a node, and its bytes over the node's share of the bandwidth. A node is slow for
good with some probability (stragglers), and a part takes some per cent more or less. Nodes fail at random with
no memory, and come back; the part then is put back into the queue, after a delay, and begins again, but what it
had encoded is in the shared cache, and costs less the second time. What a failed try had used is lost, but for
what its encoding saves the next one. Money is for nodes, from the first part to the last, idle or not.

Not in it: the network and the file system as things that fail, writing (answers are small), more than one
kind of node."""
import argparse, heapq, os, random, statistics, subprocess, sys, tempfile, time

def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="The program's first lines say what it assumes.")
    def number(name, value, text, kind=float):
        p.add_argument(name, type=kind, default=value, metavar="N", help=f"{text} ({value})")
    number("--images", 10_000_000, "pictures", int)
    number("--nodes", 32, "machines", int)
    number("--full-ms", 900.0, "a picture that is not in the cache")
    number("--again-ms", 400.0, "one that is")
    number("--start-s", 5.0, "start of a part")
    number("--list-s", 0.4, "more of it for each million names in the list")
    number("--fs-ms", 5.0, "the file system until a file comes")
    number("--fs-gbs", 2.0, "GB/s of it, for all nodes together")
    number("--image-mb", 2.0, "MB of a picture")
    number("--readers", 2, "files a node reads at once", int)
    number("--mtbf-h", 1000.0, "hours between failures of one node; 0: none fail")
    number("--repair-h", 1.0, "hours until it is back")
    number("--requeue-s", 120.0, "seconds until a part is begun again")
    number("--slow", 0.05, "share of nodes that are slow")
    number("--slow-by", 2.0, "how much slower they are")
    number("--spread", 0.05, "how much parts differ")
    number("--price", 1.0, "of a node for an hour")
    number("--runs", 20, "simulated runs of each size", int)
    number("--seed", 1, "of the random numbers", int)
    p.add_argument("--parts", type=int, nargs="+", default=[500, 2000, 10000, 50000, 200000], metavar="N",
                   help="pictures in a part, sizes to compare")
    p.add_argument("--measure", metavar="LIST", help="measure the costs with these pictures, on this machine")
    p.add_argument("--check", metavar="LIST", help="predict a run over these pictures from half of them, and run it")
    return p.parse_args()

def floor_s(o):
    """Seconds that a node waits for a picture at least."""
    return max(o.fs_ms / 1e3 / o.readers, o.image_mb / 1e3 / (o.fs_gbs / o.nodes))

class Node:
    def __init__(self, o, rnd):
        self.pace = o.slow_by if rnd.random() < o.slow else 1.0
        self.fails = rnd.expovariate(1 / (o.mtbf_h * 3600)) if o.mtbf_h else float("inf")

def attempt(o, rnd, node):
    """Seconds of a part: to start, for a picture that is in the cache, for one that is not."""
    pace = node.pace * rnd.lognormvariate(0, o.spread)
    wait = floor_s(o)
    return ((o.start_s + o.list_s * o.images / 1e6) * pace, max(o.again_ms / 1e3 * pace, wait),
            max(o.full_ms / 1e3 * pace, wait))

def simulate(o, size, seed):
    """One run: hours, and node-hours that were lost."""
    rnd = random.Random(seed)
    nodes = [Node(o, rnd) for _ in range(o.nodes)]
    sizes = [size] * (o.images // size) + ([o.images % size] if o.images % size else [])
    queue = [(0.0, k, n, 0) for k, n in enumerate(sizes)]  # from when, which, pictures, those in the cache
    free = [(0.0, k) for k in range(o.nodes)]
    heapq.heapify(queue)
    heapq.heapify(free)
    end = lost = 0.0
    while queue:
        now, k = heapq.heappop(free)
        node = nodes[k]
        since, part, n, encoded = heapq.heappop(queue)
        now = max(now, since)
        if node.fails <= now:  # it failed while it had nothing to do
            back = node.fails + o.repair_h * 3600
            node.fails = back + rnd.expovariate(1 / (o.mtbf_h * 3600))
            heapq.heappush(free, (max(now, back), k))
            heapq.heappush(queue, (since, part, n, encoded))
            continue
        start, again, full = attempt(o, rnd, node)
        takes = start + encoded * again + (n - encoded) * full
        if now + takes <= node.fails:
            end = max(end, now + takes)
            heapq.heappush(free, (now + takes, k))
            continue
        used = node.fails - now
        more = min(n - encoded, max(0, int((used - start - encoded * again) / full)))
        lost += used - more * (full - again)
        heapq.heappush(queue, (node.fails + o.requeue_s, part, n, encoded + more))
        back = node.fails + o.repair_h * 3600
        node.fails = back + rnd.expovariate(1 / (o.mtbf_h * 3600))
        heapq.heappush(free, (back, k))
    return end / 3600, lost / 3600

def table(o):
    print(f"{o.images} pictures, {o.nodes} nodes: a picture {o.full_ms:.4g} ms, again {o.again_ms:.4g} ms, a start "
          f"{o.start_s + o.list_s * o.images / 1e6:.1f} s, the file system at least {floor_s(o) * 1e3:.2g} ms a picture\n"
          f"{'in a part':>10}{'parts':>9}{'hours':>9}{'19 of 20':>9}{'node-h':>10}{'cost':>10}{'lost node-h':>12}")
    for size in o.parts:
        runs = [simulate(o, size, o.seed + k) for k in range(o.runs)]
        hours = sorted(h for h, _ in runs)
        mid, late = statistics.median(hours), hours[-(-19 * len(hours) // 20) - 1]
        print(f"{size:10d}{-(-o.images // size):9d}{mid:9.2f}{late:9.2f}{mid * o.nodes:10.1f}{mid * o.nodes * o.price:10.2f}"
              f"{statistics.mean(x for _, x in runs):12.2f}")

def timed(names, cache, out):
    with open("names", "w") as f:
        f.writelines(names)
    begin = time.monotonic()
    status = subprocess.run(["vqa", "caption", "-T", "names", "-o", out, *cache], stderr=subprocess.DEVNULL).returncode
    if status > 1:
        sys.exit(f"vqa caption: status {status}")
    return time.monotonic() - begin

def measure(o, names):
    """Two runs of different length give the start and the cost of a picture; the second of them again, the cache's."""
    few = names[:max(1, len(names) // 4)]
    a, b = timed(few, ["--no-cache"], "few"), timed(names, ["--no-cache"], "all")
    o.full_ms = max(0.001, (b - a) / (len(names) - len(few)) * 1e3)
    o.start_s = max(0.0, a - len(few) * o.full_ms / 1e3)
    timed(names, ["--cache=cache"], "fill")
    c = timed(names, ["--cache=cache"], "again")
    o.again_ms = max(0.001, min(o.full_ms, (c - o.start_s) / len(names) * 1e3))

def check(o, names):
    """One node that does not fail, and this machine."""
    measure(o, names[:len(names) // 2])
    o.images, o.nodes, o.slow, o.spread, o.mtbf_h, o.list_s, o.fs_ms, o.image_mb = len(names), 1, 0, 0, 0, 0, 0, 0
    told = simulate(o, len(names), o.seed)[0] * 3600
    took = timed(names, ["--no-cache"], "real")
    print(f"{len(names)} pictures on one node: predicted {told:.1f} s, took {took:.1f} s: {took / told:.2f} times")

def main():
    o = options()
    source = o.check or o.measure
    if source:
        with open(source) as f:
            names = [os.path.abspath(line.rstrip("\n")) + "\n" for line in f]
        if len(names) < 8:
            sys.exit(f"{source}: {len(names)} pictures, expected at least 8")
        with tempfile.TemporaryDirectory() as d:
            os.chdir(d)
            (check if o.check else measure)(o, names)
            os.chdir("/")
    if not o.check:
        table(o)

main()
