"""urllib3 with its own retries: `retry.py ADDRESS BACKOFF PATH...`, a thread for each path."""

import sys
import threading

import urllib3
from urllib3.util import Retry

address, backoff, paths = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
host, port = address.rsplit(":", 1)


def ask(path):
    retries = Retry(total=6, backoff_factor=backoff, status_forcelist=[503], raise_on_status=False)
    pool = urllib3.HTTPConnectionPool(host, int(port), retries=retries)
    pool.request("GET", path)


print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done", flush=True)
sys.stdin.read()
