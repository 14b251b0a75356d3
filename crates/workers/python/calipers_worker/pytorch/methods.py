"""Which variants each path has, how each is made, and the source that says so to a person."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calipers_worker.errors import BadArgument, BadModel
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch import exported, quantize, tensors
from calipers_worker.pytorch.build import build
from calipers_worker.recipes import source_of

Function = Callable[..., Any]

STATE, SCRIPT, PROGRAM = "state", "script", "program"
"""What is deployed: a state_dict for modules, a TorchScript file, or an exported program."""


def save_state(model: nn.Module, example: torch.Tensor, target: Path) -> None:  # noqa: ARG001
    """The parameters and buffers."""
    torch.save(model.state_dict(), target)


def save_script(model: nn.Module, example: torch.Tensor, target: Path) -> None:
    """The model without Python: traced, and its weights frozen into it."""
    with torch.no_grad():
        script = torch.jit.freeze(torch.jit.trace(model.eval(), example))
    torch.jit.save(script, target)


def save_program(model: nn.Module, example: torch.Tensor, target: Path) -> None:
    """The model as an exported program."""
    # Into a stream, because a file's name would have to end in `.pt2`.
    with target.open("wb") as stream:
        torch.export.save(exported.exported_program(model, example), stream)


SAVE = {STATE: save_state, SCRIPT: save_script, PROGRAM: save_program}
"""How each form is saved."""


@dataclass(frozen=True)
class Method:
    """How a path makes one variant, from the native float model to what is saved.

    `prepare` puts observers or fake quantization in, `convert` makes the quantized model, `recipe`
    are the functions that a person must read to know it all.
    """

    prepare: Callable[["Start"], nn.Module] | None = None
    convert: Callable[[nn.Module], nn.Module] | None = None
    recipe: tuple[Function, ...] = ()
    form: str = STATE
    stubs: bool = False
    calibrates: bool = False

    @property
    def source(self) -> str:
        """The source of the framework's calls."""
        return source_of(*self.recipe, SAVE[self.form])


@dataclass(frozen=True)
class Start:
    """What a method starts from."""

    graph: OnnxGraph
    model: nn.Module
    engine: str

    @property
    def example(self) -> torch.Tensor:
        """Two samples of zeros."""
        return example_of(self.graph, 2)


def example_of(graph: OnnxGraph, samples: int) -> torch.Tensor:
    """An input of zeros, f32 [samples, ...]; BadModel where the size of a sample is not known."""
    if None in graph.input_shape[1:]:
        raise BadModel(
            f"{graph.path}: input `{graph.input_name}` must have known dimensions but the first, "
            f"found {graph.input_shape}"
        )
    return torch.zeros([samples, *graph.input_shape[1:]])


FULL_RANGE = (quantize.full_range_qconfig, quantize.needs_reduced_range)
FULL_RANGE_QAT = (quantize.full_range_qat_qconfig, quantize.needs_reduced_range)


def _eager(prepare: Function, *, form: str = STATE, qat: bool = False) -> Method:
    def prepared(start: Start) -> nn.Module:
        return prepare(start.model, quantize.fusion_groups(start.graph), start.engine)

    more = FULL_RANGE if form == SCRIPT else ()
    recipe = (quantize.fusion_groups, prepare, quantize.eager_convert, *more)
    return Method(prepared, quantize.eager_convert, recipe, form, True, not qat)


def _fx(prepare: Function, *more: Function, form: str = STATE, calibrates: bool = False) -> Method:
    def prepared(start: Start) -> nn.Module:
        return prepare(start.model, start.example, start.engine)

    recipe = (prepare, quantize.fx_convert, *more)
    return Method(prepared, quantize.fx_convert, recipe, form, False, calibrates)


def _pt2e(prepare: Function, *convert: Function, calibrates: bool = False) -> Method:
    def prepared(start: Start) -> nn.Module:
        return prepare(start.model, start.example)

    recipe = (exported.exported_program, prepare, *convert)
    return Method(prepared, convert[0], recipe, PROGRAM, False, calibrates)


