"""The corner-finding network: for every eighth pixel, whether a card's middle is there, and its corners.

CenterNet's idea (Zhou et al., "Objects as Points", 2019) on a feature pyramid (Lin et al., 2017) over the first stages
of EfficientNet-Lite0. The point that stands for a card is the middle of what *shows* of it, so that the cards of a fan,
whose centres are hidden, each have a point of their own.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fulldeck.training.backbone import PACKAGED, create_backbone

STRIDE = 8
"""Pixels of the input a cell of the output stands for, each way."""

_UNIT = 16.0  # pixels: what the corner branch counts in, so that its first guesses are of a card's order
_PRIOR = -4.0  # logit of the score at first: few cells hold a card (Lin et al., "Focal Loss", 2017)


class LocatorNetwork(nn.Module):
    """Maps float32 [N, 3, H, W] in 0..1 to raw outputs on the grid [N, ., H / 8, W / 8]; H and W divide by 32.

    Args:
        width: channels of the pyramid.
        pretrained: start the backbone from ImageNet weights.
    """

    def __init__(self, width: int = 64, *, pretrained: bool = True) -> None:
        super().__init__()
        network: Any = create_backbone(PACKAGED, 1, pretrained=pretrained)
        config: dict[str, Any] = network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        # The first layers, which see edges and no cards, would take half of the training's time: they stay as they are.
        fold_normalisation(network)
        self.stem = nn.Sequential(network.conv_stem, network.bn1, network.blocks[0:2]).requires_grad_(False)
        self.stages = nn.ModuleList([network.blocks[2], network.blocks[3:5]])  # strides 8 and 16
        # A card may be as large as the picture: light stages see all of it, where the backbone's own would be heavy.
        self.far = nn.Sequential(separable(112, 128, stride=2), separable(128, 128), separable(128, 128))
        self.lateral = nn.ModuleList([nn.Conv2d(channels, width, 1) for channels in (40, 112, 128)])
        self.merge = nn.ModuleList([separable(width, width) for _ in range(2)])
        self.score = nn.Sequential(separable(width, width), nn.Conv2d(width, 1, 1))
        self.shape = nn.Sequential(separable(width, width), separable(width, width), nn.Conv2d(width, 10, 1))
        final: Any = self.score[1]
        nn.init.constant_(final.bias, _PRIOR)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give (score logits [N, h, w], corners [N, h, w, 4, 2] in pixels of the input, visible logits [N, h, w])."""
        with torch.no_grad():
            features = self.stem((images - self.mean) / self.std)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        levels.append(self.far(features))
        merged = self.lateral[2](levels[2])
        for level in (1, 0):
            above = F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.merge[level](self.lateral[level](levels[level]) + above)
        score = self.score(merged)[:, 0]
        shape = self.shape(merged)
        offsets, scale, visible = shape[:, :8], shape[:, 8:9], shape[:, 9]
        offsets = offsets * torch.exp(scale.clamp(-4.0, 4.0)) * _UNIT
        n, _, h, w = offsets.shape
        corners = offsets.permute(0, 2, 3, 1).reshape(n, h, w, 4, 2) + cell_centres(h, w, offsets)[:, :, None, :]
        return score, corners, visible


def cell_centres(h: int, w: int, like: Tensor) -> Tensor:
    """The middle of each cell, [h, w, 2] as x and y in pixels of the input, on the device of another tensor."""
    y = (torch.arange(h, device=like.device, dtype=torch.float32) + 0.5) * STRIDE
    x = (torch.arange(w, device=like.device, dtype=torch.float32) + 0.5) * STRIDE
    return torch.stack([x[None, :].expand(h, w), y[:, None].expand(h, w)], dim=-1)


def fold_normalisation(network: nn.Module) -> None:
    """Put every batch normalisation of a network into the convolution before it, statistics and all.

    Detectors are trained with the statistics of ImageNet, since their own batches are small (He et al., "Deep Residual
    Learning", 2016, on detection); folded they cost nothing, neither here nor in the file.
    """
    before: Any = None
    for name, part in list(network.named_modules()):
        if isinstance(part, nn.Conv2d):
            before = part
        elif isinstance(part, nn.BatchNorm2d):
            normalised: Any = part
            weight, bias = fuse_conv_bn_weights(
                before.weight, before.bias, normalised.running_mean, normalised.running_var, normalised.eps,
                normalised.weight, normalised.bias,
            )  # fmt: skip
            before.weight, before.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
            place, _, last = name.rpartition(".")
            setattr(network.get_submodule(place), last, getattr(part, "act", nn.Identity()))


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A depthwise 5 by 5 and a pointwise convolution, each normalised."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 5, stride, 2, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU6(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )
