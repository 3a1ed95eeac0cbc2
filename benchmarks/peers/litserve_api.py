"""LitServe with the same model file, the same decoder and the same work a picture.

    python benchmarks/peers/litserve_api.py MODEL PORT WORKERS API_SERVERS MAX_BATCH FAST_QUEUE

The body is the JPEG itself, which is the least that can go through its queue.
"""

import sys
import warnings
from typing import Annotated, Any

import cv2
import litserve
import numpy as np
import onnxruntime as ort
import simplejpeg
from fastapi import Depends, Request


async def body(request: Request) -> bytes:
    """The request's body."""
    return await request.body()


class Cards(litserve.LitAPI):
    """One worker's model."""

    def __init__(self, model: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.model = model

    def setup(self, device: str) -> None:  # noqa: ARG002  (LitServe's signature)
        """Load the model."""
        cv2.setNumThreads(1)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        self.side = self.session.get_inputs()[0].shape[1]

    def decode_request(self, request: Annotated[bytes, Depends(body)]) -> Any:
        """From JPEG bytes to the model's input."""
        return cv2.resize(simplejpeg.decode_jpeg(request, "RGB"), (self.side, self.side))

    def batch(self, inputs: list[Any]) -> Any:
        """Stack several."""
        return np.stack(inputs)

    def predict(self, inputs: Any) -> Any:
        """Probabilities, of one image or of a batch."""
        images = inputs if inputs.ndim == 4 else inputs[np.newaxis]
        probabilities = self.session.run(["probabilities"], {"images": images})[0]
        return probabilities if inputs.ndim == 4 else probabilities[0]

    def unbatch(self, outputs: Any) -> Any:
        """A row an image."""
        return list(outputs)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer."""
        best = int(output.argmax())
        return {"label": best, "probability": float(output[best])}


def main() -> None:
    """Serve until killed."""
    warnings.simplefilter("ignore")  # of methods that only batches of several need
    model, port, workers, api_servers, batch, fast = sys.argv[1], *map(int, sys.argv[2:])
    api = Cards(model, max_batch_size=batch, batch_timeout=0.002 if batch > 1 else 0.0, api_path="/classify/")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, fast_queue=bool(fast))
    server.run("127.0.0.1", port, num_api_servers=api_servers, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    main()
