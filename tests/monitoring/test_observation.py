import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fulldeck.inference.image import decode, resize
from fulldeck.inference.picture import Picture
from fulldeck.monitoring.observation import observe
from sent_images import encoded, jpeg

EMBEDDING = np.float32([0.5, -2.0, 1e-3])


def look(data, image=None):
    picture = Picture(data)
    square = picture.square(96)
    return observe(picture.size, len(data), square if image is None else image, EMBEDDING)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"])
def test_the_size_is_that_of_the_file(kind):
    data = encoded((9, 90, 200), kind, (60, 80))
    seen = look(data)
    assert (seen.width, seen.height, seen.file_bytes) == (60, 80, len(data))


def test_the_size_is_the_full_one_of_an_image_that_was_decoded_at_a_smaller_scale():
    seen = look(encoded((9, 90, 200), "JPEG", (1201, 999)))
    assert (seen.width, seen.height) == (1201, 999)


def test_one_colour_has_its_brightness_no_contrast_and_nothing_sharp():
    seen = look(encoded((255, 0, 51)))
    assert seen.brightness == pytest.approx((1 + 0 + 0.2) / 3)
    assert seen.contrast == seen.sharpness == 0


def test_black_and_white_have_the_greatest_contrast():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = 255
    seen = look(jpeg(), image)
    assert seen.brightness == pytest.approx(0.5)
    assert seen.contrast == pytest.approx(0.5)


def test_blur_takes_sharpness_away_and_dark_takes_brightness():
    image = resize(decode(jpeg()), 96)
    sharp, blurred = look(jpeg(), image), look(jpeg(), cv2.GaussianBlur(image, (9, 9), 3))
    assert blurred.sharpness < sharp.sharpness / 10
    assert look(jpeg(), image // 2).brightness == pytest.approx(sharp.brightness / 2, abs=0.01)


def test_the_embedding_is_half_as_long():
    kept = np.frombuffer(look(jpeg()).embedding, "<f2")
    np.testing.assert_allclose(kept, EMBEDDING, rtol=1e-3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_image_has_the_size_that_it_is_seen_in(kind):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 80)).save(file, kind, exif=exif)
    seen = look(file.getvalue())
    assert (seen.width, seen.height) == (80, 60)
