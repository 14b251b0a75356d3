"""One framework behind the protocol: `python -m calipers_worker pytorch|tensorflow|onnxruntime`."""

import os

# ONNX Runtime sends events to its makers unless it is told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
