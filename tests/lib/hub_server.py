#!/usr/bin/python3
"""hub_server.py ROOT LOG - a Hugging Face hub on 127.0.0.1 that misbehaves as it is told.

Serves ROOT/ORG/NAME/FILE; the first part of each URL is how: ok, drop (connections end after 50,000
bytes), short (large bodies are half, as if that were all), lie (one byte of each large file differs),
nohash (no usable one), norange (no ranges, and the first connection is cut), slow (no byte at all),
busy (503), once (503 the first time), moved (of another commit), or a status.
Prints its port; LOG gets a line a request: METHOD PATH RANGE AUTHORIZATION.
"""
import hashlib
import http.server
import json
import os
import sys
import time

ROOT, LOG = sys.argv[1:]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
seen = set()


def digest(name, data):
    if name.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, body=b"", cut=None, **headers):
        self.send_response(code)
        headers.setdefault("Content_Length", len(body))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        how, path = self.path.lstrip("/").split("/", 1)
        with open(LOG, "a") as log:
            print(self.command, path, self.headers.get("Range", "-"), self.headers.get("Authorization", "-"), file=log)
        if how == "slow":
            time.sleep(30)
        if how == "busy" or (how == "once" and (self.command, path) not in seen):
            seen.add((self.command, path))
            return self.answer(503)
        if how in ("401", "404", "403"):
            return self.answer(int(how))
        if path.startswith("api/models/"):
            return self.info(path.split("/")[2:4], path.split("/")[5])
        if path.startswith("api/resolve-cache/"):
            return self.small(how, *path.split("/")[2:])
        if path.startswith("cdn/"):
            return self.large(how, *path.split("/")[1:])
        return self.resolve(how, path)

    def info(self, model, rev):
        folder = os.path.join(ROOT, *model)
        if not os.path.isdir(folder) or rev not in ("main", "refs%2Fpr%2F1", COMMIT):
            return self.answer(404)
        files = [{"rfilename": f} for f in sorted(os.listdir(folder)) + ["README, {etc}.md", "onnx/model.onnx"]]
        text = 'a "sha": "ffffffffffffffffffffffffffffffffffffffff", "rfilename": "evil.safetensors"'
        return self.answer(200, json.dumps({"id": "/".join(model), "card": text, "sha": COMMIT, "siblings": files}).encode())

    def resolve(self, how, path):
        org, name, _, commit, file = path.split("/")
        full = os.path.join(ROOT, org, name, file)
        if commit != COMMIT or not os.path.isfile(full):
            return self.answer(404)
        data = open(full, "rb").read()
        here = "http://localhost:%d" % self.server.server_port
        if not file.endswith(".safetensors"):
            return self.answer(307, Location="/%s/api/resolve-cache/%s/%s/%s" % (how, org, name, file))
        headers = {"X_Linked_Etag": '"%s"' % digest(file, data), "X_Linked_Size": len(data)}
        if how == "nohash":
            headers["X_Linked_Etag"] = '"5f3-61"'
        headers["X_Repo_Commit"] = COMMIT.replace("0", "9") if how == "moved" else COMMIT
        return self.answer(302, Location="%s/%s/cdn/%s/%s/%s" % (here, how, org, name, file), **headers)

    def small(self, how, org, name, file):
        data = open(os.path.join(ROOT, org, name, file), "rb").read()
        self.body(how, data, ETag='W/"%s"' % digest(file, data), X_Repo_Commit=COMMIT)

    def large(self, how, org, name, file):
        data = open(os.path.join(ROOT, org, name, file), "rb").read()
        if how == "lie":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if how == "short":
            data = data[: len(data) // 2]
        self.body(how, data)

    def body(self, how, data, **headers):
        cut = 50000 if how == "drop" else None
        start = self.headers.get("Range", "")
        if how == "norange":
            whole = start or self.path in seen or self.command == "HEAD"
            seen.add(self.path)
            return self.answer(200, data, None if whole else 50000, **headers)
        if start:
            first = int(start[len("bytes=") : -1])
            if first >= len(data):
                return self.answer(416)
            headers["Content_Range"] = "bytes %d-%d/%d" % (first, len(data) - 1, len(data))
            return self.answer(206, data[first:], cut, **headers)
        self.answer(200, data, cut, **headers)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
