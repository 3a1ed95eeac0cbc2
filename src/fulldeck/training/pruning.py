"""Structured pruning: whole channels go, and what is left is a plain, smaller network that any runtime runs faster.

Which channels hang together is torch-pruning's business (Fang et al., "DepGraph", 2023). Every layer loses the
same share of its channels, those whose weights have the least norm. So the shapes that are left follow from the network
and the share alone, and a run's network can be built again from its configuration.
"""

import torch
import torch_pruning
from torch import nn

MULTIPLE = 8
"""Channels are left in multiples of this, in which kernels on processors work."""

_SIDE = 64  # pixels of the example by which the network's graph is traced


def prune(network: nn.Module, head: nn.Module, share: float) -> None:
    """Remove a share of the channels of every layer, in place. The outputs, and their number, stay.

    Args:
        network: takes float32 [N, 3, S, S], on the CPU.
        head: its last layer, whose outputs are labels.
        share: from 0 up to 1.
    """
    training = network.training
    network.eval()  # one example has no batch statistics
    pruner = torch_pruning.pruner.BasePruner(
        network,
        torch.zeros(1, 3, _SIDE, _SIDE),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share,
        ignored_layers=[head],
        round_to=MULTIPLE,
        # or all pruners would share, and keep alive, the dictionaries that are its defaults
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
    )
    pruner.step()
    network.train(training)
