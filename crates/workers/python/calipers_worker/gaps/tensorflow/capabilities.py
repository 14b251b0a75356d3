"""Questions about TensorFlow's quantization that concern no single layer, each answered by trying.

`tflite` below is the converter with LiteRT; `tfmot` trains a Keras 2 model.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from calipers_worker.gaps.answers import Answer, answer
from calipers_worker.gaps.tensorflow.cell import keras_outputs, largest_difference, litert_outputs
from calipers_worker.gaps.tensorflow.paths_aeq import path_aeq_static
from calipers_worker.gaps.tensorflow.paths_tflite import (
    Samples,
    path_keras2_tflite_int8,
    path_tflite_int8,
)
from calipers_worker.gaps.tensorflow.paths_tfmot import path_tfmot
from calipers_worker.gaps.tensorflow.tflite_operators import tflite_operators

TIMED_PAIRS = 60
WARM_PAIRS = 5
# The last, without an ending, is a folder in the form of SavedModel.
KERAS_FILES = ("model.keras", "model.h5", "model")


def network(module: ModuleType) -> Any:
    """A small network for images, the same at every call: two convolutions, one of them normed."""
    module.utils.set_random_seed(1)
    x = module.Input((12, 12, 16), batch_size=1, name="x")
    h = module.layers.Conv2D(16, 3, padding="same", name="conv1")(x)
    h = module.layers.BatchNormalization(name="norm1")(h)
    h = module.layers.ReLU(name="relu1")(h)
    h = module.layers.Conv2D(16, 3, padding="same", name="conv2")(h)
    h = module.layers.ReLU(name="relu2")(h)
    h = module.layers.GlobalAveragePooling2D(name="pool")(h)
    return module.Model(x, module.layers.Dense(64, name="dense")(h))


def network_samples() -> Samples:
    """Four images."""
    random = np.random.default_rng(1)
    return [{"x": random.uniform(-1, 1, (1, 12, 12, 16)).astype(np.float32)} for _ in range(4)]


def attempt(action: Callable[[], Any]) -> str:
    """What an action gives, or how it fails, in one line."""
    try:
        return f"works: {action()}"
    except Exception as error:  # noqa: BLE001 - how it fails is the answer
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def operator_names(content: bytes) -> str:
    """The operators of a .tflite file in the order of execution."""
    return ", ".join(operator.name for operator in tflite_operators(content))


def capability_read_weights(folder: Path) -> Answer:
    """Integer weights and scales from the file, against the float weights."""
    model, samples = network(keras), network_samples()
    float_weights = model.get_layer("conv2").kernel.numpy().transpose(3, 0, 1, 2)
    evidence, distances = [], []
    for path in (path_tflite_int8, path_aeq_static):
        interpreter = Interpreter(model_content=path(model, samples, folder).content)
        interpreter.allocate_tensors()
        for detail in interpreter.get_tensor_details():
            scales = detail["quantization_parameters"]["scales"]
            if detail["dtype"] != np.int8 or tuple(detail["shape"]) != float_weights.shape:
                continue
            stored = interpreter.get_tensor(detail["index"]).astype(np.float32)
            steps = scales.reshape(-1, 1, 1, 1)
            distance = float(np.abs(stored - float_weights / steps).max())
            if distance < 1:
                distances.append(distance)
                evidence.append(
                    f"{path.__name__}: {detail['name'][:60]}, {len(scales)} scales, within "
                    f"{distance:.2f} steps of the float kernel"
                )
    # One of the two convolutions in each file is normed, and so is not the float kernel.
    return answer(
        "yes" if len(distances) == 2 else "partly",
        "tflite and aeq: Interpreter.get_tensor reads the integers and get_tensor_details the "
        "scales, under names that the converter makes",
        *evidence,
    )


def capability_read_activations(folder: Path) -> Answer:
    """Every value between, and whether they are those of the kernels that run by default."""
    content = path_tflite_int8(network(keras), network_samples(), folder).content
    made = [write.name for operator in tflite_operators(content) for write in operator.writes]
    values: dict[str, np.ndarray] = {}
    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    (takes,) = interpreter.get_input_details()
    interpreter.set_tensor(takes["index"], network_samples()[0]["x"])
    interpreter.invoke()
    for detail in interpreter.get_tensor_details():
        if detail["name"] in made:
            values[detail["name"]] = interpreter.get_tensor(detail["index"])
    alive = [name for name, value in values.items() if np.ptp(value.astype(np.float32)) > 0]
    inputs = network_samples()[:1]
    (default,) = litert_outputs(content, inputs, OpResolverType.AUTO)
    (reference,) = litert_outputs(content, inputs, OpResolverType.BUILTIN_REF)
    (output,) = interpreter.get_output_details()
    kept = interpreter.get_tensor(output["index"])
    return answer(
        "yes" if len(alive) == len(made) else "partly",
        "tflite and aeq: an Interpreter with experimental_preserve_all_tensors gives every value",
        f"{len(alive)} of {len(made)} values can be read and are not constant",
        f"its output differs from that of the default kernels by {np.abs(kept - default).max()}, "
        f"from that of the reference kernels by {np.abs(kept - reference).max()}",
    )


def capability_automatic_fusion(folder: Path) -> Answer:
    """Whether convolution, normalization and ReLU become one operator unasked."""
    samples = network_samples()
    contents = {
        path.__name__: path(network(path.keras), samples, folder).content
        for path in (path_tflite_int8, path_keras2_tflite_int8, path_tfmot, path_aeq_static)
    }
    fused = [
        not {"MUL", "ADD", "SUB", "RELU"} & {one.name for one in tflite_operators(content)}
        for content in contents.values()
    ]
    return answer(
        "yes" if all(fused) else "partly",
        "tflite, tfmot and aeq: convolution, batch normalization and ReLU become one CONV_2D",
        *(f"{name}: {operator_names(content)}" for name, content in contents.items()),
    )


def capability_without_stubs(folder: Path) -> Answer:
    """Whether a model can be quantized as it is."""
    samples = network_samples()
    evidence = []
    for path in (path_tflite_int8, path_tfmot, path_aeq_static):
        operators = tflite_operators(path(network(path.keras), samples, folder).content)
        floats = [one.name for one in operators if one.kind() == "float"]
        evidence.append(f"{path.__name__}: float operators: {', '.join(floats) or 'none'}")
    whole = all(line.endswith("none") for line in evidence)
    return answer(
        "yes" if whole else "partly",
        "tflite, tfmot and aeq take the model as it is, tfmot no subclassed and no nested one",
        *evidence,
    )


def capability_without_special_interpreter(folder: Path) -> Answer:
    """Whether what was quantized runs in TensorFlow itself."""
    file = folder / "model.tflite"
    file.write_bytes(path_tflite_int8(network(keras), network_samples(), folder).content)
    loaded = attempt(lambda: keras.models.load_model(file))
    saved = attempt(lambda: tf.saved_model.load(str(file)))
    trained = path_tfmot(network(tf_keras), network_samples(), folder).fake_quantized
    tfmot_types = products(lambda x: trained(x, training=False))
    own = network(keras)
    own.quantize("int8")
    return answer(
        "partly",
        "tflite, aeq and tfmot: integers run in LiteRT's interpreter alone, which the tensorflow "
        "package brings along; Keras 3 runs int8 itself after model.quantize, but Dense, "
        "EinsumDense and embeddings only",
        f"keras.models.load_model of the file: {loaded}",
        f"tf.saved_model.load of the file: {saved}",
        f"tfmot's model in TensorFlow computes {tfmot_types}",
        f"Keras 3 after model.quantize('int8') computes {products(own)}",
    )


def products(function: Callable[[Any], Any]) -> str:
    """The products that TensorFlow executes for one image, and the types that they are fed."""
    traced = tf.function(lambda x: function(x)).get_concrete_function(
        tf.TensorSpec((1, 12, 12, 16), tf.float32)
    )
    kinds = ("Conv2D", "MatMul", "BatchMatMulV2", "BatchMatMulV3")
    return ", ".join(
        f"{operation.type} of {' and '.join(given.dtype.name for given in operation.inputs)}"
        for operation in traced.graph.get_operations()
        if operation.type in kinds
    )


def capability_accelerator(folder: Path) -> Answer:
    """What this build registers beside the CPU."""
    file = folder / "model.tflite"
    file.write_bytes(path_tflite_int8(network(keras), network_samples(), folder).content)
    tried = []
    for kind in (HardwareAccelerator.GPU, HardwareAccelerator.NPU):
        outcome = attempt(lambda kind=kind: CompiledModel.from_file(str(file), hardware_accel=kind))
        tried.append(f"LiteRT, int8 model, {kind.name} alone: {outcome}")
    devices = ", ".join(device.device_type for device in tf.config.list_physical_devices())
    works = any(": works" in line for line in tried)
    return answer(
        "partly" if works else "no",
        "tflite: LiteRT names GPU and NPU as accelerators and brings a WebGPU library; on this "
        "machine, without either, this is only what the build registers",
        *tried,
        f"TensorFlow: devices {devices}, built with CUDA: {tf.test.is_built_with_cuda()}",
    )


def trainable_network() -> Any:
    """A small convolutional network of Keras 2 for batches of any size."""
    return tf_keras.Sequential(
        [
            tf_keras.layers.Input((32, 32, 3)),
            tf_keras.layers.Conv2D(32, 3, padding="same"),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.ReLU(),
            tf_keras.layers.Conv2D(32, 3, padding="same"),
            tf_keras.layers.ReLU(),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(10),
        ]
    )


def capability_qat_overhead(folder: Path) -> Answer:  # noqa: ARG001
    """Time of a training step with fake quantization over one without, in turns."""
    model = trainable_network()
    quantized = tfmot.quantization.keras.quantize_model(model)
    inputs = np.random.default_rng(1).uniform(-1, 1, (32, 32, 32, 3)).astype(np.float32)
    targets = np.zeros((len(inputs), 10), np.float32)
    ratios = []
    for one in (model, quantized):
        one.compile(tf_keras.optimizers.SGD(1e-4), loss="mse")
    for pair in range(TIMED_PAIRS + WARM_PAIRS):
        seconds = []
        for one in (model, quantized):
            started = time.perf_counter()
            one.train_on_batch(inputs, targets)
            seconds.append(time.perf_counter() - started)
        if pair >= WARM_PAIRS:
            ratios.append(seconds[1] / seconds[0])
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "all")
    return answer(
        "yes",
        f"tfmot: a training step takes {middle:.2f} times a float one (median of {len(ratios)})",
        f"quartiles of the ratio {low:.2f} and {high:.2f}",
        f"two convolutions of 32 channels, batch of 32 images of 32 x 32, threads: {threads}",
        ratio=middle,
    )


def capability_save_and_load(folder: Path) -> Answer:
    """Whether a quantized model gives the same after a file."""
    samples = network_samples()
    quantized = path_tfmot(network(tf_keras), samples, folder)
    file = folder / "model.tflite"
    file.write_bytes(quantized.content)
    before = litert_outputs(quantized.content, samples, OpResolverType.AUTO)
    after = litert_outputs(file.read_bytes(), samples, OpResolverType.AUTO)
    trained = quantized.fake_quantized

    def reloaded(name: str) -> str:
        trained.save(folder / name)
        with tfmot.quantization.keras.quantize_scope():
            loaded = tf_keras.models.load_model(folder / name, compile=False)
        difference = largest_difference(
            keras_outputs(trained, samples), keras_outputs(loaded, samples)
        )
        return f"largest difference {difference}"

    files = {name: attempt(lambda name=name: reloaded(name)) for name in KERAS_FILES}
    exact = "works: largest difference 0.0"
    same = largest_difference(before, after) == 0
    return answer(
        "yes" if same and all(line == exact for line in files.values()) else "partly",
        "tflite and aeq: the .tflite file is the model; tfmot's model is saved by Keras 2 and "
        "loaded in quantize_scope",
        f".tflite: largest difference {largest_difference(before, after)}",
        *(f"tfmot, {name}: {line}" for name, line in files.items()),
    )


def capability_export_to_onnx(folder: Path) -> Answer:
    """Whether a quantized model becomes an ONNX file."""
    own = network(keras)
    own.quantize("int8")
    own(network_samples()[0]["x"])
    exported = attempt(lambda: own.export(folder / "model.onnx", format="onnx"))
    trained = path_tfmot(network(tf_keras), network_samples(), folder).fake_quantized
    legacy = attempt(lambda: trained.export(folder / "model2.onnx", format="onnx"))
    works = [line.startswith("works") for line in (exported, legacy)]
    return answer(
        "yes" if all(works) else "partly" if any(works) else "no",
        "none of tensorflow, LiteRT, aeq and tfmot writes ONNX; Keras 3 asks for the foreign "
        "package tf2onnx",
        f"Keras 3, model.quantize('int8') and model.export(format='onnx'): {exported}",
        f"tfmot's model, model.export(format='onnx'): {legacy}",
    )
