"""A process that the service starts for itself and talks to through a socket, as the service sees it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, cast

from fulldeck.serving.messages import taken

END_SECONDS = 5.0
"""One that is let go has so long to end."""


class Child(asyncio.Protocol):
    """One process.

    Attributes:
        process: the process.
        gone: whether its end of the socket is closed.
    """

    process: "subprocess.Popen[bytes]"

    def __init__(self) -> None:
        self.gone = False
        self._spoken = False
        self._first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    async def start(
        self, module: str, arguments: Sequence[str] = (), files: Sequence[int] = (), hello: bytes = b""
    ) -> Any:
        """Start it, and wait for the first thing that it says.

        Args:
            module: is run with the number of its socket and of each of the files, and the arguments.
            arguments: those.
            files: open files that it gets, too.
            hello: is sent at once.

        Raises:
            OSError: it cannot be started.
            EOFError: it has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            passed = (theirs.fileno(), *files)
            command = [sys.executable, "-m", module, *map(str, passed), *arguments]
            # Not in the loop's thread: a process that has much memory takes its time to start another.
            try:
                self.process = await asyncio.to_thread(
                    subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=passed
                )
            except BaseException:
                ours.close()  # at which a process that has been started all the same ends
                raise
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        self.send(hello)
        return await self._first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember by what it is told things."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, data: bytes) -> None:
        """Tell it something."""
        assert self._transport is not None  # noqa: S101  (it has been started)
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Take what it says."""
        self._received += data
        for message in taken(self._received):
            if self._spoken:
                self.told(message)
            elif not self._first.done():  # as it is where nobody waits for it any more
                self._first.set_result(message)
            self._spoken = True

    def told(self, message: Any) -> None:
        """Hear what it says after the first thing."""
        raise NotImplementedError

    def connection_lost(self, _: Exception | None) -> None:
        """It has ended, or was let go."""
        self.gone = True
        if not self._first.done():
            self._first.set_exception(EOFError())
            self._first.exception()  # it may have been let go before anybody waited for it

    def leave(self) -> None:
        """Let it go when it has done what it was told."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def hang_up(self) -> None:
        """Hear no more of it."""
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """Wait for its end, and bring it about where it does not come. Not to be called in the loop's thread."""
        process = getattr(self, "process", None)
        if process is None:
            return
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def processes_can_be_used() -> bool:
    """Whether this system passes open files on to a process."""
    return os.name == "posix"
