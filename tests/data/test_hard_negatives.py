import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.data.crops import SIZE
from fulldeck.data.hard_negatives import hard_negatives
from fulldeck.errors import DataError
from located_cards import GREEN, RED, table


def written(path, photo):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), photo[:, :, ::-1])


def test_what_is_found_in_pictures_without_a_card_is_cut_out_by_kind(tmp_path, tiny_locator):
    written(tmp_path / "no-card" / "train" / "chip" / "0.png", table({(62, 50): RED, (202, 54): GREEN}))
    written(tmp_path / "no-card" / "train" / "noise" / "0.png", table({}))
    written(tmp_path / "no-card" / "test" / "chip" / "0.png", table({(62, 50): RED}))
    out = tmp_path / "hard"
    result = CliRunner().invoke(
        main, ["data", "hard-negatives", str(tmp_path / "no-card"), str(out), "--locator", str(tiny_locator)]
    )
    assert result.exit_code == 0, result.output
    assert "2 cuts without a card, out of 2 pictures" in result.output
    cuts = sorted(out.rglob("*.jpg"))
    assert [path.relative_to(out).as_posix() for path in cuts] == ["train/chip/0-00.jpg", "train/chip/0-01.jpg"]
    colours = {tuple((cv2.imread(str(path))[SIZE // 2, SIZE // 2, ::-1] > 128).tolist()) for path in cuts}
    assert cv2.imread(str(cuts[0])).shape == (SIZE, SIZE, 3)
    assert colours == {(True, False, False), (False, True, False)}


def test_of_scenes_only_what_no_card_touches(tmp_path, tiny_locator):
    scenes = tmp_path / "scenes"
    written(scenes / "images" / "0.png", table({(62, 50): RED, (202, 54): GREEN}))
    (scenes / "scenes.jsonl").write_text(
        '{"file": "images/0.png", "size": [320, 192], "things": [], "cards": [{"label": "ace of spades", "deck": "d", '
        '"corners": [[42, 22], [82, 22], [82, 78], [42, 78]], "visible": 1.0, "index_visible": true, '
        '"centre": [62, 50]}]}\n'
    )
    made = hard_negatives(scenes, tmp_path / "hard", tiny_locator)
    assert (made.pictures, made.cuts) == (1, 1)
    (cut,) = (tmp_path / "hard" / "train" / "scene").iterdir()
    assert np.argmax(cv2.imread(str(cut))[SIZE // 2, SIZE // 2, ::-1]) == 1  # the green one


def test_bad_places_are_refused(tmp_path, tiny_locator):
    with pytest.raises(DataError, match="neither a folder of scenes nor one of pictures without a card"):
        hard_negatives(tmp_path, tmp_path / "hard", tiny_locator)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(DataError, match="holds something already"):
        hard_negatives(tmp_path, tmp_path / "full", tiny_locator)
