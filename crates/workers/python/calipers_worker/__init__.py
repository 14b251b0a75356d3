"""One framework behind the protocol: `python -m calipers_worker FRAMEWORK`."""

import os

# ONNX Runtime sends events to its makers unless it is told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
