"""Takes the port, before anything else is done."""

import errno
import socket

from fulldeck.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address.

    Args:
        host: the address to listen on.
        port: the port; 0 for any free one.

    Raises:
        ConfigError: the port is taken, or the address is none of this machine's.
    """
    listener = None
    try:
        # Bytes are taken as they are; for any text the tables of international names would be loaded.
        name = host.encode() if host.isascii() else host
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:  # the latter of what can be no name at all
        if listener is not None:
            listener.close()
        reason, advice = "no such name", "give --host an address of this machine, such as 127.0.0.1"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            advice = _ADVICE.get(error.errno or 0, advice)
        raise ConfigError(f"cannot listen on {host!r} port {port} ({reason}): {advice}") from error
    return listener


_ADVICE = {
    errno.EADDRINUSE: "stop what uses it, or choose another with --port",
    errno.EACCES: "choose one above 1023 with --port, which needs no root",
}
