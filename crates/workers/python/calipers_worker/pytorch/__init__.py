"""The PyTorch side of the worker: native modules, native training, PyTorch's own quantization."""
