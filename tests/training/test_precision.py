import copy

import torch

from fulldeck.training.module import CardModule
from fulldeck.training.precision import best_precision
from fulldeck.training.train import train


def test_the_choice_is_one_that_lightning_knows_and_leaves_no_trace():
    module = CardModule("test_efficientnet", ["blue", "red"], pretrained=False)
    before, state = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    assert best_precision(module, 32) in {"32-true", "bf16-mixed", "16-mixed"}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_run_keeps_the_precision_that_was_chosen(tiny, tmp_path):
    run = train(tiny(tmp_path, "trainer.precision=auto", "trainer.max_epochs=1"))
    kept = (run.folder / "config.yaml").read_text()
    assert "precision: auto" not in kept
    assert "precision: " in kept
