import io
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fulldeck.errors import ImageError
from fulldeck.inference import image as images


def scene(height=96, width=64):
    """Four different corners, so that every turn and mirror shows, and smooth enough to survive JPEG."""
    pixels = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    pixels[:top, :left] = (220, 40, 40)
    pixels[:top, left:] = (40, 200, 60)
    pixels[top:, :left] = (50, 60, 210)
    pixels[top:, left:] = (240, 220, 60)
    return pixels


def encoded(picture, kind, **options):
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def corners(pixels):
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, height * 3 // 4), (width // 4, width * 3 // 4)
    return np.array([pixels[row, column] for row in rows for column in columns], int)


def assert_like(pixels, wanted, tolerance=12):
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == wanted.shape
    assert np.abs(corners(pixels) - corners(wanted)).max() <= tolerance


LOSSLESS = {
    "PNG": {},
    "BMP": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_come_back_exactly(kind):
    pixels = images.decode(encoded(scene(), kind, **LOSSLESS[kind]))
    np.testing.assert_array_equal(pixels, scene())


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(compression):
    assert_like(images.decode(encoded(scene(), "TIFF", compression=compression)), scene())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("JPEG", {"quality": 90, "subsampling": 0, "restart_marker_blocks": 2}),
        ("JPEG", {"quality": 90, "keep_rgb": True}),
        ("WEBP", {"quality": 90}),
        ("GIF", {}),
        ("AVIF", {"quality": 90}),
    ],
)
def test_lossy_formats_come_back_nearly(kind, options):
    assert_like(images.decode(encoded(scene(), kind, **options)), scene())


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(scene())).save(out, quality=90)
    assert_like(images.decode(out.getvalue()), scene())


def test_heic_without_its_decoder_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ImageError, match=r"photo\.heic: HEIC .*pip install pillow-heif"):
        images.decode(heic, "photo.heic")


def test_the_first_frame_of_an_animation():
    others = [Image.fromarray(np.zeros_like(scene()))]
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        data = encoded(Image.fromarray(scene()), kind, save_all=True, append_images=others)
        assert_like(images.decode(data), scene(), 20)


TURNS = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_turns_are_undone(kind, turn):
    # Stored as the camera holds it, the EXIF turn says how to make it upright again.
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(np.ascontiguousarray(TURNS[turn](scene())), kind, exif=exif, **options)
    assert_like(images.decode(data), scene())


@pytest.mark.parametrize("turn", TURNS)
def test_exif_turns_of_a_cmyk_jpeg_and_of_a_pillow_image(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    turned = Image.fromarray(np.ascontiguousarray(TURNS[turn](scene())))
    assert_like(images.decode(encoded(turned.convert("CMYK"), "JPEG", exif=exif, quality=95)), scene(), 25)
    opened = Image.open(io.BytesIO(encoded(turned, "PNG", exif=exif)))
    np.testing.assert_array_equal(images.from_pillow(opened), scene())


def test_the_exif_turn_of_a_large_jpeg_read_at_reduced_scale():
    exif = Image.Exif()
    exif[0x0112] = 6
    large = scene(960, 640)
    data = encoded(np.ascontiguousarray(TURNS[6](large)), "JPEG", exif=exif, quality=90)
    pixels = images.decode(data, side=32)
    assert max(pixels.shape) < 960
    assert_like(images.resize(pixels, 32), images.resize(large, 32))


@pytest.mark.parametrize("big_endian", [False, True])
def test_exif_in_either_byte_order(big_endian):
    order = ">" if big_endian else "<"
    header = (b"MM" if big_endian else b"II") + struct.pack(order + "HI", 42, 8)
    exif = b"Exif\0\0" + header + struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, 8, 0, 0)
    data = encoded(np.ascontiguousarray(TURNS[8](scene())), "JPEG", exif=exif, quality=90)
    assert_like(images.decode(data), scene())


def test_grey():
    grey = cv2.cvtColor(scene(), cv2.COLOR_RGB2GRAY)
    wanted = np.repeat(grey[:, :, None], 3, axis=2)
    for kind in ("PNG", "TIFF", "BMP", "JPEG"):
        assert_like(images.decode(encoded(grey, kind)), wanted, 3)


