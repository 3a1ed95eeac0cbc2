"""The gate's judgements, each a pure function of what two models say of themselves, cost, or answered.

A check knows its reason in one sentence, with the figures. Whether a model may become champion is whether all pass.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fulldeck.inference.model_file import ModelInfo
from fulldeck.registry.budget import Cost
from fulldeck.registry.measured import Measured
from fulldeck.registry.paired import Pairs, lowest_difference, p_not_worse
from fulldeck.registry.questions import Questions
from fulldeck.registry.rules import Rules
from fulldeck.training.measures import CardScores, calibration, card_scores

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Kind = Literal[
    "file",
    "manifest",
    "labels",
    "size",
    "latency",
    "numbers",
    "accuracy",
    "rank",
    "suit",
    "corruption",
    "calibration",
    "threshold",
    "no card",
    "behaviour",
    "champion",
]


@dataclass(frozen=True)
class Check:
    """One judgement.

    Attributes:
        kind: What is judged.
        name: Of what, for people: "right on unseen decks".
        passed: Whether it holds.
        reason: The figures in a sentence: why it passed or did not.
        champion, challenger: The figure of each; None where there is none.
        change: The challenger's figure less the champion's, turned so that below 0 is worse.
        lowest: The lower confidence bound of that, where the test is paired.
        allowed: How far below 0 it may be: the margin or the amount, above 0.
    """

    kind: Kind
    name: str
    passed: bool
    reason: str
    champion: float | None = None
    challenger: float | None = None
    change: float | None = None
    lowest: float | None = None
    allowed: float | None = None


def check_manifest(info: ModelInfo) -> Check:
    """Judge whether a model says where it comes from: data, code, configuration, metrics, reference statistics."""
    lacking = [
        name
        for name, there in {
            "the hash of its training data": re.fullmatch("[0-9a-f]{64}", info.data_hash),
            "the commit of the code": info.commit not in {"", "unknown"},
            "its configuration": info.config,
            "its metrics": info.metrics,
            "the reference statistics for drift": {"embedding_mean", "embedding_std"} <= info.reference.keys(),
        }.items()
        if not there
    ]
    says = f"it lacks {', '.join(lacking)}" if lacking else "data, code, configuration, metrics and reference are named"
    return Check("manifest", "manifest", not lacking, says)


def check_labels(champion: ModelInfo, challenger: ModelInfo) -> Check:
    """Judge whether both models have the same labels in the same order: what reads the answers counts on it."""
    if challenger.labels == champion.labels:
        return Check("labels", "labels", passed=True, reason=f"the {len(champion.labels)} labels of the champion")
    if set(challenger.labels) == set(champion.labels):
        place, (new, old) = next(
            (place, pair)
            for place, pair in enumerate(zip(challenger.labels, champion.labels, strict=True))
            if pair[0] != pair[1]
        )
        says = f"they are in another order: column {place} is {new!r}, and {old!r} in the champion"
    else:
        odd = sorted(set(challenger.labels) ^ set(champion.labels))
        says = f"they are not the champion's: {len(odd)} are in one of both alone, {odd[0]!r} among them"
    return Check("labels", "labels", passed=False, reason=says)


def check_size(champion: int, challenger: int, most: float) -> Check:
    """Judge the size of the files, in bytes."""
    ratio = challenger / champion
    says = (
        f"{challenger / 1e6:.1f} MB, {ratio:.2f} times the champion's {champion / 1e6:.1f} MB; at most {most:g} times"
    )
    return Check("size", "file size, MB", ratio <= most, says, champion / 1e6, challenger / 1e6)


def check_latency(cost: Cost, most: float) -> Check:
    """Judge what a run costs."""
    says = (
        f"{cost.challenger_ms:.1f} ms an image on one thread, {cost.ratio:.2f} times the champion's "
        f"{cost.champion_ms:.1f} ms in the same run; at most {most:g} times"
    )
    return Check("latency", "latency, ms", cost.ratio <= most, says, cost.champion_ms, cost.challenger_ms)


def check_numbers(challenger: Measured) -> Check:
    """Judge whether all answers are probabilities."""
    says = "every answer is finite and sums to 1" if challenger.sound else "some answers are no probabilities"
    return Check("numbers", "numbers", challenger.sound, says)


def check_answers(rules: Rules, questions: Questions, champion: Measured, challenger: Measured) -> list[Check]:
    """Judge everything that the answers tell. Both models must have the same labels.

    Args:
        rules: The gate's.
        questions: What both were asked, at whatever size.
        champion: Its answers.
        challenger: Its answers.
    """
    labels = champion.info.labels
    index = {label: place for place, label in enumerate(labels)}
    truth = {name: np.array([index[label] for label in names]) for name, names in questions.labels.items()}
    both = (champion, challenger)
    checks = [
        _paired(
            "accuracy",
            f"right on {name}",
            *(_right(model.labelled[name], truth[name]) for model in both),
            margin=rule.margin,
            confidence=rules.confidence,
        )
        for name, rule in rules.labelled.items()
    ]
    whole_truth = np.concatenate([truth[name] for name in rules.labelled])
    whole = [np.concatenate([model.labelled[name] for name in rules.labelled]) for model in both]
    checks += _groups(rules, labels, whole_truth, whole)

    spoilt = np.array([index[label] for label in questions.corrupted_labels])
    families = rules.corrupted.families
    rights = [np.stack([_right(model.corrupted[family], spoilt) for family in families]) for model in both]
    checks.append(
        _paired(
            "corruption",
            "right under corruption",
            *(right.ravel() for right in rights),
            margin=rules.corrupted.margin,
            confidence=rules.confidence,
        )
    )
    for place, family in enumerate(families):
        old, new = (float(right[place].mean()) for right in rights)
        checks.append(_fall("corruption", f"right under {family}", old, new, rules.corrupted.most))

    spoilt_truth = np.tile(spoilt, len(families))
    spoilt_answers = [np.concatenate([model.corrupted[family] for family in families]) for model in both]
    for name, answers, wanted in (
        ("as they are", whole, whole_truth),
        ("corrupted", spoilt_answers, spoilt_truth),
    ):
        old, new = (calibration(one.max(axis=1), _right(one, wanted)).ece for one in answers)
        checks.append(_rise("calibration", f"calibration error, {name}", old, new, rules.most.ece))

    accepted = [one.max(axis=1) >= model.info.threshold for one, model in zip(whole, both, strict=True)]
    old, new = (float(one.mean()) for one in accepted)
    checks.append(_fall("threshold", "answers that are accepted", old, new, rules.most.accepted))
    old, new = (float((yes & ~_right(one, whole_truth)).mean()) for yes, one in zip(accepted, whole, strict=True))
    checks.append(_rise("threshold", "answers that are accepted and wrong", old, new, rules.most.wrong))

    rejected = [model.no_card.max(axis=1) < model.info.threshold for model in both]
    checks.append(
        _paired(
            "no card",
            "pictures without a card that are not accepted",
            *rejected,
            margin=rules.no_card.margin,
            confidence=rules.confidence,
        )
    )
    for name in questions.changed:
        old, new = (float((model.changed[name].argmax(axis=1) == model.plain.argmax(axis=1)).mean()) for model in both)
        checks.append(_fall("behaviour", f"same answer when {name}", old, new, rules.behaviour.most))
    return checks


def _groups(rules: Rules, labels: tuple[str, ...], truth: NDArray[np.int64], answers: list[Floats]) -> Iterator[Check]:
    """Each rank and each suit that has images; nothing where the labels are no cards."""
    old, new = (card_scores(labels, truth, one.argmax(axis=1)) for one in answers)
    if old is None or new is None:
        return
    for kind, most in (("rank", rules.most.rank), ("suit", rules.most.suit)):
        for value, before, after in _values(kind, old, new):
            yield _fall("rank" if kind == "rank" else "suit", f"right among {value}", before, after, most)


def _values(kind: str, old: CardScores, new: CardScores) -> Iterator[tuple[str, float, float]]:
    before, after = (one.rank if kind == "rank" else one.suit for one in (old, new))
    for value, rate in before.values.items():
        if rate.total and not (kind == "suit" and value == "joker"):
            name = f"{value}{'es' if value == 'six' else 's'}" if kind == "rank" else value
            yield name, rate.value, after.values[value].value


def _right(answers: Floats, truth: NDArray[np.int64]) -> Bools:
    return np.asarray(answers.argmax(axis=1) == truth)


def _paired(kind: Kind, name: str, old: Bools, new: Bools, *, margin: float, confidence: float) -> Check:
    """A share of images, which must be proved not to be worse by the margin."""
    pairs = Pairs(len(old), gained=int((new & ~old).sum()), lost=int((old & ~new).sum()))
    p = p_not_worse(pairs, margin)
    passed = p < 1 - confidence
    before, after = float(old.mean()), float(new.mean())
    says = (
        f"{name}: {after:.1%} against the champion's {before:.1%} of {pairs.n} ({pairs.gained} gained, {pairs.lost} "
        f"lost); that it is not worse by {margin:.1%} is {'' if passed else 'not '}proved (p = {p:.2g})"
    )
    lowest = lowest_difference(pairs, confidence)
    return Check(kind, name, passed, says, before, after, after - before, lowest, margin)


def _fall(kind: Kind, name: str, old: float, new: float, most: float) -> Check:
    """A share that may not fall by more than an amount."""
    says = f"{name}: {new:.1%} against the champion's {old:.1%}; it may fall by {most:.1%}"
    return Check(kind, name, old - new <= most, says, old, new, new - old, None, most)


def _rise(kind: Kind, name: str, old: float, new: float, most: float) -> Check:
    """A figure that may not rise by more than an amount."""
    says = f"{name}: {new:.3f} against the champion's {old:.3f}; it may rise by {most:g}"
    return Check(kind, name, new - old <= most, says, old, new, old - new, None, most)
