"""Tests of PyTorch's gap probes: that they see what executes, on cases whose truth is known."""

import re
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from calipers_worker.gaps import isolate
from calipers_worker.gaps.pytorch import (
    capabilities,
    capabilities_profiles,
    cell,
    layers_elementwise,
    layers_networks,
    layers_products,
    layers_sequences,
    paths_compiled,
    paths_eager,
    paths_executed,
    paths_fx,
    paths_pt2e,
    paths_quantized,
    paths_torchao,
)
from tests import gap_names
from tests.gap_names import LAYERS

PATHS = re.findall(
    r"\w+",
    """
    none eager eager_fbgemm eager_onednn eager_qnnpack eager_embedding eager_qat eager_dynamic
    fx fx_fbgemm fx_onednn fx_qnnpack fx_qat fx_dynamic pt2e pt2e_qat pt2e_dynamic pt2e_not_compiled
    torchao_int8_dynamic torchao_int8_weight_only torchao_int4_weight_only
    """,
)
CAPABILITIES = [*gap_names.CAPABILITIES, "qat_with_default_qconfig"]
MODULES = (
    layers_elementwise,
    layers_networks,
    layers_products,
    layers_sequences,
    paths_eager,
    paths_fx,
    paths_pt2e,
    paths_quantized,
    paths_torchao,
    capabilities,
    capabilities_profiles,
)
LIMIT_SECONDS = 240

Weights = dict[str, np.ndarray]


def named(kind: str, modules: tuple[ModuleType, ...] = MODULES) -> dict[str, Callable[..., Any]]:
    """The functions of a kind by their names without it."""
    start = f"{kind}_"
    return {
        name.removeprefix(start): value
        for module in modules
        for name, value in vars(module).items()
        if name.startswith(start) and callable(value)
    }


