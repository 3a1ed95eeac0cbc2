"""Versions and their story as text for a terminal."""

import json

from fulldeck.registry.champions import history
from fulldeck.registry.store import Registry, Version, find, told


def line(version: Version) -> str:
    """One version in one line: number, aliases, what it is, what the gate said."""
    aliases = ", ".join(version.aliases)
    when = f"{version.registered:%Y-%m-%d %H:%M}"
    return (
        f"{version.number:>4}  {aliases:<20}  {version.model_version:<22}  {version.size / 1e6:6.1f} MB  {when}  "
        f"{version.gate or 'not examined'}"
    ).rstrip()


def describe(registry: Registry, which: str) -> str:
    """All of one version: where it comes from, what the gate said, and the changes of champion that it was part of."""
    version = find(registry, which)
    with told(registry.uri):
        tags = dict(registry.client.get_model_version(registry.name, str(version.number)).tags)
    lines = [line(version), ""]
    lines += [f"{key:<14} {value}" for key, value in sorted(tags.items()) if value and key != "gate.reasons"]
    if reasons := json.loads(tags.get("gate.reasons", "[]")):
        lines += ["", "the gate's reasons against it:", *(f"  {reason}" for reason in reasons)]
    changes = [change for change in history(registry) if version.number in {change.old, change.new}]
    if changes:
        lines += ["", "changes of champion:"]
        lines += [
            f"  {change.begun:%Y-%m-%d %H:%M:%S}  {change.old or 'the package'} → {change.new}  {change.kind}, "
            f"{change.outcome}, by {change.by}: {change.reason}"
            for change in changes
        ]
    return "\n".join(lines)
