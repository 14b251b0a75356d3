"""The process's entry: takes stdout for the protocol, then loads the one framework asked for."""

import importlib
import sys

from calipers_worker import lifeline, protocol

FRAMEWORKS = ("pytorch", "tensorflow", "onnxruntime", "openvino")


def main(arguments: list[str]) -> int:
    """Serve the framework named by the only argument; exit status 2 for a wrong command line."""
    if len(arguments) != 1 or arguments[0] not in FRAMEWORKS:
        sys.stderr.write(f"usage: python -m calipers_worker {'|'.join(FRAMEWORKS)}\n")
        return 2
    framework = arguments[0]
    lifeline.hold()

    def load() -> protocol.Commands:
        return importlib.import_module(f"calipers_worker.{framework}.commands").commands()

    return protocol.serve(load)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
