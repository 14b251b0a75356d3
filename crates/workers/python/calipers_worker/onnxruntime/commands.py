"""The protocol's commands, done with ONNX Runtime."""

from calipers_worker import inference_commands
from calipers_worker.gaps.command import Gaps
from calipers_worker.onnxruntime.engine import OnnxRuntime
from calipers_worker.protocol import Commands


def commands() -> Commands:
    """The commands by name."""
    return {**inference_commands.commands(OnnxRuntime()), **Gaps("onnxruntime").commands()}
