#!/usr/bin/env python3
"""attack.py PORT WHAT [ARG] - what nobody should send to a server on loopback. Ends by itself.

    garbage N      N connections of random bytes
    slow N         N connections that send one byte of a handshake a second, for 6 s
    idle N         N connections that say nothing, for 6 s
    silent N       N connections that finish the handshake and say nothing, for 12 s
    huge           one frame that claims a gibibyte, and sends what it is let send
    endless BYTES  one message of frames of BYTES bytes that never ends, for 6 s
    frames         messages of 1, 3, 50 frames, headers that lie, unknown types, wrong CRCs
    records        requests whose body is no record, or lies; says what each was answered
    unread N       asks for N large answers and reads none, for 6 s
    reuse N        N messages that get their connection cut, after each a connection of good
                   manners under the same descriptor; says how many of those were cut
"""
import os, random, select, socket, struct, sys, time
import msgpack

port, what = int(sys.argv[1]), sys.argv[2]
arg = int(sys.argv[3]) if len(sys.argv) > 3 else 1
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)

def connect():
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(3)
    return s

def ready(s):
    s.sendall(GREETING)
    got = b""
    while len(got) < 64:
        more = s.recv(64 - len(got))
        if not more:
            raise ConnectionResetError("closed during the handshake")
        got += more
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
    s.sendall(bytes([4, len(body)]) + body)
    if not s.recv(4096):
        raise ConnectionResetError("closed during the handshake")

def session():
    """A connection after its handshake; a busy server may close some before."""
    for _ in range(50):
        try:
            s = connect()
            ready(s)
            return s
        except OSError:
            time.sleep(0.1)
    sys.exit("no handshake in 50 tries")

def frame(data, more):
    return bytes([2 | more]) + struct.pack(">Q", len(data)) + data

def head(kind, n, counter=1, crc=0, flags=0, magic=b"VQAR", major=1):
    return magic + struct.pack("<BBBB8sQHHIQII", major, 0, kind, flags, b"attacker", counter, 1, 0,
                               5000, n, 0, crc)

def once(data):
    s = session()
    s.sendall(data)
    s.close()

def pump(s, data, seconds):
    """Sends data again and again until time is over or the other side has had enough."""
    end, sent = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end:
            s.sendall(data)
            sent += len(data)
    except OSError:
        pass
    print(f"{sent >> 20} MiB sent, {max(0.0, end - time.monotonic()):.1f} s left")

if what == "garbage":
    for k in range(arg):
        s = connect()
        try:
            s.sendall(random.Random(k).randbytes(random.Random(k).randrange(1, 4096)))
        except OSError:
            pass
        s.close()
elif what == "slow":
    ss = [connect() for _ in range(arg)]
    for k in range(6):
        for s in ss:
            try:
                s.sendall(GREETING[k:k + 1])
            except OSError:
                pass
        time.sleep(1)
elif what == "idle":
    ss = [connect() for _ in range(arg)]
    time.sleep(6)
elif what == "silent":
    ss = [session() for _ in range(arg)]
    time.sleep(12)
elif what == "huge":
    s = session()
    s.sendall(b"\x02" + struct.pack(">Q", 1 << 30))
    pump(s, bytes(1 << 20), 6)
elif what == "endless":
    s = session()
    one = b"\x01" + bytes([arg]) + bytes(arg) if arg < 256 else frame(bytes(arg), 1)
    pump(s, one * max(1, (1 << 20) // len(one)), 6)
elif what == "frames":
    body = msgpack.packb({"id": "x"})
    bad = [head(3, 999) + b"", head(3, len(body), magic=b"NOPE"), head(3, len(body), major=9),
           head(99, len(body)), head(0, len(body)), head(3, len(body), crc=7, flags=2), b"", b"x",
           os.urandom(48), os.urandom(64), os.urandom(1000)]
    for h in bad:
        once(frame(h, 1) + frame(body, 0))
    for n in (1, 3, 50):
        once(b"".join(frame(head(3, len(body)), 1) for _ in range(n - 1)) + frame(body, 0))
elif what == "reuse":
    body, cut = msgpack.packb({"id": "x"}), 0
    for _ in range(arg):
        once(frame(head(3, len(body), magic=b"NOPE"), 1) + frame(body, 0))
        s = session()
        cut += s in select.select([s], [], [], 0.02)[0]
        s.close()
    print(cut)
elif what == "records":
    import zmq
    z = zmq.Context().socket(zmq.DEALER)
    z.linger, z.rcvtimeo = 0, 5000
    z.connect(f"tcp://127.0.0.1:{port}")
    nd = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2], b"data": bytes(8)}
    bodies = [b"", b"\xc1", b"\x01", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", os.urandom(100),
              msgpack.packb({"id": "x"}) + b"\x00", msgpack.packb({"id": "x"})[:-1],
              msgpack.packb({"end": {"records": 0}}), msgpack.packb({"stream": {"version": 1}}),
              msgpack.packb({"abort": {"kind": "data", "message": "m"}}), msgpack.packb([1, 2]),
              b"\x82\xa2id\xa1x\xa2id\xa1y",
              msgpack.packb({"t": {**nd, b"shape": [1 << 40]}}), msgpack.packb({"t": {**nd, b"shape": [-1, -2]}}),
              msgpack.packb({"t": {**nd, b"shape": [4194305, 4194305, 211106198978564]}}),
              msgpack.packb({"t": {**nd, b"kind": b"O"}}), msgpack.packb({"t": {**nd, b"data": bytes(7)}})]
    for k, b in enumerate(bodies):
        z.send_multipart([head(3, len(b), counter=k + 1), b])
        h, text = z.recv_multipart()
        print(h[6], text.decode())
elif what == "unread":
    s = session()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = msgpack.packb({"id": "x", "n": 0, "v": [1], "pad": bytes(4 << 20)})
    end = time.monotonic() + 6
    for k in range(arg):
        try:
            s.sendall(frame(head(3, len(body), counter=k + 1), 1) + frame(body, 0))
        except OSError:
            print(f"cut after {k}")
            break
    time.sleep(max(0, end - time.monotonic()))
