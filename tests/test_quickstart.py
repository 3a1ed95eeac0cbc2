import shlex

import pytest
import torch
from click.testing import CliRunner

from fulldeck import cli
from fulldeck import quickstart as module
from fulldeck.cards import LABELS
from fulldeck.errors import ConfigError
from fulldeck.inference.model_file import champion_path
from fulldeck.inference.recognizer import Recognizer
from fulldeck.quickstart import quickstart, summarise

pytestmark = pytest.mark.slow

TINY = (
    "model=small",
    "model.backbone=test_efficientnet",
    "data.size=32",
    "data.stored_size=32",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole quickstart in a folder with an awkward name: (its outcome, the folder)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("quick") / "it's mine (a=1, b)"
    outcome = quickstart(out, overrides=TINY, decks=9)
    torch.set_num_threads(threads)
    return outcome, out


def test_everything_it_names_is_there(whole):
    outcome, out = whole
    for path in (outcome.data, outcome.run, outcome.model, outcome.report):
        assert path.exists()
        assert path.is_relative_to(out)
    assert outcome.report.suffix == ".html"
    assert (outcome.run / "metrics.json").is_file()
    assert {path.name for path in outcome.data.iterdir()} >= {"train", "valid", "test"}
    assert Recognizer(outcome.model).info.labels == LABELS


def test_its_figures_are_shares(whole):
    outcome, _ = whole
    assert 0 <= outcome.accuracy <= 1
    assert 0 <= outcome.test <= 1
    assert outcome.seconds > 0
    assert (outcome.champion is not None) == champion_path().exists()


def test_what_it_shows_was_never_trained_on(whole):
    outcome, _ = whole
    assert len(outcome.shown) == module.SHOWN
    small = Recognizer(outcome.model)
    for shown in outcome.shown:
        assert shown.file.is_relative_to(outcome.data / "test")
        assert shown.truth == shown.file.parent.name
        assert shown.small.label == small.classify(shown.file).label
        assert (shown.champion is not None) == champion_path().exists()


def test_the_summary_shows_where_everything_lies_and_what_is_next(whole, capsys):
    outcome, _ = whole
    summarise(outcome)
    text = capsys.readouterr().out
    for path in (outcome.data, outcome.run, outcome.model, outcome.report):
        assert str(path) in text
    assert f"{outcome.accuracy:.1%} right on its held-out decks" in text
    [command] = [line for line in text.splitlines() if "fulldeck classify" in line]
    assert shlex.split(command) == ["fulldeck", "classify", str(outcome.shown[0].file.parent)]


def test_the_command_prints_the_summary(whole, tmp_path, monkeypatch):
    outcome, _ = whole
    asked = []

    def finished(out, *, seed):
        asked.append((out, seed))
        summarise(outcome)

    monkeypatch.setattr(module, "quickstart", finished)  # it has run once above; here the command is tested
    done = CliRunner().invoke(cli.main, ["quickstart", "--out", str(tmp_path), "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert asked == [(tmp_path, 3)]
    assert str(outcome.report) in done.output


def test_too_few_decks_are_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(ConfigError, match="draw at least 9"):
        quickstart(tmp_path / "out", decks=8)
    assert not (tmp_path / "out").exists()
