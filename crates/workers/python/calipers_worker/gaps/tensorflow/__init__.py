"""Gap probes of TensorFlow: Keras 2 and 3, the TFLite converter, TFMOT, AI Edge Quantizer."""

import os

# TFMOT refuses Keras 3, and TensorFlow reads the choice once, when it is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
