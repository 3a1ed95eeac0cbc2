"""Reads a whole request that is plain: one regular expression, where a parser calls back for each part of a head.

Plain is what can be read in one way only, and asks for nothing but to be answered and to go on. Whatever else there is,
an error among it, is for a parser to tell.
"""

import re
from typing import NamedTuple

# Each line can be read in one way only, so that it costs little to try others; and no group is possessive, as Python
# before 3.11.5 goes wrong there (gh-106052).
_LINES = (
    rb"(?:(?i:x-request-id): *+([ -~]*+)\r\n"
    rb"|(?!(?i:x-request-id|content-length|transfer-encoding|expect|origin|upgrade"
    rb"|(?:proxy-)?connection(?!: *+keep-alive\r)):)[A-Za-z0-9-]++:[ -~]*+\r\n)*"
)
_WHOLE = re.compile(
    rb"POST ([!-~]++) HTTP/1\.1\r\n" + _LINES + rb"(?i:content-length): *+([0-9]{1,18})\r\n" + _LINES + rb"\r\n"
)


class Plain(NamedTuple):
    """What is posted: to which path, under which id (as the client gave it, or ""), and the head and length of all."""

    path: str
    identity: str
    head: bytes
    body_bytes: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in small letters, and values."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:-2])
        return [(name.lower(), value.strip(b" ")) for name, _, value in lines]


def read(data: bytes, max_header_bytes: int) -> Plain | None:
    """Read what has come between two requests; None where it is not one request, whole and plain.

    Args:
        data: what has come.
        max_header_bytes: a head that is longer is none.
    """
    head = _WHOLE.match(data)
    if head is None or head.end() > max_header_bytes:
        return None
    target, above, digits, below = head.groups(b"")
    length = int(digits)
    if head.end() + length != len(data):
        return None
    return Plain(target.decode(), (below or above).decode().strip(" "), head[0], length)
