"""The corner-refining network: of a card cut out by rough corners, where its corners are in truth.

Finding sees the whole photo, in which a card is small, and places corners to about a tenth of the card. Refining sees
one card, cut out with a margin: a second stage, as cascades of detectors have it (Cai and Vasconcelos, "Cascade R-CNN",
2018), and as networks that regress the four corners of a homography do (DeTone et al., 2016).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.inference.locate import REFINER_MARGIN
from fulldeck.inference.rectify import unit_corners
from fulldeck.training.backbone import PACKAGED, create_backbone
from fulldeck.training.locator_network import fold_normalisation, separable


class RefinerNetwork(nn.Module):
    """Maps float32 [N, 3, 96, 96] in 0..1 to (corners [N, 4, 2] as parts of the square's side, card logits [N]).

    Args:
        pretrained: start the backbone from ImageNet weights.
    """

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        network: Any = create_backbone(PACKAGED, 1, pretrained=pretrained)
        config: dict[str, Any] = network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("rough", torch.from_numpy(unit_corners(REFINER_MARGIN)), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.rough: Tensor
        fold_normalisation(network)
        self.stem = nn.Sequential(network.conv_stem, network.bn1, network.blocks[0:2]).requires_grad_(False)
        self.stages = nn.ModuleList([network.blocks[2], network.blocks[3:5]])  # 12 by 12 and 6 by 6 cells
        self.lateral = nn.ModuleList([nn.Conv2d(channels, 48, 1) for channels in (40, 112)])
        self.merge = nn.Sequential(separable(48, 48), separable(48, 64, stride=2))
        # Where a corner is depends on the whole card, which may hide it, so that every cell has a say in each.
        self.corners = nn.Sequential(nn.Flatten(), nn.Linear(64 * 6 * 6, 128), nn.ReLU(), nn.Linear(128, 9))
        last: Any = self.corners[3]
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the corners, and how sure it is that there is a card."""
        with torch.no_grad():
            features = self.stem((images - self.mean) / self.std)
        fine = self.stages[0](features)
        coarse = self.stages[1](fine)
        merged = self.lateral[0](fine) + F.interpolate(self.lateral[1](coarse), scale_factor=2.0, mode="nearest")
        values = self.corners(self.merge(merged))
        return values[:, :8].reshape(-1, 4, 2) + self.rough, values[:, 8]
