"""From bytes to predictions, with ONNX Runtime and OpenCV alone. This room never imports torch."""
