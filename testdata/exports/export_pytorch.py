"""Exports PyTorch networks to ONNX: `python export_pytorch.py OUT [NAME ...]`.

Needs the packages of the workers' PyTorch environment. Every network has random weights of a fixed seed, BatchNorm
statistics of real forward passes, and a dynamic batch axis. Beside `NAME.onnx` stand samples and what PyTorch itself
makes of them, without any export; ONNX Runtime's distance from that is in the manifest.
"""

import argparse
import contextlib
import io
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytorch_networks as networks
import torch
from references import Manifest, describe, largest_difference, save, scale_of

SAMPLES = 4


@dataclass
class Export:
    """One file: a network by one of the exporters."""

    name: str
    make: Callable[[], torch.nn.Module]
    samples: Callable[[], torch.Tensor]
    extent: int = 0
    """Height and width of images; 0 for token ids."""
    dynamo: bool = True
    opset: int | None = None
    """The exporter's own choice where absent."""
    folding: bool = True
    """Whether BatchNorm and constants are folded while exporting."""
    external: bool = False
    """Whether the weights lie in a file of their own."""
    runs_in_onnxruntime: bool = True
    """False where ONNX Runtime refuses what the specification allows."""


def pictures(extent: int) -> dict[str, object]:
    """Samples of images."""
    return {"samples": lambda: networks.images(SAMPLES, extent), "extent": extent}


def sentences() -> dict[str, object]:
    """Samples of token ids."""
    return {"samples": lambda: networks.tokens(SAMPLES, 16)}


def exports() -> list[Export]:
    """All of them: what `torch.onnx.export` does by default, and the older exporter, over a span of opsets."""
    old = {"dynamo": False}
    return [
        Export("resnet18", networks.resnet18, **pictures(64), external=True),
        Export("resnet18_script", networks.resnet18, **pictures(64), **old, opset=13),
        Export("mobilenet_v2", networks.mobilenet_v2, **pictures(64)),
        Export(
            "mobilenet_v2_script",
            networks.mobilenet_v2,
            **pictures(64),
            **old,
            opset=11,
            folding=False,
        ),
        Export("mobilenet_v3", networks.mobilenet_v3, **pictures(64)),
        Export("mobilenet_v3_script", networks.mobilenet_v3, **pictures(64), **old),
        Export("vit", networks.vision_transformer, **pictures(32)),
        Export("vit_script", networks.vision_transformer, **pictures(32), **old),
        Export("convnext", networks.convnext, **pictures(32)),
        Export("convnext_script", networks.convnext, **pictures(32), **old, opset=16),
        Export("lstm", networks.lstm, **sentences()),
        Export("lstm_script", networks.lstm, **sentences(), **old, opset=14),
        Export("bidirectional_lstm", networks.bidirectional_lstm, **sentences()),
        Export(
            "bidirectional_lstm_script",
            networks.bidirectional_lstm,
            **sentences(),
            **old,
        ),
        Export("gru", networks.gru, **sentences()),
        Export("gru_script", networks.gru, **sentences(), **old),
        Export("encoder", networks.Encoder, **sentences()),
        Export("encoder_script", networks.Encoder, **sentences(), **old),
        # ONNX Runtime's Attention wants masks that are not broadcast.
        Export(
            "encoder_opset23",
            networks.Encoder,
            **sentences(),
            opset=23,
            runs_in_onnxruntime=False,
        ),
        Export("decoder", networks.Decoder, **sentences()),
        Export("decoder_script", networks.Decoder, **sentences(), **old),
        Export("decoder_opset23", networks.Decoder, **sentences(), opset=23),
        Export("unet", networks.UNet, **pictures(32)),
        Export("unet_script", networks.UNet, **pictures(32), **old, opset=17),
    ]


