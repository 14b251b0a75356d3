"""The gap probes of ONNX Runtime: layers as ONNX graphs, and its own ways to quantize them."""
