"""One TCP connection, as fast as it goes: `transfer.py ADDRESS` takes what comes to that address, after `listening`,
and prints `took` with the Mbit/s; `transfer.py ADDRESS SECONDS` sends there for so long."""

import socket
import sys
import time

PORT = 5001
CHUNK = 1 << 16


def receive(address):
    with socket.create_server((address, PORT)) as listener:
        print("listening", flush=True)
        connection, _ = listener.accept()
    # The first chunk only starts the clock: what the link lets pass at once isn't its rate.
    count, start = -len(connection.recv(CHUNK)), time.monotonic()
    while some := connection.recv(CHUNK):
        count += len(some)
    print("took", count * 8 / 1e6 / (time.monotonic() - start), flush=True)


def send(address, seconds):
    with socket.create_connection((address, PORT)) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(bytes(CHUNK))


if len(sys.argv) == 2:
    receive(sys.argv[1])
else:
    send(sys.argv[1], float(sys.argv[2]))
