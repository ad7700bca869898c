#!/usr/bin/env python3
"""A process with hostile names for itself, its threads, its children, its sockets, and a mapped library. The arguments are a folder of
its own and the names. It calls itself over Unix sockets; the last call hangs."""

import ctypes
import os
import shutil
import socket
import ssl
import sys
import threading

FOLDER = os.fsencode(sys.argv[1])
NAMES = [os.fsencode(name) for name in sys.argv[2:]]
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)
libc = ctypes.CDLL(None)


def rename(name):
    libc.prctl(15, ctypes.c_char_p(name[:15]), 0, 0, 0)  # PR_SET_NAME


def serve(listener, name):
    """Answers one request of each connection, except for `/hang`."""
    rename(name)
    kept = []
    while True:
        connection, _ = listener.accept()
        head = connection.recv(65536)
        if b"/hang" in head:
            kept.append(connection)
        elif head.startswith(b"GET"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            kept.append(connection)


def connect(address, own=None):
    connection = socket.socket(socket.AF_UNIX)
    if own is not None:
        connection.bind(own)
    connection.connect(address)
    return connection


def call(connection, path):
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection.recv(65536)


def hang(address, name):
    rename(name)
    call(connect(address), b"/hang")


def load(name):
    """Maps a library of this name, as an encryption library would be."""
    with open("/proc/self/maps", "rb") as maps:
        paths = [line.split(None, 5)[5].strip() for line in maps if b"/libssl" in line]
    if paths and os.path.exists(paths[0]):
        copy = os.path.join(FOLDER, name + b"libssl.so.3")
        shutil.copyfile(paths[0], copy)
        return ctypes.CDLL(os.fsdecode(copy))


def main():
    assert ssl
    rename(NAMES[0])
    libraries = [load(name) for name in NAMES]
    addresses = []
    for name in NAMES:
        for address in (os.path.join(FOLDER, b"s" + name), b"\0" + name + str(os.getpid()).encode()):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen(64)
            addresses.append(address)
            threading.Thread(target=serve, args=(listener, name), daemon=True).start()
    print("ready", flush=True)
    rounds = 0
    for line in sys.stdin:
        for number, address in enumerate(addresses):
            own = os.path.join(FOLDER, b"c%d-%d" % (rounds, number) + NAMES[number // 2])
            call(connect(address, own), b"/named")
            connect(address).sendall(HELLO)
            try:
                connect(address + b"-nobody")
            except OSError:
                pass
        child = os.fork()
        if child == 0:
            rename(NAMES[1])
            call(connect(addresses[0]), b"/child")
            os.execv(os.path.join(FOLDER, NAMES[2]), [NAMES[2], NAMES[3]])
        os.waitpid(child, 0)
        for name, address in zip(NAMES, addresses[::2]):
            threading.Thread(target=hang, args=(address, name), daemon=True).start()
        rounds += 1
        print("done", flush=True)
    del libraries


main()
