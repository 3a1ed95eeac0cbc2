"""How ``fulldeck classify`` treats the terminal: a progress bar on many images, and no chatter of native libraries."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_MANY = 20
"""From this many images on there is a progress bar; fewer are done before one could read it."""


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar while images are worked on: on a terminal, and if they are many.

    Yields:
        A function to call after each image.
    """
    if total < _MANY or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - costs more than an image
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    # If the answers go to the same terminal, rich has to hold the bar below them; if they go to a file, it must not
    # touch them.
    together = sys.stdout.isatty()
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=not together), redirect_stdout=together, redirect_stderr=True, transient=True
    ) as bar:
        task = bar.add_task("images", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what native libraries and Pillow say about damaged files off the screen; each file's error says it once.

    libjpeg and libtiff write to file descriptor 2 itself, so that goes to nowhere meanwhile and Python's own standard
    error gets another. Standard output turns what its encoding does not know into question marks. Where the standard
    streams are not the process's own (in a test, in a notebook) they are left alone.
    """
    stdout, stderr = sys.stdout, sys.stderr
    if stdout is sys.__stdout__ and isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if stderr is not sys.__stderr__ or not isinstance(stderr, io.TextIOWrapper):
            yield
            return
        stderr.flush()
        descriptor = os.dup(2)
        with open(descriptor, "w", encoding=stderr.encoding, errors="backslashreplace", buffering=1) as own:  # noqa: PTH123
            _replace_stderr(stderr, own)
            _point_descriptor_2_at(os.devnull)
            try:
                yield
            finally:
                own.flush()
                os.dup2(descriptor, 2)
                _replace_stderr(own, stderr)


def _replace_stderr(old: TextIO, new: TextIO) -> None:
    sys.stderr = new
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


def _point_descriptor_2_at(path: str) -> None:
    target = os.open(path, os.O_WRONLY)
    os.dup2(target, 2)
    os.close(target)
