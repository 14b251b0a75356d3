"""Questions about ONNX Runtime's tooling, each answered by trying it on a small network."""

import importlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.numpy_helper import to_array
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import qdq_loss_debug

from calipers_worker.gaps.answers import Answer, answer
from calipers_worker.gaps.onnxruntime.cell import outputs_of, session_options
from calipers_worker.gaps.onnxruntime.executed import executed_operators
from calipers_worker.gaps.onnxruntime.layers_convolution import layer_residual
from calipers_worker.gaps.onnxruntime.paths_quantization import (
    SampleReader,
    path_dynamic,
    path_qdq,
    path_qoperator,
)


@dataclass
class Pair:
    """A float model, the same quantized by the path qdq, and inputs of both."""

    native: str
    quantized: str
    weights: Mapping[str, np.ndarray]
    samples: Sequence[Mapping[str, np.ndarray]]
    folder: Path

    def operators(self, model: str) -> list[dict[str, Any]]:
        """What executes."""
        return executed_operators(model, self.samples[0], self.folder, session_options())


def a_pair(folder: Path) -> Pair:
    """Build and quantize the residual network."""
    random = np.random.default_rng(1)
    weights: dict[str, np.ndarray] = {}
    for name in ("before", "conv1", "conv2", "after"):
        weights[f"{name}.weight"] = random.uniform(-0.1, 0.1, (16, 16, 3, 3)).astype(np.float32)
        weights[f"{name}.bias"] = random.uniform(-0.1, 0.1, 16).astype(np.float32)
    samples = [{"x": random.uniform(-1, 1, (1, 16, 12, 12)).astype(np.float32)} for _ in range(4)]
    model = layer_residual(weights)
    onnx.save(model, folder / "native.onnx")
    quantized = path_qdq(model, samples, folder)
    return Pair(str(folder / "native.onnx"), str(quantized), weights, samples, folder)


def counted(operators: Sequence[Mapping[str, Any]]) -> str:
    """Operators and how often each executed."""
    counts = Counter(operator["name"] for operator in operators)
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def capability_read_weights(folder: Path) -> Answer:
    """Quantized weights and their scales, against the float weights."""
    pair = a_pair(folder)
    tensors = {one.name: to_array(one) for one in onnx.load(pair.quantized).graph.initializer}
    stored = tensors["conv1.weight_quantized"].astype(np.float32)
    scale = tensors["conv1.weight_scale"].reshape(-1, 1, 1, 1)
    steps = float(np.max(np.abs(stored * scale - pair.weights["conv1.weight"]) / scale))
    return answer(
        "yes" if steps <= 0.5 + 1e-3 else "no",
        "qdq: weights, scales and zero points are constants of the ONNX file, by name",
        f"conv1.weight_quantized {tensors['conv1.weight_quantized'].dtype}, times "
        f"conv1.weight_scale of {scale.size} channels, is within {steps:.3f} steps of the weights",
    )


def capability_read_activations(folder: Path) -> Answer:
    """Every tensor between, as an output of the quantized model; and what executes then."""
    pair = a_pair(folder)
    plain = pair.operators(pair.quantized)
    watched = {}
    for name, model in (("float", folder / "prepared.onnx"), ("quantized", Path(pair.quantized))):
        target = folder / f"watched_{name}.onnx"
        qdq_loss_debug.modify_model_output_intermediate_tensors(str(model), str(target))
        watched[name] = qdq_loss_debug.collect_activations(str(target), SampleReader(pair.samples))
    matched = qdq_loss_debug.create_activation_matching(watched["quantized"], watched["float"])
    observed = pair.operators(str(folder / "watched_quantized.onnx"))
    integer = [
        sum(one["class"] == "integer" for one in operators) for operators in (plain, observed)
    ]
    evidence = (
        f"tensors with their float counterparts: {', '.join(matched)}",
        f"plain: {counted(plain)}",
        f"with all tensors as outputs: {counted(observed)}",
    )
    if not matched:
        return answer("no", "qdq: qdq_loss_debug gives no tensor", *evidence)
    if integer[1] < integer[0]:
        return answer(
            "partly",
            "qdq: qdq_loss_debug gives every tensor, but of a model that computes in float, as "
            "outputs between keep operators from being fused",
            *evidence,
        )
    return answer("yes", "qdq: qdq_loss_debug gives every tensor", *evidence)


