#!/usr/bin/env python3
"""Calls over sockets other than plain TCP, and connections with every kind of end. The first argument selects the scene. The traced
end is in this process; its peer is in a child that was forked before the trace."""

import os
import socket
import struct
import sys
import threading

MPTCP = 262


def head(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


def answer(body, extra=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body)


def ask(path):
    return b"GET " + path + b" HTTP/1.0\r\n\r\n"


def serve(listener, count=1):
    """Answers each request of this many connections."""
    for _ in range(count):
        connection, _ = listener.accept()
        while head(connection):
            connection.sendall(answer(b"b" * 100))
        connection.close()


def call(connection, path):
    connection.sendall(ask(path))
    data = b""
    while not data.endswith(b"b" * 100):
        data += connection.recv(65536)


def listen(family=socket.AF_INET, protocol=0, address=("127.0.0.1", 0)):
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    listener.bind(address)
    listener.listen(128)
    return listener


def beside(work):
    """Does `work` in a process that is not traced. Returns its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def begin():
    print("ready", flush=True)
    sys.stdin.readline()


def mptcp_client(joined):
    """Three calls; with `joined`, one of them before `ready`."""
    listener = listen(protocol=MPTCP)
    beside(lambda: serve(listener))
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
    if joined:
        connection.connect(listener.getsockname())
        call(connection, b"/before")
    begin()
    if not joined:
        connection.connect(listener.getsockname())
    for number in range(3):
        call(connection, b"/m%d" % number)
    connection.close()


def mptcp_server():
    listener = listen(protocol=MPTCP)

    def client():
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
        connection.connect(listener.getsockname())
        for number in range(3):
            call(connection, b"/m%d" % number)
        connection.close()

    gate = os.pipe()
    beside(lambda: (os.read(gate[0], 1), client()))
    begin()
    os.write(gate[1], b"x")
    serve(listener)


def unix(path):
    """A call as a client, a call as a server, and two connects that fail."""
    address = b"\0" + path[1:].encode() if path.startswith("@") else path
    listener = listen(socket.AF_UNIX, address=address)
    gate = os.pipe()

    def other():
        serve(listener)
        # Two processes hold the connection, so a close by the other alone does not end it.
        listener.close()
        os.read(gate[0], 1)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        call(connection, b"/served")
        connection.close()

    beside(other)
    begin()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    call(connection, b"/asked")
    connection.close()
    os.write(gate[1], b"x")
    serve(listener)
    listener.close()
    if not path.startswith("@"):
        for gone in (False, True):
            if gone:
                os.unlink(path)
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(path)
            except OSError:
                pass
            connection.close()


def endings(count):
    """Connections with every kind of end, as client and as server, with threads that close the connections of others."""
    far = listen()
    near = listen()
    near_address = near.getsockname()
    gate = os.pipe()

    def close_at_once(connection):
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()

    def far_side(connection, number):
        head(connection)
        if number % 5 == 0:
            return close_at_once(connection)
        connection.sendall(answer(b"b" * 100, b"Connection: close\r\n"))
        if number % 5 == 1:
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        connection.close()

    def serve_far():
        for number in range(count):
            connection, _ = far.accept()
            try:
                far_side(connection, number)
            except OSError:
                pass

    def call_near():
        os.read(gate[0], 1)
        for number in range(count):
            connection = socket.create_connection(near_address)
            try:
                if number % 4 == 0:
                    close_at_once(connection)
                    continue
                connection.sendall(ask(b"/n"))
                if number % 4 == 1:
                    connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)
            except OSError:
                pass
            connection.close()

    beside(serve_far)
    beside(call_near)
    begin()
    os.write(gate[1], b"x")

    def server():
        for number in range(count):
            connection, _ = near.accept()
            try:
                if number % 4 != 0 or number % 8 == 0:
                    head(connection)
                    connection.sendall(answer(b"b" * 100))
                if number % 3 == 0:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            if number % 3 == 1:
                threading.Thread(target=connection.close).start()
            else:
                connection.close()

    def client():
        for number in range(count):
            connection = socket.create_connection(far.getsockname())
            other = connection.dup() if number % 7 == 0 else None
            try:
                connection.sendall(ask(b"/f"))
                if number % 3 == 0:
                    connection.shutdown(socket.SHUT_WR)
                if number % 2 == 0:
                    connection.recv(65536)
                if number % 3 == 2:
                    connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if other:
                other.close()
            connection.close()

    threads = [threading.Thread(target=work) for work in (server, client)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    which, *arguments = sys.argv[1:]
    if which == "mptcp-client":
        mptcp_client(joined=False)
    elif which == "mptcp-joined":
        mptcp_client(joined=True)
    elif which == "mptcp-server":
        mptcp_server()
    elif which == "unix":
        unix(arguments[0])
    elif which == "endings":
        endings(int(arguments[0]))
    print("done", flush=True)
    sys.stdin.readline()


main()
