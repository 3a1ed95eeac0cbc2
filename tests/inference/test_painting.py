from pathlib import Path

import cv2
import numpy as np
import pytest

from fulldeck.errors import ConfigError, ImageError
from fulldeck.inference.files import Source
from fulldeck.inference.painting import copies, paint, write
from fulldeck.inference.recognizer import Located, LocatedCard
from located_cards import RED, table

GREEN, AMBER = (26, 160, 75), (224, 142, 0)


def card(corners, *, accepted=True):
    return LocatedCard("ten of hearts", 0.9, accepted, (), tuple(corners), 1.0)


def square(left, top, side=100):
    return [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]


def near(pixels, colour):
    return np.abs(pixels.astype(int) - colour).max(axis=2) < 12


def test_outlines_are_painted_on_a_copy_in_the_colour_of_acceptance():
    photo = np.full((300, 500, 3), 128, np.uint8)
    located = Located((card(square(50, 120)), card(square(300, 120), accepted=False)), 500, 300)
    painted = paint(photo, located)
    assert (photo == 128).all()
    assert painted.shape == photo.shape
    for left, colour in ((50, GREEN), (300, AMBER)):
        for x, y in ((left + 50, 220), (left, 170), (left + 100, 170)):
            assert near(painted[y - 1 : y + 2, x - 1 : x + 2], colour).any()
    assert (painted[260:, :] == 128).all()
    # The dot at the top left corner is larger than the line.
    assert near(painted[115:126, 45:56], GREEN).sum() > 2 * near(painted[215:226, 145:156], GREEN).sum()


def test_a_smaller_picture_of_the_same_photo_may_be_painted():
    located = Located((card(square(1000, 1000, 800)),), 4000, 3000)
    painted = paint(np.full((300, 400, 3), 128, np.uint8), located)
    assert near(painted[138:143, 98:102], GREEN).any()
    assert near(painted[138:143, 178:182], GREEN).any()


def test_each_card_has_its_name_and_names_do_not_cover_each_other():
    photo = np.full((500, 700, 3), 128, np.uint8)
    fan = [card(square(200 + 25 * at, 180, 150)) for at in range(4)]
    names = [
        near(paint(photo, Located(tuple(fan[: count + 1]), 700, 500)), (255, 255, 255)).sum() for count in range(4)
    ]
    assert names[0] > 100
    assert np.diff(names).min() > 0.8 * names[0]


def test_a_name_stays_in_the_picture_and_outlines_may_leave_it():
    photo = np.full((120, 240, 3), 128, np.uint8)
    for corners in (square(-80, -80), square(200, 90), square(-5000, 20, 9000)):
        painted = paint(photo, Located((card(corners),), 240, 120))
        assert near(painted, (255, 255, 255)).sum() > 50


def test_no_card_leaves_the_photo_as_it_is():
    photo = table({(62, 50): RED})
    np.testing.assert_array_equal(paint(photo, Located((), 320, 192)), photo)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp"])
def test_a_copy_is_written_in_the_format_of_its_name(tmp_path, suffix):
    photo = table({(62, 50): RED})
    data = cv2.imencode(".png", photo[:, :, ::-1])[1].tobytes()
    path = tmp_path / "new" / f"copy{suffix}"
    write(path, data, Located((card(square(42, 22, 40)),), 320, 192))
    written = cv2.imread(str(path))[:, :, ::-1]
    assert written.shape == photo.shape
    assert np.abs(written.astype(int) - paint(photo, Located((card(square(42, 22, 40)),), 320, 192))).mean() < 4


def test_a_copy_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    data = cv2.imencode(".png", table({}))[1].tobytes()
    with pytest.raises(ImageError, match="the painted copy cannot be written"):
        write(tmp_path / "file" / "copy.jpg", data, Located((), 320, 192))


def test_one_image_goes_into_a_file_or_a_folder(tmp_path):
    one = [Source("photos/a.png")]
    assert copies(one, Path("out.jpg")) == {"photos/a.png": Path("out.jpg")}
    assert copies(one, Path("out")) == {"photos/a.png": Path("out/a.png")}
    (tmp_path / "v1.0").mkdir()
    assert copies(one, tmp_path / "v1.0") == {"photos/a.png": tmp_path / "v1.0" / "a.png"}


def test_several_go_into_a_folder_each_under_a_name_of_its_own():
    sources = [Source(name) for name in ("a.jpg", "b/a.jpg", "c.heic", "d/c.tif", "-", "a.jpg")]
    sources.append(Source("nothing", ImageError("nothing: no images in this folder")))
    assert copies(sources, Path("out")) == {
        "a.jpg": Path("out/a.jpg"),
        "b/a.jpg": Path("out/a-2.jpg"),
        "c.heic": Path("out/c.jpg"),
        "d/c.tif": Path("out/c-2.jpg"),
        "-": Path("out/stdin.jpg"),
    }


@pytest.mark.parametrize(
    ("names", "out", "said"),
    [
        (["a.jpg", "b.jpg"], "out.jpg", "several images need a folder"),
        (["a.jpg"], "out.heic", "are written as .jpeg, .jpg, .png, .webp"),
        (["a.jpg"], "./a.jpg", "would take the place of the image"),
        (["photos/a.jpg", "b.jpg"], "photos", "would take the place of the image"),
    ],
)
def test_what_cannot_be_painted_so_is_said_beforehand(names, out, said):
    with pytest.raises(ConfigError, match=said):
        copies([Source(name) for name in names], Path(out))
