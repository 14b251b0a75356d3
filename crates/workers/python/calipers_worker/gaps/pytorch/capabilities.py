"""Questions about PyTorch's quantization, each answered by trying it on a small network."""

import copy
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import fx, nn
from torch.ao.quantization import get_default_qat_qconfig, get_default_qconfig, prepare_qat
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

from calipers_worker.gaps.answers import Answer, answer
from calipers_worker.gaps.pytorch.cell import difference, outputs_of
from calipers_worker.gaps.pytorch.layers_networks import layer_residual
from calipers_worker.gaps.pytorch.layers_sandwiches import Weights
from calipers_worker.gaps.pytorch.paths_eager import path_eager
from calipers_worker.gaps.pytorch.paths_executed import Sample, trace_executed
from calipers_worker.gaps.pytorch.paths_fx import path_fx
from calipers_worker.gaps.pytorch.paths_pt2e import calibrated_pt2e, compiled_frozen, path_pt2e
from calipers_worker.gaps.pytorch.paths_torchao import path_torchao_int8_dynamic

KERNELS = ("quantized::conv2d.new", "quantized::linear", "onednn::qconv_pointwise", "aten::_int_mm")


@dataclass
class Network:
    """A residual network of four convolutions, and inputs for it."""

    model: nn.Module
    samples: list[Sample]
    weights: Weights


def network() -> Network:
    """The network, the same at every call."""
    torch.set_num_threads(1)
    random = np.random.default_rng(1)
    weights: Weights = {}
    for name in ("before", "conv1", "conv2", "after"):
        weights[f"{name}.weight"] = random.uniform(-0.1, 0.1, (16, 16, 3, 3)).astype(np.float32)
        weights[f"{name}.bias"] = random.uniform(-0.1, 0.1, 16).astype(np.float32)
    inputs = random.uniform(-1, 1, (4, 1, 16, 12, 12)).astype(np.float32)
    return Network(
        layer_residual(weights).eval(), [(torch.from_numpy(x),) for x in inputs], weights
    )


def counted(operators: list[dict[str, Any]]) -> str:
    """Operators that compute, and how often each executed."""
    counts = Counter(one["name"] for one in operators if one["class"] not in ("convert", "move"))
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def tried(attempt: Callable[[], str]) -> tuple[bool, str]:
    """Whether the attempt succeeded, and what it says or how it failed."""
    try:
        return True, attempt()
    except Exception as error:  # noqa: BLE001 - how it fails is the answer
        words = " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())
        return False, f"{type(error).__name__}: {words[:300]}"


def capability_read_weights(folder: Path) -> Answer:  # noqa: ARG001
    """Integer weights and scales, against the float weights."""
    net = network()
    weight = path_fx(net.model, net.samples).artefact.get_submodule("layer.conv2").weight()
    scales = weight.q_per_channel_scales()
    steps = weight.int_repr().float() * scales.reshape(-1, 1, 1, 1).float()
    off = (steps - torch.from_numpy(net.weights["conv2.weight"])) / scales.reshape(-1, 1, 1, 1)
    frozen = path_pt2e(net.model, net.samples).artefact.state_dict()["_frozen_param0"]
    return answer(
        "yes" if float(off.abs().max()) <= 0.5 + 1e-3 else "no",
        "eager and fx: weight() of each module; pt2e: the tensors of the converted graph, whose "
        "names are not those of the modules",
        f"fx layer.conv2.weight(): {weight.dtype}, {len(scales)} scales, within "
        f"{float(off.abs().max()):.3f} steps of the float weights",
        f"pt2e _frozen_param0: {frozen.dtype}, {list(frozen.shape)}",
    )


def capability_read_activations(folder: Path) -> Answer:  # noqa: ARG001
    """Every value between, by an interpreter of the graph and by hooks."""
    net = network()
    converted = path_fx(net.model, net.samples).artefact
    values: dict[str, torch.Tensor] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and n.op.startswith("call"):
                values[n.name] = value
            return value

    with torch.no_grad():
        Recorder(converted).run(*net.samples[0])
    hooked = []
    for name, module in path_eager(net.model, net.samples).artefact.named_modules():
        module.register_forward_hook(lambda *_, name=name: hooked.append(name))
        if name == "":
            eager = module
    with torch.no_grad():
        eager(*net.samples[0])
    integer = [name for name, value in values.items() if value.is_quantized]
    compiled = path_pt2e(net.model, net.samples)
    fired: list[str] = []
    for name, module in compiled.artefact.named_modules():
        module.register_forward_hook(lambda *_, name=name: fired.append(name))
    with torch.no_grad():
        compiled.model(*net.samples[0])
    return answer(
        "yes" if len(integer) >= 4 and "layer.conv1" in hooked else "no",
        "fx: torch.fx.Interpreter sees the value of every node; eager: forward hooks; pt2e: not "
        "of the compiled model, which is one call",
        f"fx, integer values: {', '.join(integer)}",
        f"eager, hooks called: {', '.join(name for name in hooked if name)}",
        f"pt2e compiled, hooks called on inner modules: {', '.join(filter(None, fired)) or 'none'}",
    )


