"""A client on urllib3: `client.py ADDRESS THREADS EACH`. Prints `ready`, waits for `go`, prints `done`."""

import hashlib
import json
import os
import sys
import threading

import urllib3

address, threads, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lock = threading.Lock()
log = open(os.environ["TRUTH"], "a", buffering=1)
pool = urllib3.HTTPConnectionPool(*address.rsplit(":", 1), maxsize=threads, block=True)


def content(body):
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def exchange(method, path, body, sent=None):
    response = pool.request(method, path, body=body, retries=False, headers={"User-Agent": "truth/1"})
    entry = {
        "role": "client",
        "request": {"method": method, "target": path, "headers": None, "body": content(sent or body or b"")},
        "response": {"status": response.status, "headers": None, "body": content(response.data)},
    }
    with lock:
        log.write(json.dumps(entry) + "\n")


def work(thread):
    for number in range(each):
        name = f"u{thread}-{number}"
        kind = number % 5
        if kind == 0:
            exchange("GET", f"/get/{number * 13}/{name}", None)
        elif kind == 1:
            exchange("POST", f"/echo/{name}", (name * number).encode())
        elif kind == 2:
            exchange("GET", f"/chunked/{number * 11}/{name}", None)
            # The peer sends trailers, which urllib3 discards: the log of the peer has them.
        elif kind == 3:
            parts = [b"first part,", name.encode(), b"last"]
            exchange("POST", f"/echo/{name}", iter(parts), b"".join(parts))
        else:
            exchange("GET", f"/status/503/{name}", None)


print("ready", flush=True)
sys.stdin.readline()
workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print("done", flush=True)
sys.stdin.read()
