"""Which kernels executed in a model that Inductor compiled, and on which types.

A profile says what ran, in order; the generated code says with which types and constants.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from calipers_worker.gaps.pytorch.paths_executed import PRODUCTS, Sample

ARGUMENT = re.compile(r"^\s+(\w+) = rand_strided\(\(([^)]*)\), .*dtype=torch\.(\w+)\)")
SIGNATURE = re.compile(r"^(\w+) = async_compile\.cpp_pybinding\(\[(.*?)\]")
ALLOCATED = re.compile(r"^\s+(\w+) = empty_strided_cpu\(\(([^)]*)\), .*torch\.(\w+)\)$")
RENAMED = re.compile(r"^\s+(\w+) = (?:reinterpret_tensor\()?(\w+)(?:, \(([^)]*)\))?[\[;,]")
CALLED = re.compile(r"^\s+(?:(\w+) = )?([\w.]+)\((.*)\)$")
TYPES_IN_C = {"float": "float32", "uint8_t": "uint8", "int8_t": "int8", "int64_t": "int64"}
CONVERTS_IN_NAMES = re.compile(
    r"(de)?quantize_per_(tensor|channel|token)|choose_qparams(_per_token)?|_to_copy|amin|amax"
)
MOVES_IN_NAMES = re.compile(
    r"_scaled_dot_product_flash_attention_for_cpu|_embedding_bag|addmm|convolution|_unsafe_view|view"
    r"|arange|permute|clone|transpose|slice|expand|unsqueeze|squeeze|select|zeros|full|_t(?=_)"
)


@dataclass
class Call:
    """A call in the generated code.

    `weights` are the constants with two or more axes among its arguments, and `dequantized` those
    of them that another kernel has made float. `fed` is whether it depends on the model's inputs.
    """

    name: str
    arguments: list[str]
    inputs: list[str]
    outputs: list[str]
    weights: list[str]
    dequantized: list[str]
    fed: bool


def trace_compiled(
    compiled: Callable[..., torch.Tensor], sample: Sample, code: str, model: nn.Module
) -> dict[str, Any]:
    """The kernels of one inference in order of execution, classified.

    `code` is what Inductor generated for `compiled`, and `model` the float model.
    """
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as profiled:
        compiled(*sample)
    ran = [kernel_name(event.name) for event in profiled.events() if is_kernel(event)]
    calls = calls_in(code)
    if [call.name for call in calls] != ran:
        raise AssertionError(f"ran: {ran}; generated: {[call.name for call in calls]}")
    operators = [called(call) for call in calls]
    fed = [call.fed for call in calls]
    give_roles(operators, fed, model)
    return {"operators": operators, "kernels": ran}


def is_kernel(event: Any) -> bool:
    """Whether the generated code itself called what the event tells of."""
    return event.cpu_parent is not None and "Call CompiledFxGraph" in event.cpu_parent.name


def kernel_name(name: str) -> str:
    """The name of a call in a profile or in the code, in the form of a profile."""
    name = re.sub(r"^graph_\d+_", "", name)
    if name.startswith("extern_kernels."):
        return name.replace("extern_kernels.", "aten::")
    if name.startswith("torch.ops."):
        namespace, operator = name.split(".")[2:4]
        return f"{namespace}::{operator}"
    return name


def calls_in(code: str) -> list[Call]:
    """The calls of kernels in generated code, in its order."""
    lines = code.splitlines()
    signatures = {found[1]: found[2] for line in lines if (found := SIGNATURE.match(line))}
    buffers = Buffers([found for line in lines if (found := ARGUMENT.match(line))])
    calls = []
    for line in lines:
        buffers.read(line)
        if (found := CALLED.match(line)) and is_kernel_call(found[2]):
            arguments = [reads(one) for one in split_arguments(found[3])]
            name = kernel_name(found[2])
            if name in signatures:
                pointers = re.findall(r"'(.*?)'", signatures[name])
                call = buffers.generated(name, arguments, pointers)
            else:
                call = buffers.library(name, arguments, found[3], found[1])
            calls.append(call)
    return calls


class Buffers:
    """What the generated code's variables hold: element types, shapes, and which are weights."""

    def __init__(self, arguments: list[re.Match[str]]) -> None:
        self.types = {found[1]: found[3] for found in arguments}
        self.shapes = {found[1]: re.findall(r"\d+", found[2]) for found in arguments}
        self.dequantized: set[str] = set()
        self.fed = {found[1] for found in arguments if found[1].startswith("arg")}

    def read(self, line: str) -> None:
        """Take note of a line that makes a buffer."""
        if found := ALLOCATED.match(line):
            self.shapes[found[1]] = re.findall(r"\d+", found[2])
            self.types[found[1]] = found[3]
        elif (found := RENAMED.match(line)) and found[2] in self.types:
            self.types[found[1]] = self.types[found[2]]
            same = self.shapes.get(found[2], [])
            self.shapes[found[1]] = re.findall(r"\d+", found[3]) if found[3] else same
            self.fed |= {found[1]} if found[2] in self.fed else set()

    def is_weight(self, name: str) -> bool:
        """Whether the variable is a constant with two or more axes."""
        return name.startswith("_frozen_param") and len(self.shapes[name]) >= 2

    def generated(self, name: str, arguments: list[str], pointers: list[str]) -> Call:
        """The call of a kernel that Inductor wrote, with the pointers of its signature."""
        read = [one.startswith("const") for one in pointers]
        kinds = [
            TYPES_IN_C.get(one, one) for one in (re.sub("const |[*]", "", p) for p in pointers)
        ]
        weights = [one for one in arguments if self.is_weight(one)]
        written = [one for one, is_read in zip(arguments, read, strict=True) if not is_read]
        fed = not self.fed.isdisjoint(arguments)
        self.fed |= set(written) if fed else set()
        if "dequantize_per_channel" in name:
            shapes = [self.shapes[weight] for weight in weights]
            self.dequantized |= {one for one in written if self.shapes.get(one) in shapes}
        inputs = [kind for kind, is_read in zip(kinds, read, strict=True) if is_read]
        outputs = [kind for kind, is_read in zip(kinds, read, strict=True) if not is_read]
        return Call(name, arguments, inputs, outputs, weights, [], fed)

    def library(self, name: str, arguments: list[str], text: str, result: str | None) -> Call:
        """The call of a kernel from a library."""
        written = re.findall(r"\bout=(\w+)", text)
        outputs = [self.types.get(one, "") for one in written]
        outputs = outputs or re.findall(r"torch\.(\w*int8|float32|bfloat16)\b", text)
        if result:
            self.types[result] = outputs[0] if outputs else self.types.get(arguments[0], "")
        read = [one for one in arguments if one not in written]
        fed = not self.fed.isdisjoint(read)
        if fed:
            # A fused sum is written into one of the arguments.
            self.fed |= {one for one in (result, *written) if one} or set(read)
        return Call(
            name,
            arguments,
            [self.types[one] for one in read if self.types.get(one)],
            outputs,
            [one for one in read if self.is_weight(one)],
            [one for one in read if one in self.dequantized],
            fed,
        )


