"""What a plain project serves: FastAPI, Pillow and ONNX Runtime, with ResNet-18 at 224 pixels in float32.

python benchmarks/peers/plain.py MODEL PORT
"""

import io
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

app = FastAPI()
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])


@app.post("/classify/")
def classify(files: list[UploadFile]) -> list[dict[str, Any]]:
    """Name what each image shows."""
    answers = []
    for file in files:
        image = Image.open(io.BytesIO(file.file.read())).convert("RGB").resize((224, 224))
        pixels = (np.asarray(image, np.float32) / 255 - MEAN) / STD
        logits = session.run(None, {"images": pixels.transpose(2, 0, 1)[np.newaxis]})[0][0]
        odds = np.exp(logits - logits.max())
        best = int(odds.argmax())
        answers.append({"file": file.filename, "label": best, "probability": float(odds[best] / odds.sum())})
    return answers


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="error")
