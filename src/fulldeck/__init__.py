"""fulldeck: show it a playing card and it says which.

``from fulldeck import Recognizer`` is the door. The import itself is free: no network, no torch, no file written;
ONNX Runtime and OpenCV load when a :class:`Recognizer` is first asked for.
"""

import os
from typing import TYPE_CHECKING, Any

from fulldeck.errors import FulldeckError

if TYPE_CHECKING:
    from fulldeck.inference.recognizer import Located, LocatedCard, Prediction, Recognizer

__all__ = ["FulldeckError", "Located", "LocatedCard", "Prediction", "Recognizer", "__version__"]
__version__ = "0.1.0"

# From 1.29 on, importing ONNX Runtime writes a device id under ~/.cache and reports each session to Microsoft (its
# Privacy.md). This library sends nothing anywhere, so it opts out before that import; set the variable to 0 to opt in.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# MLflow reports its use to its makers, and leaves an id under ~/.config; opt in with false.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def __getattr__(name: str) -> Any:
    if name in {"Located", "LocatedCard", "Prediction", "Recognizer"}:
        from fulldeck.inference import recognizer  # noqa: PLC0415 - the lazy door

        return getattr(recognizer, name)
    msg = f"module 'fulldeck' has no attribute {name!r}"
    raise AttributeError(msg)
