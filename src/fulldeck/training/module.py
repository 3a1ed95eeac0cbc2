"""The network as Lightning trains it: one loss, one optimiser, one schedule, the figures that matter."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.utilities.distributed import gather_all_tensors

from fulldeck.errors import ConfigError
from fulldeck.training.backbone import create_backbone
from fulldeck.training.calibrate import fit_temperature
from fulldeck.training.pruning import prune as remove_channels


class CardModule(L.LightningModule):
    """A classifier of images in 0..1; normalisation is its own first step.

    Args:
        backbone: a timm name.
        labels: the class names, in the order of the outputs.
        pretrained: start from ImageNet weights.
        lr: peak learning rate, reached after ``warmup`` of the steps, then down a cosine to nearly nothing.
        weight_decay: of AdamW, on matrices and kernels only.
        warmup: share of all steps.
        label_smoothing: of the cross entropy.
        outlier_weight: of the loss on images without a label against that on the others.
        drop_rate: dropout before the head.
        drop_path_rate: stochastic depth.
        prune: share of the channels of every layer that are removed.
        freeze: how many stages stay as they are, the stem with them, counted from the image: little that is particular
            to a task is learned there (Yosinski et al., "How transferable are features in deep neural networks?",
            2014), and half of the time of a step is spent there. 0 trains everything.
        distil_weight: of a teacher's answers against the labels, 0 to 1, if there is a teacher.
        distil_temperature: what both answers are softened by before they are compared.
        channels_last: keep tensors channels last, which convolutions on CPUs and tensor cores prefer.
    """

    def __init__(
        self,
        backbone: str,
        labels: Sequence[str],
        *,
        pretrained: bool = True,
        lr: float = 1e-3,
        weight_decay: float = 0.02,
        warmup: float = 0.05,
        label_smoothing: float = 0.1,
        outlier_weight: float = 0.5,
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.1,
        prune: float = 0.0,
        freeze: int = 0,
        distil_weight: float = 0.7,
        distil_temperature: float = 2.0,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.label_smoothing = label_smoothing
        self.outlier_weight = outlier_weight
        self.distil_weight = distil_weight
        self.distil_temperature = distil_temperature
        self._teacher: Callable[[Tensor], Tensor] | None = None
        network: Any = create_backbone(
            backbone, len(labels), pretrained=pretrained, drop_rate=drop_rate, drop_path_rate=drop_path_rate
        )
        self.network: Any = network.to(memory_format=torch.channels_last) if channels_last else network
        self.prune(prune)
        self._frozen = _first_stages(self.network, freeze, backbone) if freeze else []
        for part in self._frozen:
            part.requires_grad_(False).eval()
        config: dict[str, Any] = self.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.accuracy = MulticlassAccuracy(len(labels), average="micro")
        self.f1 = MulticlassF1Score(len(labels), average="macro")
        self._held_out: list[tuple[Tensor, Tensor]] = []

    def train(self, mode: bool = True) -> "CardModule":
        """Go into training, or out of it; what is frozen stays out of it, its batch statistics too."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits, float [N, C], of images, float [N, 3, S, S] in 0..1."""
        return self.embed(images)[0]

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give (logits [N, C], embedding [N, D]): the embedding is what the head sees."""
        features = self.network.forward_features((images - self.mean) / self.std)
        embedding = self.network.forward_head(features, pre_logits=True)
        return self.network.get_classifier()(embedding), embedding

    def prune(self, share: float) -> None:
        """Remove a share of the channels of every layer, the weakest ones; the labels stay."""
        if share:
            remove_channels(self.network, self.network.get_classifier(), share)

    def learn_from(self, teacher: Callable[[Tensor], Tensor]) -> None:
        """Take a teacher for the training: it gives logits, float [N, C], of images as `forward` takes them."""
        self._teacher = teacher

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the smoothed cross entropy of a batch; where there is no label (-1), no answer is as good as all.

        The latter is outlier exposure (Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", 2019): on
        pictures of other things the cross entropy to the uniform distribution. A teacher has its say on every image.
        """
        images, targets = batch
        logits = self(images).float()
        known = targets >= 0
        loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, ignore_index=-1, reduction="sum")
        surprise = -F.log_softmax(logits[~known], dim=1).mean(1).sum()
        loss = (loss + self.outlier_weight * surprise) / len(targets)
        if self._teacher is not None:
            distance = distillation_loss(logits, self._teacher(images), self.distil_temperature)
            loss = (1 - self.distil_weight) * loss + self.distil_weight * distance
        right = (logits.argmax(1) == targets)[known].float().sum() / known.sum().clamp(min=1)
        self.log_dict(
            {"train/loss": loss, "train/accuracy": right}, on_epoch=True, on_step=False, prog_bar=True, sync_dist=True
        )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Log accuracy and macro F1 of the held-out images."""
        images, targets = batch
        if not len(targets):  # the last batch may be too small for each process to have a part of it
            return
        logits = self(images).float()
        self.accuracy(logits, targets)
        self.f1(logits, targets)
        self.log("val/accuracy", self.accuracy, prog_bar=True)
        self.log("val/f1", self.f1)
        self._held_out.append((logits, targets))

    def on_validation_epoch_end(self) -> None:
        """Log the cross entropy of the held-out images at the temperature that suits them best.

        Export calibrates with such a temperature, so an epoch that is merely less sure of itself is no worse for it.
        """
        logits, targets = (torch.cat(part) for part in zip(*self._held_out, strict=True))
        self._held_out.clear()
        if self.trainer.world_size > 1:  # one temperature for what all processes have seen
            logits, targets = (torch.cat(gather_all_tensors(own)) for own in (logits, targets))
        with torch.inference_mode(False), torch.enable_grad():
            temperature = fit_temperature(logits.clone(), targets.clone())
        # Machines of two kinds may round it otherwise, and all processes must judge by the same figure.
        self.log("val/loss", F.cross_entropy(logits / temperature, targets), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a warm-up and a cosine, stepped every batch."""
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        # One kernel updates all weights where torch would loop over them in Python. Lightning clips no gradients for it
        # in mixed precision, where it might scale them back itself.
        optimiser = torch.optim.AdamW(groups, lr=self.lr, fused=self.trainer.precision == "32-true" or None)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=self.lr,
            total_steps=steps,
            pct_start=self.warmup if self.warmup * steps > 1 else 0.0,  # of exactly one step it cannot be made
            cycle_momentum=False,
            div_factor=20,
            final_div_factor=100,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _first_stages(network: Any, count: int, name: str) -> list[nn.Module]:
    """Return the parts of a network from its stem to the stage of this number.

    Raises:
        ConfigError: the network is not made of stages that can be told apart, or has fewer.
    """
    stages = list(getattr(network, "blocks", []))
    if not hasattr(network, "conv_stem") or not count < len(stages):
        most = f"at most {len(stages) - 1} of its stages" if hasattr(network, "conv_stem") and stages else "none"
        msg = f"model.freeze={count}: {name} can keep {most}"
        raise ConfigError(msg)
    return [network.conv_stem, network.bn1, *stages[:count]]


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Measure how far a student's answers are from its teacher's.

    From Hinton et al., "Distilling the Knowledge in a Neural Network" (2015): the Kullback-Leibler divergence of both
    distributions at a temperature, times its square, so that gradients do not shrink with it.

    Args:
        student: logits, float [N, C].
        teacher: logits, float [N, C].
        temperature: above 0.
    """
    ours, theirs = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    return F.kl_div(ours, theirs, log_target=True, reduction="batchmean") * temperature**2
