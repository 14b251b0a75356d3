"""Tests of the ONNX Runtime worker and its gap probes, against ONNX's own reference evaluator."""

import logging
import tempfile
import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import QuantFormat
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from safetensors.numpy import save_file

from calipers_worker.gaps.onnxruntime import (
    capabilities,
    cell,
    layers_attention,
    layers_convolution,
    layers_elementwise,
    layers_recurrent,
    layers_tokens,
    paths_quantization,
)
from calipers_worker.gaps.onnxruntime.executed import executed_operators
from calipers_worker.gaps.stages import NoApi
from tests.client import Worker
from tests.gap_names import CAPABILITIES, LAYERS

Weights = dict[str, np.ndarray]


def image_weights(*convolutions: str) -> Weights:
    """3 x 3 convolutions of 16 channels, `before` and `after` among them."""
    random = np.random.default_rng(7)
    weights: Weights = {}
    for name in ("before", "after", *convolutions):
        weights[f"{name}.weight"] = random.uniform(-0.1, 0.1, (16, 16, 3, 3)).astype(np.float32)
        weights[f"{name}.bias"] = random.uniform(-0.1, 0.1, 16).astype(np.float32)
    return weights


def sequence_weights(**shapes: tuple[int, ...]) -> Weights:
    """Linear layers of 64 features before and after, and `layer.*` of `shapes`."""
    random = np.random.default_rng(8)
    square = {f"{name}.weight": (64, 64) for name in ("before", "after")}
    rows = {f"{name}.bias": (64,) for name in ("before", "after")}
    layer = {f"layer.{name}": shape for name, shape in shapes.items()}
    return {
        name: random.uniform(-0.2, 0.2, shape).astype(np.float32)
        for name, shape in {**square, **rows, **layer}.items()
    }


def samples(**shapes: tuple[int, ...]) -> list[Weights]:
    """Four inputs; `ids` are tokens."""
    random = np.random.default_rng(9)
    return [
        {
            name: random.integers(0, 200, shape)
            if name == "ids"
            else random.uniform(-1, 1, shape).astype(np.float32)
            for name, shape in shapes.items()
        }
        for _ in range(4)
    ]


class Probing(unittest.TestCase):
    """A folder for each test, and one call for a cell."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        # The quantizers tell their progress.
        logging.disable(logging.INFO)
        self.addCleanup(logging.disable, logging.NOTSET)

    def probe(
        self,
        layer: cell.LayerFunction,
        path: cell.PathFunction,
        weights: Weights,
        inputs: list[Weights],
        planted: Weights | None = None,
    ) -> dict[str, Any]:
        """A cell whose expected outputs come from ONNX's own evaluator."""
        evaluator = ReferenceEvaluator(layer(weights))
        expected = [evaluator.run(None, sample)[0] for sample in inputs]
        return cell.run_cell(layer, path, weights, inputs, expected, self.folder, planted=planted)

    def classes(self, answer: Mapping[str, Any], role: str) -> list[str]:
        return [
            operator["class"]
            for operator in answer["operators"]
            if operator["role"] == role and operator["class"] not in ("convert", "move")
        ]