class Plain(nn.Module):
    """Convolution, batch norm and ReLU, without any stub."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.fuse: list[list[str]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolution, batch norm, ReLU."""
        return self.relu(self.norm(self.conv(x)))


def capability_automatic_fusion(folder: Path) -> Answer:  # noqa: ARG001
    """Convolution, batch norm and ReLU, which nobody asked to fuse."""
    samples = network().samples
    model = nn.Sequential(torch.ao.quantization.QuantStub(), Plain().eval())
    model.append(torch.ao.quantization.DeQuantStub())
    model.fuse = []
    eager = path_eager(model.eval(), samples)
    graph = path_fx(Plain().eval(), samples)
    compiled = path_pt2e(Plain().eval(), samples)
    seen = {
        "eager without fuse_modules": counted(eager.trace(eager.model, samples[0])["operators"]),
        "fx": counted(graph.trace(graph.model, samples[0])["operators"]),
        "pt2e": counted(compiled.trace(compiled.model, samples[0])["operators"]),
    }
    fused = seen["fx"] == "1 quantized::conv2d_relu"
    return answer(
        "yes" if fused else "no",
        "fx and pt2e fuse convolution, batch norm and ReLU by themselves; eager mode fuses what "
        "fuse_modules is given",
        *(f"{path}: {operators}" for path, operators in seen.items()),
    )


def capability_without_stubs(folder: Path) -> Answer:  # noqa: ARG001
    """A float model that says nothing of quantization."""
    samples = network().samples
    graph = path_fx(Plain().eval(), samples)
    compiled = path_pt2e(Plain().eval(), samples)

    def eager() -> str:
        quantized = path_eager(Plain().eval(), samples)
        return counted(trace_executed(quantized.model, samples[0])["operators"])

    works, said = tried(eager)
    operators = graph.trace(graph.model, samples[0])["operators"]
    weighted = [one for one in operators if one["weighted"]]
    return answer(
        "yes" if weighted and all(one["class"] == "integer" for one in weighted) else "no",
        "fx, pt2e and torchao take the float model as it is; eager mode needs QuantStub and "
        "DeQuantStub",
        f"fx: {counted(operators)}",
        f"pt2e: {counted(compiled.trace(compiled.model, samples[0])['operators'])}",
        f"eager without stubs {'runs' if works else 'fails'}: {said}",
    )


def capability_without_special_interpreter(folder: Path) -> Answer:  # noqa: ARG001
    """The quantized models in Python, called as the float model is."""
    net = network()
    floats = outputs_of(net.model, net.samples)
    lines = []
    for path in (path_eager, path_fx, path_pt2e):
        quantized = path(net.model, net.samples)
        error = difference(outputs_of(quantized.model, net.samples), floats)
        kind = f"{type(quantized.model).__module__}.{type(quantized.model).__name__}"
        lines.append(f"{path.__name__.removeprefix('path_')}: {kind}, largest error {error:.4f}")
    return answer("yes", "all paths: the quantized model is a module that PyTorch runs", *lines)