def split_arguments(text: str) -> list[str]:
    """The arguments of a call, split at the commas outside of brackets."""
    arguments, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    return [one.strip() for one in arguments]


def reads(argument: str) -> str:
    """The variable that an argument is a view of."""
    return re.sub(r"^(reinterpret_tensor\(|out=|\w+=)*", "", argument).split(",")[0]


def is_kernel_call(name: str) -> bool:
    """Whether the generated code computes by a function of that name."""
    return name.startswith(("cpp_fused", "extern_kernels.", "torch.ops."))


def called(call: Call) -> dict[str, Any]:
    """The call as the answer tells it."""
    product = any(word in call.name for word in PRODUCTS)
    return {
        "name": call.name,
        "role": "layer",
        "class": call_class(call),
        "weighted": product and bool(call.weights or call.dequantized),
        "inputs": call.inputs,
        "outputs": call.outputs,
    }


def call_class(call: Call) -> str:
    """How a kernel computes: by its name for products, by its types for generated code."""
    if call.name.startswith("onednn::q"):
        # The scale of the input is a constant, or was computed from the input.
        return "dynamic" if call.arguments[1].startswith("buf") else "integer"
    if not call.name.startswith("cpp_fused"):
        if call.dequantized:
            return "weight_only"
        return "integer" if call.inputs and "int8" in call.inputs[0] else "float"
    name = re.sub(r"^cpp_fused_?|_?\d+$", "", call.name)
    rest = MOVES_IN_NAMES.sub("", CONVERTS_IN_NAMES.sub("", name)).strip("_")
    if rest:
        # What is not constant among its pointers may also be room for values on the way.
        read, written = [
            ["int8" in kind for kind in kinds] for kinds in (call.inputs, call.outputs)
        ]
        return "integer" if read and all(read) and any(written) else "float"
    return "convert" if CONVERTS_IN_NAMES.search(name) else "move"


def give_roles(operators: list[dict[str, Any]], fed: list[bool], model: nn.Module) -> None:
    """Set the roles of a chain from its products with weights: the last is `after`.

    `before` is the first that depends on the model's inputs, as `fed` tells, and is not float: a
    recurrent layer multiplies its first state, which may be scheduled ahead of all others. An
    embedding is neither, and what else computes ahead of `before` belongs to the layer.
    """
    products = [
        index
        for index, operator in enumerate(operators)
        if operator["weighted"] and "embedding" not in operator["name"]
    ]
    entering = sorted(
        (index for index in products if fed[index]),
        key=lambda index: operators[index]["class"] == "float",
    )
    first = entering[0] if hasattr(model, "before") else -1
    last = products[-1] if hasattr(model, "after") else len(operators)
    for index, operator in enumerate(operators):
        enters = fed[index] and operator["class"] in ("convert", "move")
        if index >= last:
            operator["role"] = "after"
        elif index == first or (index < first and enters):
            operator["role"] = "before"
