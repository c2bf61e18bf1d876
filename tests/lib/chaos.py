#!/usr/bin/env python3
"""chaos.py LISTEN-PORT TO-PORT SEED HABIT... - a TCP proxy on loopback with bad habits.

    delay MS    each piece waits up to MS
    cut N       about one piece in N ends its connection
    hole N      about one piece in N: nothing passes on that connection any more, but it stays open
    flip N      about one piece in N has a bit turned
    until S     after S seconds it behaves
"""
import asyncio, random, sys, time

listen, to, seed = (int(x) for x in sys.argv[1:4])
habit = {sys.argv[i]: int(sys.argv[i + 1]) for i in range(4, len(sys.argv), 2)}
rnd, begin = random.Random(seed), time.monotonic()

def wild():
    return time.monotonic() - begin < habit.get("until", 1e9)

def happens(what):
    return wild() and what in habit and rnd.randrange(habit[what]) == 0

async def carry(r, w, conn):
    try:
        while data := await r.read(65536):
            if wild() and "delay" in habit:
                await asyncio.sleep(rnd.random() * habit["delay"] / 1000)
            if happens("hole"):
                conn["hole"] = time.monotonic()
            if conn["hole"]:
                if wild():
                    continue
                break
            if happens("flip"):
                k = rnd.randrange(len(data))
                data = data[:k] + bytes([data[k] ^ (1 << rnd.randrange(8))]) + data[k + 1:]
            if happens("cut"):
                data = data[:rnd.randrange(len(data))]
                w.write(data)
                break
            w.write(data)
            await w.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    for x in conn["ends"]:
        x.close()

async def accept(r, w):
    try:
        r2, w2 = await asyncio.open_connection("127.0.0.1", to)
    except OSError:
        w.close()
        return
    conn = {"hole": 0, "ends": (w, w2)}
    await asyncio.gather(carry(r, w2, conn), carry(r2, w, conn))

async def main():
    server = await asyncio.start_server(accept, "127.0.0.1", listen)
    async with server:
        await server.serve_forever()

asyncio.run(main())
