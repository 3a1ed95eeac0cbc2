import pytest
import yaml

from fulldeck.data.corruptions import CORRUPTIONS
from fulldeck.errors import ConfigError
from fulldeck.registry.rules import gates, read_rules


@pytest.mark.parametrize("name", ["kaggle", "rendered"])
def test_the_packaged_gates(name):
    assert name in gates()
    rules = read_rules(name)
    assert set(rules.corrupted.families) <= CORRUPTIONS.keys()
    assert all(one.render for one in rules.labelled.values() if "kaggle" not in str(one.folder))


@pytest.fixture
def edited(tmp_path):
    def edit(change):
        from importlib.resources import files

        rules = yaml.safe_load(files("fulldeck.configs").joinpath("gate/rendered.yaml").read_text("utf-8"))
        change(rules)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(rules))
        return path

    return edit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rules: rules.pop("no_card"), "no_card: Field required"),
        (lambda rules: rules.update(margin=0.5), "margin: Extra inputs are not permitted"),
        (lambda rules: rules["most"].update(rank=2), "most.rank: Input should be less than 1"),
        (lambda rules: rules["no_card"].update(sha256="abc"), "no_card.sha256: String should match"),
        (lambda rules: rules["behaviour"].update(of="nowhere"), "there is no labelled set 'nowhere'"),
        (lambda rules: rules.update(labelled={}), "labelled: Dictionary should have at least 1 item"),
    ],
)
def test_a_slip_of_the_pen_does_not_open_the_gate(edited, change, says):
    with pytest.raises(ConfigError, match=rf"mine\.yaml: .*{says}"):
        read_rules(edited(change))


def test_a_gate_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: the gate's file cannot be read .*kaggle, rendered"):
        read_rules("nowhere")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml: this is no YAML"):
        read_rules(tmp_path / "bad.yaml")
