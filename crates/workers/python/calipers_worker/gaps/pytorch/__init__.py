"""Gap probes of PyTorch: its layers, its ways to quantize, and what it can tell of them."""