def write(export: Export, network: torch.nn.Module, path: Path) -> None:
    """Runs the exporter."""
    name = "input" if export.extent else "tokens"
    options: dict[str, object] = {"input_names": [name], "output_names": ["logits"]}
    if export.opset:
        options["opset_version"] = export.opset
    if export.dynamo:
        options["dynamic_shapes"] = ({0: torch.export.Dim("batch", min=1, max=4096)},)
        options["external_data"] = export.external
        options["optimize"] = export.folding
    else:
        options["dynamic_axes"] = {name: {0: "batch"}, "logits": {0: "batch"}}
        options["do_constant_folding"] = export.folding
        if not export.folding:
            options["training"] = torch.onnx.TrainingMode.PRESERVE
    # Both exporters narrate; what they say is shown when they fail.
    said = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (export.samples(),), path, dynamo=export.dynamo, **options
        )


def make(export: Export, folder: Path) -> dict[str, object]:
    """Exports one network and runs it. The model's entry in the manifest."""
    start = time.monotonic()
    # The same network, whichever exporter writes it.
    torch.manual_seed(
        zlib.crc32(export.name.split("_script")[0].split("_opset")[0].encode())
    )
    network = export.make().eval()
    if export.extent:
        networks.settle_batch_norm(network, export.extent)
    networks.spread_logits(network, export.samples())
    samples = export.samples()
    with torch.no_grad():
        expected = network(samples)
    file = folder / f"{export.name}.onnx"
    write(export, network, file)

    model = onnx.load(file)
    onnx.checker.check_model(str(file), full_check=True)
    inputs = {model.graph.input[0].name: samples.numpy()}
    outputs = {model.graph.output[0].name: expected.numpy()}
    scale = scale_of(outputs)
    if not np.isfinite(scale):
        raise ValueError(f"PyTorch's outputs are up to {scale}")
    difference = None
    if export.runs_in_onnxruntime:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found = dict(zip(outputs, session.run(None, inputs), strict=True))
        difference = largest_difference(outputs, found)
        if difference > 1e-3 * scale:
            raise ValueError(
                f"ONNX Runtime differs by {difference} at outputs up to {scale}"
            )
    save(folder, export.name, inputs, outputs)
    parts = [file, file.with_suffix(".onnx.data")]
    return {
        "name": export.name,
        "file": file.name,
        "exporter": "dynamo" if export.dynamo else "script",
        "opset": {
            entry.domain or "ai.onnx": entry.version for entry in model.opset_import
        },
        "inputs": describe(inputs),
        "outputs": describe(outputs),
        "samples": SAMPLES,
        "batch": None,
        "onnxruntime_difference": difference,
        "tolerance": {"absolute": max(1e-4 * scale, 4 * (difference or 0.0))},
        "operators": dict(sorted(operators(model).items())),
        "bytes": sum(part.stat().st_size for part in parts if part.exists()),
        "seconds": round(time.monotonic() - start, 1),
    }


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator is used, in functions and subgraphs too."""
    counts: Counter[str] = Counter()
    pending = [model.graph.node, *(function.node for function in model.functions)]
    while pending:
        for node in pending.pop():
            counts[
                f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            ] += 1
            for attribute in node.attribute:
                pending.extend(graph.node for graph in (attribute.g, *attribute.graphs))
    return counts


def main() -> int:
    """Exports what was asked for, all by default. Fails when an export failed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("names", nargs="*")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    # The fused encoder layer has no ONNX form in the older exporter.
    torch.backends.mha.set_fastpath_enabled(False)
    manifest = Manifest(options.out, "onnx")
    for export in exports():
        if options.names and export.name not in options.names:
            continue
        try:
            entry = make(export, options.out)
        except Exception as error:
            reason = "".join(traceback.format_exception_only(error)).strip()
            manifest.fail(export.name, reason)
            print(f"error: {export.name}: {reason[:2000]}", file=sys.stderr)
        else:
            manifest.models.append(entry)
            print(
                f"{export.name}: {entry['bytes']:,} bytes, {entry['seconds']} s",
                flush=True,
            )
    manifest.write()
    return 1 if manifest.failures else 0


if __name__ == "__main__":
    sys.exit(main())
