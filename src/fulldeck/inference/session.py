"""An ONNX Runtime session on the CPU from a model file that nobody vouches for, and what the file says of itself."""

from pathlib import Path

import onnxruntime as ort

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import METADATA_KEY
from fulldeck.inference.seal import check_seal


def open_session(path: Path, threads: int) -> tuple[ort.InferenceSession, str]:
    """Open a model file.

    Args:
        path: The file.
        threads: Threads that one run may use.

    Returns:
        The session, and the file's fulldeck metadata: the text of a JSON object that is still to be read.

    Raises:
        ModelError: The file is not there, no ONNX, truncated, changed since it was exported, or without fulldeck
            metadata.
    """
    if not path.exists():
        raise ModelError(f"{path}: there is no such model file")
    if not path.is_file():
        raise ModelError(f"{path}: this is no file, so no model")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: it cannot be read ({error.strerror})") from None
    check_seal(data, path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait for the next run in a busy loop win a tenth of a millisecond on an idle machine, and cost the
    # threefold time on a busy one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # the errors that matter are raised; ours say what to do
    try:
        # The bytes that were checked, not the path: what lies there may be another file by now.
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a class of its own for each reason
        raise ModelError(f"{path}: this is no ONNX model that can be run ({_first_line(error)})") from None
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path}: this ONNX file has no fulldeck metadata; write one with `fulldeck export`")
    return session, metadata[METADATA_KEY]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
