"""Converts one Keras network to TFLite, for `export_keras.py`: `python convert_keras.py OUT NETWORK VARIANT ...`.

It prints a line of JSON, `[event, variant, value]`, before each variant (`begun`) and after it (`made`, with the
model's entry in the manifest, or `failed`, with the reason); where the process ends by a signal the last line says
at which variant.
"""

import json
import sys
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path

import keras
import keras_networks
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from references import describe, save

SAMPLES = 4
CALIBRATION = 12


def convert_network(network: str, variants: list[str], folder: Path) -> None:
    """Converts one network; prints a line of JSON before and after each variant."""
    seed = zlib.crc32(network.encode())
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    model = keras_networks.NETWORKS[network]()
    keras_networks.settle(model, random)
    inputs = keras_networks.samples(model, SAMPLES, random)
    more = keras_networks.samples(model, CALIBRATION - SAMPLES, random)
    calibration = np.concatenate([inputs, more])
    expected = keras_networks.run(model, inputs)
    for variant in variants:
        tell("begun", variant, None)
        try:
            start = time.monotonic()
            content = convert(model, variant, calibration)
            name = f"{network}_{variant}"
            (folder / f"{name}.tflite").write_bytes(content)
            entry = reference(folder, name, inputs, expected)
            entry |= {"network": network, "variant": variant, "bytes": len(content)}
            entry["seconds"] = round(time.monotonic() - start, 1)
            tell("made", variant, entry)
        except Exception as error:
            reason = "".join(traceback.format_exception_only(error)).strip()
            # The converter says the same once for each operator.
            tell("failed", variant, "\n".join(dict.fromkeys(reason.splitlines())))


def tell(event: str, variant: str, value: object) -> None:
    """One line to the parent."""
    print(json.dumps([event, variant, value]), flush=True)


def convert(
    model: keras_networks.Network, variant: str, calibration: np.ndarray
) -> bytes:
    """The flatbuffer of one variant."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if variant != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant in ("int8", "int16x8"):
        converter.representative_dataset = lambda: ([x[None]] for x in calibration)
        narrow = variant == "int8"
        kernels = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            kernels.TFLITE_BUILTINS_INT8
            if narrow
            else kernels.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
        kind = tf.int8 if narrow else tf.int16
        # Token ids stay what they are.
        if model.inputs[0].dtype in ("float32", tf.float32):
            converter.inference_input_type = kind
        converter.inference_output_type = kind
    return converter.convert()


def reference(
    folder: Path, name: str, inputs: np.ndarray, expected: np.ndarray
) -> dict[str, object]:
    """Runs a file by LiteRT's reference kernels, writes samples and outputs. The model's entry in the manifest."""
    path = folder / f"{name}.tflite"
    interpreter = Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    [signature] = interpreter.get_signature_list().items()
    [entering], [leaving] = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    given, outputs = [], []
    for sample in inputs:
        given.append(quantized(sample[None], entering))
        interpreter.reset_all_variables()
        interpreter.set_tensor(entering["index"], given[-1])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(leaving["index"]).copy())
    given = {entering["name"]: np.concatenate(given)}
    found = {leaving["name"]: np.concatenate(outputs)}
    scale, zero_point = leaving["quantization"]
    values = found[leaving["name"]].astype(np.float64)
    if scale:
        values = (values - zero_point) * scale
    if not np.isfinite(values).all():
        raise ValueError("LiteRT's outputs are not finite")
    save(folder, name, given, found)
    return {
        "name": name,
        "file": path.name,
        "signature": {"name": signature[0], **signature[1]},
        "inputs": describe(given),
        "outputs": describe(found),
        "output_quantization": {"scale": float(scale), "zero_point": int(zero_point)},
        "samples": SAMPLES,
        "batch": 1,
        "largest_output": float(np.abs(values).max()),
        "keras_difference": float(np.abs(values - expected).max()),
        "tolerance": tolerance(name, scale, float(np.abs(values).max())),
        "operators": dict(sorted(operators(interpreter).items())),
    }


def tolerance(name: str, scale: float, largest: float) -> dict[str, float]:
    """How far from LiteRT is near enough; dynamic range rounds activations, which need not be imitated."""
    if scale:
        return {"steps": 1}
    return {"absolute": (0.1 if name.endswith("_dynamic") else 1e-4) * largest}


def quantized(sample: np.ndarray, detail: dict[str, object]) -> np.ndarray:
    """A sample in the type of the model's input."""
    scale, zero_point = detail["quantization"]
    if not scale:
        return sample.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    steps = np.round(sample / scale) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(detail["dtype"])


def operators(interpreter: Interpreter) -> Counter[str]:
    """How often each builtin operator is used."""
    return Counter(detail["op_name"] for detail in interpreter._get_ops_details())


if __name__ == "__main__":
    convert_network(sys.argv[2], sys.argv[3:], Path(sys.argv[1]))
