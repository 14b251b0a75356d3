"""Tests of the TensorFlow gap probes, against ONNX's reference evaluator and known conversions."""

import tempfile
import unittest
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tf_keras
from onnx import helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

from calipers_worker.gaps.stages import NoApi
from calipers_worker.gaps.tensorflow import (
    capabilities,
    capabilities_profile,
    cell,
    layers_activation,
    layers_attention,
    layers_norm,
    layers_product,
    layers_recurrent,
    layers_shape,
    layers_structure,
    paths_aeq,
    paths_tflite,
    paths_tfmot,
)
from calipers_worker.gaps.tensorflow.tflite_operators import (
    TfliteOperator,
    TfliteTensor,
    tflite_roles,
)
from tests import gap_names
from tests.client import Worker
from tests.gap_names import CAPABILITIES

LAYERS = [*gap_names.LAYERS, "linear_small"]
PATHS = {
    keras: """none tflite_int8 tflite_dynamic tflite_int16x8 tflite_float16 aeq_static
        aeq_dynamic aeq_weight_only aeq_4bit aeq_2bit""",
    tf_keras: """keras2_tflite_int8 keras2_tflite_dynamic keras2_tflite_int16x8
        keras2_tflite_float16 tfmot tfmot_annotated""",
}
SOURCES = (
    layers_activation,
    layers_attention,
    layers_norm,
    layers_product,
    layers_recurrent,
    layers_shape,
    layers_structure,
    paths_aeq,
    paths_tflite,
    paths_tfmot,
    capabilities,
    capabilities_profile,
)
Weights = dict[str, np.ndarray]


def found(name: str) -> Any:
    """The function of that name, in whichever file it stands."""
    return next(getattr(source, name) for source in SOURCES if hasattr(source, name))


