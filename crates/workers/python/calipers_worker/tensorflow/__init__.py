"""The TensorFlow worker: Keras layers, the TFLite converter, TFMOT, and LiteRT to run them."""

import os

# TFMOT refuses Keras 3, and TensorFlow reads the choice once, when it is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