def capability_accelerator(folder: Path) -> Answer:  # noqa: ARG001
    """Quantized inference on a GPU where there is one, else the kernels that are registered."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    registered = []
    for kernel in KERNELS:
        keys = [key for key in ("QuantizedCUDA", "CUDA") if has(kernel, key)]
        registered.append(f"{kernel}: {', '.join(keys) or 'none'}")
    build = f"build for CUDA {torch.version.cuda}, GPU available: {torch.cuda.is_available()}"
    if not torch.cuda.is_available():
        return answer(
            "partly" if has("aten::_int_mm", "CUDA") else "no",
            "no GPU on this machine: the build registers CUDA kernels for torchao's integer "
            "product and, behind cuDNN, for eager and fx operators; none for pt2e's oneDNN ones",
            build,
            *registered,
        )
    net = network()
    inputs = [tuple(value.cuda() for value in sample) for sample in net.samples]

    def on_gpu() -> str:
        quantized = path_torchao_int8_dynamic(nn.Sequential(nn.Linear(64, 64)).cuda(), [])
        traced = trace_executed(quantized.model, (torch.randn(32, 64, device="cuda"),))
        return counted(traced["operators"])

    def graph_on_gpu() -> str:
        quantized = path_fx(net.model, net.samples)
        return counted(trace_executed(quantized.artefact.cuda(), inputs[0])["operators"])

    works, said = tried(on_gpu)
    graph_works, graph_said = tried(graph_on_gpu)
    return answer(
        "yes" if works and graph_works else "partly" if works or graph_works else "no",
        "torchao-int8-dynamic and fx on the machine's GPU",
        build,
        f"torchao-int8-dynamic: {said}",
        f"fx: {graph_said}",
        *registered,
    )


def capability_save_and_load(folder: Path) -> Answer:
    """The quantized models, saved and loaded."""
    net = network()
    quantized = path_fx(net.model, net.samples)
    values = outputs_of(quantized.model, net.samples)

    def state_dict() -> str:
        torch.save(quantized.artefact.state_dict(), folder / "state.pt")
        other = path_fx(layer_residual(net.weights).eval(), [net.samples[0]] * 2).artefact
        other.load_state_dict(torch.load(folder / "state.pt"))
        return same(values, outputs_of(other, net.samples))

    def script() -> str:
        torch.jit.save(torch.jit.script(quantized.artefact), folder / "script.pt")
        return same(values, outputs_of(torch.jit.load(folder / "script.pt"), net.samples))

    def exported_program() -> str:
        converted = converted_pt2e(net)
        compiled, _ = compiled_frozen(converted, net.samples[0])
        expected = outputs_of(compiled, net.samples)
        torch.export.save(torch.export.export(converted, net.samples[0]), folder / "program.pt2")
        loaded = torch.export.load(folder / "program.pt2").module()
        again, _ = compiled_frozen(loaded, net.samples[0])
        return same(expected, outputs_of(again, net.samples))

    results = {
        "fx, state_dict into a newly converted model": tried(state_dict),
        "fx, torch.jit.script": tried(script),
        "pt2e, torch.export.save, compiled again": tried(exported_program),
    }
    good = [name for name, (works, said) in results.items() if works and said == "equal"]
    return answer(
        "yes" if len(good) == len(results) else "partly" if good else "no",
        f"gives the same outputs by {', '.join(good) or 'no way'}",
        *(f"{name}: {said}" for name, (_, said) in results.items()),
    )


def same(left: list[np.ndarray], right: list[np.ndarray]) -> str:
    """`equal`, or by how much two lists of outputs differ."""
    off = difference(left, right)
    return "equal" if off == 0 else f"differs by {off:.3g}"


def converted_pt2e(net: Network) -> nn.Module:
    """The network quantized by pt2e, before it is compiled."""
    return convert_pt2e(calibrated_pt2e(net.model, net.samples))


def capability_export_to_onnx(folder: Path) -> Answer:
    """The quantized models through both exporters, and what ONNX Runtime makes of the files."""
    net = network()
    quantized = path_fx(net.model, net.samples)
    converted = converted_pt2e(net)

    def export(model: nn.Module, name: str, *, dynamo: bool) -> str:
        target = folder / name
        with torch.no_grad():
            torch.onnx.export(model, net.samples[0], str(target), dynamo=dynamo)
        nodes = Counter(node.op_type for node in onnx.load(target).graph.node)
        session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        outputs = [session.run(None, {name: x.numpy()})[0] for (x,) in net.samples]
        off = difference(outputs, outputs_of(model, net.samples))
        quantizing = nodes["QuantizeLinear"] + nodes["DequantizeLinear"]
        return f"{quantizing} Q/DQ of {sum(nodes.values())} nodes, differs by {off:.3g}"

    results = {
        "fx, dynamo=False": tried(lambda: export(quantized.artefact, "fx.onnx", dynamo=False)),
        "fx, dynamo=True": tried(lambda: export(quantized.artefact, "fx_new.onnx", dynamo=True)),
        "pt2e, dynamo=True": tried(lambda: export(converted, "pt2e.onnx", dynamo=True)),
    }
    good = [name for name, (works, said) in results.items() if works and not said.startswith("0 ")]
    return answer(
        "yes" if len(good) == len(results) else "partly" if good else "no",
        f"a quantized ONNX file comes from {'; '.join(good) or 'no path'}",
        *(f"{name}: {said}" for name, (_, said) in results.items()),
    )


def capability_qat_with_default_qconfig(folder: Path) -> Answer:  # noqa: ARG001
    """Whether get_default_qconfig, given to prepare_qat, trains with fake quantization."""
    net = network()
    model = copy.deepcopy(net.model).train()
    differences = {}
    for name, qconfig in (
        ("get_default_qconfig", get_default_qconfig("x86")),
        ("get_default_qat_qconfig", get_default_qat_qconfig("x86")),
    ):
        model.qconfig = qconfig
        prepared = prepare_qat(copy.deepcopy(model))
        off = [prepared(*sample) - model(*sample) for sample in net.samples]
        differences[name] = max(float(one.abs().max()) for one in off)
    return answer(
        "yes" if differences["get_default_qconfig"] > 0 else "no",
        "eager-qat: with get_default_qconfig the training forward of prepare_qat is that of the "
        "float model, and nothing says so",
        *(f"{name}: largest difference to float {off:.3g}" for name, off in differences.items()),
    )
