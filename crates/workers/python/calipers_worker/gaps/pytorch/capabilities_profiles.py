"""Questions about PyTorch's profiler, and what quantization-aware training costs."""

import copy
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.ao.quantization import get_default_qat_qconfig_mapping
from torch.ao.quantization.quantize_fx import prepare_qat_fx
from torch.profiler import ProfilerActivity, profile

from calipers_worker.gaps.answers import Answer, answer
from calipers_worker.gaps.pytorch.capabilities import network
from calipers_worker.gaps.pytorch.paths_fx import path_fx
from calipers_worker.gaps.pytorch.paths_pt2e import path_pt2e

WARM_UP_STEPS = 5
MEASURED_STEPS = 25


def averages(model: Any, inputs: tuple[torch.Tensor, ...], *, memory: bool = False) -> list[Any]:
    """The profile of one inference, by operator."""
    with torch.no_grad():
        model(*inputs)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=memory) as profiled:
            model(*inputs)
    return list(profiled.key_averages())


def times(events: list[Any], *beginnings: str) -> list[str]:
    """Count and time of the operators whose names start so."""
    return [
        f"{event.key}: {event.count} x, {event.cpu_time_total:.0f} us"
        for event in events
        if event.key.startswith(beginnings) and event.cpu_time_total > 0
    ]


def capability_profile_float_inference(folder: Path) -> Answer:  # noqa: ARG001
    """Times of the operators of the float model."""
    net = network()
    lines = times(averages(net.model, net.samples[0]), "aten::conv2d", "aten::relu", "aten::add")
    return answer(
        "yes" if any(line.startswith("aten::conv2d: 4 x") for line in lines) else "no",
        "float: torch.profiler gives a time for each operator",
        *lines,
    )


def capability_profile_quantized_inference(folder: Path) -> Answer:  # noqa: ARG001
    """Times of the operators of the quantized models."""
    net = network()
    graph = times(averages(path_fx(net.model, net.samples).model, net.samples[0]), "quantized::")
    compiled = path_pt2e(net.model, net.samples).model
    kernels = times(averages(compiled, net.samples[0]), "onednn::q", "graph_", "cpp_fused")
    return answer(
        "yes" if graph and kernels else "partly" if graph or kernels else "no",
        "fx: torch.profiler gives a time for each operator; pt2e: for each library kernel, and for "
        "generated ones with the setting cpp.enable_kernel_profile",
        *(f"fx {line}" for line in graph),
        *(f"pt2e {line}" for line in kernels),
    )


def capability_profile_training(folder: Path) -> Answer:  # noqa: ARG001
    """Times of the operators of a step of quantization-aware training."""
    net = network()
    mapping = get_default_qat_qconfig_mapping("x86")
    model = copy.deepcopy(net.model).train()
    prepared = prepare_qat_fx(model, mapping, net.samples[0])
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        prepared(*net.samples[0]).square().mean().backward()
    events = list(profiled.key_averages())
    forward = times(events, "aten::conv2d", "aten::fused_moving_avg_obs_fake_quant")
    backward = times(events, "ConvolutionBackward0", "FakeQuantize", "FusedMovingAvg")
    return answer(
        "yes" if forward and backward else "no",
        "fx-qat: torch.profiler gives a time for each operator, forward and backward",
        *forward,
        *backward,
    )


def capability_profile_memory(folder: Path) -> Answer:  # noqa: ARG001
    """Bytes of the operators of the float model and of the quantized one."""
    net = network()
    floats = averages(net.model, net.samples[0], memory=True)
    quantized = averages(path_fx(net.model, net.samples).model, net.samples[0], memory=True)

    def bytes_of(events: list[Any], beginning: str) -> list[str]:
        return [
            f"{event.key}: {event.cpu_memory_usage} bytes"
            for event in events
            if event.key.startswith(beginning) and event.cpu_memory_usage > 0
        ]

    lines = bytes_of(floats, "aten::conv2d"), bytes_of(quantized, "quantized::")
    return answer(
        "yes" if all(lines) else "partly" if any(lines) else "no",
        "float and fx: torch.profiler with profile_memory gives the bytes that each operator "
        "allocates",
        *(f"float {line}" for line in lines[0]),
        *(f"fx {line}" for line in lines[1]),
    )


def small_network() -> nn.Module:
    """Three convolutions with batch norm and ReLU, and a linear layer, for 32 x 32 images."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def capability_qat_overhead(folder: Path) -> Answer:  # noqa: ARG001
    """A step of quantization-aware training over a float one, taken in turns."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    float_model = small_network().train()
    mapping = get_default_qat_qconfig_mapping("x86")
    prepared = prepare_qat_fx(copy.deepcopy(float_model), mapping, (images,))
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.01) for one in (float_model, prepared)]
    seconds: list[tuple[float, float]] = []
    for step in range(WARM_UP_STEPS + MEASURED_STEPS):
        pair = []
        for model, optimizer in zip((float_model, prepared), optimizers, strict=True):
            started = time.perf_counter()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            pair.append(time.perf_counter() - started)
        if step >= WARM_UP_STEPS:
            seconds.append((pair[0], pair[1]))
    ratios = sorted(after / before for before, after in seconds)
    middle = statistics.median(ratios)
    return answer(
        "yes",
        f"fx-qat: a step takes {middle:.2f} times as long as a float step",
        f"median of {MEASURED_STEPS} pairs of steps, taken in turns, on {len(images)} images",
        f"ratios from {ratios[0]:.2f} to {ratios[-1]:.2f}",
        f"float step {1000 * statistics.median(one for one, _ in seconds):.1f} ms",
        ratio=middle,
    )