def drawn(**shapes: tuple[int, ...]) -> Weights:
    """Weights by name, `__` for a dot."""
    random = np.random.default_rng(3)
    return {
        name.replace("__", "."): random.uniform(-0.15, 0.15, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def image_weights(**shapes: tuple[int, ...]) -> Weights:
    """Convolutions of 16 channels before and after, unless `shapes` says otherwise."""
    convolution = (16, 16, 3, 3)
    sandwich = {"before__weight": convolution, "after__weight": convolution}
    return drawn(**{"before__bias": (16,), "after__bias": (16,), **sandwich, **shapes})


def sequence_weights(**shapes: tuple[int, ...]) -> Weights:
    """Linear layers of 64 features before and after."""
    sandwich = {"before__weight": (64, 64), "after__weight": (64, 64)}
    return drawn(before__bias=(64,), after__bias=(64,), **sandwich, **shapes)


def images() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(4)
    return [{"x": random.uniform(-1, 1, (1, 16, 12, 12)).astype(np.float32)} for _ in range(4)]


def sequences(steps: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(5)
    return [{"x": random.uniform(-1, 1, (1, steps, 64)).astype(np.float32)} for _ in range(4)]


def by_onnx(nodes: list[onnx.NodeProto], weights: Weights, x: np.ndarray) -> np.ndarray:
    """What ONNX's reference evaluator gives for nodes from `x` to `y`."""
    values = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def convolution(name: str, given: str, made: str) -> onnx.NodeProto:
    return helper.make_node(
        "Conv", [given, f"{name}.weight", f"{name}.bias"], [made], pads=[1, 1, 1, 1]
    )


def linear(name: str, given: str, made: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", [f"{name}.weight"], [f"{name}.t"], perm=[1, 0]),
        helper.make_node("MatMul", [given, f"{name}.t"], [f"{name}.m"]),
        helper.make_node("Add", [f"{name}.m", f"{name}.bias"], [made]),
    ]


class Natives(unittest.TestCase):
    def check(
        self,
        layer: str,
        weights: Weights,
        x: np.ndarray,
        nodes: list[onnx.NodeProto],
        more: Weights | None = None,
    ) -> None:
        expected = by_onnx(nodes, {**weights, **(more or {})}, x)
        inputs = [cell.keras_inputs({"x": x})]
        for module in (keras, tf_keras):
            with self.subTest(layer=layer, keras=module.__name__):
                model = found(f"layer_{layer}")(module, weights)
                (made,) = cell.keras_outputs(model, inputs)
                self.assertEqual(made.shape, expected.shape)
                self.assertLess(np.abs(made - expected).max(), 1e-5)

    def test_convolutions_have_the_layouts_and_pads_of_pytorch(self) -> None:
        x = images()[0]["x"]
        for layer, shapes, kind, attributes in (
            ("conv2d_strided", {}, "Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
            (
                "conv2d_grouped",
                {
                    "before__weight": (32, 16, 3, 3),
                    "before__bias": (32,),
                    "layer__weight": (32, 8, 3, 3),
                    "layer__bias": (32,),
                    "after__weight": (16, 32, 3, 3),
                },
                "Conv",
                {"pads": [1, 1, 1, 1], "group": 4},
            ),
            (
                "conv_transpose2d_channels",
                {
                    "layer__weight": (16, 24, 3, 3),
                    "layer__bias": (24,),
                    "after__weight": (16, 24, 3, 3),
                },
                "ConvTranspose",
                {"pads": [1, 1, 1, 1], "strides": [2, 2], "output_padding": [1, 1]},
            ),
        ):
            own = {"layer__weight": (16, 16, 3, 3), "layer__bias": (16,), **shapes}
            middle = helper.make_node(
                kind, ["h", "layer.weight", "layer.bias"], ["g"], **attributes
            )
            nodes = [convolution("before", "x", "h"), middle, convolution("after", "g", "y")]
            self.check(layer, image_weights(**own), x, nodes)

    def test_layer_norm_has_the_epsilon_of_pytorch(self) -> None:
        weights = sequence_weights(layer__weight=(64,), layer__bias=(64,))
        middle = helper.make_node(
            "LayerNormalization", ["h", "layer.weight", "layer.bias"], ["g"], epsilon=1e-5
        )
        nodes = [*linear("before", "x", "h"), middle, *linear("after", "g", "y")]
        self.check("layer_norm", weights, sequences(32)[0]["x"], nodes)

    def test_gru_has_the_gates_of_pytorch(self) -> None:
        weights = sequence_weights(
            layer__weight_ih_l0=(192, 64),
            layer__weight_hh_l0=(192, 64),
            layer__bias_ih_l0=(192,),
            layer__bias_hh_l0=(192,),
        )

        def onnx_order(name: str) -> np.ndarray:
            reset, update, new = np.split(weights[f"layer.{name}_l0"], 3)
            return np.concatenate([update, reset, new])[None]

        more = {
            "W": onnx_order("weight_ih"),
            "R": onnx_order("weight_hh"),
            "B": np.concatenate([onnx_order("bias_ih"), onnx_order("bias_hh")], axis=1),
            "axis": np.array([1], np.int64),
        }
        nodes = [
            *linear("before", "x", "h"),
            helper.make_node("Transpose", ["h"], ["t"], perm=[1, 0, 2]),
            helper.make_node(
                "GRU", ["t", "W", "R", "B"], ["g"], hidden_size=64, linear_before_reset=1
            ),
            helper.make_node("Squeeze", ["g", "axis"], ["s"]),
            helper.make_node("Transpose", ["s"], ["b"], perm=[1, 0, 2]),
            *linear("after", "b", "y"),
        ]
        self.check("gru", weights, sequences(8)[0]["x"], nodes, more)

    def test_what_keras_lacks_is_said(self) -> None:
        for module, layer in (
            (keras, "embedding_bag"),
            (tf_keras, "rms_norm"),
            (tf_keras, "adaptive_avg_pool2d"),
            (keras, "multihead_attention_sequence_first"),
        ):
            with self.subTest(layer=layer), self.assertRaises(NoApi):
                found(f"layer_{layer}")(module, {})

    def test_everything_of_the_table_is_there(self) -> None:
        for layer in LAYERS:
            self.assertTrue(callable(found(f"layer_{layer}")))
        for module, names in PATHS.items():
            for path in names.split():
                self.assertIs(found(f"path_{path}").keras, module)
        for question in CAPABILITIES:
            self.assertTrue(callable(found(f"capability_{question}")))


class Cells(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_cell(
        self,
        layer: str,
        path: str,
        weights: Weights,
        samples: list[dict[str, np.ndarray]],
        planted: Weights | None = None,
    ) -> dict[str, Any]:
        native = found(f"layer_{layer}")
        apply = found(f"path_{path}")
        inputs = [cell.keras_inputs(sample) for sample in samples]
        expected = cell.keras_outputs(native(apply.keras, weights), inputs)
        return cell.run_cell(
            native, apply, weights, samples, expected, self.folder, planted=planted
        )

    def convolutions(self) -> Weights:
        return image_weights(layer__weight=(16, 16, 3, 3), layer__bias=(16,))

    def test_products_have_the_class_that_the_path_promises(self) -> None:
        for path, kind, stored in (
            ("none", "float", "float32"),
            ("tflite_int8", "integer", "int8"),
            ("keras2_tflite_int8", "integer", "int8"),
            ("tflite_int16x8", "integer", "int8"),
            ("tflite_dynamic", "dynamic", "int8"),
            ("tflite_float16", "weight_only", "float16"),
            ("tfmot", "integer", "int8"),
            ("aeq_static", "integer", "int8"),
            ("aeq_dynamic", "dynamic", "int8"),
            ("aeq_weight_only", "weight_only", "int8"),
        ):
            with self.subTest(path=path):
                answer = self.run_cell("conv2d", path, self.convolutions(), images())
                products = [one for one in answer["operators"] if one["weighted"]]
                roles = [one["role"] for one in products]
                self.assertEqual(roles, ["before", "layer", "after"])
                self.assertEqual({one["class"] for one in products}, {kind})
                self.assertEqual({one["type"] for one in answer["weights"]}, {stored})
                self.assertLess(answer["parity"], 1e-6)
                share = answer["max_error"] / answer["float_range"]
                self.assertLess(share, 1e-6 if path == "none" else 0.15)
                self.assertTrue((self.folder / "model.tflite").is_file())

    def test_kernels_prove_what_the_types_say(self) -> None:
        for path, kernel in (
            ("none", "Convolution (NHWC, F32) IGEMM"),
            ("tflite_int8", "Convolution (NHWC, QC8) IGEMM"),
            ("tflite_dynamic", "Convolution (NHWC, QDU8, F32, QC8W) IGEMM"),
        ):
            with self.subTest(path=path):
                answer = self.run_cell("conv2d", path, self.convolutions(), images())
                kernels = [name for name in answer["kernels"] if name.startswith("Convolution")]
                self.assertEqual(kernels, [kernel] * 3)

    def test_a_float_operator_among_integers_is_seen(self) -> None:
        weights = sequence_weights(layer__weight=(16, 32, 3, 3, 3), layer__bias=(16,))
        answer = self.run_cell("conv3d", "tflite_int8", weights, sequences(32))
        (product,) = [one for one in answer["operators"] if one["name"] == "CONV_3D"]
        self.assertEqual((product["role"], product["class"]), ("layer", "float"))

    def test_planted_weights_are_seen_as_wrong(self) -> None:
        weights = self.convolutions()
        planted = {**weights, "layer.weight": weights["layer.weight"] * 4}
        answer = self.run_cell("conv2d", "tflite_int8", weights, images(), planted)
        self.assertLess(answer["parity"], 1e-6)
        self.assertGreater(answer["reference_difference"], 0.5 * answer["float_range"])
        self.assertLess(answer["reference_error"], 0.05 * answer["float_range"])

    def test_a_model_with_a_state_starts_anew_for_each_sample(self) -> None:
        weights = sequence_weights(
            layer__weight_ih_l0=(256, 64),
            layer__weight_hh_l0=(256, 64),
            layer__bias_ih_l0=(256,),
            layer__bias_hh_l0=(256,),
        )
        answer = self.run_cell("lstm", "keras2_tflite_dynamic", weights, sequences(8))
        (fused,) = [one for one in answer["operators"] if one["role"] == "layer"]
        self.assertEqual(fused["name"], "UNIDIRECTIONAL_SEQUENCE_LSTM")
        self.assertEqual(fused["class"], "dynamic")
        self.assertLess(answer["max_error"], 0.02 * answer["float_range"])
        self.assertIn("status", answer["kernels_note"])

    def test_the_fake_quantized_model_agrees_with_the_file(self) -> None:
        answer = self.run_cell("conv2d", "tfmot", self.convolutions(), images())
        self.assertEqual(answer["reference"], "fake-quantized Keras model")
        self.assertLess(answer["reference_difference"], 0.015 * answer["float_range"])
        self.assertLess(answer["max_error"], 0.03 * answer["float_range"])


class Roles(unittest.TestCase):
    def operator(
        self, name: str, given: list[int], made: int, title: str, weight: bool = False
    ) -> TfliteOperator:
        constant = [TfliteTensor("w", "int8", [16, 16], True)] if weight else []
        activation = TfliteTensor(title, "int8", [1, 16], False)
        return TfliteOperator(
            name, given, [made], [activation, *constant], [activation], constant, False, True
        )

    def test_a_branch_around_the_sandwich_belongs_to_the_layer(self) -> None:
        operators = [
            self.operator("QUANTIZE", [0], 1, "tfl.quantize"),
            self.operator("FULLY_CONNECTED", [1], 2, "model/layer/key", weight=True),
            self.operator("FULLY_CONNECTED", [1], 3, "model/before/BiasAdd", weight=True),
            self.operator("ADD", [2, 3], 4, "model/add"),
            self.operator("FULLY_CONNECTED", [4], 5, "out", weight=True),
            self.operator("DEQUANTIZE", [5], 6, "out1"),
        ]
        self.assertEqual(
            tflite_roles(operators, {"before", "layer", "after"}),
            ["before", "layer", "before", "layer", "after", "after"],
        )
        self.assertEqual(set(tflite_roles(operators, {"layer", "middle"})), {"layer"})


class Questions(unittest.TestCase):
    def test_answers_rest_on_what_was_tried(self) -> None:
        for question, word, seen in (
            ("read_weights", "yes", "16 scales"),
            ("read_activations", "yes", "6 of 6"),
            ("automatic_fusion", "yes", "QUANTIZE, CONV_2D, CONV_2D"),
            ("profile_quantized_inference", "partly", "QC8"),
        ):
            with self.subTest(question=question), tempfile.TemporaryDirectory() as folder:
                answer = found(f"capability_{question}")(Path(folder))
                self.assertEqual(answer["answer"], word, answer)
                self.assertTrue(any(seen in line for line in answer["evidence"]), answer)


class Forked(unittest.TestCase):
    def test_a_child_of_the_warm_worker_runs_a_cell(self) -> None:
        weights = image_weights(layer__weight=(16, 16, 3, 3), layer__bias=(16,))
        samples = images()
        model = layers_product.layer_conv2d(keras, weights)
        expected = cell.keras_outputs(model, [cell.keras_inputs(one) for one in samples])
        with tempfile.TemporaryDirectory() as folder, Worker("tensorflow") as worker:
            tensors = Path(folder) / "tensors"
            save_file(
                {
                    **{f"weight/{name}": value for name, value in weights.items()},
                    "input/x": np.stack([one["x"] for one in samples]),
                    "expected": np.ascontiguousarray(np.stack(expected)),
                },
                tensors,
            )
            for path in ("tflite-int8", "tfmot"):
                answer = worker.call(
                    "probe",
                    layer="conv2d",
                    path=path,
                    tensors=tensors,
                    folder=Path(folder) / path,
                    limit_seconds=120,
                )
                self.assertEqual(answer["outcome"], "ran", answer)
                self.assertLess(answer["parity"], 1e-5)
