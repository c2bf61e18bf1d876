#!/usr/bin/python3
"""attack.py - what a server and an honest client notice of hostile peers (tests/lib/attack.py).

For each attack a fresh `stage-serve -- tensor-cat` on loopback. An honest client (`stage-call`) sends
records of 40 kB one after the other, for as long as the attack lasts and at least 3 s. Prints how long its
answers took, how many it had, the server's largest resident memory, and what the server counted. The limit
of memory is that of stage-serve(1): 512 MiB of requests and answers, 256 MiB of unfinished messages, and
what the server is by itself. Two minutes: `make bench-attack`."""
import os, resource, subprocess, sys, time
import msgpack_numpy, numpy
from hop import Filter, free_port

here = os.path.dirname(os.path.abspath(__file__))
LIMIT = 512 + 256 + 128
attacks = ["nothing", "garbage 300", "slow 100", "idle 1000", "idle 5000", "few idle 1000", "silent 50", "huge",
           "endless 1000000", "endless 8", "frames", "records", "unread 200"]

def server(port, files):
    limit = (files, files) if files else resource.getrlimit(resource.RLIMIT_NOFILE)
    p = subprocess.Popen(["stage-serve", f"tcp://127.0.0.1:{port}", "--", "tensor-cat"], stderr=subprocess.DEVNULL,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))
    ready = ["stage-call", "--connect-timeout", "10", "--info", f"tcp://127.0.0.1:{port}"]
    while b"ready 1" not in subprocess.run(ready, capture_output=True).stdout:
        time.sleep(0.05)
    return p

def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) >> 10 for line in f if line.startswith("VmHWM"))

def counted(port):
    text = subprocess.run(["stage-call", "--metrics", f"tcp://127.0.0.1:{port}"], capture_output=True, text=True).stdout
    kinds = (line.split() for line in text.splitlines() if line.startswith("vqa_errors_total{"))
    return " ".join(f"{k.split(chr(34))[1]} {v}" for k, v in kinds if v != "0")

def measure(attack, record):
    port, words = free_port(), attack.split()
    few = words[0] == "few"  # a server that may open no more than 128 files
    p = server(port, 128 if few else None)
    client = Filter(record, "stage-call", "--timeout", "60", f"tcp://127.0.0.1:{port}")
    hostile = words[few:] if attack != "nothing" else []
    peer = subprocess.Popen([sys.executable, f"{here}/../lib/attack.py", str(port), *hostile], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL) if hostile else None
    took, begin = [], time.monotonic()
    while time.monotonic() < begin + 3 or (peer and peer.poll() is None):
        t = time.monotonic()
        client()
        took.append((time.monotonic() - t) * 1e3)
    client.p.stdin.close()
    client.p.wait()
    assert client.p.returncode == 0 and p.poll() is None, attack
    most = resident(p.pid)
    print(f"{attack:16}" + "".join(f"{x:9.1f}" for x in numpy.percentile(took, [50, 99, 100])) +
          f"{len(took):9d}{most:9d}  {counted(port)}", flush=True)
    p.terminate()
    p.wait()
    return most

def main():
    record = msgpack_numpy.packb({"id": "one", "v": numpy.zeros((100, 100), numpy.float32)})
    print(f"{'attack':16}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'answers':>9}{'MiB':>9}  counted")
    most = max(measure(a, record) for a in attacks)
    print(f"the most: {most} MiB, the limit {LIMIT} MiB")
    sys.exit(most > LIMIT)

main()
