"""Tests of the OpenVINO worker, against ONNX's reference evaluator and arithmetic."""

import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from tests import models
from tests.client import Failed, Worker
from tests.inference import (
    HEAD_MACS,
    MACS,
    SAMPLES,
    Setting,
    products,
    reference_logits,
    token_data,
    two_inputs,
)

TELEMETRY = """
import sys
from calipers_worker.openvino import commands
import nncf.telemetry, openvino.tools.ovc.telemetry_utils as converter
from unittest.mock import MagicMock
loaded = [name for name in sys.modules if name.startswith("openvino_telemetry.")]
sender = converter.tm.__name__
sys.exit(0 if not loaded and isinstance(nncf.telemetry.telemetry, MagicMock)
    and sender.endswith("telemetry_stub") else 1)
"""


class OpenVinoWorker(unittest.TestCase):
    def setUp(self) -> None:
        self.setting = Setting("openvino")
        self.addCleanup(self.setting.close)

    def test_nothing_is_sent_to_anybody(self) -> None:
        process = Worker("openvino", TELEMETRY)
        self.assertEqual(process.close(), 0)

    def test_float_is_computed_in_float32(self) -> None:
        it = self.setting
        output = it.folder / "logits.safetensors"
        it.worker.call(
            "logits", model=it.model, weights=it.weights, data=it.data, batch=5, output=output
        )
        np.testing.assert_allclose(load_file(output)["logits"], it.expected, atol=1e-5)
        made = it.quantize("nncf", "default", "float")
        folder = it.artefact("nncf", "default", "float")
        self.assertEqual(made["file_bytes"], sum(one.stat().st_size for one in folder.iterdir()))
        self.assertIn("ov.save_model(", made["recipe"])
        loaded = it.load("nncf", "default", "float")
        np.testing.assert_allclose(it.evaluate(loaded["handle"]), it.expected, atol=1e-5)
        ran = products(loaded["operators"])
        self.assertEqual(sorted(one["macs"] for one in ran), sorted([*MACS, HEAD_MACS]))
        self.assertEqual({(one["class"], one["weight_bits"]) for one in ran}, {("float", 32)})

    def test_its_own_precision_is_reported_as_it_ran(self) -> None:
        it = self.setting
        it.quantize("nncf", "tuned", "float")
        loaded = it.load("nncf", "tuned", "float")
        exact = np.abs(it.evaluate(loaded["handle"]) - it.expected).max() < 1e-5
        bits = {one["weight_bits"] for one in products(loaded["operators"])}
        self.assertEqual(bits, {32} if exact else {16})

    def test_static_quantization_runs_every_product_in_integers(self) -> None:
        it = self.setting
        for tuning in ("default", "tuned"):
            made = it.quantize("nncf", tuning, "ptq-static")
            self.assertEqual(made["samples"], SAMPLES)
            self.assertGreater(made["calibrate_seconds"], 0)
            self.assertGreater(made["convert_seconds"], 0)
            self.assertIn("nncf.quantize(", made["recipe"])
            loaded = it.load("nncf", tuning, "ptq-static")
            ran = products(loaded["operators"])
            self.assertEqual(sorted(one["macs"] for one in ran), sorted([*MACS, HEAD_MACS]))
            self.assertEqual({(one["class"], one["weight_bits"]) for one in ran}, {("integer", 8)})
            error = np.abs(it.evaluate(loaded["handle"]) - it.expected).max()
            self.assertTrue(0 < error < 0.2 * np.ptp(it.expected), error)

    def test_stored_weights_are_those_of_the_initializers(self) -> None:
        it = self.setting
        head = load_file(it.weights)["head.weight"]
        for variant, dtype in (("float", "float32"), ("weight-only", "uint8")):
            made = it.quantize("nncf", "default", variant)
            handle = it.load("nncf", "default", variant)["handle"]
            output = it.folder / "stored.safetensors"
            listed = it.worker.call("read_weights", handle=handle, output=output)["tensors"]
            self.assertLessEqual(sum(one["bytes"] for one in listed), made["file_bytes"])
            weights = {one["initializer"]: one for one in listed if one["initializer"]}
            self.assertEqual(
                sorted(weights),
                sorted(name for name in load_file(it.weights) if name.endswith(".weight")),
            )
            self.assertEqual(weights["stem.conv.weight"]["type"], dtype)
            self.assertEqual(weights["stem.conv.weight"]["shape"], [8, 3, 3, 3])
            tensors, name = load_file(output), weights["head.weight"]["name"]
            real = tensors[f"{name}/real" if variant == "weight-only" else name]
            steps = np.ptp(np.c_[head, np.zeros(len(head))], axis=1, keepdims=True) / 255
            slack = 0.51 * steps if variant == "weight-only" else 0
            self.assertTrue((np.abs(real - head) <= slack + 1e-6).all())

    def test_square_matrices_and_stacks_of_them_are_stored_in_the_files_layout(self) -> None:
        it, random = self.setting, np.random.default_rng(6)
        shapes = {"square": (16, 16), "turned": (16, 16), "stack": (2, 16, 24), "head": (24, 5)}
        own = {name: random.normal(size=shape) for name, shape in shapes.items()}
        own = {name: value.astype(np.float32) for name, value in own.items()}
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "square"], ["first"], "one"),
                helper.make_node("Gemm", ["first", "turned"], ["second"], "two", transB=1),
                helper.make_node("MatMul", ["second", "stack"], ["third"], "three"),
                helper.make_node("ReduceMean", ["third"], ["mean"], "four", axes=[0], keepdims=0),
                helper.make_node("MatMul", ["mean", "head"], ["logits"], "five"),
            ],
            "matrices",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
            [numpy_helper.from_array(value, name) for name, value in own.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        model, folder = it.folder / "matrices.onnx", it.folder / "matrices"
        onnx.save(made, model)
        for variant in ("float", "weight-only"):
            given = {"model": model, "artefact": folder}
            it.quantize("nncf", "default", variant, **given, weights=None)
            handle = it.load("nncf", "default", variant, **given)["handle"]
            output = it.folder / "stored.safetensors"
            listed = it.worker.call("read_weights", handle=handle, output=output)["tensors"]
            names = {one["initializer"]: one["name"] for one in listed if one["initializer"]}
            self.assertEqual(sorted(names), sorted(own))
            tensors = load_file(output)
            for name, value in own.items():
                found = tensors.get(f"{names[name]}/real", tensors[names[name]])
                self.assertLess(np.abs(found - value).max(), 0.02 * np.ptp(value), name)

    def test_weights_alone_change_the_file_and_little_else(self) -> None:
        it = self.setting
        made = it.quantize("nncf", "default", "weight-only", data=it.folder / "absent")
        self.assertEqual((made["samples"], made["calibrate_seconds"]), (0, 0))
        loaded = it.load("nncf", "default", "weight-only")
        self.assertNotIn("integer", {one["class"] for one in products(loaded["operators"])})
        error = np.abs(it.evaluate(loaded["handle"]) - it.expected).max()
        self.assertTrue(0 < error < 0.02 * np.ptp(it.expected), error)

    def test_time_and_profile_count_what_was_asked_for(self) -> None:
        it = self.setting
        it.quantize("nncf", "default", "float")
        handle = it.load("nncf", "default", "float")["handle"]
        asked = {"handle": handle, "data": it.data, "samples": 3}
        timed = it.worker.call("time", **asked, batch=4, warm_up=2, count=7)["nanoseconds"]
        self.assertEqual(len(timed), 7)
        profile = it.worker.call("profile", **asked, count=20)
        spent = sum(one["nanoseconds"] for one in profile["operators"])
        self.assertTrue(0 < spent <= profile["wall_nanoseconds"])
        head = next(one for one in profile["operators"] if one["kind"] == "matrix-product")
        self.assertEqual(head["bytes"], 4 * models.CLASSES)

    def test_models_of_several_inputs_run_at_once_and_sample_by_sample(self) -> None:
        it = self.setting
        data, feed = token_data(it.folder / "tokens.safetensors")
        free = two_inputs(it.folder / "free.onnx", "batch")
        expected = reference_logits(free, feed)
        for model in (free, two_inputs(it.folder / "one.onnx", 1)):
            weights = it.folder / "tokens-weights.safetensors"
            save_file(models.initializers(model), weights)
            folder = it.folder / model.stem
            it.quantize("nncf", "default", "float", model=model, weights=weights, artefact=folder)
            loaded = it.load("nncf", "default", "float", model=model, artefact=folder)
            table = next(one for one in loaded["operators"] if one["kind"] == "embedding")
            self.assertEqual((table["weights"], table["macs"]), (40, 0))
            self.assertEqual([one["macs"] for one in products(loaded["operators"])], [72])
            np.testing.assert_allclose(it.evaluate(loaded["handle"], data), expected, atol=1e-5)

    def test_truth_values_and_positions_are_no_integer_arithmetic(self) -> None:
        it, random = self.setting, np.random.default_rng(7)
        own = {"matrix": random.normal(size=(16, 5)), "zero": np.zeros(()), "one": np.ones(())}
        constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in own.items()]
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "matrix"], ["product"], "product"),
                helper.make_node("Cast", ["mask"], ["seen"], "seen", to=TensorProto.BOOL),
                helper.make_node("Not", ["seen"], ["hidden"], "hidden"),
                helper.make_node("Where", ["hidden", "zero", "product"], ["chosen"], "chosen"),
                helper.make_node("Softmax", ["chosen"], ["shares"], "shares", axis=-1),
                helper.make_node("Add", ["mask", "mask"], ["positions"], "positions"),
                helper.make_node("Cast", ["positions"], ["numbers"], "numbers", to=1),
                helper.make_node("Add", ["shares", "numbers"], ["logits"], "sum"),
            ],
            "masked",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16]),
                helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", 5]),
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
            constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        model, folder = it.folder / "masked.onnx", it.folder / "masked"
        onnx.save(made, model)
        given = {"model": model, "artefact": folder}
        it.quantize("nncf", "default", "float", weights=None, **given)
        ran = it.load("nncf", "default", "float", **given)["operators"]
        self.assertNotIn("integer", {one["class"] for one in ran}, ran)
        moved = [one["name"] for one in ran if one["class"] == "move"]
        self.assertTrue(any(name.startswith("Eltwise") for name in moved), ran)

    def test_what_cannot_be_done_is_said(self) -> None:
        it = self.setting
        with self.assertRaisesRegex(Failed, "Unsupported.*does not train"):
            it.worker.call("train_epoch", trainer=1)
        with self.assertRaisesRegex(Failed, "Unsupported.*makes nothing"):
            it.quantize("calipers", "default", "ptq-static")
        with self.assertRaisesRegex(Failed, "BadData.*model file"):
            it.load("calipers", "default", "ptq-static")


if __name__ == "__main__":
    unittest.main()