def test_one_bit():
    bits = np.zeros((32, 32), bool)
    bits[:16] = True
    for kind in ("PNG", "TIFF", "BMP"):
        pixels = images.decode(encoded(Image.fromarray(bits), kind))
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[31, 31].tolist() == [0, 0, 0]


def test_palette():
    picture = Image.fromarray(scene()).quantize(4)
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        assert_like(images.decode(encoded(picture, kind)), scene())


def test_cmyk_and_ycck():
    cmyk = Image.fromarray(scene()).convert("CMYK")
    assert_like(images.decode(encoded(cmyk, "JPEG", quality=95)), scene(), 25)  # Adobe's inverted ink
    assert_like(images.decode(encoded(cmyk, "TIFF")), scene())
    # YCCK is the same ink with its first three channels as YCbCr, and 2 in Adobe's marker.
    inverted = 255 - np.asarray(cmyk)
    ycc = np.asarray(Image.fromarray(255 - inverted[:, :, :3]).convert("YCbCr"))
    stored = 255 - np.dstack([ycc, 255 - inverted[:, :, 3]])
    raw = bytearray(encoded(Image.fromarray(stored, "CMYK"), "JPEG", quality=95))
    del stored
    at = raw.index(b"Adobe")
    assert raw[at + 11] == 0
    raw[at + 11] = 2
    assert images.decode(bytes(raw)).shape == scene().shape


def test_transparency_is_laid_on_white():
    rgba = np.dstack([scene(), np.full(scene().shape[:2], 255, np.uint8)])
    rgba[:48, :32, 3] = 0
    rgba[:48, 32:, 3] = 128
    wanted = scene()
    wanted[:48, :32] = 255
    wanted[:48, 32:] = (scene()[0, 40].astype(int) * 128 + 255 * 127) // 255
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        assert_like(images.decode(encoded(rgba, kind, **options)), wanted, 1)


def test_transparent_grey_and_transparent_colours():
    grey = Image.fromarray(np.full((16, 16), 90, np.uint8))
    grey_alpha = Image.merge("LA", (grey, Image.new("L", (16, 16), 0)))
    assert (images.decode(encoded(grey_alpha, "PNG")) == 255).all()
    assert (images.decode(encoded(grey, "PNG", transparency=90)) == 255).all()
    red = Image.new("RGB", (16, 16), (200, 0, 0))
    assert (images.decode(encoded(red, "PNG", transparency=(200, 0, 0))) == 255).all()
    palette = Image.fromarray(scene()).quantize(4)
    corner = palette.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        pixels = images.decode(encoded(palette, kind, transparency=corner))
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert np.abs(pixels[90, 60].astype(int) - scene()[90, 60]).max() <= 12


