"""What an audit has found, as plain data: for people, for programs, and as a list of what training should leave out."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fulldeck.data.layout import SPLITS

KINDS = {
    "unreadable": "unreadable files",
    "contradiction": "the same picture under two labels",
    "leak": "the same picture in two splits",
    "duplicate": "the same picture twice in a split",
    "label": "labels that the other images contradict",
    "outlier": "images like no other",
    "imbalance": "labels with few or many images",
}
"""Every kind of finding, the gravest first, and what it is."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        kind: a key of `KINDS`.
        files: the images, relative to the dataset; none where labels are out of balance.
        detail: a sentence for people.
        how: of the same pictures, what is the same: "bytes", "pixels", or "near" where a person would call them so.
        suggested: the label that a doubtful image more likely has.
        score: how sure: the probability of the given label, the difference of two pictures in their worst place
            (`duplicates.difference`), or how many times the usual distance an outlier
            has from its nearest images.
    """

    kind: str
    files: tuple[str, ...]
    detail: str
    how: str | None = None
    suggested: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class Audit:
    """What was looked at and what was found.

    Attributes:
        folder: the dataset.
        hash: its content hash.
        images: readable images a split; one split called "all" where there are none.
        labels: how many labels.
        findings: the faults, by kind as in `KINDS`, then as they were found.
        embedding: what labels and outliers were judged by; None where they were not.
        accuracy: share of images whose label the others predict, by that embedding.
        notes: what must be known to read the findings.
    """

    folder: Path
    hash: str
    images: dict[str, int]
    labels: int
    findings: tuple[Finding, ...]
    embedding: str | None = None
    accuracy: float | None = None
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Count the findings of each kind, none left out."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS}

    def exclusions(self) -> dict[str, str]:
        """List the images that training should do without, with the reasons.

        Of a picture that is there several times with one label, one copy stays: the first in the last split, so that
        training never holds what it is judged by. Of a picture with two labels none stays.
        """
        reasons: dict[str, list[str]] = {}
        for finding in self.findings:
            kept = {_kept(finding.files)} if finding.kind in {"leak", "duplicate"} else set()
            for file in finding.files:
                if file not in kept:
                    reasons.setdefault(file, []).append(f"{finding.kind}: {finding.detail}")
        return {file: "; ".join(said) for file, said in sorted(reasons.items())}

    def to_dict(self) -> dict[str, object]:
        """Everything as plain data, as ``--json`` prints it."""
        return {
            "schema": 1,
            "folder": str(self.folder),
            "hash": self.hash,
            "images": self.images,
            "labels": self.labels,
            "embedding": self.embedding,
            "out_of_fold_accuracy": self.accuracy,
            "notes": list(self.notes),
            "counts": self.counts(),
            "findings": [asdict(finding) for finding in self.findings],
            "exclusions": self.exclusions(),
        }

    def to_json(self) -> str:
        """The same as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _kept(files: Sequence[str]) -> str:
    """Choose the copy that stays: the first in the last split."""
    rank = {split: number for number, split in enumerate(SPLITS)}
    return max(files, key=lambda file: (rank.get(file.partition("/")[0], 0), -files.index(file)))
