"""The seal of a model file: the SHA-256 of all its other bytes, written as its last ones.

It is one more entry of the ONNX metadata, so a sealed file is still plain ONNX to every other program; and since it
stands at a known place, checking it needs neither ONNX nor protobuf, and happens before either sees a byte. It tells of
damage and of every edit after the export. It is no signature: who can write the file can seal it anew, which is why the
registry keeps the whole file's hash elsewhere.
"""

import hashlib
from pathlib import Path

from fulldeck.errors import ModelError

SEAL_KEY = "fulldeck.seal"

# ModelProto.metadata_props is field 14, a message of key (1) and value (2): onnx.proto. In protobuf's wire format a
# message may be continued by another one at its end, and repeated fields add up.
_KEY = bytes([0x0A, len(SEAL_KEY)]) + SEAL_KEY.encode()
_VALUE = bytes([0x12, 64])
_HEAD = bytes([0x72, len(_KEY) + len(_VALUE) + 64]) + _KEY + _VALUE
_LENGTH = len(_HEAD) + 64


def seal(body: bytes) -> bytes:
    """Return the bytes of an ONNX model with their seal behind them."""
    return body + _HEAD + hashlib.sha256(body).hexdigest().encode()


def check_seal(data: bytes, path: Path | str) -> None:
    """Refuse the bytes of the model file ``path`` unless they end with a seal that fits them.

    Raises:
        ModelError: There is no seal at the end, or it is another file's.
    """
    body, end = memoryview(data)[:-_LENGTH], data[-_LENGTH:]
    if not end.startswith(_HEAD):
        raise ModelError(
            f"{path}: this is no ONNX model, or a truncated one, or not as `fulldeck export` wrote it: "
            "it does not end with a seal"
        )
    if hashlib.sha256(body).hexdigest().encode() != end[len(_HEAD) :]:
        raise ModelError(
            f"{path}: its bytes are not those that were sealed when it was exported: it is damaged or was changed; "
            "get it again, or export it anew"
        )