def profiled(pair: Pair, model: str) -> list[dict[str, Any]]:
    """The profiler's events of executed nodes."""
    options = session_options()
    options.enable_profiling = True
    options.profile_file_prefix = str(pair.folder / "times")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, dict(pair.samples[0]))
    events = json.loads(Path(session.end_profiling()).read_text())
    return [event for event in events if event["cat"] == "Node"]


def timed(pair: Pair, model: str, path: str) -> Answer:
    """Whether the profiler gives a time for each operator of `model`."""
    events = profiled(pair, model)
    times = [f"{event['args']['op_name']} {event['dur']} us" for event in events]
    return answer(
        "yes" if events and all("dur" in event for event in events) else "no",
        f"{path}: SessionOptions.enable_profiling writes a time for each executed operator",
        ", ".join(times),
    )


def capability_profile_float_inference(folder: Path) -> Answer:
    """Times of the operators of a float model."""
    pair = a_pair(folder)
    return timed(pair, pair.native, "float")


def capability_profile_quantized_inference(folder: Path) -> Answer:
    """Times of the operators of a quantized model."""
    pair = a_pair(folder)
    return timed(pair, pair.quantized, "qdq")


def without_training(what: str) -> Answer:
    """What came of importing ONNX Runtime's training."""
    try:
        module = importlib.import_module("onnxruntime.training")
    except ImportError as error:
        return answer(
            "no",
            f"{what}: this build of ONNX Runtime trains nothing",
            f"import onnxruntime.training: {type(error).__name__}: {error}",
        )
    return answer(
        "partly",
        f"{what}: onnxruntime.training is there, but nothing of it was tried",
        f"import onnxruntime.training: {module.__name__}",
    )


def capability_profile_training(folder: Path) -> Answer:  # noqa: ARG001
    """Times of the operators of a step of training."""
    return without_training("profile of training")


def capability_qat_overhead(folder: Path) -> Answer:  # noqa: ARG001
    """A step of quantization-aware training over a float one."""
    return without_training("quantization-aware training")


def capability_profile_memory(folder: Path) -> Answer:
    """Bytes of each operator, from the same profile."""
    pair = a_pair(folder)
    events = profiled(pair, pair.quantized)
    fields = ("activation_size", "parameter_size", "output_size")
    lines = [
        f"{event['args']['op_name']}: "
        + ", ".join(f"{name} {event['args'][name]}" for name in fields if name in event["args"])
        for event in events
    ]
    if not lines or not all(name in line for name in fields for line in lines):
        return answer("no", "qdq: the profile has no bytes of operators", *lines)
    size = pair.weights["conv1.weight"].size
    counted_in = [
        int(event["args"]["parameter_size"]) >= size
        for event in events
        if event["args"]["op_name"] == "QLinearConv"
    ]
    return answer(
        "yes" if counted_in and all(counted_in) else "partly",
        "qdq: the profile has bytes of inputs, constants and outputs of each executed operator"
        + ("" if all(counted_in) else ", without weights that a kernel has packed for itself"),
        f"weights of each convolution: {size} bytes",
        *lines,
    )


def capability_automatic_fusion(folder: Path) -> Answer:
    """Convolution, addition and ReLU, which nobody asked to fuse."""
    pair = a_pair(folder)
    nodes = Counter(node.op_type for node in onnx.load(pair.native).graph.node)
    executed = {"float": pair.operators(pair.native), "qdq": pair.operators(pair.quantized)}
    left = [one["name"] for operators in executed.values() for one in operators]
    return answer(
        "no" if "Relu" in left else "yes",
        "float: sessions fuse convolution, addition and ReLU by themselves; qdq: the quantizer "
        "makes ReLU part of the range before it, and sessions fuse the rest",
        f"nodes: {', '.join(f'{count} {name}' for name, count in nodes.items())}",
        *(f"{name} executed: {counted(operators)}" for name, operators in executed.items()),
    )


