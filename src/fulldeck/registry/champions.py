"""Which version is the champion, was it before, and how that changes: by one process at a time, and never half.

MLflow sets an alias unconditionally, and over HTTP there is no transaction. What every one of its stores does count
atomically is the versions of a registered model. So each change of champion first takes the next version of a second
model, the ledger: its number is its place in the queue, its tags say from what to what and why. Who finds an open
ticket before its own gives up; so does who finds another champion than the one that it was compared with. The alias
``champion`` is set last but for tidying up: a process that dies before it has changed nothing that counts, and its
ticket no longer stands in the way once it is :data:`LEASE` seconds old.
"""

import getpass
import logging
import socket
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NoReturn

from fulldeck.registry.store import (
    CHALLENGER,
    CHAMPION,
    FILE,
    PREVIOUS,
    Registry,
    RegistryError,
    current_aliases,
    ensure_model,
    fetch,
    find,
    told,
)

logger = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds after which a change that was begun and not finished is taken for dead. A change itself takes under one."""

Kind = Literal["promotion", "forced promotion", "rollback"]
_LONGEST_REASON = 2000  # characters; the page has them all
_OPEN, _DONE, _ABANDONED = "open", "done", "abandoned"


class NotChangedError(RegistryError):
    """The champion is the one that it was: somebody else was faster, or is at it."""


@dataclass(frozen=True)
class Change:
    """One entry of the ledger.

    Attributes:
        number: 1, 2, ...: the order in which changes were begun.
        kind: What it is.
        old: The champion's version before; None for the first.
        new: The champion's version after.
        previous: What ``previous`` named before; None if nothing.
        reason: Why, in the words of the gate or of the person who asked.
        by: Who, and on which machine.
        begun: When.
        decision: The MLflow run that holds the gate's page; None for a rollback.
        outcome: ``done``, ``abandoned`` (it lost, or died) or ``open``.
    """

    number: int
    kind: str
    old: int | None
    new: int
    previous: int | None
    reason: str
    by: str
    begun: datetime
    decision: str | None
    outcome: str


def ledger(registry: Registry) -> str:
    """Return the name of the registered model whose versions are the changes of champion."""
    return f"{registry.name}-champions"


def history(registry: Registry) -> list[Change]:
    """List every change of champion that was begun, oldest first."""
    with told(registry.uri):
        found = registry.client.search_model_versions(f"name = '{ledger(registry)}'", max_results=10_000)
    return sorted(
        (
            Change(
                number=int(one.version),
                kind=one.tags["kind"],
                old=_number(one.tags["from"]),
                new=int(one.tags["to"]),
                previous=_number(one.tags["previous"]),
                reason=one.tags["reason"],
                by=one.tags["by"],
                begun=datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
                decision=one.tags["decision"] or None,
                outcome=one.tags["outcome"],
            )
            for one in found
        ),
        key=lambda change: change.number,
    )


def change_champion(
    registry: Registry, *, old: int | None, new: int, kind: Kind, reason: str, decision: str | None = None
) -> Change:
    """Make ``new`` the champion, if ``old`` still is and nobody else is at it.

    Args:
        registry: Where.
        old: The champion that this was decided against; None if there was none.
        new: The version to become champion.
        kind: What it is, for the ledger.
        reason: Why, for the ledger.
        decision: The MLflow run that holds the gate's page.

    Raises:
        NotChangedError: Another change is being made, or was made since.
        RegistryError: The registry cannot be reached, or does not do it.
    """
    begun = time.monotonic()
    with told(registry.uri):
        ticket = _take_ticket(registry, old, new, kind=kind, reason=reason, decision=decision)
        try:
            _refuse_others(registry, ticket)
            if time.monotonic() - begun > LEASE / 2:  # the others are about to take this process for dead
                _refuse(f"the registry at {registry.place} is too slow to change the champion safely")
        except RegistryError:
            _close(registry, ticket, _ABANDONED)
            raise
        if old is not None:
            registry.client.set_registered_model_alias(registry.name, PREVIOUS, str(old))
        registry.client.set_registered_model_alias(registry.name, CHAMPION, str(new))
        _tidy(registry, ticket)
    return ticket


def rollback(registry: Registry, reason: str) -> Change:
    """Make the champion before this one the champion again.

    Which that was is read from the ledger, not from an alias, so a change that died halfway does not confuse it. A
    second rollback undoes the first. Its file is fetched and verified first: what cannot be loaded is no way out.

    Raises:
        RegistryError: There is no champion, or none before it; its file is not there, or not the one that was
            registered; or a change is being made.
    """
    champion = current_aliases(registry).get(CHAMPION)
    if champion is None:
        msg = f"the registry at {registry.place} has no champion of {registry.name}: the one in the package serves"
        raise RegistryError(msg)
    to = next(
        (one.old for one in reversed(history(registry)) if one.new == champion and one.outcome != _ABANDONED), None
    )
    if to is None:
        msg = f"version {champion} of {registry.name} is the first champion: there is none to go back to"
        raise RegistryError(msg)
    with tempfile.TemporaryDirectory() as folder:
        fetch(registry, find(registry, str(to)), Path(folder) / FILE)
    return change_champion(registry, old=champion, new=to, kind="rollback", reason=reason)


def _take_ticket(
    registry: Registry, old: int | None, new: int, *, kind: Kind, reason: str, decision: str | None
) -> Change:
    ensure_model(registry, ledger(registry), f"Each version is one change of the champion of {registry.name}.")
    previous = current_aliases(registry).get(PREVIOUS)
    tags = {
        "kind": kind,
        "from": str(old or ""),
        "to": str(new),
        "previous": str(previous or ""),
        "reason": reason[:_LONGEST_REASON],
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "decision": decision or "",
        "outcome": _OPEN,
    }
    made = registry.client.create_model_version(
        ledger(registry),
        source=f"models:/{registry.name}/{new}",  # a server takes another address only with the run that it lies in
        tags=tags,
        description=f"{kind}: {_said(new)}",
    )
    return next(change for change in history(registry) if change.number == int(made.version))


def _refuse_others(registry: Registry, ticket: Change) -> None:
    """Settle what died before this ticket was taken; give way to what may still live, or was faster."""
    for earlier in history(registry):
        if earlier.number >= ticket.number or earlier.outcome != _OPEN:
            continue
        age = (ticket.begun - earlier.begun).total_seconds()  # both by the registry's clock
        if age < LEASE:
            _refuse(
                f"another {earlier.kind}, to version {earlier.new} by {earlier.by}, began {max(age, 0):.0f} s ago and "
                f"is not finished; if it has died, try again in {LEASE - max(age, 0):.0f} s"
            )
        logger.warning("change %d of the champion, by %s, was never finished", earlier.number, earlier.by)
        if current_aliases(registry).get(CHAMPION) == earlier.new:
            _tidy(registry, earlier)
        else:
            _restore_previous(registry, earlier)
            _close(registry, earlier, _ABANDONED)
    found = current_aliases(registry).get(CHAMPION)
    if found != ticket.old:
        _refuse(
            f"version {ticket.new} was compared with {_said(ticket.old)}, and the champion is {_said(found)} by now"
        )


def _refuse(why: str) -> NoReturn:
    msg = f"the champion was not changed: {why}"
    raise NotChangedError(msg)


def _tidy(registry: Registry, change: Change) -> None:
    """What is left to do once the alias ``champion`` is set."""
    if current_aliases(registry).get(CHALLENGER) == change.new:
        registry.client.delete_registered_model_alias(registry.name, CHALLENGER)
    _close(registry, change, _DONE)


def _restore_previous(registry: Registry, change: Change) -> None:
    if change.previous is not None:
        registry.client.set_registered_model_alias(registry.name, PREVIOUS, str(change.previous))
    elif PREVIOUS in current_aliases(registry):
        registry.client.delete_registered_model_alias(registry.name, PREVIOUS)


def _close(registry: Registry, change: Change, outcome: str) -> None:
    registry.client.set_model_version_tag(ledger(registry), str(change.number), "outcome", outcome)


def _number(text: str) -> int | None:
    return int(text) if text else None


def _said(number: int | None) -> str:
    return "the one in the package" if number is None else f"version {number}"
