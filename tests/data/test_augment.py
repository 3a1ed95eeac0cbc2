import math
from dataclasses import fields, replace

import pytest
import torch

from fulldeck.data.augment import Augment, Strength, to_float

OFF = Strength(**{field.name: 0 for field in fields(Strength)})
"""Nothing happens, but for the quality of a JPEG that never comes."""


def pictures(n=4, height=32, width=32):
    """Smooth random pictures, uint8 [n, height, width, 3]: noise would not survive any warp."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(n, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (smooth.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()


def augmented(batch, size=32, seed=0, strength=None):
    torch.manual_seed(seed)
    return Augment(strength)(batch, size)


def test_to_float_keeps_every_pixel():
    batch = pictures(2, 6, 10)
    images = to_float(batch)
    assert images.shape == (2, 3, 6, 10)
    assert images.dtype == torch.float32
    assert torch.equal((images * 255).round().byte().permute(0, 2, 3, 1), batch)
    assert images[0, 2, 5, 9] == batch[0, 5, 9, 2] / 255


@pytest.mark.parametrize("size", [24, 32, 50])
def test_shape_range_and_memory(size):
    images = augmented(pictures(), size)
    assert images.shape == (4, 3, size, size)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_batch_of_one_and_of_extremes():
    for value in (0, 255):
        images = augmented(torch.full((1, 16, 16, 3), value, dtype=torch.uint8), 16)
        assert images.shape == (1, 3, 16, 16)
        assert torch.isfinite(images).all()
        assert images.min() >= 0
        assert images.max() <= 1


def test_everything_at_once_stays_in_range():
    always = Strength(half_turn_p=1, blur_p=1, noise_p=1, jpeg_p=1, occlude_p=1)
    images = augmented(pictures(16), strength=always)
    assert torch.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1


def test_the_batch_itself_is_left_alone():
    batch = pictures()
    before = batch.clone()
    augmented(batch)
    assert torch.equal(batch, before)


def test_the_seed_decides():
    batch = pictures()
    assert torch.equal(augmented(batch, seed=3), augmented(batch, seed=3))
    assert not torch.equal(augmented(batch, seed=3), augmented(batch, seed=4))


def test_equal_pictures_are_changed_each_in_its_own_way():
    images = augmented(pictures(1).repeat(4, 1, 1, 1))
    assert all(not torch.equal(images[0], images[i]) for i in range(1, 4))


def test_switched_off_it_changes_nothing():
    batch = pictures()
    assert torch.allclose(augmented(batch, strength=OFF), to_float(batch), atol=1e-5)


def test_switched_off_it_still_resizes():
    flat = torch.full((2, 32, 32, 3), 51, dtype=torch.uint8)
    assert torch.allclose(augmented(flat, 20, strength=OFF), torch.full((2, 3, 20, 20), 0.2), atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"rotate": 20.0},
        {"half_turn_p": 1.0},
        {"turn_p": 1.0},
        {"shrink": 0.4},
        {"enlarge": 0.4},
        {"shift": 0.2},
        {"aspect": 0.4},
        {"perspective": 0.3},
        {"brightness": 0.3},
        {"contrast": 0.5},
        {"saturation": 0.8},
        {"hue": 40.0},
        {"shade": 0.5},
        {"blur_p": 1.0, "blur": 2.0},
        {"noise_p": 1.0, "noise": 0.2},
        {"jpeg_p": 1.0, "jpeg_quality": 10},
        {"occlude_p": 1.0, "occlude": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_setting_does_something_of_its_own(change):
    batch = pictures(8)
    difference = (augmented(batch, strength=replace(OFF, **change)) - to_float(batch)).abs().amax(dim=(1, 2, 3))
    assert difference.max() > 0.02
    assert difference.max() <= 1


def test_a_half_turn_turns_and_does_not_mirror():
    batch = pictures()
    turned = to_float(batch).flip(2, 3)
    assert torch.allclose(augmented(batch, strength=replace(OFF, half_turn_p=1.0)), turned, atol=1e-4)


def test_half_turns_befall_their_share():
    batch = pictures(1).repeat(400, 1, 1, 1)
    images = augmented(batch, strength=replace(OFF, half_turn_p=0.25))
    share = ((images - to_float(batch)).abs().amax(dim=(1, 2, 3)) > 0.01).float().mean()
    assert 0.17 < share < 0.33  # 4 standard deviations of 400 draws


def test_turns_by_any_angle_befall_their_share_and_go_all_around():
    batch = torch.zeros(400, 33, 33, 3, dtype=torch.uint8)
    batch[:, 4, 16] = 255  # one bright point above the middle
    line = torch.arange(33) - 16
    inner = line**2 + line[:, None] ** 2 < 15**2  # what comes from outside the picture has other colours
    images = augmented(batch, 33, strength=replace(OFF, turn_p=0.5)).mean(1) * inner
    place = images.flatten(1).argmax(1)
    y, x = place // 33 - 16, place % 33 - 16
    stayed = (y == -12) & (x == 0)
    assert 0.4 < stayed.float().mean() < 0.6  # 4 standard deviations of 400 draws
    quarters = 2 * (y > 0).int() + (x > 0).int()
    assert all(25 < (quarters[~stayed] == quarter).sum() < 75 for quarter in range(4))


def test_nothing_is_ever_mirrored():
    """A bright quarter keeps its neighbours in the same sense of turning, whatever the geometry does."""
    batch = torch.zeros(200, 33, 33, 3, dtype=torch.uint8)
    batch[:, :, :16, 0] = 255  # red on the left
    batch[:, :16, :, 1] = 255  # green on top: from red to green is clockwise
    images = augmented(
        batch, 33, strength=replace(OFF, half_turn_p=0.5, turn_p=0.5, rotate=40.0, aspect=0.2, perspective=0.2)
    )
    line = torch.linspace(-1, 1, 33)
    y, x = torch.meshgrid(line, line, indexing="ij")
    inner = (x**2 + y**2) < 0.5  # what comes from outside the picture has other colours
    weights = images * inner
    centre_x = (weights * x).sum((2, 3))
    centre_y = (weights * y).sum((2, 3))
    cross = centre_x[:, 0] * centre_y[:, 1] - centre_y[:, 0] * centre_x[:, 1]
    assert (cross > 0).all()


def test_shrinking_shows_the_whole_picture_on_another_ground():
    white = torch.full((16, 32, 32, 3), 255, dtype=torch.uint8)
    images = augmented(white, strength=replace(OFF, shrink=0.6))
    rim = torch.ones(32, 32, dtype=torch.bool)
    rim[7:-7, 7:-7] = False
    assert torch.allclose(images[:, :, ~rim], torch.ones(()))
    assert images[:, :, rim].min() < 0.9


def test_brightness_and_contrast_stay_within_their_bounds():
    grey = torch.full((200, 8, 8, 3), 128, dtype=torch.uint8)
    images = augmented(grey, 8, strength=replace(OFF, brightness=0.2))
    assert 0.15 < (images - 128 / 255).abs().max() <= 0.2 + 1e-5
    light = torch.full((200, 8, 8, 3), 204, dtype=torch.uint8)  # 0.8, so 0.3 from the middle
    images = augmented(light, 8, strength=replace(OFF, contrast=0.5))
    assert 0.12 < (images - 0.8).abs().max() <= 0.15 + 1e-5


def test_grey_has_no_hue_and_no_saturation():
    grey = pictures()[..., :1].repeat(1, 1, 1, 3)
    images = augmented(grey, strength=replace(OFF, saturation=1.0, hue=90.0))
    assert torch.allclose(images, to_float(grey), atol=1e-4)


def test_red_stays_red_and_black_stays_black():
    """Suits are told by it, so the default strength must leave them apart."""
    colours = torch.tensor([[200, 20, 20], [20, 20, 20]], dtype=torch.uint8)
    batch = colours.repeat(100, 1).view(200, 1, 1, 3).repeat(1, 8, 8, 1)
    only_colour = replace(Strength(), blur_p=0, noise_p=0, jpeg_p=0, occlude_p=0)
    middle = augmented(batch, 8, strength=only_colour)[:, :, 3:5, 3:5].mean((2, 3))
    redness = middle[:, 0] - middle[:, 1:].max(1).values
    assert redness[0::2].min() > redness[1::2].max()


def test_blur_smooths_noise_roughens():
    batch = pictures()
    batch[:, ::2, ::2] = 255 - batch[:, ::2, ::2]

    def roughness(images):
        return (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3))

    before = roughness(to_float(batch))
    assert (roughness(augmented(batch, strength=replace(OFF, blur_p=1.0, blur=3.0))) < before).all()
    smooth = pictures()
    noisy = augmented(smooth, strength=replace(OFF, noise_p=1.0, noise=0.3))
    assert (roughness(noisy) > roughness(to_float(smooth))).all()


def test_jpeg_spoils_more_at_lower_quality_but_not_the_mean():
    batch = pictures(8, 30, 30)  # no multiple of 8
    clean = to_float(batch)

    def spoilt(quality):
        images = augmented(batch, 30, strength=replace(OFF, jpeg_p=1.0, jpeg_quality=quality))
        assert (images - clean).mean().abs() < 0.02
        return (images - clean).abs().mean()

    assert spoilt(85) < spoilt(5) / 2
    assert spoilt(85) < 0.02


def test_a_cover_has_the_size_that_was_asked_for():
    batch = torch.zeros(200, 40, 40, 3, dtype=torch.uint8)
    images = augmented(batch, 40, strength=replace(OFF, occlude_p=1.0, occlude=0.5))
    covered = (images.amax(1) > 0.01).float()
    height, width = covered.amax(2).sum(1), covered.amax(1).sum(1)
    for side in (height, width):
        assert side.max() <= 21
        assert side.max() > 15
    assert math.isclose(float((covered.sum((1, 2)) - height * width).abs().max()), 0.0)  # a rectangle


def test_it_follows_the_device_and_keeps_no_weights():
    augment = Augment()
    assert list(augment.state_dict()) == []
    assert list(augment.parameters()) == []
    assert augment.to(torch.device("cpu"))(pictures(), 32).device.type == "cpu"
