"""Entries of the prediction log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from fulldeck.monitoring.entry import Entry
from fulldeck.monitoring.observation import Observation


def some_entry(number: int = 0, **changes: Any) -> Entry:
    observation = Observation(
        width=224,
        height=200,
        file_bytes=5230,
        brightness=0.4,
        contrast=0.2,
        sharpness=766.5,
        embedding=np.linspace(-1, 1, 1280).astype("<f2").tobytes(),
    )
    entry: dict[str, Any] = {
        "time": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC) + timedelta(seconds=number),
        "request_id": f"request-{number}",
        "position": 0,
        "key_id": None,
        "model": "tiny",
        "model_version": "0.0.1",
        "label": "ace of clubs",
        "probability": 0.5,
        "accepted": True,
        "observation": observation,
    }
    return Entry(**entry | changes)
