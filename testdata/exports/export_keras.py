"""Converts Keras networks to TFLite: `python export_keras.py OUT [NETWORK ...]`.

Needs the packages of the workers' TensorFlow environment. Every network has random weights of a fixed seed,
BatchNorm statistics of a real forward pass, and batch one; it is converted in float and in each way of quantizing.
Beside `NAME.tflite` stand samples and what LiteRT's reference kernels make of them, one sample at a time. Each
network is converted in a process of its own, because converter and interpreter may end it by a signal; an export
that failed stands in the manifest with its reason.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from references import Manifest

VARIANTS = ("float", "float16", "dynamic", "int8", "int16x8")
CONVERTER = Path(__file__).with_name("convert_keras.py")
NETWORKS = (
    "resnet",
    "mobilenet_v2",
    "vit",
    "lstm",
    "lstm_loop",
    "gru",
    "encoder",
    "decoder",
    "unet",
)


def export_network(
    network: str, folder: Path
) -> tuple[list[dict[str, object]], list[tuple[str, str]]]:
    """All variants of a network; one that ends its process is recorded and the others go on in the next."""
    made, failed, left = [], [], list(VARIANTS)
    while left:
        child = subprocess.run(
            [sys.executable, CONVERTER, folder, network, *left],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=False,
        )
        begun = None
        for line in child.stdout.splitlines():
            if not line.startswith('["'):
                continue
            event, begun, value = json.loads(line)
            name = f"{network}_{begun}"
            if event == "made":
                made.append(value)
            elif event == "failed":
                failed.append((name, value))
            if event != "begun":
                left.remove(begun)
        if child.returncode == 0:
            break
        ended = f"exit status {child.returncode}"
        if child.returncode < 0:
            ended = f"signal {signal.Signals(-child.returncode).name}"
        said = [line for line in child.stderr.splitlines() if " port.cc:" not in line]
        last = " | ".join(said[-3:])[-1500:]
        # Without a variant begun it is the network itself that failed.
        lost = [begun] if begun in left else list(left)
        failed += [(f"{network}_{variant}", f"{ended}: {last}") for variant in lost]
        left = [variant for variant in left if variant not in lost]
    return made, failed


def main() -> int:
    """Converts what was asked for, all by default, two networks at a time. Fails when nothing could be converted."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("networks", nargs="*", metavar="NETWORK")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(options.out, "tflite")
    with ThreadPoolExecutor(2) as pool:
        exported = pool.map(
            lambda network: export_network(network, options.out),
            options.networks or NETWORKS,
        )
        for made, failed in exported:
            manifest.models += made
            for entry in made:
                print(
                    f"{entry['name']}: {entry['bytes']:,} bytes, {entry['seconds']} s",
                    flush=True,
                )
            for name, error in failed:
                manifest.fail(name, error)
                print(f"error: {name}: {error[:2000]}", file=sys.stderr, flush=True)
    manifest.write()
    return 0 if manifest.models else 1


if __name__ == "__main__":
    sys.exit(main())
