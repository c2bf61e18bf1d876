#!/usr/bin/python3
"""batch.py PHOTOS KILLS - a batch of many photos, killed at random and run again until it is done.

Makes PHOTOS different photos of many formats, one in a hundred (at least ten) broken, in ten ways in turn.
Runs `vqa caption -o OUT` over them in parts, whole, once: each broken one has one error record, all others an
answer. Then from an empty cache KILLS times: everything is killed (SIGKILL) at a random moment and run again. What is finished
must be the same bytes, and an embedding that was in the cache must never be written again.
Prints what it saw; status 1 if anything is wrong. `make torture-batch` has 10,000 and 100."""
import json, os, random, shutil, signal, struct, subprocess, sys, tempfile, time, zlib

photos, kills = int(sys.argv[1]), int(sys.argv[2])
parts = max(2, photos // 250)
here = os.path.dirname(os.path.abspath(__file__))
samples = f"{here}/../fixtures/images"
good = ["astronaut_q90.jpg", "bilevel.png", "cmyk.jpg", "exif6.jpg", "frame.gif", "gray.jpg", "gray16.png", "interlaced.png",
        "la.png", "lossy.webp", "lossless.webp", "odd_420.jpg", "p5.pgm", "p6.ppm", "palette.bmp", "palette.png", "progressive.jpg",
        "restart.jpg", "rgb24.bmp", "rgba.png", "tall_3x500.png", "animated.gif"]

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def numbered(data, i):
    """The same picture in other bytes: a comment, or what stands for one."""
    note = b"number %d" % i
    if data[:2] == b"\xff\xd8":
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + data[2:]
    if data[:4] == b"\x89PNG":
        return data[:33] + chunk(b"tEXt", b"Comment\x00" + note) + data[33:]
    if data[:3] == b"GIF":
        return data[:-1] + b"!\xfe" + bytes([len(note)]) + note + b"\x00;"
    if data[:1] == b"P":
        return data[:3] + b"# " + note + b"\n" + data[3:]
    if data[:2] == b"BM":
        return data[:6] + struct.pack("<I", i) + data[10:]
    body = data[8:] + b"note" + struct.pack("<I", len(note)) + note + b"\0" * (len(note) % 2)  # RIFF
    return data[:4] + struct.pack("<I", len(body)) + body

def break_in(way, name, data):
    """One of ten ways to be no photo; nothing is written for two of them."""
    png = data if data[:4] == b"\x89PNG" else open(f"{samples}/rgba.png", "rb").read()
    if way == 0:
        return  # not there
    if way == 1:
        return os.mkdir(name)
    broken = [b"", b"this is no picture\n", data[:len(data) // 2], png[:len(png) - 30],
              png[:50] + bytes([png[50] ^ 1]) + png[51:],                # a checksum is wrong
              b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),         # of a format that is refused by name
              png[:16] + struct.pack(">II", 1 << 30, 1 << 30) + png[24:],  # larger than any memory
              b"\xff\xd8\xff\xe0" + random.Random(way).randbytes(3000)][way - 2]
    with open(name, "wb") as f:
        f.write(broken)

def make_photos():
    rnd, names, bad, step = random.Random(1), [], set(), min(100, photos // 10)
    data = [open(f"{samples}/{g}", "rb").read() for g in good]
    for i in range(photos):
        names.append(f"photos/{i % 100:02d}/{i:06d}")  # what it is, the bytes say
        os.makedirs(os.path.dirname(names[-1]), exist_ok=True)
        one = numbered(data[rnd.randrange(len(data))], i)
        if i % step == step // 2:
            break_in(i // step % 10, names[-1], one)
            bad.add(names[-1])
        else:
            with open(names[-1], "wb") as f:
                f.write(one)
    with open("list", "w") as f:
        f.write("".join(n + "\n" for n in names))
    return names, bad

def run_parts(out, cache):
    """One process group: the parts in turn, as a person or a job script does it."""
    line = (f"for i in $(seq 0 {parts - 1}); do vqa caption --cache={cache} -b 8 -T list -o {out} --shard $i/{parts} "
            "--max-new-tokens 8 2>/dev/null || [ $? -eq 1 ] || exit $?; done")
    return subprocess.Popen(["bash", "-c", line], start_new_session=True)

def answers(out):
    files = sorted(f for f in os.listdir(out) if f.endswith(".jsonl"))
    return b"".join(open(f"{out}/{f}", "rb").read() for f in files)

def entries(cache):
    """Each entry's inode: a file that is written again is another file."""
    return {f: os.stat(os.path.join(d, f)).st_ino for d, _, fs in os.walk(cache) for f in fs if f.endswith(".msgpack")}

def check_whole(names, bad):
    begin = time.monotonic()
    if run_parts("whole", "cache").wait():
        sys.exit("the run without kills failed")
    took, lines = time.monotonic() - begin, [json.loads(x) for x in answers("whole").splitlines()]
    assert [x["image"] for x in lines] == names, "not each photo once, in order"
    wrong = [x["image"] for x in lines if ("error" in x) != (x["image"] in bad)]
    assert not wrong, f"wrong: {wrong[:5]}"
    kinds = sorted({x["error"]["kind"] for x in lines if "error" in x})
    print(f"{len(names)} photos, {len(bad)} of them broken: {len(lines)} records, {len(bad)} errors "
          f"({' '.join(kinds)}), {took:.0f} s, {len(names) / took:.0f} photos/s", flush=True)
    shutil.rmtree("cache")
    return took

def torment(took):
    rnd, known, again, done, killed, begin = random.Random(2), {}, 0, 0, 0, time.monotonic()
    expected = answers("whole")
    while True:
        p = run_parts("out", "cache")
        try:
            status = p.wait(rnd.uniform(0, 3 * took / kills) if killed < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            killed, status = killed + 1, None
        now = entries("cache")
        again += sum(now.get(f, ino) != ino for f, ino in known.items())
        known = now
        if status is None:
            continue
        assert status == 0, f"status {status}"
        assert answers("out") == expected, "other bytes than those of the run without kills"
        left = [f for f in os.listdir("out") if not f.startswith("part-")]
        assert not left, f"left behind: {left[:5]}"
        done += 1
        if killed == kills:
            break
        shutil.rmtree("out")
        shutil.rmtree("cache")
        known = {}
    print(f"killed {killed} times, finished {done} times, each time the same bytes; {again} embeddings written again "
          f"of those that were kept, {time.monotonic() - begin:.0f} s")
    return again

def main():
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        names, bad = make_photos()
        again = torment(check_whole(names, bad))
        os.chdir("/")
    sys.exit(again != 0)

main()
