"""One side of a call that hangs. `hang.py ROLE MODE [ADDRESS]` prints `ready PORT`, and begins at `go`.

A peer whose host is silent is a socket with a filter that drops every segment: the kernel then acknowledges nothing.
"""

import ctypes
import socket
import struct
import sys
import threading
import time

FOREVER = 3600
SO_ATTACH_FILTER = 26
GET = b"GET /v1/items HTTP/1.1\r\nHost: stock.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def silence(sock):
    """Drops every segment for the socket before TCP processes it."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(instruction)))


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    return listener, listener.getsockname()[1]


def read_head(sock):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(65536)
        if not piece:
            return head
        head += piece
    return head


def each(listener, handle):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=handle, args=(sock,), daemon=True).start()


class Peer:
    """The server that the target calls."""

    def asleep(self, sock):
        read_head(sock)
        time.sleep(FOREVER)

    def never_reads(self, sock):
        time.sleep(FOREVER)

    def half_body(self, sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        time.sleep(FOREVER)

    def answers(self, sock):
        while read_head(sock):
            sock.sendall(OK)

    def silent_then(self, sock):
        """The host is silent after the first response."""
        read_head(sock)
        silence(sock)
        sock.sendall(OK)
        time.sleep(FOREVER)

    def late(self, sock):
        read_head(sock)
        time.sleep(1)
        sock.sendall(OK)
        sock.close()

    def redis(self, sock):
        sock.recv(100)
        time.sleep(FOREVER)

    def purposes(self, sock):
        head = read_head(sock)
        path = head.split()[1]
        if path.startswith(b"/events"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            time.sleep(2)
            sock.sendall(b"data: 2\n\n")
        elif path.startswith(b"/sync"):
            time.sleep(2)
            sock.sendall(OK)
        elif path.startswith(b"/socket"):
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            sock.recv(100)
            time.sleep(2)
        else:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
            for _ in range(20):
                time.sleep(0.1)
                sock.sendall(b"ten bytes.")
        sock.close()


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


class Client:
    """The target as client of `self.address`."""

    def __init__(self, address):
        self.address = address

    def get(self):
        sock = connect(self.address)
        sock.sendall(GET)
        while sock.recv(65536):
            pass

    def twice(self):
        sock = connect(self.address)
        for _ in range(2):
            sock.sendall(GET)
            sock.recv(65536)

    def upload(self):
        sock = connect(self.address)
        sock.sendall(b"POST /big HTTP/1.1\r\nHost: stock.test\r\nContent-Length: 100000000\r\n\r\n")
        piece = bytes(1 << 20)
        for _ in range(100):
            sock.sendall(piece)

    def half(self):
        sock = connect(self.address)
        sock.sendall(b"POST /half HTTP/1.1\r\nHost: stock.test\r\nContent-Length: 100\r\n\r\nhalf of it")
        time.sleep(FOREVER)

    def does_not_read(self):
        sock = connect(self.address)
        sock.sendall(GET)
        time.sleep(FOREVER)

    def busy(self):
        sock = connect(self.address)
        sock.sendall(GET)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass

    def redis(self):
        sock = connect(self.address)
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
        sock.recv(100)

    def impatient(self):
        for _ in range(3):
            sock = connect(self.address)
            sock.settimeout(0.8)
            sock.sendall(GET)
            try:
                sock.recv(100)
            except TimeoutError:
                pass
            sock.close()
            time.sleep(0.05)

    def dns(self):
        host, port = self.address.rsplit(":", 1)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((host, int(port)))
        sock.send(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04name\x04test\x00\x00\x01\x00\x01")
        sock.recv(512)

    def purposes(self):
        def call(path, headers=b"", after=b""):
            sock = connect(self.address)
            sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: stock.test\r\n" + headers + b"\r\n")
            if after:
                read_head(sock)
                sock.sendall(after)
            while sock.recv(65536):
                pass
            sock.close()

        upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
        calls = [(b"/events",), (b"/sync?timeout=5",), (b"/socket", upgrade, b"\x81\x00"), (b"/download",)]
        threads = [threading.Thread(target=call, args=args) for args in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Server:
    """The target as server, and as client of `self.upstream`."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.lock = threading.Lock()

    def locked(self, sock):
        read_head(sock)
        self.lock.acquire()

    def calls(self, sock):
        read_head(sock)
        upstream = connect(self.upstream)
        upstream.sendall(GET)
        upstream.recv(100)

    def burns(self, sock):
        read_head(sock)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass

    def reads_on(self, sock):
        while read_head(sock):
            sock.sendall(OK)


def main():
    role, mode = sys.argv[1:3]
    address = sys.argv[3] if len(sys.argv) > 3 else ""
    if role == "client":
        print("ready", flush=True)
        sys.stdin.readline()
        getattr(Client(address), mode)()
        print("done", flush=True)
        sys.stdin.readline()
        return
    listener, port = listen()
    if mode == "dropped":
        # Drops every SYN.
        silence(listener)
        print("ready", port, flush=True)
        time.sleep(FOREVER)
    if mode == "full":
        # Two connections wait for accept, one more than the backlog: the kernel drops the next SYN.
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(2)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        print("ready", port, flush=True)
        time.sleep(FOREVER)
    if role == "server":
        server = Server(address)
        if mode == "locked":
            server.lock.acquire()
        handle = getattr(server, mode)
    else:
        handle = getattr(Peer(), mode)
    print("ready", port, flush=True)
    each(listener, handle)


main()
