"""fulldeck: show it a playing card and it says which.

``from fulldeck import Recognizer`` is the door. The import itself is free: no network, no torch, no file written;
ONNX Runtime and OpenCV load when a :class:`Recognizer` is first asked for.
"""

from typing import TYPE_CHECKING, Any

from fulldeck.errors import FulldeckError

if TYPE_CHECKING:
    from fulldeck.inference.recognizer import Prediction, Recognizer

__all__ = ["FulldeckError", "Prediction", "Recognizer", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in {"Prediction", "Recognizer"}:
        from fulldeck.inference import recognizer  # noqa: PLC0415 - the lazy door

        return getattr(recognizer, name)
    msg = f"module 'fulldeck' has no attribute {name!r}"
    raise AttributeError(msg)