def uniform(shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Weights of these shapes, small enough that values keep their size from layer to layer."""
    random = np.random.default_rng(5)
    return {
        name: random.uniform(-1, 1, shape).astype(np.float32)
        * np.float32((3 / max(1, np.prod(shape[1:]))) ** 0.5 if len(shape) > 1 else 0.1)
        for name, shape in shapes.items()
    }


def convolutions(*names: str) -> Weights:
    """3x3 convolutions of 16 channels, `before` and `after` among them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("before", "after", *names):
        shapes |= {f"{name}.weight": (16, 16, 3, 3), f"{name}.bias": (16,)}
    return uniform(shapes)


def linears(**shapes: tuple[int, ...]) -> Weights:
    """Linear layers of 64 features before and after, and `layer.*` of these shapes."""
    square = {f"{name}.weight": (64, 64) for name in ("before", "after")}
    rows = {f"{name}.bias": (64,) for name in ("before", "after")}
    return uniform({**square, **rows, **{f"layer.{name}": one for name, one in shapes.items()}})


def images() -> list[Weights]:
    """Four inputs of the image sandwich."""
    random = np.random.default_rng(6)
    return [{"x": random.uniform(-2, 2, (1, 16, 12, 12)).astype(np.float32)} for _ in range(4)]


def sequences(length: int = 32) -> list[Weights]:
    """Four inputs of the sequence sandwich."""
    random = np.random.default_rng(6)
    return [{"x": random.uniform(-2, 2, (1, length, 64)).astype(np.float32)} for _ in range(4)]


def tokens() -> list[Weights]:
    """Four inputs of the token sandwich."""
    random = np.random.default_rng(6)
    return [{"ids": random.integers(0, 200, (1, 32))} for _ in range(4)]


class Probing(unittest.TestCase):
    """Runs cells as the worker does, each in a forked child."""

    def setUp(self) -> None:
        torch.set_num_threads(1)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def probe(
        self,
        layer: str,
        path: str,
        weights: Weights,
        samples: list[Weights],
        planted: Weights | None = None,
    ) -> dict[str, Any]:
        build, apply = named("layer")[layer], named("path")[path]
        expected = cell.outputs_of(
            build(weights).eval(), [cell.sample_tensors(sample) for sample in samples]
        )
        return isolate.run(
            lambda: cell.run_cell(
                build, apply, weights, samples, expected, self.folder, planted=planted
            ),
            LIMIT_SECONDS,
        )

    def computing(self, answer: dict[str, Any], role: str = "layer") -> list[tuple[str, str]]:
        """Name and class of what computes in a role."""
        self.assertEqual(answer["outcome"], "ran", answer.get("traceback"))
        return [
            (one["name"], one["class"])
            for one in answer["operators"]
            if one["role"] == role and one["class"] not in ("convert", "move")
        ]

    def assert_fails(self, answer: dict[str, Any], stage: str, words: str) -> None:
        self.assertEqual((answer["outcome"], answer["stage"]), ("failed", stage), answer)
        self.assertIn(words, answer["message"])


class Names(unittest.TestCase):
    def test_every_layer_path_and_capability_is_there(self) -> None:
        self.assertEqual(set(named("layer")), set(LAYERS))
        self.assertEqual(set(named("path")), set(PATHS))
        self.assertEqual(set(named("capability")), set(CAPABILITIES))


class EagerAndFx(Probing):
    def test_a_linear_layer_multiplies_integers(self) -> None:
        weights = linears(weight=(64, 64), bias=(64,))
        for path in ("eager", "eager_onednn", "eager_qnnpack", "fx", "eager_qat", "fx_qat"):
            answer = self.probe("linear", path, weights, sequences())
            for role in ("before", "layer", "after"):
                found = self.computing(answer, role)
                self.assertEqual(found, [("quantized::linear", "integer")], path)
            layer = next(one for one in answer["operators"] if one["role"] == "layer")
            self.assertTrue(layer["weighted"])
            types = {one["name"].removeprefix("module."): one["type"] for one in answer["weights"]}
            self.assertEqual(types["layer.weight"], "qint8")
            self.assertEqual(answer["parity"], 0)
            self.assertGreater(answer["max_error"], 0)
            steps = 0.02 * answer["float_range"]
            self.assertLess(answer["reference_difference"], steps, path)

    def test_an_operator_that_dequantizes_inside_is_float(self) -> None:
        weights = linears()
        weights["after.weight"] = weights["after.weight"][:, :32].copy()
        answer = self.probe("matmul", "fx", weights, sequences())
        self.assertEqual(self.computing(answer), [("quantized::matmul", "float")])
        product = next(one for one in answer["operators"] if one["name"] == "quantized::matmul")
        self.assertIn("aten::dequantize", product["kernel"])

    def test_float_between_conversions_is_float(self) -> None:
        answer = self.probe("silu", "fx", convolutions(), images())
        layer = [one["class"] for one in answer["operators"] if one["role"] == "layer"]
        self.assertEqual(layer, ["convert", "float", "convert"])

    def test_what_is_fused_belongs_to_what_it_is_fused_into(self) -> None:
        answer = self.probe("relu", "eager", convolutions(), images())
        self.assertEqual(self.computing(answer), [])
        found = self.computing(answer, "before")
        self.assertEqual(found, [("quantized::conv2d_relu", "integer")])

    def test_failures_are_of_the_stage_that_they_happen_in(self) -> None:
        answer = self.probe("silu", "eager", convolutions(), images())
        self.assert_fails(answer, "run", "QuantizedCPU")
        answer = self.probe("conv_transpose2d", "eager", convolutions("layer"), images())
        self.assert_fails(answer, "prepare", "Per channel weight observer")
        answer = self.probe("data_dependent_branch", "fx", convolutions("conv1"), images())
        self.assert_fails(answer, "prepare", "control flow")

    def test_an_embedding_needs_its_own_configuration(self) -> None:
        weights = linears(weight=(200, 64))
        answer = self.probe("embedding", "eager", weights, tokens())
        self.assert_fails(answer, "convert", "float_qparams_weight_only_qconfig")
        answer = self.probe("embedding", "eager_embedding", weights, tokens())
        self.assertEqual(self.computing(answer), [("quantized::embedding_byte", "weight_only")])
        answer = self.probe("relu", "eager_embedding", convolutions(), images())
        self.assertEqual(answer["outcome"], "no_api")

    def test_wrong_results_differ_from_the_reference(self) -> None:
        weights = linears(
            **{"out_proj.weight": (64, 64), "out_proj.bias": (64,)},
            in_proj_weight=(192, 64),
            in_proj_bias=(192,),
        )
        answer = self.probe("multihead_attention", "eager", weights, sequences())
        self.computing(answer)
        self.assertGreater(answer["reference_difference"], 0.2 * answer["float_range"])
        self.assertLess(answer["reference_error"], 0.05 * answer["float_range"])

    def test_other_weights_than_those_asked_for_are_seen(self) -> None:
        weights = convolutions("layer")
        planted = {**weights, "layer.weight": weights["layer.weight"] * 4}
        answer = self.probe("conv2d", "eager", weights, images(), planted)
        self.computing(answer)
        self.assertGreater(answer["reference_difference"], 0.3 * answer["float_range"])
        self.assertLess(answer["reference_error"], 0.05 * answer["float_range"])

    def test_no_quantization_leaves_float_alone(self) -> None:
        answer = self.probe("conv2d", "none", convolutions("layer"), images())
        for role in ("before", "layer", "after"):
            self.assertEqual(self.computing(answer, role), [("aten::convolution", "float")])
        self.assertEqual(answer["max_error"], 0)


class DynamicAndTorchao(Probing):
    def test_integer_products_of_activations_quantized_at_run_time(self) -> None:
        weights = linears(weight=(64, 64), bias=(64,))
        for path, name in (
            ("eager_dynamic", "quantized::linear_dynamic"),
            ("fx_dynamic", "quantized::linear_dynamic"),
            ("torchao_int8_dynamic", "aten::_int_mm"),
        ):
            answer = self.probe("linear", path, weights, sequences())
            self.assertEqual(self.computing(answer), [(name, "dynamic")], path)
            self.assertLess(answer["reference_difference"], 0.02 * answer["float_range"], path)

    def test_weights_alone(self) -> None:
        weights = linears(weight=(64, 64), bias=(64,))
        for path, name, held in (
            ("torchao_int8_weight_only", "aten::mm", "int8"),
            ("torchao_int4_weight_only", "aten::_weight_int4pack_mm_for_cpu", "int4"),
        ):
            answer = self.probe("linear", path, weights, sequences())
            self.assertEqual(self.computing(answer), [(name, "weight_only")])
            self.assertTrue(all(one["type"] == held for one in answer["weights"]))

    def test_a_convolution_that_a_dynamic_path_leaves_is_float_and_has_weights(self) -> None:
        answer = self.probe("conv2d", "eager_dynamic", convolutions("layer"), images())
        layer = next(one for one in answer["operators"] if one["role"] == "layer")
        self.assertEqual((layer["class"], layer["weighted"]), ("float", True))

    def test_a_dynamic_lstm_is_one_operator_with_packed_weights(self) -> None:
        rows = {"weight_ih_l0": (256, 64), "weight_hh_l0": (256, 64)}
        weights = linears(**rows, bias_ih_l0=(256,), bias_hh_l0=(256,))
        answer = self.probe("lstm", "eager_dynamic", weights, sequences(8))
        self.assertEqual(self.computing(answer), [("aten::quantized_lstm", "dynamic")])
        weighted = [one["name"] for one in answer["operators"] if one["weighted"]]
        self.assertEqual(weighted.count("aten::quantized_lstm"), 1)


class Compiled(Probing):
    def test_convolutions_of_pt2e_are_integer_once_compiled(self) -> None:
        answer = self.probe("conv2d", "pt2e", convolutions("layer"), images())
        for role in ("before", "layer", "after"):
            self.assertEqual(self.computing(answer, role), [("onednn::qconv_pointwise", "integer")])
        self.assertEqual(answer["kernels"].count("onednn::qconv_pointwise"), 3)
        self.assertEqual({one["type"] for one in answer["weights"]}, {"int8"})
        self.assertLess(answer["reference_difference"], 0.02 * answer["float_range"])

    def test_convolutions_of_pt2e_are_float_before(self) -> None:
        answer = self.probe("conv2d", "pt2e_not_compiled", convolutions("layer"), images())
        for role in ("before", "layer", "after"):
            self.assertEqual(self.computing(answer, role), [("aten::convolution", "float")])

    def test_a_product_of_activations_stays_float(self) -> None:
        weights = linears()
        weights["after.weight"] = weights["after.weight"][:, :32].copy()
        answer = self.probe("matmul", "pt2e", weights, sequences())
        self.assertEqual(self.computing(answer), [("aten::bmm", "float")])

    def test_dynamic_convolutions_have_integer_weights_alone(self) -> None:
        answer = self.probe("conv2d", "pt2e_dynamic", convolutions("layer"), images())
        self.assertEqual(self.computing(answer), [("aten::convolution", "weight_only")])

    def test_calls_are_read_from_generated_code(self) -> None:
        code = """
cpp_fused_quantize_per_tensor_0 = async_compile.cpp_pybinding(['const float*', 'uint8_t*'], r'''
    def call(self, args):
        buf0 = empty_strided_cpu((1, 32, 64), (2048, 64, 1), torch.uint8)
        cpp_fused_quantize_per_tensor_0(arg10_1, buf0)
        buf1 = torch.ops.onednn.qlinear_pointwise.tensor(reinterpret_tensor(buf0, (32, 64), (64, 1), 0), x_scale, x_zp, _frozen_param10, _frozen_param4, None, None, 1.0, 0, torch.float32, 'none', [None], '')
        buf2 = empty_strided_cpu((1, 32, 32), (1024, 32, 1), torch.float32)
        extern_kernels.bmm(buf1, reinterpret_tensor(buf1, (1, 64, 32), (0, 1, 64), 0), out=buf2)
    _frozen_param10 = rand_strided((64, 64), (1, 0), device='cpu', dtype=torch.int8)
    _frozen_param4 = rand_strided((64, ), (1, ), device='cpu', dtype=torch.float32)
    arg10_1 = rand_strided((1, 32, 64), (2048, 64, 1), device='cpu', dtype=torch.float32)
"""  # noqa: E501 - as it is generated
        calls = [paths_compiled.called(call) for call in paths_compiled.calls_in(code)]
        found = [(one["name"], one["class"], one["weighted"]) for one in calls]
        self.assertEqual(
            found,
            [
                ("cpp_fused_quantize_per_tensor_0", "convert", False),
                ("onednn::qlinear_pointwise", "integer", True),
                ("aten::bmm", "float", False),
            ],
        )
        self.assertEqual(calls[0]["inputs"] + calls[0]["outputs"], ["float32", "uint8"])
        self.assertEqual(calls[1]["inputs"], ["uint8", "int8", "float32"])
        self.assertEqual(calls[2]["outputs"], ["float32"])


class Traces(unittest.TestCase):
    def test_a_mean_is_what_it_calls(self) -> None:
        class Mean(nn.Module):
            def __init__(self, axes: tuple[int, ...]) -> None:
                super().__init__()
                self.axes = axes

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.quantize_per_tensor(x, 0.1, 3, torch.quint8).mean(self.axes)

        found = {}
        for axes in ((2, 3), (0, 1)):
            traced = paths_executed.trace_executed(Mean(axes), (torch.ones(2, 3, 4, 4),))
            found[axes] = traced["operators"][-1]["class"]
        self.assertEqual(found, {(2, 3): "integer", (0, 1): "float"})


class Capabilities(Probing):
    def ask(self, name: str) -> dict[str, Any]:
        answer = isolate.run(lambda: named("capability")[name](self.folder), LIMIT_SECONDS)
        self.assertEqual(answer["outcome"], "ran", answer.get("traceback"))
        return answer

    def test_answers_come_with_what_was_seen(self) -> None:
        for name in CAPABILITIES:
            answer = self.ask(name)
            self.assertIn(answer["answer"], ("yes", "no", "partly"), name)
            self.assertTrue(answer["summary"] and answer["evidence"], name)

    def test_the_default_configuration_trains_without_fake_quantization(self) -> None:
        answer = self.ask("qat_with_default_qconfig")
        self.assertEqual(answer["answer"], "no")
        self.assertEqual(
            answer["evidence"][0], "get_default_qconfig: largest difference to float 0"
        )