def capability_without_stubs(folder: Path) -> Answer:
    """A float model that says nothing of quantization."""
    pair = a_pair(folder)
    operators = pair.operators(pair.quantized)
    weighted = [one for one in operators if one["weighted"]]
    return answer(
        "yes" if all(one["class"] == "integer" for one in weighted) else "no",
        "qdq: quantize_static takes the float model as it is and finds by itself what to quantize",
        f"executed: {counted(operators)}",
    )


def capability_without_special_interpreter(folder: Path) -> Answer:
    """The quantized models in the session that runs float models."""
    pair = a_pair(folder)
    floats = outputs_of(pair.native, pair.samples, session_options())
    quantized = outputs_of(pair.quantized, pair.samples, session_options())
    difference = max(float(np.max(np.abs(a - b))) for a, b in zip(floats, quantized, strict=True))
    return answer(
        "yes",
        "all paths: InferenceSession runs the float model and the quantized one",
        f"largest difference of qdq to float: {difference:.4f}",
    )


def capability_accelerator(folder: Path) -> Answer:
    """The execution providers of the build, beside the CPU's."""
    pair = a_pair(folder)
    here = onnxruntime.get_available_providers()
    local = [
        name for name in here if name not in ("CPUExecutionProvider", "AzureExecutionProvider")
    ]
    session = onnxruntime.InferenceSession(
        pair.quantized, session_options(), providers=["CUDAExecutionProvider", *here]
    )
    return answer(
        "yes" if local else "no",
        f"all paths: the package registers {', '.join(local) or 'no accelerator'}; others come in "
        "packages of their own (tried without an accelerator on the machine)",
        f"get_available_providers(): {', '.join(here)}",
        f"get_all_providers(): {', '.join(onnxruntime.get_all_providers())}",
        f"asked for CUDAExecutionProvider, the session has {', '.join(session.get_providers())}",
    )


def capability_save_and_load(folder: Path) -> Answer:
    """The quantized model, loaded, saved and loaded again."""
    pair = a_pair(folder)
    copy = str(folder / "copy.onnx")
    onnx.save(onnx.load(pair.quantized), copy)
    once, again = (
        outputs_of(model, pair.samples, session_options()) for model in (pair.quantized, copy)
    )
    same = all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    return answer(
        "yes" if same else "no",
        "qdq: the quantized model is an ONNX file, and a copy gives the same outputs",
        f"outputs bit for bit equal: {same}",
    )


def capability_export_to_onnx(folder: Path) -> Answer:
    """Whether the quantized model is what the ONNX standard knows, path by path."""
    pair = a_pair(folder)
    onnx.checker.check_model(pair.quantized, full_check=True)
    evaluator = ReferenceEvaluator(pair.quantized)
    theirs = [evaluator.run(None, dict(sample))[0] for sample in pair.samples]
    ours = outputs_of(pair.quantized, pair.samples, session_options())
    difference = max(float(np.max(np.abs(a - b))) for a, b in zip(ours, theirs, strict=True))
    own = {}
    for name, path in (("qoperator", path_qoperator), ("dynamic", path_dynamic)):
        made = onnx.load(path(layer_residual(pair.weights), pair.samples, folder))
        own[name] = sorted({node.op_type for node in made.graph.node if node.domain})
    return answer(
        "yes",
        "qdq: the quantized model has operators of the ONNX standard alone",
        f"qdq passes onnx.checker; ONNX's own evaluator differs by {difference:.2g}",
        *(
            f"{name}, operators of ONNX Runtime's own: {found or 'none'}"
            for name, found in own.items()
        ),
    )
