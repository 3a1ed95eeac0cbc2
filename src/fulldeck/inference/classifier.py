"""One model file, ready to run: an ONNX Runtime session on the CPU, and the checks that the file is what we think.

It takes arrays and returns arrays; where they come from and what the labels mean is the recogniser's business.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fulldeck.errors import ModelError
from fulldeck.inference.cores import available_cores
from fulldeck.inference.model_file import EMBEDDING, INPUT, PROBABILITIES, ModelInfo
from fulldeck.inference.session import open_session


class Classifier:
    """A model file and its session.

    Safe to share between threads: ONNX Runtime's ``run`` is, and nothing else changes after the constructor.

    Args:
        path: The model file.
        threads: Threads that one run may use; by default every core this process may use.

    Attributes:
        path: The model file.
        info: What the file says of itself.

    Raises:
        ModelError: The file is not there, no ONNX, truncated, changed since ``fulldeck export`` wrote it, of another
            schema version, or its graph is not what its metadata says.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        self.path = Path(path)
        self._session, metadata = open_session(self.path, threads or available_cores())
        self.info = ModelInfo.from_json(metadata, path)
        _check_graph(self._session, self.info, self.path)

    def run(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the model.

        Args:
            batch: uint8 [N, S, S, 3], RGB, with N at least 1 and S = ``info.size``.

        Returns:
            Calibrated probabilities float32 [N, C] that sum to 1 along C, in the order of ``info.labels``; and the
            embedding float32 [N, D].
        """
        probabilities, embedding = self._session.run([PROBABILITIES, EMBEDDING], {INPUT: batch})
        return probabilities, embedding


def _check_graph(session: ort.InferenceSession, info: ModelInfo, path: Path) -> None:
    inputs: list[Any] = list(session.get_inputs())
    side = info.size
    wanted = ["tensor(uint8)", side, side, 3]
    if [node.name for node in inputs] != [INPUT] or [inputs[0].type, *inputs[0].shape[1:]] != wanted:
        raise ModelError(
            f"{path}: its input is not {INPUT!r}, uint8 [N, {side}, {side}, 3]; write it with `fulldeck export`"
        )
    outputs = {node.name: node for node in session.get_outputs()}
    for name in (PROBABILITIES, EMBEDDING):
        if name not in outputs or outputs[name].type != "tensor(float)" or len(outputs[name].shape) != 2:
            raise ModelError(f"{path}: it has no output {name!r}, float32 [N, ...]; write it with `fulldeck export`")
    classes = outputs[PROBABILITIES].shape[1]
    if classes != len(info.labels):
        raise ModelError(
            f"{path}: it has {len(info.labels)} labels for {classes} probabilities; export the model again"
        )
