#!/usr/bin/env python3
"""call.py ENDPOINT <records >records - what stage-call does, in ten lines (man stage-protocol)."""
import os, struct, sys, msgpack_numpy as m, zmq
s = zmq.Context().socket(zmq.DEALER); s.linger = 0
s.connect(sys.argv[1])
session, n = os.urandom(8), 0
for record in m.Unpacker(sys.stdin.buffer, max_buffer_size=0):
    body, n = m.packb(record), n + 1
    s.send_multipart([b"VQAR" + struct.pack("<BBBB8sQHHIQII", 1, 0, 3, 0, session, n, 1, 0, 60000,
                                            len(body), 0, 0), body])
    while True:
        head, body = s.recv_multipart()
        if head[6] != 4: sys.exit(body.decode() or "busy")
        if not head[7] & 1: break
        sys.stdout.buffer.write(body)
