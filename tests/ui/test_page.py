import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import fulldeck.ui
from fulldeck import Recognizer
from fulldeck.cards import Card
from located_cards import BLUE, GREEN, RED, table

PAGE = Path(fulldeck.ui.__file__).parent / "page.py"


def png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (50, 70), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def page(tiny_model, monkeypatch) -> AppTest:
    monkeypatch.setenv("FULLDECK_MODEL", str(tiny_model))
    monkeypatch.delenv("FULLDECK_URL", raising=False)
    return AppTest.from_file(str(PAGE), default_timeout=30)


def shown(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def test_it_opens_with_its_question_and_says_what_answers(page):
    page.run()
    assert not page.exception
    assert page.title[0].value == "Which card is this?"
    assert "tiny (version 0.0.1)" in page.caption[0].value
    assert not page.markdown[1:]  # one line under the title, and no stray string that Streamlit would print


def test_uploaded_pictures_are_named_with_symbol_probability_and_acceptance(page, tiny_model):
    pictures = {"red.png": png((250, 20, 20)), "blue.png": png((20, 20, 250))}
    page.run()
    page.file_uploader[0].set_value([(name, data, "image/png") for name, data in pictures.items()]).run()
    assert not page.exception
    html = shown(page)
    for name, prediction in zip(pictures, Recognizer(tiny_model).classify(list(pictures.values())), strict=True):
        card = Card.parse(prediction.label)
        assert name in html
        assert f">{prediction.label}</span>" in html
        assert card.short in html
        assert f"{prediction.probability:.1%}" in html
        assert (">accepted<" if prediction.accepted else ">not accepted<") in html


@pytest.fixture
def with_locator(page, tiny_model, tiny_locator, tmp_path, monkeypatch) -> Path:
    """The page's model has a locator beside it."""
    shutil.copy(tiny_model, tmp_path / "model.onnx")
    shutil.copy(tiny_locator, tmp_path / "locator.onnx")
    monkeypatch.setenv("FULLDECK_MODEL", str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


def photo(cards: dict[tuple[int, int], tuple[int, int, int]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(table(cards)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("cards", [{(62, 50): RED, (202, 54): GREEN, (130, 134): BLUE}, {(102, 102): RED}])
def test_cards_on_a_table_are_outlined_and_each_is_named(page, with_locator, cards):
    page.run()
    page.file_uploader[0].set_value(("table.png", photo(cards), "image/png")).run()
    assert not page.exception
    html = shown(page)
    located = Recognizer(with_locator).locate(photo(cards))
    assert len(located.cards) == len(cards)
    assert html.count("fd-held") - html.count(".fd-held") == len(cards)
    for card in located:
        assert card.label in html
        assert f"{card.probability:.1%}" in html
    assert html.count(">accepted<") == len(cards)
    assert len(page.image) == 1


def test_one_card_that_fills_its_picture_and_a_picture_of_none_look_as_they_always_did(page, with_locator):
    files = [("one.png", png(GREEN), "image/png"), ("none.png", photo({}), "image/png")]
    page.run()
    page.file_uploader[0].set_value(files).run()
    assert not page.exception
    html = shown(page)
    assert html.count('class="fd-held"') == 0
    assert html.count('class="fd-bars"') == 2
    assert html.count(">accepted<") == html.count(">not accepted<") == 1


def test_the_painted_picture_fits_the_page(with_locator, page):
    page.run()
    large = Image.fromarray(np.kron(table({(102, 102): RED}), np.ones((8, 8, 1), np.uint8)))
    file = io.BytesIO()
    large.save(file, "JPEG")
    page.file_uploader[0].set_value(("large.jpg", file.getvalue(), "image/jpeg")).run()
    assert not page.exception
    assert shown(page).count('class="fd-held"') == 1


def test_a_doubtful_answer_is_shown_as_one(page, make_model, metadata, monkeypatch):
    monkeypatch.setenv("FULLDECK_MODEL", str(make_model(metadata=metadata | {"threshold": 1.0})))
    page.run()
    page.file_uploader[0].set_value(("grey.png", png((128, 128, 128)), "image/png")).run()
    assert ">not accepted<" in shown(page)
    assert "fd-unsure" in shown(page)


def test_a_file_that_is_no_image_gets_a_sentence_and_the_others_go_on(page):
    page.run()
    page.file_uploader[0].set_value(
        [("bad.png", b"no picture", "image/png"), ("good.png", png((9, 9, 9)), "image/png")]
    ).run()
    assert not page.exception
    assert "bad.png" in page.warning[0].value
    assert "good.png" in shown(page)


def test_a_file_name_cannot_bring_markup(page):
    page.run()
    page.file_uploader[0].set_value(("<b onclick=x>.png", png((9, 9, 9)), "image/png")).run()
    assert "<b onclick" not in shown(page)
    assert "&lt;b onclick" in shown(page)


def test_the_camera_can_be_chosen(page):
    page.run()
    page.segmented_control[0].set_value("Camera").run()
    assert not page.exception
    assert len(page.camera_input) == 1


def test_a_model_of_other_classes_is_shown_without_symbols(page, make_model, monkeypatch):
    monkeypatch.setenv("FULLDECK_MODEL", str(make_model(labels=["cat", "dog"])))
    page.run()
    page.file_uploader[0].set_value(("pet.png", png((200, 90, 10)), "image/png")).run()
    assert not page.exception
    assert ">cat<" in shown(page)
    assert ">dog<" in shown(page)


def test_a_model_that_cannot_be_used_is_a_sentence(page, tmp_path, monkeypatch):
    monkeypatch.setenv("FULLDECK_MODEL", str(tmp_path / "missing.onnx"))
    page.run()
    assert not page.exception
    assert "missing.onnx" in page.error[0].value


@pytest.mark.parametrize(("url", "said"), [("ftp://somewhere", "ftp://somewhere"), ("http://127.0.0.1:1", "no answer")])
def test_a_service_that_cannot_be_asked_is_a_sentence(page, monkeypatch, url, said):
    monkeypatch.setenv("FULLDECK_URL", url)
    page.run()
    if not page.error:
        page.file_uploader[0].set_value(("a.png", png((9, 9, 9)), "image/png")).run()
    assert not page.exception
    assert said in page.error[0].value