class WhatExecutes(Probing):
    def test_a_convolution_computes_in_integers_by_both_static_paths(self) -> None:
        for path in (paths_quantization.path_qdq, paths_quantization.path_qoperator):
            answer = self.probe(
                layers_convolution.layer_conv2d,
                path,
                image_weights("layer"),
                samples(x=(1, 16, 12, 12)),
            )
            for role in ("before", "layer", "after"):
                self.assertEqual(self.classes(answer, role), ["integer"], path)
            layer = next(one for one in answer["operators"] if one["role"] == "layer")
            self.assertEqual((layer["name"], layer["weighted"]), ("QLinearConv", True))
            self.assertEqual(layer["inputs"], ["uint8", "int8", "int32"])
            self.assertLess(answer["parity"], 1e-5)
            self.assertGreater(answer["max_error"], 1e-4)
            self.assertLess(answer["max_error"], 0.05 * answer["float_range"])
            self.assertLess(answer["reference_difference"], 0.02 * answer["float_range"])
            stored = {one["name"]: one["type"] for one in answer["weights"]}
            self.assertEqual(stored["layer.weight_quantized"], "int8")
            self.assertTrue((self.folder / "model.onnx").exists())

    def test_no_quantization_leaves_float_alone(self) -> None:
        answer = self.probe(
            layers_convolution.layer_conv2d,
            paths_quantization.path_none,
            image_weights("layer"),
            samples(x=(1, 16, 12, 12)),
        )
        self.assertEqual({one["class"] for one in answer["operators"]} - {"move"}, {"float"})
        self.assertLess(answer["max_error"], 1e-5)

    def test_other_weights_than_those_asked_for_are_seen(self) -> None:
        weights = image_weights("layer")
        planted = {**weights, "layer.weight": weights["layer.weight"] * 4}
        answer = self.probe(
            layers_convolution.layer_conv2d,
            paths_quantization.path_qdq,
            weights,
            samples(x=(1, 16, 12, 12)),
            planted,
        )
        self.assertGreater(answer["max_error"], 0.3 * answer["float_range"])
        self.assertLess(answer["reference_error"], 0.05 * answer["float_range"])

    def test_dynamic_quantization_multiplies_integers_and_belongs_to_its_product(self) -> None:
        answer = self.probe(
            layers_elementwise.layer_relu,
            paths_quantization.path_dynamic,
            image_weights(),
            samples(x=(1, 16, 12, 12)),
        )
        self.assertEqual(self.classes(answer, "layer"), ["float"])
        names = [one["name"] for one in answer["operators"] if one["role"] == "after"]
        self.assertEqual(names[:2], ["DynamicQuantizeLinear", "ConvInteger"])
        weighted = [one["class"] for one in answer["operators"] if one["weighted"]]
        self.assertEqual(weighted, ["dynamic", "dynamic"])

    def test_integer_weights_of_a_float_convolution_are_weights_alone(self) -> None:
        answer = self.probe(
            layers_convolution.layer_conv_transpose2d,
            paths_quantization.path_qdq,
            image_weights("layer"),
            samples(x=(1, 16, 12, 12)),
        )
        self.assertEqual(self.classes(answer, "layer"), ["weight_only"])
        node = next(one for one in answer["operators"] if one["name"] == "ConvTranspose")
        self.assertEqual((node["weighted"], node["inputs"][0]), (True, "float32"))

    def test_float_between_conversions_is_float(self) -> None:
        answer = self.probe(
            layers_elementwise.layer_tanh,
            paths_quantization.path_qdq,
            image_weights(),
            samples(x=(1, 16, 12, 12)),
        )
        layer = [one["class"] for one in answer["operators"] if one["role"] == "layer"]
        self.assertEqual(layer, ["convert", "float", "convert"])

    def test_rows_of_an_integer_table_are_what_becomes_of_them(self) -> None:
        weights = sequence_weights(weight=(200, 64))
        inputs = samples(x=(1, 32, 64), ids=(1, 32))
        found = {}
        for path in (paths_quantization.path_qdq, paths_quantization.path_dynamic):
            answer = self.probe(layers_tokens.layer_several_inputs, path, weights, inputs)
            gather = next(one for one in answer["operators"] if one["name"] == "Gather")
            self.assertTrue(gather["weighted"])
            found[path.__name__] = gather["class"]
        self.assertEqual(found, {"path_qdq": "integer", "path_dynamic": "weight_only"})

    def test_a_whole_sequence_is_dynamic_or_float(self) -> None:
        rows = {"weight_ih_l0": (256, 64), "weight_hh_l0": (256, 64)}
        weights = sequence_weights(**rows, bias_ih_l0=(256,), bias_hh_l0=(256,))
        inputs = samples(x=(1, 8, 64))
        for path, expected in (
            (paths_quantization.path_dynamic, "dynamic"),
            (paths_quantization.path_qdq, "float"),
        ):
            answer = self.probe(layers_recurrent.layer_lstm, path, weights, inputs)
            self.assertLess(answer["parity"], 1e-4)
            self.assertEqual(self.classes(answer, "layer"), [expected])

    def test_branches_are_looked_into(self) -> None:
        answer = self.probe(
            layers_convolution.layer_data_dependent_branch,
            paths_quantization.path_none,
            image_weights("conv1"),
            samples(x=(1, 16, 12, 12)),
        )
        names = [one["name"] for one in answer["operators"] if one["role"] == "layer"]
        self.assertIn("If", names)
        self.assertTrue({"Relu", "Identity"}.intersection(names), names)

    def test_products_with_weights_of_four_bits_are_weights_alone(self) -> None:
        answer = self.probe(
            layers_attention.layer_multihead_attention,
            paths_quantization.path_weight_only_4bit,
            sequence_weights(
                **{"out_proj.weight": (64, 64), "out_proj.bias": (64,)},
                in_proj_weight=(192, 64),
                in_proj_bias=(192,),
            ),
            samples(x=(1, 32, 64)),
        )
        weighted = [one for one in answer["operators"] if one["weighted"]]
        self.assertEqual({one["class"] for one in weighted}, {"weight_only"})
        self.assertEqual({one["name"] for one in weighted}, {"MatMulNBits"})
        packed = {one["type"] for one in answer["weights"] if one["name"].endswith("_Q4")}
        self.assertEqual(packed, {"uint4"})

    def test_what_onnx_does_not_have_is_no_api(self) -> None:
        with self.assertRaises(NoApi):
            layers_convolution.layer_channels_last(image_weights("layer"))


