#!/usr/bin/python3
"""many.py - img-encode on 100 and on 100,000 pictures that the cache has, as a list and as a folder: the time
to the first record, the time to the last, and the resident set at most (VmHWM), which are to be the same
for both. `make bench-many`: a minute, and 100,000 links to one small picture in $TMPDIR."""
import os, subprocess, sys, tempfile, time

COUNTS = 100, 100_000

def fill(folder, n):
    os.mkdir(folder)
    first = folder + "/0000000.ppm"
    with open(first, "wb") as f:
        f.write(b"P6 2 2 255\n" + bytes(range(12)))
    names = [first] + [f"{folder}/{i:07d}.ppm" for i in range(1, n)]
    for name in names[1:]:
        os.link(first, name)
    with open(folder + ".list", "w") as f:
        f.write("".join(name + "\n" for name in names))

def high_water(pid):
    with open(f"/proc/{pid}/status") as f:
        return next((int(line.split()[1]) for line in f if line.startswith("VmHWM")), 0)

def run(*args):
    begun, first, got, peak = time.monotonic(), None, 0, 0
    with subprocess.Popen(["img-encode", *args], stdout=subprocess.PIPE) as p:
        while data := os.read(p.stdout.fileno(), 1 << 20):
            got += len(data)
            if first is None and got > 2000:  # the header is smaller, an embedding larger
                first = time.monotonic() - begun
            peak = max(peak, high_water(p.pid))
    assert p.returncode == 0, p.returncode
    return first, time.monotonic() - begun, peak

def main():
    with tempfile.TemporaryDirectory() as d:
        cache = "--cache=" + d + "/cache"
        print("pictures  given as  first record    all      peak")
        for n in COUNTS:
            folder = f"{d}/{n}"
            fill(folder, n)
            subprocess.run(["img-encode", cache, folder + "/0000000.ppm"], check=True, stdout=subprocess.DEVNULL)
            for how, args in ("list", ["-T", folder + ".list"]), ("folder", ["-r", folder]):
                first, total, peak = run(cache, *args)
                print(f"{n:8}  {how:8}  {first:9.3f} s  {total:5.1f} s  {peak:5} KB", flush=True)

if __name__ == "__main__":
    sys.exit(main())
