#!/usr/bin/python3
"""hop.py [ROUNDS] - what it costs to have a filter elsewhere, for a record with one (257, 1408) f32.

Three ways for the same bytes there and back, one record at a time, taken in turn:

    filter    through pipes: `tensor-cat`, a filter that reads and writes records
    called    `stage-call` on a loopback address, `stage-serve` behind it, `tensor-cat` behind that
    bare      REQ and REP of pyzmq on loopback, two processes, nothing around them

The hop is what `called` takes longer than `filter`. Prints ms: the median, and the tenth and the
ninetieth of a hundred. Programs are taken from PATH: `make bench-hop`."""
import fcntl, multiprocessing, os, select, socket, subprocess, sys, time
import msgpack_numpy, numpy, zmq

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

class Filter:
    """A program with records in and out, and how many bytes its answer to `record` has."""
    def __init__(self, record, *command):
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.ends = self.p.stdin.fileno(), self.p.stdout.fileno()
        for fd in self.ends:
            os.set_blocking(fd, False)
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.record, self.answer = record, 0
        for _ in range(2):  # the first brings the stream's header, too
            self.answer = len(self.pass_through(1 << 40, 0.5))

    def pass_through(self, size, quiet):
        """Writes the record and reads `size` bytes, or until nothing comes for some seconds."""
        (to, out), view, got, n = self.ends, memoryview(self.record), [], 0
        poll = select.poll()
        poll.register(out, select.POLLIN)
        poll.register(to, select.POLLOUT)
        while n < size:
            ready = poll.poll((quiet if quiet and n else 10) * 1000)
            if not ready:
                break
            for fd, _ in ready:
                if fd == to:
                    view = view[os.write(to, view):]
                    if not view:
                        poll.unregister(to)
                else:
                    got.append(os.read(out, 1 << 20))
                    n += len(got[-1])
        return b"".join(got) if quiet else None

    def __call__(self):
        self.pass_through(self.answer, 0)

def echo(port):
    s = zmq.Context().socket(zmq.REP)
    s.bind(f"tcp://127.0.0.1:{port}")
    while len(m := s.recv(copy=False)):
        s.send(m, copy=False)

def main(rounds):
    a = numpy.random.default_rng(1).standard_normal((257, 1408), dtype=numpy.float32)
    record = msgpack_numpy.packb({"id": "one", "image_embeds": a})
    served, bare = free_port(), free_port()
    server = subprocess.Popen(["stage-serve", f"tcp://127.0.0.1:{served}", "--", "tensor-cat"])
    other = multiprocessing.Process(target=echo, args=(bare,), daemon=True)
    other.start()
    req = zmq.Context().socket(zmq.REQ)
    req.connect(f"tcp://127.0.0.1:{bare}")
    def there_and_back():
        req.send(record, copy=False)
        req.recv(copy=False)
    way = {"filter": Filter(record, "tensor-cat"),
           "called": Filter(record, "stage-call", f"tcp://127.0.0.1:{served}"), "bare": there_and_back}
    took = {name: [] for name in way}
    for _ in range(rounds):
        for name, go in way.items():
            time.sleep(0.002)  # what was begun before ends: digests are reckoned after the bytes
            begin = time.perf_counter()
            go()
            took[name].append((time.perf_counter() - begin) * 1e3)
    for name in ("filter", "called"):
        assert a.tobytes() in way[name].pass_through(way[name].answer, 1), name
        way[name].p.stdin.close()
        way[name].p.wait()
    req.send(b"")
    server.terminate()
    server.wait()
    took["hop"] = [c - f for c, f in zip(took["called"], took["filter"])]
    print(f"{len(record)} bytes there and back, {rounds} rounds in turn, {os.cpu_count()} processors, "
          f"load {os.getloadavg()[0]:.1f}\n{'ms':8}{'median':>8}{'p10':>8}{'p90':>8}")
    for name, t in took.items():
        print(f"{name:8}" + "".join(f"{x:8.2f}" for x in numpy.percentile(t, [50, 10, 90])))

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
