"""Pictures as vectors by ImageNet weights alone: an embedding that has never seen a label of ours.

A network's last layer knows dogs from cars and has forgotten where in the picture things are. What tells cards apart is
small and has its place, so the vector is taken from the middle, averaged over a grid.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.data.augment import to_float
from fulldeck.data.embedding import Embedding
from fulldeck.training.backbone import PACKAGED, create_backbone

SIZE = 224
_STAGES = 4
_GRID = 7
_CLASSES = 1000  # ImageNet's: the head is not used, but has weights


def imagenet_embedding() -> Embedding:
    """Build the network with the weights that come in a package; no network access, the same bytes everywhere."""
    network: Any = create_backbone(PACKAGED, _CLASSES, pretrained=True).eval().to(memory_format=torch.channels_last)
    stem = torch.nn.Sequential(network.conv_stem, network.bn1, *list(network.blocks)[:_STAGES])
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    @torch.inference_mode()
    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = (to_float(torch.from_numpy(batch)) - mean) / std
        vector: NDArray[np.float32] = F.adaptive_avg_pool2d(stem(pixels), _GRID).flatten(1).numpy()
        return vector

    return Embedding(f"ImageNet weights of {PACKAGED}", SIZE, run)
