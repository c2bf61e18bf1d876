"""A peer under the clock: a process that reads a line with a number of items, works, and answers with a line of JSON."""
import json
import resource
import sys
import time


def clock(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def serve(run):
    """run(n) gives seconds by name. Once unmeasured, as a warm-up; then once for each line."""
    run(1)
    print("ready", flush=True)
    for line in sys.stdin:
        result = run(int(line))
        result["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps(result), flush=True)
