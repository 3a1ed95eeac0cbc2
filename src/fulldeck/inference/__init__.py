"""From bytes to predictions, with ONNX Runtime and OpenCV alone. This room never imports torch."""

import os

# From 1.29 on, importing ONNX Runtime writes a device id under ~/.cache and reports each session to Microsoft (its
# Privacy.md). This library sends nothing anywhere, so it opts out before that import; set the variable to 0 to opt in.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
