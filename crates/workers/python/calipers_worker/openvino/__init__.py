"""OpenVINO and NNCF behind the worker's protocol, without their telemetry."""

import sys

# Both send events to their makers as long as they find this package and no file in the user's home
# that declines. An import that fails is what they themselves do without it for.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
