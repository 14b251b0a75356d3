"""ONNX Runtime behind the worker's protocol."""
