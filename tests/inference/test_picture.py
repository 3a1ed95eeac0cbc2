import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from fulldeck.errors import ImageError
from fulldeck.inference.image import decode, resize
from fulldeck.inference.picture import LONGER, Picture


def scene(width, height):
    small = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(pixels, kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def test_a_small_photo_is_searched_as_it_is():
    pixels = scene(640, 480)
    photo = Picture(pixels).photo()
    assert photo.pixels is pixels
    assert (photo.size, photo.scale) == ((640, 480), (1, 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "array", "Pillow"])
@pytest.mark.parametrize(("width", "height", "times"), [(3990, 1500, 1), (4003, 3001, 2), (8009, 1001, 4)])
def test_a_large_one_is_reduced_and_knows_its_full_size(kind, width, height, times):
    pixels = scene(width, height)
    given = {"array": pixels, "Pillow": Image.fromarray(pixels)}.get(kind)
    photo = Picture(
        encoded(pixels, kind, **({"compress_level": 0} if kind == "PNG" else {})) if given is None else given
    )
    seen = photo.photo()
    assert seen.size == (width, height)
    assert LONGER <= max(seen.pixels.shape) < 2 * LONGER
    assert seen.scale == pytest.approx((times, times), rel=0.002)
    if times > 1:
        # A place in the reduced one is the same place in the full one.
        x, y = (seen.pixels.shape[1] - 50, seen.pixels.shape[0] - 50)
        full = pixels[round(y * seen.scale[1]), round(x * seen.scale[0])].astype(int)
        assert np.abs(full - seen.pixels[y, x]).max() < 12


@pytest.mark.parametrize(("width", "height"), [(4001, 3001), (641, 481)])
def test_a_photo_on_its_side_is_upright_and_so_is_its_size(width, height):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Picture(encoded(scene(width, height), exif=exif)).photo()
    assert photo.size == (height, width)
    assert photo.pixels.shape[0] > photo.pixels.shape[1]


@pytest.mark.parametrize("size", [(640, 480), (1300, 1250), (4400, 700), (5000, 4000)])
@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_the_square_is_the_same_whether_the_photo_is_wanted_too_or_not(size, kind):
    picture = Picture(encoded(scene(*size), kind))
    square, photo = picture.square_and_photo(96)
    np.testing.assert_array_equal(square, picture.square(96))
    np.testing.assert_array_equal(photo.pixels, picture.photo().pixels)


def test_the_square_is_what_decode_and_resize_give():
    data = encoded(scene(900, 700))
    np.testing.assert_array_equal(Picture(data).square(64), resize(decode(data, side=64), 64))


def test_a_pipe_is_read_once():
    ours, theirs = os.pipe()
    os.write(theirs, encoded(scene(64, 48)))
    os.close(theirs)
    picture = Picture(f"/dev/fd/{ours}")
    os.close(ours)
    assert picture.square(16).shape == (16, 16, 3)
    assert picture.photo().size == (64, 48)


def test_errors_name_it(tmp_path):
    with pytest.raises(ImageError, match=r"none\.jpg: there is no such file"):
        Picture(tmp_path / "none.jpg", "other")
    with pytest.raises(ImageError, match="mine: a dict is no path"):
        Picture({}, "mine")
    for look in (lambda picture: picture.square(16), Picture.photo, lambda picture: picture.square_and_photo(16)):
        with pytest.raises(ImageError, match="mine: this is no image"):
            look(Picture(b"text", "mine"))
        with pytest.raises(ImageError, match="mine: 64x48 pixels are more"):
            look(Picture(encoded(scene(64, 48)), "mine", max_pixels=100))
