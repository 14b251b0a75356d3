"""The protocol's commands, done with OpenVINO and NNCF."""

from calipers_worker import inference_commands
from calipers_worker.openvino.engine import OpenVino
from calipers_worker.protocol import Commands


def commands() -> Commands:
    """The commands by name."""
    return inference_commands.commands(OpenVino())
