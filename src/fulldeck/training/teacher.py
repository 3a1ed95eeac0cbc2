"""Distillation: a model file as the teacher of a network that is smaller, or looks at smaller images."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.errors import ConfigError
from fulldeck.inference.classifier import Classifier
from fulldeck.training.from_model import start_from_model
from fulldeck.training.module import CardModule


class Teacher:
    """What answers for the teacher; it learns nothing, and is no part of the student's weights.

    Args:
        module: the network.
        size: the side of the images that it was trained for, in pixels.
    """

    def __init__(self, module: CardModule, size: int) -> None:
        self.module = module.eval().requires_grad_(requires_grad=False)
        self.size = size

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Give the logits, float [N, C], of the student's images, float [N, 3, s, s] in 0..1, at the teacher's size."""
        if self.module.device != images.device:
            self.module.to(images.device)
        if images.shape[-1] != self.size:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        logits: Tensor = self.module(images)
        return logits.float()


def load_teacher(file: Path, labels: tuple[str, ...], images: Iterable[Tensor]) -> Teacher:
    """Read a teacher from a model file that ``fulldeck export`` wrote.

    Args:
        file: the model file. Of a cascade the second network teaches.
        labels: the student's.
        images: some batches, float [N, 3, S, S] in 0..1, as `start_from_model` wants them.

    Raises:
        ModelError: the file cannot be used.
        ConfigError: it knows other labels, or computes in 8 bits.
    """
    info = Classifier(file, threads=1).info
    if info.labels != labels:
        msg = f"teacher={file} knows other labels than the data; take another teacher"
        raise ConfigError(msg)
    compression = info.config.get("compression", {})
    if compression.get("precision") == "int8":
        msg = f"teacher={file} computes in 8 bits; take the model that it was made from: {compression['of']}"
        raise ConfigError(msg)
    share = float(info.config.get("model", {}).get("prune", 0.0))
    module = CardModule(info.name, labels, pretrained=False, prune=share)
    start_from_model(module, file, images)
    return Teacher(module, info.size)
