"""Tests of the operations beside those of residual networks, against the ONNX reference."""

import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from calipers_worker.batches import DataFile
from tests import models
from tests.client import Failed
from tests.with_pytorch import WithWorker


def mobile(path: Path, *, softmax: bool = True) -> Path:
    """A gated block and five branches, each with an activation of its own, joined."""
    model = models.ModelBuilder(7)

    def scalar(name: str, value: float) -> str:
        return model.parameter(name, np.array(value, np.float32))

    value = model.conv("stem", "image", (3, 8, 3, 1), bias=True)
    value = model.node("HardSwish", "stem.swish", [value])
    gate = model.node("GlobalAveragePool", "gate.pool", [value])
    gate = model.conv("gate.down", gate, (8, 4, 1, 1), bias=True)
    gate = model.node("Relu", "gate.relu", [gate])
    gate = model.conv("gate.up", gate, (4, 8, 1, 1), bias=True)
    gate = model.node("HardSigmoid", "gate.sigmoid", [gate], alpha=1 / 6, beta=0.5)
    value = model.node("Mul", "gate.product", [value, gate])
    first = model.conv("first", value, (8, 6, 3, 1), bias=True)
    first = model.node("Clip", "first.clip", [first, scalar("zero", 0), scalar("six", 6)])
    second = model.conv("second", value, (8, 6, 1, 1), bias=True)
    second = model.node("LeakyRelu", "second.leaky", [second], alpha=0.1)
    third = model.conv("third", value, (8, 4, 1, 1), bias=True)
    third = model.node("Mul", "third.silu", [third, model.node("Sigmoid", "third.gate", [third])])
    fourth = model.conv("fourth", value, (8, 4, 1, 1), bias=True)
    fourth = model.node("Tanh", "fourth.tanh", [fourth])
    fifth = model.conv("fifth", value, (8, 4, 1, 1), bias=True)
    fifth = model.node("Clip", "fifth.clip", [fifth, scalar("low", -0.5), scalar("high", 0.75)])
    value = model.node("Concat", "join", [first, second, third, fourth, fifth], axis=1)
    value = model.node("Dropout", "dropout", [value])
    value = model.node("ReduceMean", "mean", [value], axes=[2, 3], keepdims=0)
    weight = model.normal("head.weight", (models.CLASSES, 24), 0.5)
    bias = model.normal("head.bias", (models.CLASSES,), 0.1)
    value = model.node("Gemm", "head", [value, weight, bias], transB=1)
    value = model.node("Softmax", "softmax", [value], axis=-1) if softmax else value
    return model.save(path, value)


class Operations(WithWorker):
    def test_float_equals_the_onnx_reference(self) -> None:
        images = DataFile(self.data).floats(0, 70)
        for softmax in (False, True):
            model = mobile(self.folder / "mobile.onnx", softmax=softmax)
            (expected,) = ReferenceEvaluator(str(model)).run(None, {"image": images})
            np.testing.assert_allclose(self.logits(model), expected, rtol=0, atol=1e-5)

    def test_one_sided_clips(self) -> None:
        images = DataFile(self.data).floats(0, 70)
        for bounds in (["low", ""], ["zero", ""], ["", "high"], []):
            builder = models.ModelBuilder(9)
            for name, number in (("low", -0.5), ("zero", 0.0), ("high", 0.75)):
                if name in bounds:
                    builder.parameter(name, np.array(number, np.float32))
            value = builder.conv("conv", "image", (3, models.CLASSES, 3, 1), bias=True)
            value = builder.node("Clip", "clip", [value, *bounds])
            value = builder.node("GlobalAveragePool", "pool", [value])
            value = builder.node("Flatten", "flat", [value], axis=1)
            model = builder.save(self.folder / "clip.onnx", value)
            (expected,) = ReferenceEvaluator(str(model)).run(None, {"image": images})
            np.testing.assert_allclose(self.logits(model), expected, rtol=0, atol=1e-5)

    def test_all_of_it_runs_in_8_bit(self) -> None:
        model = mobile(self.folder / "mobile.onnx")
        expected = self.logits(model)
        for path in ("eager", "fx"):
            with self.subTest(path):
                folder = self.folder / path
                self.quantize(model, folder, path=path)
                loaded = self.load(model, folder, path=path, variant="ptq-static")
                inside = [
                    one
                    for one in loaded["operators"]
                    if one["class"] not in ("convert", "move") and one["kind"] != "normalization"
                ]
                self.assertEqual({one["class"] for one in inside}, {"integer"})
                self.assertEqual(sum(one["macs"] > 0 for one in inside), 9)
                # Probabilities are between 0 and 1.
                found = self.evaluated(loaded["handle"])
                self.assertLess(np.abs(found - expected).max(), 0.05)

    def test_training_and_qat_take_it(self) -> None:
        model = mobile(self.folder / "mobile.onnx", softmax=False)
        own = models.initializers(model)
        for mode, path in (("float", "eager"), ("qat", "eager"), ("qat", "fx")):
            with self.subTest(f"{mode} {path}"):
                trainer = self.begin(model, mode=mode, path=path)
                self.train(trainer, [0.02])
                state = self.state(trainer)
                self.assertEqual(set(state), set(own))
                for name, value in own.items():
                    is_bound = name in ("zero", "six", "low", "high")
                    self.assertEqual((state[name] != value).any(), not is_bound, name)
                self.worker.call("train_drop", trainer=trainer)

    def test_what_is_not_built_names_its_node(self) -> None:
        row = {"row": np.ones((1, 3, 1, 8), np.float32)}
        for kind, attributes, more, words in (
            ("Concat", {"axis": 2}, ["image"], "`axis` is 2"),
            ("HardSigmoid", {"alpha": 0.2}, [], "its alpha is 0.2"),
            ("ReduceMean", {"axes": [1, 2]}, [], "only H and W"),
            ("ReduceMean", {}, [], "only H and W"),
            ("Softmax", {"axis": 1}, [], "only the last of [N, K]"),
            ("Mul", {}, ["row"], "constant"),
            ("Clip", {}, ["image"], "must be a constant"),
            ("Elu", {}, [], "workers build Conv"),
        ):
            with self.subTest(f"{kind} {attributes}"):
                with self.assertRaises(Failed) as caught:
                    self.logits(lone(self.folder / "lone.onnx", kind, more, row, attributes))
                answer = caught.exception.answer
                self.assertEqual(
                    (answer["stage"], answer["type"]), ("build", "UnsupportedOperator")
                )
                self.assertIn(f"`lone` ({kind})", answer["message"])
                self.assertIn(words, answer["message"])


def lone(
    path: Path,
    kind: str,
    more: list[str],
    constants: dict[str, np.ndarray],
    attributes: dict[str, object],
) -> Path:
    """One node, whose inputs are the image and `more`."""
    graph = helper.make_graph(
        [helper.make_node(kind, ["image", *more], ["out"], "lone", **attributes)],
        "lone",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *models.INPUT])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, list("nchw"))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


if __name__ == "__main__":
    unittest.main()
