"""Takes the port, before anything else is done."""

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
    try:
        # Bytes are taken as they are; for any text the tables of international names would be loaded.
        name = host.encode() if host.isascii() else host
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host} port {port} ({reason}): stop what uses it, or choose another with --port"
        ) from error
    return listener