def _at_once(convert: Function) -> Method:
    return Method(None, convert, (convert,))


FLOAT = Method()
FLOAT_PROGRAM = Method(recipe=(exported.exported_program,), form=PROGRAM)

METHODS: dict[tuple[str, str, str], Method] = {
    ("eager", "default", "float"): FLOAT,
    ("eager", "default", "float-finetuned"): FLOAT,
    ("eager", "default", "ptq-static"): _eager(quantize.eager_static),
    ("eager", "tuned", "ptq-static"): _eager(quantize.eager_static_tuned, form=SCRIPT),
    ("eager", "default", "ptq-dynamic"): _at_once(quantize.eager_dynamic),
    ("eager", "default", "qat"): _eager(quantize.eager_qat, qat=True),
    ("eager-2023", "default", "qat"): _eager(quantize.eager_qat_2023, qat=True),
    ("fx", "default", "ptq-static"): _fx(quantize.fx_static, calibrates=True),
    ("fx", "tuned", "ptq-static"): _fx(
        quantize.fx_static_tuned,
        *FULL_RANGE,
        form=SCRIPT,
        calibrates=True,
    ),
    ("fx", "default", "ptq-dynamic"): _fx(quantize.fx_dynamic),
    ("fx", "default", "qat"): _fx(quantize.fx_qat),
    ("fx", "tuned", "qat"): _fx(quantize.fx_qat_tuned, *FULL_RANGE_QAT, form=SCRIPT),
    ("pt2e", "default", "float"): FLOAT_PROGRAM,
    ("pt2e", "default", "ptq-static"): _pt2e(
        exported.pt2e_static, exported.pt2e_convert, calibrates=True
    ),
    ("pt2e", "default", "ptq-dynamic"): _pt2e(exported.pt2e_dynamic, exported.pt2e_convert),
    ("pt2e", "default", "qat"): _pt2e(
        exported.pt2e_qat,
        exported.pt2e_convert_trained,
        exported.pt2e_convert,
        exported.InTraining,
    ),
    ("torchao", "default", "ptq-dynamic"): _at_once(tensors.torchao_dynamic),
    ("torchao", "default", "weight-only"): _at_once(tensors.torchao_weight_only),
    ("torchao", "tuned", "weight-only"): _at_once(tensors.torchao_weight_only_tuned),
    ("gpu", "default", "float"): FLOAT,
}
"""By path, tuning and variant."""

PATHS = tuple(dict.fromkeys(path for path, _, _ in METHODS))
TUNINGS = ("default", "tuned")
VARIANTS = tuple(dict.fromkeys(variant for _, _, variant in METHODS))


def method(path: str, tuning: str, variant: str) -> Method:
    """The method of a variant of a path; BadArgument names those that there are."""
    if (path, tuning, variant) not in METHODS:
        known = ", ".join(f"{key[2]} ({key[1]})" for key in METHODS if key[0] == path)
        raise BadArgument(
            f"path `{path}` makes no {variant} with the tuning `{tuning}`; it makes {known}"
        )
    return METHODS[path, tuning, variant]


def prepared(chosen: Method, graph: OnnxGraph) -> nn.Module:
    """The native model with the graph's weights, and observers or fake quantization if any."""
    engine = quantize.select_engine()
    model = build(graph, stubs=chosen.stubs)
    return model if chosen.prepare is None else chosen.prepare(Start(graph, model, engine))


def converted(chosen: Method, model: nn.Module) -> nn.Module:
    """What is saved of the prepared, calibrated or trained model, which is used up."""
    return model.eval() if chosen.convert is None else chosen.convert(model)


def empty(chosen: Method, graph: OnnxGraph) -> nn.Module:
    """The modules of what is saved, to load a state_dict into: scales mean nothing yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="must run observer before calling")
        return converted(chosen, prepared(chosen, graph))
