"""What the service and its own processes say to each other: pickled objects, each after its length.

Nobody else can write to the sockets that they go through.
"""

import copyreg
import io
import pickle
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

_HEAD = struct.Struct("<Q")  # the length in bytes of what follows


def framer(*kinds: type) -> Callable[[Any], bytes]:
    """What makes the bytes of messages.

    Args:
        kinds: dataclasses with slots that messages are made of. They are taken apart here: what dataclasses do for
            that themselves costs more, on both sides.
    """
    table = copyreg.dispatch_table | dict.fromkeys(kinds, _parts)

    class Pickler(pickle.Pickler):
        dispatch_table = table

    def framed(message: Any) -> bytes:
        file = io.BytesIO(_HEAD.pack(0))
        file.seek(_HEAD.size)
        Pickler(file, pickle.HIGHEST_PROTOCOL).dump(message)
        content = file.getbuffer()
        _HEAD.pack_into(content, 0, len(content) - _HEAD.size)
        return bytes(content)

    return framed


def _parts(value: Any) -> tuple[Any, tuple[Any, ...]]:
    return type(value), tuple(getattr(value, name) for name in value.__slots__)


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
