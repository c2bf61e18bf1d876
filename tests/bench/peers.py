"""Peers under the clock. Each is started with the Python that has its packages; what cannot be started says why."""
import json
import os
import subprocess
import tempfile

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")


class Absent(Exception):
    """This peer cannot be run here; the message says why."""


class Worker:
    """A script of peers/ that serves runs: see peers/worker.py."""

    def __init__(self, python, script, *args):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([python, os.path.join(HERE, script), *map(str, args)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.most = 0
        if self.answer() != "ready":
            raise Absent(self.why())

    def answer(self):
        """The next line that is ours: some peers chat on standard output."""
        for line in self.process.stdout:
            if line.startswith(("ready", "{")):
                return line.strip()
        return ""

    def why(self):
        status = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1] if lines else f"ended with status {status}"

    def run(self, n=1):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        line = self.answer()
        if not line:
            raise RuntimeError(self.why())
        result = json.loads(line)
        self.most = max(self.most, result.pop("resident"))
        return result

    def resident(self):
        return self.most

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Llama:
    """llama-bench on a GGUF of the same matrix shapes. It starts anew for each run, and warms up itself."""

    def __init__(self, program, gguf, threads, new):
        if not program or not os.path.exists(gguf):
            raise Absent("no llama-bench, or no GGUF made by tests/bench/peers/neox_gguf.py")
        self.command = [program, "-m", gguf, "-p", "46", "-n", str(new - 1), "-t", str(threads), "-r", "1", "-o", "json"]
        self.run()

    def run(self, n=1):
        if n != 1:
            raise Absent("llama-bench runs one sequence")
        out = subprocess.run(self.command, check=True, capture_output=True, text=True).stdout
        tests = json.loads(out)
        prefill = next(t["avg_ns"] / 1e9 for t in tests if t["n_gen"] == 0)
        token = next(t["avg_ns"] / 1e9 / t["n_gen"] for t in tests if t["n_gen"])
        return {"prefill_s": prefill, "token_s": token, "s": prefill + token * (tests[-1]["n_gen"])}

    def resident(self):
        return None

    def close(self):
        pass
