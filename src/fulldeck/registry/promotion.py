"""From a challenger to a champion: fetch both, examine, write the decision down, and only then change anything."""

import getpass
import json
import socket
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fulldeck import __version__
from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference.model_file import champion_path
from fulldeck.provenance import commit
from fulldeck.registry import decision_page
from fulldeck.registry.champions import NotChangedError, change_champion
from fulldeck.registry.checks import Check
from fulldeck.registry.decision_page import Facts
from fulldeck.registry.frozen import load
from fulldeck.registry.gate import Examination, Incumbent, examine
from fulldeck.registry.rules import Rules
from fulldeck.registry.store import (
    CHAMPION,
    FILE,
    Registry,
    RegistryError,
    Version,
    current_aliases,
    fetch,
    find,
    new_run,
    told,
)

MOST_REASONS = 8  # in a tag; the page has them all


@dataclass(frozen=True)
class Decision:
    """What the gate said of a version, and where it is written.

    Attributes:
        verdict: ``promoted``, ``refused``, ``forced`` or ``compared``.
        version: Of which.
        against: The champion's number; None for the one in the package.
        examination: The checks.
        page: The page for people, here; ``decision.json`` lies beside it.
        record: The MLflow run that holds the same; None of a mere comparison.
    """

    verdict: str
    version: Version
    against: int | None
    examination: Examination
    page: Path
    record: str | None = None

    def summary(self) -> str:
        """A few lines for the terminal."""
        checks = self.examination.checks
        failed = [check for check in checks if not check.passed]
        count = f"{len(checks) - len(failed)} of {len(checks)} checks passed"
        first = f"{self.verdict}: {_called(self.version)}, against {_said(self.against)}; {count}"
        return "\n".join([first, *(f"  {reason}" for reason in self.examination.reasons), f"page: {self.page}"])


def promote(
    registry: Registry, which: str, rules: Rules, out: Path | None = None, force: str | None = None
) -> Decision:
    """Make a version the champion if the gate lets it.

    The decision is recorded in the registry before anything changes, whatever it is, and again if it then comes to
    nothing since another one was faster.

    Args:
        registry: Where.
        which: A number or an alias.
        rules: The gate's.
        out: The folder for the page; by default ``runs/gate/<name>-<number>``.
        force: The reason to promote it in spite of a refusal. A file that cannot be trusted or run is not forced.

    Raises:
        RegistryError: It is the champion already, or another promotion was faster.
    """
    version = find(registry, which)
    champion = current_aliases(registry).get(CHAMPION)
    if version.number == champion:
        msg = f"version {version.number} of {registry.name} is the champion already"
        raise RegistryError(msg)
    examination = _examine(registry, version, champion, rules)
    forced = force is not None and not examination.passed and examination.usable
    verdict = "promoted" if examination.passed else "forced" if forced else "refused"
    decision = Decision(verdict, version, champion, examination, _page(registry, version, out))
    _write(registry, decision, rules, force if forced else None)
    record = _record(registry, decision)
    if verdict != "refused":
        try:
            change_champion(
                registry,
                old=champion,
                new=version.number,
                kind="forced promotion" if forced else "promotion",
                reason=force if forced and force else "the gate's checks passed",
                decision=record,
            )
        except NotChangedError as error:
            late = Check("champion", "champion", passed=False, reason=str(error))
            checks = replace(examination, checks=(*examination.checks, late))
            decision = replace(decision, verdict="refused", examination=checks)
            _write(registry, decision, rules, None)
            _record(registry, decision, record)
            raise
    return replace(decision, record=record)


def compare(registry: Registry, which: str, other: str, rules: Rules, out: Path | None = None) -> Decision:
    """Examine one version against another as the gate would, and change nothing.

    Args:
        registry: Where.
        which: The one that is examined.
        other: The one that it is measured against, as if it were the champion. While there is no ``champion``, that is
            the one in the package.
        rules: The gate's.
        out: The folder for the page; by default ``runs/gate/<name>-<number>``.
    """
    version = find(registry, which)
    against = current_aliases(registry).get(CHAMPION) if other == CHAMPION else find(registry, other).number
    examination = _examine(registry, version, against, rules)
    decision = Decision("compared", version, against, examination, _page(registry, version, out))
    _write(registry, decision, rules, None)
    return decision


def _examine(registry: Registry, version: Version, champion: int | None, rules: Rules) -> Examination:
    with tempfile.TemporaryDirectory() as folder:
        old = champion_path()
        if champion is not None:
            old = fetch(registry, find(registry, str(champion)), Path(folder) / "champion" / FILE)
        try:
            new = fetch(registry, version, Path(folder) / "challenger" / FILE)
        except (ModelError, RegistryError) as error:
            return Examination((Check("file", "file", passed=False, reason=str(error)),))
        return examine(Incumbent(rules, load(rules), old), new)


def _page(registry: Registry, version: Version, out: Path | None) -> Path:
    return (out or Path("runs/gate") / f"{registry.name}-{version.number}") / "decision.html"


def _write(registry: Registry, decision: Decision, rules: Rules, force: str | None) -> None:
    facts = Facts(
        verdict=decision.verdict,
        champion=_said(decision.against),
        challenger=_called(decision.version),
        rules=rules.model_dump(mode="json"),
        made={
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": f"{getpass.getuser()}@{socket.gethostname()}",
            "reason": force,
            "registry": registry.place,
            "challenger's SHA-256": decision.version.sha256,
            "fulldeck": __version__,
            "commit": commit(),
        },
    )
    page = decision.page
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.with_suffix(".json").write_text(decision_page.to_json(decision.examination, facts), encoding="utf-8")
        page.write_text(decision_page.render(decision.examination, facts), encoding="utf-8")
    except OSError as error:
        msg = f"{page.parent} cannot be written ({error.strerror}): give another folder with --out"
        raise ConfigError(msg) from error


def _record(registry: Registry, decision: Decision, run: str | None = None) -> str:
    """Keep the decision in the registry: a run with the page, in place of what it held, and tags that lead there."""
    client = registry.client
    name = f"gate: version {decision.version.number} {decision.verdict}"
    with told(registry.uri):
        if run is None:
            run = new_run(registry, name)
        else:
            client.update_run(run, name=name)
        for file in ("decision.html", "decision.json"):
            client.log_artifact(run, str(decision.page.with_name(file)))
        client.set_terminated(run)
        reasons = json.dumps(decision.examination.reasons[:MOST_REASONS])
        for key, value in {"gate": decision.verdict, "gate.reasons": reasons, "gate.record": run}.items():
            client.set_model_version_tag(registry.name, str(decision.version.number), key, value)
            client.set_tag(run, key, value)
    return run


def _called(version: Version) -> str:
    return f"version {version.number} ({version.model_version})"


def _said(champion: int | None) -> str:
    return "the one in the package" if champion is None else f"version {champion}"
