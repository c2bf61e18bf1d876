#!/usr/bin/python3
"""scale.py [ROUNDS] - whether two servers do the work of two.

The work is `img-encode -t 1` at 224 x 224 with the shipped model: one thread, some 25 ms a picture, so
that a server is bound by its processor alone; images are decoded in the sandbox in each case. Each round
measures, one after the other, pictures a second of

    bare 1    one process, without sockets         bare 2    two processes at once: what the machine can
    called 1  stage-call and one stage-serve       called 2  stage-call and two

Prints medians, and how much more two give than one. On a machine with two processors the client and the
servers' own work have to fit beside two workers, so that 2.0 cannot be reached. `make bench-scale`."""
import os, statistics, subprocess, sys, tempfile, time
import msgpack

rounds, n = int(sys.argv[1]) if len(sys.argv) > 1 else 5, 120
here = os.path.dirname(os.path.abspath(__file__))
share = os.path.join(here, "../../share")
work = ["img-encode", "-m", f"{share}/demo-model", "-t", "1", "--interpolate", "--image-size", "224"]

def records():
    files = sorted(f for f in os.listdir(f"{share}/examples") if f.endswith((".png", ".jpg")))
    images = [open(f"{share}/examples/{f}", "rb").read() for f in files]
    return b"".join(msgpack.packb({"id": str(i), "image": images[i % len(images)]}) for i in range(n))

def rate(commands, path):
    """Pictures a second of all commands together, each with the file as its input."""
    begin = time.perf_counter()
    ps = [subprocess.Popen(c, env={**os.environ, "VQA_UNTRUSTED": "1"}, stdin=open(path, "rb"), stdout=subprocess.DEVNULL) for c in commands]
    for p in ps:
        if p.wait() != 0:
            sys.exit(f"{p.args}: status {p.returncode}")
    return len(commands) * n / (time.perf_counter() - begin)

def main():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "in")
        with open(path, "wb") as f:
            f.write(records())
        ends = [f"ipc://{d}/{k}" for k in "ab"]
        servers = [subprocess.Popen(["stage-serve", e, "--", *work]) for e in ends]
        ways = {"bare 1": [work], "bare 2": [work, work], "called 1": [["stage-call", ends[0]]],
                "called 2": [["stage-call", ",".join(ends)]]}
        for e in ends:
            rate([["stage-call", e]], path)
        got = {name: [] for name in ways}
        for _ in range(rounds):
            for name, commands in ways.items():
                got[name].append(rate(commands, path))
        for s in servers:
            s.terminate()
            s.wait()
    mid = {name: statistics.median(v) for name, v in got.items()}
    print(f"{n} pictures, {rounds} rounds in turn, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for name, v in got.items():
        print(f"{name:9} {mid[name]:6.1f} pictures/s  ({min(v):.1f} to {max(v):.1f})")
    print(f"two bare processes give {mid['bare 2'] / mid['bare 1']:.2f} times one, "
          f"two servers {mid['called 2'] / mid['called 1']:.2f} times one")

main()
