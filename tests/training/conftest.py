"""Data small enough to be learnt in a second, and one run on it that the tests read."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Networks this small are faster on one thread, and it leaves the other cores to other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
