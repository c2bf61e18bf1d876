"""Our stages under the clock: each runs as a process of its own, is given records one by one, and is timed from the last
byte in to the record that comes back. Needs python3-msgpack and python3-msgpack-numpy."""
import os
import subprocess
import tempfile
import threading
import time

import msgpack
import msgpack_numpy
import numpy as np


class Stage:
    """A filter between two pipes."""

    def __init__(self, *command):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.unpacker = msgpack.Unpacker(object_hook=msgpack_numpy.decode, max_buffer_size=1 << 30)

    def send(self, *records):
        data = memoryview(b"".join(msgpack.packb(r, default=msgpack_numpy.encode) for r in records))
        while data:
            data = data[self.process.stdin.write(data):]

    def receive(self, key="id"):
        """The next record; with "stream", the header."""
        while True:
            for record in self.unpacker:
                if "err" in record or "abort" in record:
                    raise RuntimeError(f"{self.process.args[0]}: {record}")
                if key in record:
                    return record
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            if not data:
                raise RuntimeError(f"{self.process.args[0]} is gone")
            self.unpacker.feed(data)

    def resident(self):
        """Most memory this process had in core, shared pages of the model among them, in GB."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) * 1024 / 1e9

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def seconds(stage, records):
    """Time for the records to go in and as many to come back."""
    start = time.perf_counter()
    sender = threading.Thread(target=stage.send, args=records)  # it may want to be read before it reads on
    sender.start()
    for _ in records:
        stage.receive()
    sender.join()
    return time.perf_counter() - start


class Timed:
    """A stage that a contest can ask for its memory and end."""

    def resident(self):
        return self.stage.resident()

    def close(self):
        self.stage.close()


class Encode(Timed):
    """img-encode on encoded pictures, JPEG decoding and resizing included."""

    def __init__(self, model, threads, picture, *options):
        with open(picture, "rb") as f:
            self.image = f.read()
        self.stage = Stage("img-encode", "-m", model, "-t", str(threads), "--no-cache", *options)

    def record(self, i):
        return {"id": str(i), "image": self.image}

    def run(self, n=1):
        return {"s": seconds(self.stage, [self.record(i) for i in range(n)])}


class Query(Timed):
    """qformer on random embeddings."""

    def __init__(self, model, threads, *options):
        self.stage = Stage("qformer", "-m", model, "-t", str(threads), "--no-cache", *options)
        self.rng = np.random.default_rng(1)

    def record(self, i):
        return {"id": str(i), "image_embeds": self.rng.standard_normal((257, 1408), np.float32)}

    def run(self, n=1):
        return {"s": seconds(self.stage, [self.record(i) for i in range(n)])}


class Generate(Timed):
    """opt-generate on 32 random visual rows and a prompt of 14 tokens; no prefix is ever the same."""

    def __init__(self, model, threads, new, batch=1, *options):
        self.new, self.alone = new, batch == 1
        self.rng = np.random.default_rng(2)
        ids = subprocess.run(["tokenize", "-m", model, "--ids", "what is this?"], check=True, capture_output=True, text=True)
        self.ids = np.array([50265] * 32 + [int(i) for i in ids.stdout.split()], np.int64)
        self.stage = Stage("opt-generate", "-m", model, "-t", str(threads), "--max-new-tokens", str(new),
                           "--min-new-tokens", str(new), "--stream", "-b", str(batch), *options)

    def record(self, i):
        rows = 0.1 * self.rng.standard_normal((32, 2560), np.float32)
        return {"id": str(i), "language_model_inputs": rows, "input_ids": self.ids, "attention_mask": np.ones_like(self.ids)}

    def run(self, n=1):
        """prefill: until the first token of all; decode: a token after it. Several questions go in lock step."""
        records = [self.record(i) for i in range(n)]
        start = time.perf_counter()
        self.stage.send(*records)
        first, begun, done = start, set(), 0
        while done < n:
            record = self.stage.receive()
            if record["id"] not in begun:
                begun.add(record["id"])
                first = time.perf_counter()
            done += "finish" in record
        end = time.perf_counter()
        if self.alone and n > 1:
            return {"s": end - start}
        return {"prefill_s": first - start, "token_s": (end - first) / (self.new - 1), "s": end - start}


class Load:
    """A stage from its start: until its header is out, which it writes when it has its model, and then two records."""

    def __init__(self, *make):
        self.make, self.most = make, 0

    def run(self, n=1):
        timed = self.make[0](*self.make[1:])
        times = [timed.stage.started]
        for i in 0, 1:
            timed.stage.send(timed.record(i))
            if i == 0:
                timed.stage.receive("stream")
                times.append(time.perf_counter())
            while timed.stage.receive()["id"] != str(i):
                pass
            times.append(time.perf_counter())
        self.most = max(self.most, timed.resident())
        timed.close()
        return dict(zip(("ready_s", "first_s", "next_s"), np.diff(times)))

    def resident(self):
        return self.most

    def close(self):
        pass


class Answer:
    """vqa ask as somebody types it: every run starts all its programs. known: the picture was asked about before."""

    def __init__(self, model, threads, pictures, questions=1, known=False, options=()):
        self.kept, self.questions = tempfile.TemporaryDirectory(), questions
        keep = ["--cache=" + self.kept.name] if known else ["--no-cache"]
        self.command = ["vqa", "ask", "-m", model, "-t", str(threads), *keep, "--raw-prompt", "--max-new-tokens", "10",
                        "--min-new-tokens", "10", *options, *(self.noise(i) if p is None else p for i, p in enumerate(pictures))]
        self.most, self.asked = 0, 0
        self.run(watched=True)

    def noise(self, i):
        """A picture that is like no other."""
        path = os.path.join(self.kept.name, f"{i}.ppm")
        with open(path, "wb") as f:
            f.write(b"P6 640 480 255\n" + np.random.default_rng(i).bytes(3 * 640 * 480))
        return path

    def run(self, n=1, watched=False):
        """watched: for its memory, which takes a look at every page, and as much time again."""
        ask = []
        for _ in range(self.questions):
            self.asked += 1
            ask += ["--question", f"what is it {self.asked:02}"]
        start = time.perf_counter()
        process = subprocess.Popen([*self.command, *ask], stdout=subprocess.DEVNULL, start_new_session=True)
        while watched and process.poll() is None:
            self.most = max(self.most, resident_of_session(process.pid))
            time.sleep(0.02)
        if process.wait():
            raise RuntimeError(f"vqa ask ended with status {process.returncode}")
        return {"s": time.perf_counter() - start}

    def resident(self):
        return self.most

    def close(self):
        self.kept.cleanup()


def resident_of_session(leader):
    """Memory of all processes of a session, shared pages counted once, in GB."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == leader:
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it ended meanwhile
            pass
    return total * 1024 / 1e9
