"""What happens to a batch of training images: geometry, light, lens, sensor, file and whatever lies on top.

Everything is a tensor operation on the whole batch, on the device that trains, so that no worker process decodes or
warps one picture at a time. It knows nothing about cards except that a mirrored card is no card: nothing here flips.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name

# The luminance table of the JPEG standard (ITU-T T.81, annex K.1); scaled by quality as the IJG library does.
_JPEG_LUMINANCE = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Strength:
    """How far each change may go. Zero switches a change off; ``*_p`` is the share of images it befalls.

    Attributes:
        rotate: largest turn, in degrees, either way.
        half_turn_p: share turned by 180 degrees on top.
        turn_p: share turned by any angle instead.
        shrink, enlarge: largest relative change of size each way; little enlarging, since it cuts the indices off.
        shift: largest shift as a share of the side.
        aspect: largest relative change of width against height.
        perspective: largest shift of a corner, as a share of half the side, by the tilt of the plane.
        brightness: largest additive change, in units of the full range.
        contrast: largest relative change of contrast.
        saturation: largest relative change of saturation (1 can take all colour away).
        hue: largest turn of the colours about the grey axis, in degrees; small, since red and black are what suits are.
        shade: largest slope of a light that falls off across the picture.
        blur_p, blur: share that is blurred, and the largest standard deviation in pixels.
        noise_p, noise: share that gets sensor noise, and its largest standard deviation (full range = 1).
        jpeg_p, jpeg_quality: share that is quantised as JPEG does, and the lowest quality.
        occlude_p, occlude: share that is partly covered, and the largest side of the cover.
    """

    rotate: float = 12.0
    half_turn_p: float = 0.25
    turn_p: float = 0.0
    shrink: float = 0.25
    enlarge: float = 0.08
    shift: float = 0.06
    aspect: float = 0.1
    perspective: float = 0.12
    brightness: float = 0.15
    contrast: float = 0.35
    saturation: float = 0.4
    hue: float = 12.0
    shade: float = 0.3
    blur_p: float = 0.2
    blur: float = 1.6
    noise_p: float = 0.25
    noise: float = 0.08
    jpeg_p: float = 0.2
    jpeg_quality: int = 25
    occlude_p: float = 0.25
    occlude: float = 0.3


def to_float(batch: Tensor) -> Tensor:
    """Turn uint8 [N, H, W, 3] RGB into float32 [N, 3, H, W] in 0..1, channels last in memory."""
    return batch.permute(0, 3, 1, 2).float().div_(255.0)


class Augment(nn.Module):
    """Random changes of a batch, drawn from torch's global generator (seed it to repeat them).

    Called with uint8 [N, H, W, 3] RGB and the side S wanted, it gives float32 [N, 3, S, S] in 0..1, channels last.
    """

    def __init__(self, strength: Strength | None = None) -> None:
        super().__init__()
        self.strength = strength or Strength()
        k = torch.arange(8, dtype=torch.float32)
        basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
        basis[0] /= math.sqrt(2)
        self.register_buffer("dct", basis, persistent=False)
        self.register_buffer("table", torch.tensor(_JPEG_LUMINANCE, dtype=torch.float32), persistent=False)
        self.dct: Tensor
        self.table: Tensor

    @torch.no_grad()
    def forward(self, batch: Tensor, size: int) -> Tensor:
        """Warp, recolour and spoil the batch; shapes as the class says."""
        s = self.strength
        images = self._warp(to_float(batch), size)
        images = self._colour(images)
        for share, change in (
            (s.occlude_p, self._occlude),
            (s.blur_p, self._blur),
            (s.noise_p, self._noise),
            (s.jpeg_p, self._jpeg),
        ):
            chosen = (torch.rand(len(images), device=images.device) < share).nonzero().squeeze(1)
            if len(chosen):
                images[chosen] = change(images[chosen])
        return images.clamp_(0.0, 1.0).contiguous(memory_format=torch.channels_last)

    def _warp(self, images: Tensor, size: int) -> Tensor:
        """One homography an image; what comes from outside the picture gets one random colour an image."""
        s, n, device = self.strength, len(images), images.device
        angle = _spread(n, device) * math.radians(s.rotate)
        angle = angle + math.pi * (torch.rand(n, device=device) < s.half_turn_p)
        if s.turn_p:
            turned = torch.rand(n, device=device) < s.turn_p
            angle = torch.where(turned, _spread(n, device) * math.pi, angle)
        # The matrix goes from output to input: above one, the card comes out smaller.
        low, high = -math.log1p(s.enlarge), math.log1p(s.shrink)
        zoom = torch.exp(low + (high - low) * torch.rand(n, device=device))
        stretch = (1.0 + s.aspect) ** (_spread(n, device) / 2)
        cos, sin = torch.cos(angle), torch.sin(angle)
        matrix = torch.zeros(n, 3, 3, device=device)
        matrix[:, 0, 0], matrix[:, 0, 1] = cos * zoom * stretch, -sin * zoom * stretch
        matrix[:, 1, 0], matrix[:, 1, 1] = sin * zoom / stretch, cos * zoom / stretch
        matrix[:, :2, 2] = _spread(n, device, 2) * s.shift * 2
        matrix[:, 2, :2] = _spread(n, device, 2) * s.perspective
        matrix[:, 2, 2] = 1.0
        # Pixel centres of the output in -1..1, homogeneous, sent to the input by the matrix.
        line = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
        points = torch.stack([line.repeat(size), line.repeat_interleave(size), torch.ones(size * size, device=device)])
        source = matrix @ points
        grid = (source[:, :2] / source[:, 2:]).transpose(1, 2).reshape(n, size, size, 2)
        outside = torch.rand(n, 3, 1, 1, device=device)
        warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # How much of each pixel comes from the picture: a sample of ones, which take no memory.
        ones = torch.ones(1, 1, 1, 1, device=device).expand(n, 1, *images.shape[2:])
        share = F.grid_sample(ones, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return warped.addcmul_(outside, 1.0 - share)

    def _colour(self, images: Tensor) -> Tensor:
        """One affine map of RGB an image (contrast, saturation, hue, brightness), and a light that falls off."""
        s, device = self.strength, images.device
        n, _, height, width = images.shape
        eye = torch.eye(3, device=device)
        grey = torch.tensor(_LUMA, device=device).expand(3, 3)
        saturation = (1.0 + s.saturation * _spread(n, device)).view(n, 1, 1)
        contrast = (1.0 + s.contrast * _spread(n, device)).view(n, 1, 1)
        # Rodrigues' rotation about the grey axis (1, 1, 1)/sqrt(3).
        theta = (_spread(n, device) * math.radians(s.hue)).view(n, 1, 1)
        axis = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=device) / math.sqrt(3)
        turn = torch.cos(theta) * eye + torch.sin(theta) * axis + (1 - torch.cos(theta)) / 3
        matrix = contrast * (turn @ (grey + saturation * (eye - grey)))
        offset = s.brightness * _spread(n, device).view(n, 1, 1) + 0.5 * (1.0 - contrast)
        images = torch.baddbmm(offset.expand(n, 3, 1), matrix, images.reshape(n, 3, -1)).view(n, 3, height, width)
        slope = _spread(n, device, 2) * s.shade / math.sqrt(2)
        down = torch.linspace(-1, 1, height, device=device).view(1, 1, height, 1) * slope[:, 0].view(n, 1, 1, 1)
        across = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, width) * slope[:, 1].view(n, 1, 1, 1)
        return images.mul_(1.0 + down + across)

    def _occlude(self, images: Tensor) -> Tensor:
        """A rectangle of one colour or of noise lies on the card."""
        device = images.device
        n, _, height, width = images.shape
        half = torch.rand(n, 2, device=device) * self.strength.occlude / 2
        centre = torch.rand(n, 2, device=device)
        y = (torch.arange(height, device=device) / height).view(1, height, 1)
        x = (torch.arange(width, device=device) / width).view(1, 1, width)
        inside_y = (y - centre[:, 0].view(n, 1, 1)).abs() < half[:, 0].view(n, 1, 1)
        inside_x = (x - centre[:, 1].view(n, 1, 1)).abs() < half[:, 1].view(n, 1, 1)
        cover = torch.rand(n, 3, 1, 1, device=device)
        return torch.where((inside_y & inside_x).unsqueeze(1), cover, images)

    def _blur(self, images: Tensor) -> Tensor:
        """A Gaussian of its own width along each axis of each image: defocus, and motion where the widths differ."""
        n, channels, height, width = images.shape
        sigma = torch.rand(2, n, 1, device=images.device) * self.strength.blur + 0.2
        reach = 4
        steps = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float32)
        kernels = torch.softmax(-0.5 * (steps / sigma) ** 2, dim=-1).repeat_interleave(channels, dim=1)
        flat = images.reshape(1, n * channels, height, width)
        flat = F.pad(flat, (reach, reach, reach, reach), mode="replicate")
        flat = F.conv2d(flat, kernels[0].view(-1, 1, 2 * reach + 1, 1), groups=n * channels)
        flat = F.conv2d(flat, kernels[1].view(-1, 1, 1, 2 * reach + 1), groups=n * channels)
        return flat.view(n, channels, height, width)

    def _noise(self, images: Tensor) -> Tensor:
        deviation = torch.rand(len(images), 1, 1, 1, device=images.device) * self.strength.noise
        return images + torch.randn_like(images) * deviation

    def _jpeg(self, images: Tensor) -> Tensor:
        """Quantise 8x8 blocks of each channel as JPEG quantises luminance: what a cheap file leaves behind."""
        n, _, height, width = images.shape
        quality = self.strength.jpeg_quality + torch.rand(n, device=images.device) * (90 - self.strength.jpeg_quality)
        percent = torch.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)
        steps = (self.table * percent.view(n, 1, 1) / 100.0).clamp_(min=1.0).view(n, 1, 1, 1, 8, 8) / 255.0
        padded = F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
        blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)
        coefficients = self.dct @ blocks @ self.dct.T
        blocks = self.dct.T @ ((coefficients / steps).round_() * steps) @ self.dct
        restored = blocks.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
        return restored[..., :height, :width]


def _spread(n: int, device: torch.device, *more: int) -> Tensor:
    """Uniform numbers in -1..1, float32 [n, *more]."""
    return torch.rand(n, *more, device=device) * 2.0 - 1.0
