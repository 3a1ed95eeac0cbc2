"""Pictures as vectors by ImageNet weights alone: an embedding that has never seen a label of ours.

A network's last layer knows dogs from cars and has forgotten where in a picture things are: it tells what is no card at
all. What tells cards apart is small and has its place, so that vector is taken from the middle, averaged over a grid.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.data.augment import to_float
from fulldeck.data.embedding import Embedding
from fulldeck.training.backbone import PACKAGED, create_backbone

SIZE = 224
_STAGES = 5
_GRID = 7
_CLASSES = 1000  # ImageNet's: the head is not used, but has weights


def imagenet_embedding() -> Embedding:
    """Build the network with the weights that come in a package; no network access, the same bytes everywhere."""
    network: Any = create_backbone(PACKAGED, _CLASSES, pretrained=True).eval().to(memory_format=torch.channels_last)
    blocks = list(network.blocks)
    middle = nn.Sequential(network.conv_stem, network.bn1, *blocks[:_STAGES])
    last = nn.Sequential(*blocks[_STAGES:], network.conv_head, network.bn2)
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    @torch.inference_mode()
    def run(batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps = middle((to_float(torch.from_numpy(batch)) - mean) / std)
        detail: NDArray[np.float32] = F.adaptive_avg_pool2d(maps, _GRID).flatten(1).numpy()
        whole: NDArray[np.float32] = last(maps).mean(dim=(2, 3)).numpy()
        return detail, whole

    return Embedding(f"ImageNet weights of {PACKAGED}", SIZE, run)
