"""What a study has found so far, as files: a table of its trials, and two pictures."""

import csv
from pathlib import Path

import optuna
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from fulldeck.training.pictures import draw_front, draw_importance

NOTED = ("val/accuracy", "val/loss", "best_epoch", "epochs", "seconds", "mflops", "run", "mlflow")
"""What trials note beside their figure, in the table's order."""


def write_report(study: optuna.Study, folder: Path) -> None:
    """Write trials.csv and, once there is something to see, importance.png and front.png."""
    trials = study.get_trials(deepcopy=False)
    write_table(trials, folder / "trials.csv")
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


def importance(study: optuna.Study, done: list[FrozenTrial]) -> dict[str, float]:
    """Say what share of the differences between trials each setting explains; nothing of fewer than three trials.

    By Optuna's PED-ANOVA (Watanabe, Bansal and Hutter 2023).
    """
    if len(done) < 3:
        return {}
    return get_param_importances(study)


def front(points: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Return the points (number, cost, score) that no other beats in both, by rising cost."""
    kept: list[tuple[int, float, float]] = []
    for point in sorted(points, key=lambda point: (point[1], -point[2], point[0])):
        if not kept or point[2] > kept[-1][2]:
            kept.append(point)
    return kept
