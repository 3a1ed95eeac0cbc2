"""The corner-finding network as Lightning trains it: what is asked of each cell, and how well it is met."""

from typing import Any

import cv2
import lightning as L  # noqa: N812 - Lightning's own custom
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.training.locator_data import heatmap
from fulldeck.training.locator_network import STRIDE, LocatorNetwork

SLOWER = 0.3
"""Share of the learning rate at which the pretrained backbone learns."""

MATCH = 0.7
"""Intersection over union from which on a quadrilateral counts as found."""


class LocatorModule(L.LightningModule):
    """Learns from (uint8 [B, S, S, 3], cards [B, 16, 12]) as `locator_data` feeds them.

    Args:
        width: channels of the pyramid.
        pretrained: start the backbone from ImageNet weights.
        lr: peak learning rate.
        weight_decay: of AdamW, on matrices and kernels only.
        warmup: share of all steps.
    """

    def __init__(
        self, *, width: int = 64, pretrained: bool = True, lr: float = 1e-3, weight_decay: float = 0.02,
        warmup: float = 0.05,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = LocatorNetwork(width, pretrained=pretrained).to(memory_format=torch.channels_last)
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self._found: list[tuple[int, int, int]] = []

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the network's raw outputs for float [N, 3, H, W] in 0..1."""
        outputs: tuple[Tensor, Tensor, Tensor] = self.network(images)
        return outputs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of a batch."""
        pixels, cards = batch
        losses = losses_of(self(lit(pixels)), cards)
        loss: Tensor = losses["score"] + losses["corners"] + 0.2 * losses["visible"]
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, on_epoch=True, on_step=False)
        self.log("train/loss", loss, on_epoch=True, on_step=False, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the loss, and count cards found, wanted, and answers given."""
        pixels, cards = batch
        images = pixels.permute(0, 3, 1, 2).float() / 255
        outputs = self(images)
        losses = losses_of(outputs, cards)
        total = losses["score"] + losses["corners"] + 0.2 * losses["visible"]
        self.log_dict({f"val/{name}_loss": value for name, value in losses.items()}, batch_size=len(pixels))
        self.log("val/loss", total, batch_size=len(pixels), prog_bar=True)
        scores, corners = torch.sigmoid(outputs[0].float()), outputs[1].float()
        for score, quads, truth in zip(scores, corners, cards, strict=True):
            self._found.append(_count(score, quads, truth))

    def on_validation_epoch_end(self) -> None:
        """Log recall and precision of the cards at a score of 0.3 and an overlap of `MATCH`."""
        found, wanted, given = (sum(row[i] for row in self._found) for i in range(3))
        self._found.clear()
        self.log_dict({"val/recall": found / max(wanted, 1), "val/precision": found / max(given, 1)}, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a warm-up and a cosine, stepped every batch; the backbone learns at `SLOWER` the rate."""
        slow = set(self.network.stages.parameters())
        return adamw(self, slow, lr=self.lr, weight_decay=self.weight_decay, warmup=self.warmup)


def adamw(module: L.LightningModule, slow: set[nn.Parameter], *, lr: float, weight_decay: float, warmup: float) -> Any:
    """Return Lightning's dictionary of AdamW with a warm-up and a cosine, stepped every batch.

    Args:
        module: what learns.
        slow: parameters that learn at `SLOWER` the rate.
        lr: peak learning rate.
        weight_decay: on matrices and kernels only.
        warmup: share of all steps.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in parameters if (p in slow) == slowly and (p.ndim > 1) == decayed],
            "weight_decay": weight_decay if decayed else 0.0,
            "lr": lr * (SLOWER if slowly else 1.0),
        }
        for slowly in (False, True)
        for decayed in (False, True)
    ]
    optimiser = torch.optim.AdamW(groups, lr=lr)
    steps = int(module.trainer.estimated_stepping_batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=[group["lr"] for group in groups],
        total_steps=steps,
        pct_start=warmup if warmup * steps > 1 else 0.0,  # of exactly one step it cannot be made
        cycle_momentum=False,
        div_factor=20,
        final_div_factor=100,
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def losses_of(outputs: tuple[Tensor, Tensor, Tensor], cards: Tensor) -> dict[str, Tensor]:
    """Compare raw outputs with the truth.

    ``score``: the penalty-reduced focal loss of CenterNet. ``corners``: mean distance of the corners, in units of the
    card's size, at the cells around its middle; a card looks the same after a half turn, so the nearer of the two
    orders counts. ``visible``: binary cross entropy of the visible share.
    """
    score, corners, visible = (output.float() for output in outputs)
    _, h, w = score.shape
    peaks, weights = heatmap(cards, h, w)
    probability = torch.sigmoid(score).clamp(1e-5, 1 - 1e-5)
    hit = peaks > 0.999
    focal = torch.where(
        hit,
        -((1 - probability) ** 2) * probability.log(),
        -((1 - peaks) ** 4) * probability**2 * (1 - probability).log(),
    )
    wanted = cards[:, :, 11] > 0
    count = wanted.sum().clamp(min=1)
    losses = {"score": (focal * weights).sum() / count}

    # The cell of the middle and its neighbours, a little off, each answer for the card.
    batch, which = wanted.nonzero(as_tuple=True)
    card = cards[batch, which]
    reach = torch.tensor([-1, 0, 1], device=cards.device)
    dy, dx = (grid.flatten() for grid in torch.meshgrid(reach, reach, indexing="ij"))
    column = ((card[:, 0] / STRIDE).long()[:, None] + dx).clamp(0, w - 1)
    row = ((card[:, 1] / STRIDE).long()[:, None] + dy).clamp(0, h - 1)
    truth = card[:, 2:10].view(-1, 4, 2)
    size = (truth - truth.roll(1, dims=1)).norm(dim=2).mean(1).clamp(min=8)
    guess = corners[batch[:, None], row, column]  # [cards, 9, 4, 2]
    ways = [
        F.smooth_l1_loss(guess / size[:, None, None, None], (way / size[:, None, None])[:, None].expand_as(guess),
                         beta=0.05, reduction="none").mean((2, 3))
        for way in (truth, truth.roll(2, dims=1))
    ]  # fmt: skip
    nearer = torch.minimum(*ways)
    losses["corners"] = 6.0 * nearer.mean() if len(card) else nearer.sum()
    known = card[:, 10] >= 0
    shares = card[known, 10][:, None].expand(-1, 9).clamp(0, 1)
    share_logits = visible[batch[:, None], row, column][known]
    losses["visible"] = F.binary_cross_entropy_with_logits(share_logits, shares) if known.any() else share_logits.sum()
    return losses


def lit(pixels: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] to float [B, 3, S, S] in 0..1, a little brighter, darker, greyer or tinted."""
    images = pixels.permute(0, 3, 1, 2).float() / 255
    n = len(images)
    gain = 1 + 0.25 * (torch.rand(n, 1, 1, 1) * 2 - 1) + 0.08 * (torch.rand(n, 3, 1, 1) * 2 - 1)
    grey = images.mean(1, keepdim=True)
    less = torch.rand(n, 1, 1, 1) * 0.5 * (torch.rand(n, 1, 1, 1) < 0.5)
    return ((images + (grey - images) * less.to(images)) * gain.to(images)).clamp(0, 1)


def _count(score: Tensor, quads: Tensor, truth: Tensor) -> tuple[int, int, int]:
    """Count (found, wanted, given) of one picture; what is given for a card that counts for nothing is not counted."""
    peaks = (score == F.max_pool2d(score[None], 3, 1, 1)[0]) & (score > 0.3)
    answers = quads[peaks].cpu().numpy()
    answers = answers[np.argsort(-score[peaks].cpu().numpy())]
    cards = truth.cpu().numpy()
    wanted = [row[2:10].reshape(4, 2) for row in cards if row[11] > 0]
    spare = [row[2:10].reshape(4, 2) for row in cards if row[11] < 0]
    found = given = 0
    for answer in answers[:32]:
        overlaps = [quad_overlap(answer, quad) for quad in wanted]
        if overlaps and max(overlaps) >= MATCH:
            wanted.pop(int(np.argmax(overlaps)))
            found += 1
            given += 1
        elif not any(quad_overlap(answer, quad) >= 0.5 for quad in spare):
            given += 1
    return found, found + len(wanted), given


def quad_overlap(first: Any, second: Any) -> float:
    """Intersection over union of two quadrilaterals, each [4, 2]."""
    a, b = (cv2.convexHull(np.asarray(quad, np.float32)) for quad in (first, second))
    shared, _ = cv2.intersectConvexConvex(a, b)
    union = cv2.contourArea(a) + cv2.contourArea(b) - shared
    return float(shared / union) if union > 0 else 0.0