class BlocksOfFourBits(Probing):
    """What MatMulNBits multiplies, seen by a 1 that 8 bit cannot hold beside 1000."""

    def seen(self, **options: object) -> tuple[float, str]:
        weight = np.random.default_rng(3).uniform(0.5, 1, (64, 64)).astype(np.float32)
        graph = make_graph(
            [make_node("MatMul", ["x", "weight"], ["y"], name="layer")],
            "product",
            [make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
            [make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 64])],
            [from_array(weight, "weight")],
        )
        model = make_model(graph, opset_imports=[make_opsetid("", 21)], ir_version=10)
        quantizer = MatMulNBitsQuantizer(model, is_symmetric=True, **options)
        quantizer.process()
        file = str(self.folder / "product.onnx")
        quantizer.model.save_model_to_file(file)
        large = np.zeros((1, 64), np.float32)
        large[0, 0] = 1000
        both = large.copy()
        both[0, 1] = 1
        alone, beside = cell.outputs_of(file, [{"x": large}, {"x": both}], cell.session_options())
        found = executed_operators(file, {"x": large}, self.folder, cell.session_options())
        product = next(one for one in found if one["name"] == "MatMulNBits")
        return float(np.mean(beside - alone)) / float(np.mean(weight[1])), product["class"]

    def test_float_arithmetic_by_default(self) -> None:
        share, kind = self.seen()
        self.assertAlmostEqual(share, 1, delta=0.05)
        self.assertEqual(kind, "weight_only")

    def test_integer_activations_where_accuracy_level_4_or_qdq_asks_for_them(self) -> None:
        for options in ({"accuracy_level": 4}, {"quant_format": QuantFormat.QDQ}):
            share, kind = self.seen(**options)
            self.assertEqual((share, kind), (0, "dynamic"), options)


class Names(unittest.TestCase):
    def test_every_layer_path_and_capability_is_there(self) -> None:
        modules = (
            layers_attention,
            layers_convolution,
            layers_elementwise,
            layers_recurrent,
            layers_tokens,
        )
        found = {name for module in modules for name in vars(module) if name.startswith("layer_")}
        self.assertEqual(found, {f"layer_{name}" for name in LAYERS})
        for name in ("qdq", "qoperator", "dynamic", "weight_only_4bit", "none"):
            self.assertTrue(callable(getattr(paths_quantization, f"path_{name}")))
        for name in CAPABILITIES:
            self.assertTrue(callable(getattr(capabilities, f"capability_{name}")))


class Capabilities(Probing):
    def ask(self, name: str) -> dict[str, Any]:
        return getattr(capabilities, f"capability_{name}")(self.folder)

    def test_answers_come_with_what_was_seen(self) -> None:
        for name in CAPABILITIES:
            answer = self.ask(name)
            self.assertIn(answer["answer"], ("yes", "no", "partly"), name)
            self.assertTrue(answer["summary"] and answer["evidence"], name)

    def test_nothing_is_trained(self) -> None:
        self.assertEqual(self.ask("qat_overhead")["answer"], "no")

    def test_observed_tensors_cost_the_fused_operators(self) -> None:
        self.assertEqual(self.ask("read_activations")["answer"], "partly")


class Protocol(Probing):
    def test_the_worker_serves_and_probes(self) -> None:
        weights = image_weights("layer")
        inputs = samples(x=(1, 16, 12, 12))
        evaluator = ReferenceEvaluator(layers_convolution.layer_conv2d(weights))
        tensors = {f"weight/{name}": array for name, array in weights.items()}
        tensors["input/x"] = np.stack([sample["x"] for sample in inputs])
        tensors["expected"] = np.stack([evaluator.run(None, sample)[0] for sample in inputs])
        file = self.folder / "tensors.safetensors"
        save_file(tensors, file)
        with Worker("onnxruntime") as worker:
            greeting = worker.call("hello", threads=2)
            self.assertEqual((greeting["framework"], greeting["threads"]), ("onnxruntime", 2))
            self.assertEqual(greeting["pid"], worker.process.pid)
            self.assertIn("onnxruntime", greeting["versions"])
            answer = worker.call(
                "probe",
                layer="conv2d",
                path="qdq",
                folder=self.folder / "cell",
                tensors=file,
                limit_seconds=60,
            )
            self.assertEqual(answer["outcome"], "ran", answer)
            self.assertEqual(self.classes(answer, "layer"), ["integer"])
            self.assertLess(answer["parity"], 1e-5)


if __name__ == "__main__":
    unittest.main()
