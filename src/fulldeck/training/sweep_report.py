"""What a study has found so far, as files: a table of its trials, for programs and for people, and two pictures."""

import csv
import math
import warnings
from pathlib import Path

import optuna
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from fulldeck.training.training_pictures import draw_front, draw_importance

NOTED = ("val/accuracy", "val/loss", "best_epoch", "epochs", "seconds", "mflops", "run", "mlflow")
"""What trials note beside their figure, in the table's order."""

SHOWN = ("val/accuracy", "epochs", "seconds", "mflops")
"""Which of it people are shown."""


def write_report(study: optuna.Study, folder: Path) -> None:
    """Write trials.csv, trials.md and, once there is something to see, importance.png and front.png."""
    trials = study.get_trials(deepcopy=False)
    write_table(trials, folder / "trials.csv")
    (folder / "trials.md").write_text(page(study), encoding="utf-8")
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if found := importance(study, done):
        draw_importance(found, folder / "importance.png")
    if done:
        points = [(trial.number, trial.user_attrs["mflops"], trial.user_attrs["val/accuracy"]) for trial in done]
        draw_front(points, front(points), folder / "front.png")


def write_table(trials: list[FrozenTrial], out: Path) -> None:
    """Write one line a trial: number, state, figure, what was chosen, what came out."""
    chosen = list(dict.fromkeys(name for trial in trials for name in trial.params))
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["trial", "state", "value", *chosen, *NOTED])
        for trial in trials:
            table.writerow(
                [
                    trial.number,
                    trial.state.name.lower(),
                    # A pruned trial's figure is the last that it told; Optuna keeps it as the trial's value.
                    "" if trial.value is None else trial.value,
                    *(trial.params.get(name, "") for name in chosen),
                    *(trial.user_attrs.get(name, "") for name in NOTED),
                ]
            )


def page(study: optuna.Study) -> str:
    """Return the table as Markdown, as one would show it: the best trial first, pruned ones after the finished ones."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1

    def place(trial: FrozenTrial) -> tuple[bool, float]:
        return trial.state == TrialState.PRUNED, math.inf if trial.value is None else sign * trial.value

    chosen = list(dict.fromkeys(name for trial in trials for name in trial.params))
    names = ["trial", "state", "figure", *chosen, *SHOWN]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for trial in sorted(trials, key=place):
        values = [trial.value, *(trial.params.get(name) for name in chosen), *map(trial.user_attrs.get, SHOWN)]
        told = (f"{value:.4g}" if isinstance(value, float) else "" if value is None else value for value in values)
        lines.append(f"| {trial.number} | {trial.state.name.lower()} | {' | '.join(map(str, told))} |")
    return "\n".join([*lines, ""])


def importance(study: optuna.Study, done: list[FrozenTrial]) -> dict[str, float]:
    """Say what share of the differences between trials each setting explains; nothing of fewer than three trials.

    By Optuna's PED-ANOVA (Watanabe, Bansal and Hutter 2023).
    """
    if len(done) < 3:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that all are as good as each other, which the picture shows
        return get_param_importances(study)


def front(points: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Return the points (number, cost, score) that no other beats in both, by rising cost."""
    kept: list[tuple[int, float, float]] = []
    for point in sorted(points, key=lambda point: (point[1], -point[2], point[0])):
        if not kept or point[2] > kept[-1][2]:
            kept.append(point)
    return kept
