"""The processes that train one network together, as torchrun starts them; a team of one where it does not.

Which of them this is, and words on which they agree before they are connected: torchrun's own store keeps those, beyond
the death of any of them. Knows nothing of networks.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fulldeck.errors import ConfigError

PATIENCE = timedelta(hours=1)
"""How long others wait for the first one's word."""


@dataclass(frozen=True)
class Team:
    """The processes of one training.

    Attributes:
        rank: this one's place among them; the first, 0, alone writes files and records.
        count: how many they are.
        here: how many of them are on this machine, as on every other.
        attempt: how often torchrun had to start them again.
        launched: whether torchrun started them.
    """

    rank: int = 0
    count: int = 1
    here: int = 1
    attempt: int = 0
    launched: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def agree(self, what: str, say: Callable[[], str]) -> str:
        """Return what the first one says, which alone is asked; the others wait for it."""
        if not self.launched:
            return say()
        return self._word(f"{self.attempt}/{what}", say)

    def remember(self, what: str, say: Callable[[], str]) -> str:
        """Return what the first one said when it was first asked, even if all were started again since then."""
        if not self.launched:
            return say()
        return self._word(what, lambda: said if (said := self._said(what)) is not None else say())

    @contextmanager
    def connected(self, device: str) -> Iterator[None]:
        """Let the processes exchange tensors: over NCCL on "cuda", over gloo on all else.

        Lightning would connect them too, but by the addresses of those who died if torchrun had to start them again
        (https://github.com/pytorch/pytorch/issues/135712). So each attempt has its own.
        """
        if not self.launched:
            yield
            return
        from torch import distributed  # noqa: PLC0415 - seconds, and who is alone needs none of it

        backend = "nccl" if device == "cuda" else "gloo"
        store = _store(f"connections/{self.attempt}")
        distributed.init_process_group(backend, store=store, rank=self.rank, world_size=self.count)
        yield
        distributed.destroy_process_group()  # if all are still there; else it might wait for them

    def _word(self, key: str, say: Callable[[], str]) -> str:
        store = _store("words")
        if self.first:
            store.set(key, say())
        return str(store.get(key).decode())

    def _said(self, key: str) -> str | None:
        store = _store("words")
        return str(store.get(key).decode()) if store.check([key]) else None


def team() -> Team:
    """Return the team that this process belongs to.

    Raises:
        ConfigError: machines have different numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Team()
    number = {
        name: int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    }
    if number["WORLD_SIZE"] % number["LOCAL_WORLD_SIZE"]:
        msg = "start as many processes on each machine: torchrun --nproc-per-node N, with the same N"
        raise ConfigError(msg)
    return Team(
        rank=number["RANK"],
        count=number["WORLD_SIZE"],
        here=number["LOCAL_WORLD_SIZE"],
        attempt=number["TORCHELASTIC_RESTART_COUNT"],
        launched=True,
    )


def _store(part: str) -> Any:
    """Open a part of the store that torchrun's first agent keeps, which outlives the processes that it starts."""
    # Seconds, and who is alone needs none of it; mypy does not see that torch gives these names.
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # noqa: PLC0415

    place = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    return PrefixStore(f"fulldeck/{part}", place)