def png16(samples):
    """A 16-bit PNG, grey [H, W] or RGB [H, W, 3], which Pillow cannot write."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2 if samples.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256 * 16).astype(np.uint16).reshape(16, 256)
    wanted = (ramp >> 8).astype(np.uint8)
    colour = np.dstack([ramp, ramp[:, ::-1], ramp[::-1]])
    for data, samples in (
        (png16(ramp), np.repeat(wanted[:, :, None], 3, axis=2)),
        (png16(colour), (colour >> 8).astype(np.uint8)),
        (encoded(Image.fromarray(ramp), "TIFF"), np.repeat(wanted[:, :, None], 3, axis=2)),
        (cv2.imencode(".tiff", colour[:, :, ::-1])[1].tobytes(), (colour >> 8).astype(np.uint8)),
        (cv2.imencode(".tiff", ramp)[1].tobytes(), np.repeat(wanted[:, :, None], 3, axis=2)),
    ):
        assert np.abs(images.decode(data).astype(int) - samples).max() <= 1


def test_numbers_without_a_written_white():
    fraction = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    wanted = np.arange(256).reshape(16, 16)
    for values in (fraction, fraction * 255, fraction * 65535, fraction * 1e6, (fraction * 65535).astype(np.int32)):
        pixels = images.decode(encoded(Image.fromarray(values), "TIFF"))
        assert np.abs(pixels[:, :, 0].astype(int) - wanted).max() <= 1
    broken = fraction.copy()
    broken[0, :3] = (np.nan, np.inf, -5)
    assert images.decode(encoded(Image.fromarray(broken), "TIFF"))[0, :3, 0].tolist() == [0, 0, 0]


# --- what is no image ------------------------------------------------------------------------------------------------


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "a")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n", "no image"),
        (b"hello, I am a text\n", "no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "no image"),
        (zipped(), "no image"),
        (b"\x80\x04\x95pickle", "no image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(64), "no image"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"\xff\xd8\xff\xd9", "truncated"),
        (b"\xff\xd8\xff" + b"\xff\xd0" * 50_000, "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged"),
        (b"GIF89a", "truncated or damaged"),
        (b"BM", "truncated or damaged"),
        (b"II*\0", "truncated or damaged"),
        (b"RIFF\0\0\0\0WEBP", "truncated or damaged"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(64), "truncated or damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "truncated or damaged"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        images.decode(data, "this.one")
    assert str(caught.value).startswith("this.one: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(kind, share, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(ImageError):
        images.decode(data[: int(len(data) * share)], "cut")
    assert capfd.readouterr() == ("", "")


def test_a_truncated_jpeg_with_a_thumbnail_inside_is_refused():
    thumbnail = encoded(scene(32, 32), "JPEG")  # whose end marker must not pass for the image's
    data = encoded(scene(400, 400), "JPEG", exif=b"Exif\0\0" + thumbnail)
    images.decode(data)
    with pytest.raises(ImageError, match="truncated"):
        images.decode(data[:-40])


def test_a_jpeg_with_something_behind_its_end_is_read():
    assert_like(images.decode(encoded(scene(), "JPEG", quality=90) + b"\0" * 1000), scene())


def noise(height=96, width=64):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_few_bytes_before_the_end_of_a_jpeg_do_no_harm():
    data = encoded(scene(), "JPEG")
    padded = data[:-2] + b"\0" * 5 + data[-2:]
    assert np.array_equal(images.decode(padded), images.decode(data))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("side", [None, 8])
def test_a_jpeg_damaged_in_its_middle_is_refused_and_nothing_is_said_elsewhere(options, side, capfd):
    data = bytearray(encoded(noise(), "JPEG", quality=90, **options))
    images.decode(bytes(data))
    middle = len(data) * 2 // 3
    data[middle : middle + 400] = bytes(range(200)) * 2
    # What the others make of it: an image.
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    assert Image.open(io.BytesIO(data)).convert("RGB").size == (64, 96)
    capfd.readouterr()
    with pytest.raises(ImageError, match=r"card\.jpg: the JPEG is damaged .*get the file again") as caught:
        images.decode(bytes(data), "card.jpg", side)
    assert caught.value.kind == "damaged"
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_whose_sampling_only_libjpeg_knows_is_read():
    grey = Image.fromarray(np.full((40, 48), 90, np.uint8))
    data = bytearray(encoded(grey.convert("RGB"), "JPEG", subsampling=0, quality=100))
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x11
    data[frame + 11] = 0x31  # luma thrice as dense as chroma in one direction: TurboJPEG has no name for it
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(bytes(data))
    assert images.decode(bytes(data)).shape == (40, 48, 3)


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded():
    data = encoded(scene(), "JPEG", progressive=True)
    images.decode(data)
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="more than 100 scans") as caught:
        images.decode(data[:-2] + last * 100 + data[-2:])
    assert caught.value.kind == "too_many_pixels"


def test_of_a_sequential_jpeg_no_more_than_its_one_scan_is_read():
    data = encoded(scene(), "JPEG")
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="damaged") as caught:
        images.decode(data[:-2] + scan * 1000 + data[-2:])
    assert caught.value.kind == "damaged"


def test_the_limit_of_pixels_can_be_set():
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(scene(100, 100), kind)
        assert images.decode(data, max_pixels=10_000).shape == (100, 100, 3)
        with pytest.raises(ImageError, match=r"100x100 pixels are more than the 0\.009999 megapixels") as caught:
            images.decode(data, max_pixels=9_999)
        assert caught.value.kind == "too_many_pixels"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not_an_image"),
        (encoded(noise(), "JPEG")[:2000], "truncated"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (encoded(noise(), "PNG")[:2000], "damaged"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
    ],
)
def test_an_error_says_by_its_kind_what_is_wrong(data, kind):
    with pytest.raises(ImageError) as caught:
        images.decode(data)
    assert caught.value.kind == kind


def test_kinds_of_other_errors(monkeypatch, tmp_path):
    for call, kind in (
        (lambda: images.load(tmp_path / "none.jpg"), "unreadable"),
        (lambda: images.checked(np.zeros((9, 9), np.uint8)), "not_rgb"),
    ):
        with pytest.raises(ImageError) as caught:
            call()
        assert caught.value.kind == kind
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ImageError) as caught:
        images.decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert caught.value.kind == "unsupported"
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(ImageError) as caught:
        images.decode(bytes(11))
    assert caught.value.kind == "too_many_bytes"


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_of_a_few_pixels_are_refused(kind, size):
    with pytest.raises(ImageError, match=f"{size[0]}x{size[1]} pixels are too few"):
        images.decode(encoded(Image.new("RGB", size), kind))
    with pytest.raises(ImageError, match="too few"):
        images.from_pillow(Image.new("RGB", size))


def test_bombs_are_refused_before_they_are_decoded():
    bombs = {}
    jpeg = bytearray(encoded(scene(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    bombs["jpeg"] = bytes(jpeg)
    png = bytearray(encoded(scene(), "PNG"))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bombs["png"] = bytes(png)
    gif = bytearray(encoded(scene(), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    bombs["gif"] = bytes(gif)
    bmp = bytearray(encoded(scene(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    bombs["bmp"] = bytes(bmp)
    big = 16_383
    lossless = struct.pack("<I", (big - 1) | (big - 1) << 14)
    bombs["webp lossless"] = b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8L" + struct.pack("<I", 20) + b"\x2f" + lossless
    canvas = struct.pack("<I", big - 1)[:3] * 2
    bombs["webp extended"] = b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    sides = struct.pack("<HH", big, big)
    bombs["webp lossy"] = b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8 " + struct.pack("<I", 20) + bytes(6) + sides
    tiff = bytearray(encoded(scene(), "TIFF"))
    for tag in (256, 257):
        at = tiff.index(struct.pack("<HHI", tag, 4, 1))
        tiff[at + 8 : at + 12] = struct.pack("<I", 60_000)
    bombs["tiff"] = bytes(tiff)
    for kind, data in bombs.items():
        with pytest.raises(ImageError, match="more than the 100 megapixels allowed"):
            images.decode(data, kind)
    with pytest.raises(ImageError, match="megapixels"):
        images.from_pillow(Image.new("1", (20_000, 20_000)))


def test_bytes_above_the_limit_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    path = tmp_path / "large.png"
    path.write_bytes(encoded(scene(), "PNG"))
    with pytest.raises(ImageError, match=r"large\.png: the file has .* bytes, more than the 100 allowed"):
        images.load(path)
    with pytest.raises(ImageError, match="more than the 100 allowed"):
        images.decode(path.read_bytes())
    if Path("/dev/zero").exists():
        with pytest.raises(ImageError, match="/dev/zero: it has more than the 100 bytes"):
            images.load("/dev/zero")


# --- files -----------------------------------------------------------------------------------------------------------


def test_load_reads_a_file_whatever_its_suffix(tmp_path):
    path = tmp_path / "wrong.jpg"
    path.write_bytes(encoded(scene(), "PNG"))
    np.testing.assert_array_equal(images.load(path), scene())
    np.testing.assert_array_equal(images.load(str(path)), scene())


def test_load_says_what_is_wrong_with_a_path(tmp_path):
    with pytest.raises(ImageError, match=r"none\.jpg: there is no such file"):
        images.load(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="this is a folder"):
        images.load(tmp_path)
    with pytest.raises(ImageError, match="cannot be read"):
        images.load(str(tmp_path / "a.jpg") + "/b\0c")
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        images.load(file)
    with pytest.raises(ImageError, match="cannot be read"):
        images.load(file / "inside")


def test_load_without_permission(tmp_path, without_root):
    path = tmp_path / "secret.jpg"
    path.write_bytes(encoded(scene(), "JPEG"))
    path.chmod(0)
    with without_root(tmp_path), pytest.raises(ImageError, match="no permission"):
        images.load("secret.jpg")


# --- resize ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(224, 224), (64, 64), (500, 300), (20, 300), (300, 20), (8, 8), (129, 127)])
def test_resize_stretches_to_a_square(shape):
    resized = images.resize(scene(*shape), 64)
    assert resized.shape == (64, 64, 3)
    assert np.abs(corners(resized) - corners(scene())).max() <= 1


def test_resize_averages_when_it_shrinks():
    checks = np.indices((640, 640)).sum(axis=0) % 2 * 255
    resized = images.resize(np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8), 100)
    assert np.abs(resized.astype(int) - 128).max() <= 2  # no moire: grey, as from afar


def test_resize_is_close_to_the_mean_of_areas():
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8), (900, 700), interpolation=cv2.INTER_CUBIC)
    wanted = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_AREA)
    assert np.abs(images.resize(picture, 160).astype(int) - wanted).mean() < 1


def test_resize_leaves_the_right_size_alone():
    picture = scene(64, 64)
    assert images.resize(picture, 64) is picture


def test_a_large_jpeg_at_reduced_scale_looks_the_same():
    rng = np.random.default_rng(1)
    picture = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (2000, 1500), interpolation=cv2.INTER_CUBIC)
    data = encoded(picture, "JPEG", quality=90)
    whole, reduced = images.decode(data), images.decode(data, side=160)
    assert whole.shape == (1500, 2000, 3)
    assert min(reduced.shape[:2]) >= 3 * 160
    difference = images.resize(whole, 160).astype(int) - images.resize(reduced, 160)
    assert np.abs(difference).mean() < 1


def test_a_small_jpeg_is_never_reduced():
    data = encoded(scene(224, 224), "JPEG")
    np.testing.assert_array_equal(images.decode(data, side=96), images.decode(data))


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_checked_passes_images_and_refuses_other_arrays():
    assert images.checked(scene()) is not None
    for bad in (scene()[:, :, 0], scene().astype(np.float32), scene()[None], np.zeros((20, 20, 4), np.uint8)):
        with pytest.raises(ImageError, match=r"uint8 \[H, W, 3\]"):
            images.checked(bad)
    with pytest.raises(ImageError, match="too few"):
        images.checked(scene(4, 4))


# --- bytes made to break it ------------------------------------------------------------------------------------------

SEEDS = [encoded(scene(40, 32), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")]
SEEDS.append(encoded(scene(40, 32), "JPEG", progressive=True))
SEEDS.append(encoded(Image.fromarray(scene(40, 32)).convert("CMYK"), "JPEG"))


def mutated(seed, changes, cut):
    data = bytearray(SEEDS[seed % len(SEEDS)])
    for at, value in changes:
        data[int(at * len(data))] = value
    return bytes(data[: int(cut * len(data))])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, len(SEEDS) - 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@example(seed=0, changes=[(0.1, 255)], cut=1.0)
def test_only_an_image_or_our_error_comes_out(seed, changes, cut):
    data = mutated(seed, changes, cut)
    try:
        pixels = images.decode(data, "fuzz", 16)
    except ImageError as error:
        assert str(error).startswith("fuzz: ")  # noqa: PT017 - either way is right
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(start=st.sampled_from([seed[:12] for seed in SEEDS]), rest=st.binary(max_size=200))
def test_a_header_before_noise(start, rest):
    with pytest.raises(ImageError):
        images.decode(start + rest, "noise")
