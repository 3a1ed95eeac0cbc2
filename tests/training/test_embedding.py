import cv2
import numpy as np
import pytest

from fulldeck.data.audit import audit
from fulldeck.data.deck import deck_style, draw_card, style_names
from fulldeck.training.embedding import imagenet_embedding


@pytest.fixture(scope="module")
def embedding():
    return imagenet_embedding()


def test_pictures_become_vectors_always_the_same(embedding):
    pictures = np.random.default_rng(0).integers(0, 255, (3, embedding.size, embedding.size, 3), dtype=np.uint8)
    detail, whole = embedding.run(pictures)
    assert detail.shape[0] == whole.shape[0] == 3
    assert detail.dtype == whole.dtype == np.float32
    again, _ = embedding.run(pictures[1:2])
    np.testing.assert_allclose(again[0], detail[1], rtol=1e-3, atol=1e-3)
    assert embedding.learned is None  # it has seen no label of ours


def test_the_middle_tells_cards_apart_and_the_end_tells_what_is_no_card(embedding):
    style = deck_style(1, 0, "classic")
    size = (embedding.size, embedding.size)
    six, seven = (draw_card(f"{rank} of clubs", style, size) for rank in ("six", "seven"))
    stripes = np.repeat(np.indices(size)[1][..., None] // 8 % 2 * np.array([250, 120, 10]), 1, axis=2).astype(np.uint8)
    _, whole = embedding.run(np.stack([six, seven, stripes]))
    unit = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]


@pytest.mark.slow
def test_a_planted_wrong_label_is_found(embedding, tmp_path):
    for number in range(26):
        for label in ("ace of clubs", "six of hearts", "king of spades"):
            style = deck_style(7, number, style_names()[number % 13])
            path = tmp_path / "cards" / label / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), draw_card(label, style, (112, 112))[..., ::-1])
    assert audit(tmp_path / "cards", embedding).findings == ()
    (tmp_path / "cards/six of hearts/04.png").rename(tmp_path / "cards/ace of clubs/99.png")
    (finding,) = audit(tmp_path / "cards", embedding).findings
    assert (finding.kind, finding.files, finding.suggested) == ("label", ("ace of clubs/99.png",), "six of hearts")
