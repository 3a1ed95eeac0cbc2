import errno
import os
import socket

import pytest

from fulldeck.errors import ConfigError
from fulldeck.serving.listener import listen


def test_a_free_port_is_taken():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} .*: stop what uses it, or choose another with --port$"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["", "no.such.name.invalid", "é" * 100, "a..b", "192.0.2.1", "x" * 300])
def test_a_host_that_is_none_of_this_machines(host):
    with pytest.raises(ConfigError, match=r"^cannot listen on '.*' port 0 \(.+\): give --host an address of this"):
        listen(host, 0)


def test_a_port_for_which_one_has_no_rights(monkeypatch):
    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(
        ConfigError, match=r"Permission denied\): choose one above 1023 with --port, which needs no root"
    ):
        listen("127.0.0.1", 80)
