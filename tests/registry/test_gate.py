"""The gate on the shipped champion: bad challengers are refused for what is wrong with them, good ones pass.

The images are a drawn deck and drawn pictures without a card: few, so that all this takes less than a minute.
"""

import json
import re
from html.parser import HTMLParser

import pytest
from challengers import ALONE, BAD, GOOD, champion, sealed

from fulldeck.data.manifest import content_hash
from fulldeck.data.no_card import no_card
from fulldeck.data.render import render
from fulldeck.errors import ConfigError, DataError
from fulldeck.registry import decision_page
from fulldeck.registry.decision_page import Facts
from fulldeck.registry.frozen import load
from fulldeck.registry.gate import Incumbent, examine
from fulldeck.registry.rules import Rules

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain_rules(tmp_path_factory):
    """The rules of a gate on few images, as its file has them."""
    folder = tmp_path_factory.mktemp("gate")
    render(folder / "deck", decks=1, per_card=1, seed=12)
    no_card(folder / "no-card", train=0, test=2, seed=3)
    return {
        "confidence": 0.95,
        "labelled": {
            "a deck": {
                "folder": folder / "deck" / "train",
                "sha256": content_hash(folder / "deck" / "train"),
                "margin": 0.06,
            }
        },
        "no_card": {
            "folder": folder / "no-card" / "test",
            "sha256": content_hash(folder / "no-card" / "test"),
            "margin": 0.15,
        },
        "corrupted": {
            "of": "a deck",
            "images": 20,
            "severity": 5,
            "families": ["gaussian noise", "motion blur"],
            "margin": 0.15,
            "most": 0.2,
        },
        "behaviour": {"of": "a deck", "images": 6, "most": 0.2},
        "most": {
            "rank": 0.1,
            "suit": 0.08,
            "ece": 0.06,
            "accepted": 0.08,
            "wrong": 0.02,
            "latency": 1.4,
            "size": 1.25,
        },
    }


@pytest.fixture(scope="module")
def incumbent(plain_rules, tmp_path_factory):
    rules = Rules.model_validate(plain_rules)
    file = tmp_path_factory.mktemp("incumbent") / "champion.onnx"
    file.write_bytes(sealed(champion()))
    return Incumbent(rules, load(rules), file)


@pytest.fixture
def examined(incumbent, tmp_path):
    def run(data):
        file = tmp_path / "challenger.onnx"
        file.write_bytes(data)
        return examine(incumbent, file)

    return run


@pytest.mark.parametrize("name", BAD)
def test_a_bad_challenger_is_refused_for_what_is_wrong_with_it(examined, name):
    kind, make = BAD[name]
    found = examined(make())
    assert not found.passed
    failed = {check.kind for check in found.checks if not check.passed}
    assert kind in failed
    if name in ALONE:
        assert failed == {kind}
    assert found.usable == (kind != "file")
    assert any(reason.startswith(f"{kind}: ") for reason in found.reasons)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_challenger_passes(examined, name):
    found = examined(GOOD[name]())
    assert found.reasons == ()
    assert found.passed
    assert len(found.checks) > 30


def test_there_are_as_many_as_were_asked_for():
    assert len(BAD) >= 20
    assert len(GOOD) >= 5


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for key, value in attributes if key in {"src", "href"}]

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_why(examined):
    found = examined(BAD["one rank broken"][1]())
    facts = Facts("refused", "version 1", "version 2 (<b>evil</b>)", {"confidence": 0.95}, {"by": "me"})
    text = decision_page.render(found, facts)
    page = Reader()
    page.feed(text)
    assert "Refused" in page.text
    assert re.search(r"right among queens: 0\.0% against the champion's \d+\.0%; it may fall by 10\.0%", page.text)
    assert "version 2 (<b>evil</b>)" in page.text
    assert "b" not in page.tags[: page.tags.index("main")]
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    lost = {one.truth for one in decision_page.lost_pictures(found)}
    assert lost
    assert lost <= {f"queen of {suit}" for suit in ("clubs", "diamonds", "hearts", "spades")}
    decision = json.loads(decision_page.to_json(found, facts))
    assert decision["passed"] is False
    assert {check["kind"] for check in decision["checks"] if not check["passed"]} >= {"rank", "accuracy"}


def test_a_set_that_was_touched_stops_the_gate(plain_rules):
    rules = Rules.model_validate(plain_rules)
    for place in ("labelled", "no_card"):
        broken = json.loads(rules.model_dump_json())
        (broken[place]["a deck"] if place == "labelled" else broken[place])["sha256"] = "0" * 64
        with pytest.raises(DataError, match="is not the one that the gate was frozen on"):
            load(Rules.model_validate(broken))


def test_a_set_that_is_not_there_stops_the_gate_and_says_which_one_does_without(plain_rules, tmp_path):
    broken = json.loads(Rules.model_validate(plain_rules).model_dump_json())
    broken["labelled"]["a deck"]["folder"] = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"nowhere: the gate's set 'a deck' is not there; .*--gate rendered"):
        load(Rules.model_validate(broken))


def test_a_set_that_is_too_small_for_its_margin_stops_the_gate(plain_rules):
    broken = json.loads(Rules.model_validate(plain_rules).model_dump_json())
    broken["labelled"]["a deck"]["margin"] = 0.01
    with pytest.raises(ConfigError, match=r"a deck: 53 images prove no margin of 0\.01"):
        load(Rules.model_validate(broken))


def test_what_is_not_there_is_made_as_the_rules_say(plain_rules, tmp_path):
    made = json.loads(Rules.model_validate(plain_rules).model_dump_json())
    made["labelled"]["a deck"] |= {"folder": str(tmp_path / "deck" / "train"), "render": {"decks": 1, "seed": 12}}
    made["no_card"] |= {"folder": str(tmp_path / "none" / "test"), "draw": {"each": 2, "seed": 3}}
    frozen = load(Rules.model_validate(made))
    assert len(frozen.labelled["a deck"].images) == 53
    assert len(frozen.no_card) == 24
