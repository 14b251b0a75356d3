"""Tests of the ONNX Runtime worker, against ONNX's reference evaluator and arithmetic."""

import shutil
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file

from tests import models
from tests.client import Failed
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


class OnnxRuntimeWorker(unittest.TestCase):
    def setUp(self) -> None:
        self.setting = Setting("onnxruntime")
        self.addCleanup(self.setting.close)

    def range(self) -> float:
        return float(np.ptp(self.setting.expected))

    def test_logits_are_those_of_the_weights_file(self) -> None:
        it = self.setting
        output = it.folder / "logits.safetensors"
        it.worker.call(
            "logits", model=it.model, weights=it.weights, data=it.data, batch=5, output=output
        )
        np.testing.assert_allclose(load_file(output)["logits"], it.expected, atol=1e-5)

    def test_the_float_artefact_is_the_file_and_counts_products_without_padding(self) -> None:
        it = self.setting
        made = it.quantize("qdq", "default", "float")
        file = it.artefact("qdq", "default", "float") / made["file"]
        self.assertEqual(made["file_bytes"], file.stat().st_size)
        self.assertIn("InferenceSession(", made["recipe"])
        loaded = it.load("qdq", "default", "float")
        np.testing.assert_allclose(it.evaluate(loaded["handle"]), it.expected, atol=1e-5)
        ran = products(loaded["operators"])
        # The last but one has 12 channels, which blocks of 16 pad.
        self.assertEqual(sorted(one["macs"] for one in ran), sorted([*MACS, HEAD_MACS]))
        self.assertEqual({(one["class"], one["weight_bits"]) for one in ran}, {("float", 32)})

    def test_the_tuned_setting_runs_every_product_in_integers(self) -> None:
        it = self.setting
        made = it.quantize("qdq", "tuned", "ptq-static")
        self.assertEqual(made["samples"], SAMPLES)
        self.assertGreater(made["calibrate_seconds"], 0)
        self.assertIn("per_channel=True", made["recipe"])
        self.assertIn("precise=True", made["recipe"])
        types = {
            tensor.data_type
            for tensor in onnx.load(
                it.artefact("qdq", "tuned", "ptq-static") / "model.onnx"
            ).graph.initializer
            if len(tensor.dims) == 4
        }
        self.assertEqual(types, {onnx.TensorProto.INT8})
        loaded = it.load("qdq", "tuned", "ptq-static")
        ran = products(loaded["operators"])
        self.assertEqual(sorted(one["macs"] for one in ran), sorted([*MACS, HEAD_MACS]))
        self.assertEqual({(one["class"], one["weight_bits"]) for one in ran}, {("integer", 8)})
        error = np.abs(it.evaluate(loaded["handle"]) - it.expected).max()
        self.assertTrue(0 < error < 0.05 * self.range(), error)

    def test_the_default_setting_leaves_some_convolutions_in_float(self) -> None:
        it = self.setting
        made = it.quantize("qdq", "default", "ptq-static")
        self.assertIn("quantize_static(prepared, target, reader)", made["recipe"])
        self.assertIn("precise=False", made["recipe"])
        loaded = it.load("qdq", "default", "ptq-static")
        ran = products(loaded["operators"])
        self.assertEqual(sorted(one["macs"] for one in ran), sorted([*MACS, HEAD_MACS]))
        self.assertEqual({one["weight_bits"] for one in ran}, {8})
        self.assertIn("integer", {one["class"] for one in ran})
        found = {one["class"] for one in ran if one["kind"] == "convolution"}
        self.assertIn("weight_only", found)

    def test_dynamic_quantization_reads_no_samples(self) -> None:
        it = self.setting
        made = it.quantize("dynamic", "default", "ptq-dynamic", data=it.folder / "absent")
        self.assertEqual((made["samples"], made["calibrate_seconds"]), (0, 0))
        loaded = it.load("dynamic", "default", "ptq-dynamic")
        self.assertEqual({one["class"] for one in products(loaded["operators"])}, {"dynamic"})
        error = np.abs(it.evaluate(loaded["handle"]) - it.expected).max()
        self.assertTrue(0 < error < 0.05 * self.range(), error)

    def test_time_and_profile_count_what_was_asked_for(self) -> None:
        it = self.setting
        it.quantize("qdq", "default", "float")
        handle = it.load("qdq", "default", "float")["handle"]
        asked = {"handle": handle, "data": it.data, "samples": 3}
        timed = it.worker.call("time", **asked, batch=4, warm_up=2, count=7)["nanoseconds"]
        self.assertEqual(len(timed), 7)
        self.assertTrue(all(one > 0 for one in timed))
        profile = it.worker.call("profile", **asked, count=5)
        spent = sum(one["nanoseconds"] for one in profile["operators"])
        self.assertTrue(0 < spent <= profile["wall_nanoseconds"])
        gemm = next(one for one in profile["operators"] if one["name"].startswith("Gemm"))
        self.assertEqual((gemm["kind"], gemm["bytes"]), ("matrix-product", 4 * models.CLASSES))
        with self.assertRaisesRegex(Failed, "BadData"):
            it.worker.call("time", **{**asked, "samples": 99}, batch=1, warm_up=0, count=1)
        it.worker.call("unload", handle=handle)
        with self.assertRaisesRegex(Failed, "UnknownHandle"):
            it.worker.call("unload", handle=handle)

    def test_models_of_several_inputs_run_at_once_and_sample_by_sample(self) -> None:
        it = self.setting
        data, feed = token_data(it.folder / "tokens.safetensors")
        free = two_inputs(it.folder / "free.onnx", "batch")
        expected = reference_logits(free, feed)
        for model in (free, two_inputs(it.folder / "one.onnx", 1)):
            weights = it.folder / "tokens-weights.safetensors"
            save_file(models.initializers(model), weights)
            folder = it.folder / model.stem
            it.quantize("qdq", "default", "float", model=model, weights=weights, artefact=folder)
            loaded = it.load("qdq", "default", "float", model=model, artefact=folder)
            table = next(one for one in loaded["operators"] if one["kind"] == "embedding")
            self.assertEqual((table["weights"], table["macs"]), (40, 0))
            self.assertEqual([one["macs"] for one in products(loaded["operators"])], [72])
            handle = loaded["handle"]
            np.testing.assert_allclose(it.evaluate(handle, data), expected, atol=1e-5)
            asked = {"handle": handle, "data": data, "samples": 4, "batch": 3}
            self.assertEqual(
                len(it.worker.call("time", **asked, warm_up=0, count=2)["nanoseconds"]), 2
            )
        with self.assertRaisesRegex(Failed, "BadData.*lacks inputs"):
            save_file({"input/tokens": feed["tokens"]}, data)
            it.evaluate(handle, data)

    def test_only_what_is_multiplied_or_learned_counts_as_weights(self) -> None:
        it, builder = self.setting, models.ModelBuilder(5)
        value = builder.node("ReduceMean", "mean", ["image"], axes=[2, 3], keepdims=0)
        weight = builder.normal("head.weight", (3, models.CLASSES), 0.3)
        addend = builder.normal("head.rows", (1, models.CLASSES), 0.3)
        value = builder.node("Gemm", "head", [value, weight, addend])
        best = builder.node("ArgMax", "best", [value], axis=1, keepdims=0)
        positions = np.arange(models.CLASSES**2).reshape(models.CLASSES, models.CLASSES)
        rows = builder.node("Gather", "rows", [builder.parameter("positions", positions), best])
        rows = builder.node("Cast", "cast", [rows], to=TensorProto.FLOAT)
        value = builder.node("Add", "sum", [value, rows])
        body = helper.make_graph(
            [
                helper.make_node("Tanh", ["state"], ["next"], "tanh"),
                helper.make_node("Identity", ["going"], ["on"], "on"),
            ],
            "body",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("going", TensorProto.BOOL, []),
                helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
            ],
        )
        turns = builder.parameter("turns", np.array(3, np.int64))
        value = builder.node("Loop", "loop", [turns, "", value], body=body)
        model, folder = builder.save(it.folder / "tables.onnx", value), it.folder / "tables"
        given = {"model": model, "artefact": folder}
        it.quantize("qdq", "default", "float", weights=None, **given)
        ran = it.load("qdq", "default", "float", **given)["operators"]
        self.assertEqual({one["weights"] for one in ran}, {0, 3 * models.CLASSES})
        kinds = {one["name"]: (one["kind"], one["class"]) for one in ran}
        self.assertEqual(kinds["ReduceMean"], ("pooling", "float"))
        self.assertEqual(kinds["Gather"], ("movement", "move"))
        self.assertEqual(kinds["Tanh"], ("activation", "float"))

    def test_files_of_others_are_run_but_not_made(self) -> None:
        it = self.setting
        with self.assertRaisesRegex(Failed, "Unsupported.*makes nothing"):
            it.quantize("calipers", "default", "ptq-static")
        it.quantize("qdq", "tuned", "ptq-static")
        shutil.copytree(
            it.artefact("qdq", "tuned", "ptq-static"),
            it.artefact("calipers", "default", "ptq-static"),
        )
        handles = [
            it.load(path, tuning, "ptq-static")["handle"]
            for path, tuning in (("qdq", "tuned"), ("calipers", "default"))
        ]
        np.testing.assert_array_equal(*map(it.evaluate, handles))

    def test_what_cannot_be_done_is_said(self) -> None:
        it = self.setting
        with self.assertRaisesRegex(Failed, "Unsupported.*does not train"):
            it.worker.call("train_begin", model=it.model)
        with self.assertRaisesRegex(Failed, "Unsupported.*no variant `qat`"):
            it.quantize("qdq", "default", "qat")
        values = load_file(it.weights)
        for change, words in (
            ({"head.bias": np.full(models.CLASSES, np.inf, np.float32)}, "not finite"),
            ({"head.bias": np.zeros(7, np.float32)}, "of shape"),
            ({"else": np.zeros(7, np.float32)}, "unknown"),
        ):
            save_file({**values, **change}, it.weights)
            with self.assertRaisesRegex(Failed, f"BadWeights.*{words}"):
                it.quantize("qdq", "default", "float")


if __name__ == "__main__":
    unittest.main()
