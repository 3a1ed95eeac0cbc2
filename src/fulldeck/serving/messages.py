"""What the service and its own processes say to each other: pickled objects, each after its length.

Nobody else can write to the sockets that they go through. Messages are best made of tuples and numbers: an object of a
class of ours takes ten times as long, on both sides.
"""

import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any

_HEAD = struct.Struct("<Q")  # the length in bytes of what follows


def framed(message: Any) -> bytes:
    """A message as it goes through the socket."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(content)) + content


def next_message(connection: socket.socket) -> Any:
    """Wait for the next message.

    Raises:
        EOFError: the other side has closed the connection, or is no more.
    """
    (length,) = _HEAD.unpack(_receive(connection, _HEAD.size))
    return pickle.loads(_receive(connection, length))  # noqa: S301  (the service's own)


def _receive(connection: socket.socket, count: int) -> bytes:
    data = bytearray(count)
    rest = memoryview(data)
    while rest:
        got = connection.recv_into(rest)
        if not got:
            raise EOFError
        rest = rest[got:]
    return bytes(data)


def taken(received: bytearray) -> Iterator[Any]:
    """Take whole messages from the front of what has been received, until there is none."""
    while len(received) >= _HEAD.size:
        end = _HEAD.size + _HEAD.unpack_from(received)[0]
        if len(received) < end:
            return
        message: Any = pickle.loads(memoryview(received)[_HEAD.size : end])  # noqa: S301  (our own process)
        del received[:end]
        yield message
