"""Tests of reading ONNX, data and weights files, above all of those that are wrong."""

import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
from onnx import helper
from safetensors.numpy import load_file, save_file

from calipers_worker import errors, onnx_file, onnx_graph, onnx_structure
from calipers_worker.batches import DataFile
from calipers_worker.tensor_files import replace_file
from tests import models
from tests.inference import two_inputs


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = models.residual(self.folder / "model.onnx", batch_norm=True)

    def assert_refused(
        self, kind: type[Exception], words: tuple[str, ...], call: Callable[[], object]
    ) -> None:
        with self.assertRaises(kind) as caught:
            call()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def edited(self, edit: Callable[[onnx.GraphProto], None]) -> Path:
        model = onnx.load(self.model)
        edit(model.graph)
        path = self.folder / "edited.onnx"
        onnx.save(model, path)
        return path


class OnnxFiles(Files):
    def test_layers_carry_what_the_nodes_say(self) -> None:
        graph = onnx_graph.load(models.assorted(self.folder / "assorted.onnx"))
        kinds = " ".join(type(layer.operation).__name__ for layer in graph.layers)
        self.assertEqual(
            kinds,
            "Conv BatchNorm AveragePool Relu Add Conv Flatten Linear Relu Linear",
        )
        self.assertEqual(graph.layers[1].operation.epsilon, 1e-5)
        self.assertEqual(graph.layers[1].operation.momentum, 0.9)
        self.assertEqual(graph.layers[5].operation.groups, 4)
        self.assertTrue(graph.layers[7].operation.weight_is_in_out)
        self.assertEqual(graph.layers[7].operation.bias, "hidden.bias")
        self.assertEqual(graph.output_name, "head.out")
        self.assertEqual(graph.classes, models.CLASSES)
        self.assertEqual(graph.input_shape, (None, *models.INPUT))
        names = [layer.name for layer in graph.layers]
        self.assertTrue(all(name.isidentifier() for name in names), names)
        self.assertEqual(len(set(names)), len(names))

    def test_a_truncated_or_absent_file_is_refused(self) -> None:
        broken = self.folder / "broken.onnx"
        broken.write_bytes(self.model.read_bytes()[:1000])
        for path in (broken, self.folder / "absent.onnx", self.folder):
            self.assert_refused(errors.BadModel, (str(path),), lambda p=path: onnx_graph.load(p))

    def test_an_unknown_operator_is_named_with_its_node(self) -> None:
        def edit(graph: onnx.GraphProto) -> None:
            node = next(node for node in graph.node if node.name == "layer1.0.relu1")
            node.op_type = "Softsign"

        path = self.edited(edit)
        words = ("layer1.0.relu1", "Softsign")
        self.assert_refused(errors.UnsupportedOperator, words, lambda: onnx_graph.load(path))

    def test_attributes_that_no_worker_builds_are_refused(self) -> None:
        for node_name, attribute, value, word in (
            ("stem.conv", "pads", [0, 0, 1, 1], "symmetric"),
            ("pool", "ceil_mode", 1, "ceil_mode"),
            ("head", "alpha", 2.0, "alpha"),
            ("flatten", "axis", 2, "axis"),
        ):

            def edit(
                graph: onnx.GraphProto,
                node_name: str = node_name,
                attribute: str = attribute,
                value: object = value,
            ) -> None:
                # Shape inference would refuse some of these first.
                node = next(node for node in graph.node if node.name == node_name)
                kept = [item for item in node.attribute if item.name != attribute]
                del node.attribute[:]
                node.attribute.extend([*kept, helper.make_attribute(attribute, value)])
                if attribute in ("pads", "ceil_mode", "axis"):
                    del graph.node[list(graph.node).index(node) + 1 :]
                    shape = [None] * (2 if attribute == "axis" else 4)
                    output = helper.make_tensor_value_info(
                        node.output[0], onnx.TensorProto.FLOAT, shape
                    )
                    graph.output[0].CopyFrom(output)

            path = self.edited(edit)
            with self.subTest(attribute):
                self.assert_refused(
                    errors.UnsupportedOperator,
                    (node_name, word),
                    lambda path=path: onnx_graph.load(path),
                )

    def test_a_weight_from_a_constant_node_is_refused(self) -> None:
        def edit(graph: onnx.GraphProto) -> None:
            weight = next(one for one in graph.initializer if one.name == "head.weight")
            node = helper.make_node("Constant", [], [weight.name], "made", value=weight)
            graph.node.insert(0, node)
            graph.initializer.remove(weight)

        path = self.edited(edit)
        words = ("node `head`", "head.weight", "Constant", "initializer")
        self.assert_refused(errors.UnsupportedOperator, words, lambda: onnx_graph.load(path))

    def test_an_initializer_of_two_layers_is_refused(self) -> None:
        def edit(graph: onnx.GraphProto) -> None:
            nodes = {node.name: node for node in graph.node}
            nodes["layer1.0.second.conv"].input[1] = nodes["layer1.0.first.conv"].input[1]

        path = self.edited(edit)
        words = ("layer1.0.first.conv.weight", "layer1.0.second.conv", "layer1.0.first.conv")
        self.assert_refused(errors.UnsupportedOperator, words, lambda: onnx_graph.load(path))


class ModelFiles(Files):
    def test_a_large_models_tensors_lie_beside_it_under_its_name(self) -> None:
        expected = models.initializers(self.model)
        path = self.folder / "written" / "model.onnx"
        for limit, names in (
            (1 << 30, ["model.onnx"]),
            (1 << 10, ["model.onnx", "model.onnx.data"]),
            (1 << 10, ["model.onnx", "model.onnx.data"]),
            (1 << 30, ["model.onnx"]),
        ):
            with self.subTest(names), mock.patch.object(onnx_file, "EMBEDDED_BYTES", limit):
                onnx_file.write_model(onnx.load(self.model), path)
                found = sorted(path.parent.iterdir())
                self.assertEqual([file.name for file in found], names)
                again = models.initializers(path)
                self.assertEqual(again.keys(), expected.keys())
                for name, value in expected.items():
                    np.testing.assert_array_equal(again[name], value)
                total = sum(value.nbytes for value in expected.values())
                self.assertGreater(sum(file.stat().st_size for file in found), total)

    def test_a_structure_is_the_model_but_for_the_numbers_of_its_weights(self) -> None:
        model = onnx.load(self.model)
        large = onnx.TensorProto(name="large", data_type=onnx.TensorProto.FLOAT, dims=[64, 64])
        raw, listed = onnx.TensorProto(), onnx.TensorProto()
        raw.CopyFrom(large)
        raw.raw_data = np.ones((64, 64), np.float32).tobytes()
        listed.CopyFrom(large)
        listed.name = "listed"
        listed.float_data.extend([1.0] * 4096)
        model.graph.initializer.extend([raw, listed])
        onnx.save(model, self.model)
        structure = onnx_structure.read_structure(self.model)
        for tensor in model.graph.initializer:
            if tensor.ByteSize() >= onnx_structure.LEAST:
                tensor.ClearField("raw_data")
                tensor.ClearField("float_data")
        self.assertEqual(structure, model)
        self.assertEqual([one.dims[:] for one in structure.graph.initializer][-2:], [[64, 64]] * 2)
        self.assertLess(structure.ByteSize(), 16_384)
        for content in (self.model.read_bytes()[:-100], b"", b"\x3a\xff", b"\xff" * 40):
            self.model.write_bytes(content)
            with self.assertRaises(errors.BadModel):
                onnx_file.read_signature(self.model)

    def test_the_drawn_sample_masks_nothing(self) -> None:
        path = two_inputs(self.folder / "tokens.onnx", "batch")
        feed = onnx_file.read_signature(path).example()
        np.testing.assert_array_equal(feed["tokens"], np.ones((1, 6), np.int64))
        self.assertGreater(np.abs(feed["offset"]).min(), 0)


class WeightsFiles(Files):
    def load_with(self, weights: dict[str, np.ndarray]) -> onnx_graph.OnnxGraph:
        path = self.folder / "weights.safetensors"
        save_file(weights, path)
        return onnx_graph.load(self.model, path)

    def test_weights_replace_the_initializers_and_come_back(self) -> None:
        own = models.initializers(self.model)
        given = {name: value + 1 for name, value in own.items()}
        graph = self.load_with(given)
        graph.write_weights(self.folder / "again.safetensors", graph.initializers)
        again = load_file(self.folder / "again.safetensors")
        self.assertEqual(again.keys(), own.keys())
        for name, value in again.items():
            np.testing.assert_array_equal(value, given[name])

    def test_weights_without_axes_come_back_as_they_are(self) -> None:
        builder = models.ModelBuilder(4)
        value = builder.conv("stem", "image", (3, 4, 3, 1), bias=True)
        bounds = [
            builder.parameter(*one) for one in (("low", np.float32(0)), ("high", np.float32(6)))
        ]
        value = builder.node("Clip", "clip", [value, *bounds])
        value = builder.node("GlobalAveragePool", "global", [value])
        value = builder.node("Flatten", "flatten", [value], axis=1)
        weight = builder.normal("head.weight", (models.CLASSES, 4), 0.3)
        value = builder.node("Gemm", "head", [value, weight], transB=1)
        self.model = builder.save(self.folder / "clip.onnx", value)
        own = models.initializers(self.model)
        self.assertEqual(own["high"].shape, ())
        graph = onnx_graph.load(self.model)
        graph.write_weights(self.folder / "again.safetensors", graph.initializers)
        again = onnx_graph.load(self.model, self.folder / "again.safetensors")
        np.testing.assert_array_equal(again.initializers["high"], own["high"])

    def test_weights_that_do_not_fit_are_refused(self) -> None:
        good = models.initializers(self.model)
        name = "head.bias"
        nan = np.full_like(good[name], np.nan)
        for change, words in (
            ({name: None}, ("missing", name)),
            ({"surplus": good[name]}, ("unknown", "surplus")),
            ({name: good[name][:2]}, (name, "(5,)", "(2,)")),
            ({name: good[name].astype(np.float64)}, (name, "float64")),
            ({name: nan}, (name, "not finite")),
        ):
            weights = {key: v for key, v in {**good, **change}.items() if v is not None}
            with self.subTest(words):
                self.assert_refused(
                    errors.BadWeights, words, lambda weights=weights: self.load_with(weights)
                )

    def test_weights_that_are_not_finite_are_never_written(self) -> None:
        graph = onnx_graph.load(self.model)
        path = self.folder / "out.safetensors"
        nan = {"head.bias": np.full(models.CLASSES, np.nan, np.float32)}
        self.assert_refused(
            errors.BadWeights, ("head.bias",), lambda: graph.write_weights(path, nan)
        )
        self.assertFalse(path.exists())

    def test_a_failed_write_leaves_the_old_file_alone(self) -> None:
        path = self.folder / "kept"
        path.write_text("old")

        def write(temporary: Path) -> None:
            temporary.write_text("half")
            raise OSError("disk full")

        with self.assertRaises(OSError):
            replace_file(path, write)
        self.assertEqual(path.read_text(), "old")
        self.assertEqual(sorted(self.folder.iterdir()), sorted([path, self.model]))


class DataFiles(Files):
    def test_batches_look_values_up_in_order_and_keep_the_last(self) -> None:
        path = models.data(self.folder / "data.safetensors", 7)
        raw = load_file(path)
        batches = list(DataFile(path).labelled(3))
        self.assertEqual([len(labels) for _, labels in batches], [3, 3, 1])
        joined = np.concatenate([images for images, _ in batches])
        for index in np.ndindex(joined.shape):
            expected = raw["table"][index[1], raw["images"][index]]
            self.assertEqual(joined[index], expected)
        np.testing.assert_array_equal(
            np.concatenate([labels for _, labels in batches]), raw["labels"]
        )
        np.testing.assert_array_equal(np.concatenate(list(DataFile(path).batches(3))), joined)
        np.testing.assert_array_equal(DataFile(path).floats(4, 5), joined[4:5])
        windows = DataFile(path).windows(3, 2)
        self.assertEqual(len(windows), 3)
        np.testing.assert_array_equal(windows[2], joined[[2, 0]])

    def test_named_inputs_go_to_the_model_by_name(self) -> None:
        path = self.folder / "named.safetensors"
        tokens = np.arange(10, dtype=np.int64).reshape(5, 2)
        mask = np.ones((5, 2), np.float32)
        save_file({"input/tokens": tokens, "input/mask": mask}, path)
        data = DataFile(path)
        self.assertEqual(data.count, 5)
        fed = data.feed(3, 5, ["tokens"])
        np.testing.assert_array_equal(fed["tokens"], tokens[3:])
        turn = data.window(4, 5, 2, ["tokens", "mask"])
        np.testing.assert_array_equal(turn["tokens"], tokens[[4, 0]])
        self.assert_refused(errors.BadData, ("`labels`",), lambda: data.labels)
        self.assert_refused(errors.BadData, ("other",), lambda: data.feed(0, 1, ["other"]))
        self.assert_refused(errors.BadData, ("mask", "tokens"), lambda: data.floats(0, 1))
        save_file({"input/tokens": tokens, "input/mask": mask[:4]}, path)
        self.assert_refused(errors.BadData, ("number of samples",), lambda: DataFile(path))

    def test_wrong_files_are_refused(self) -> None:
        good = load_file(models.data(self.folder / "data.safetensors", 7))
        for change, words in (
            ({"table": None}, ("table",)),
            ({"images": good["images"].astype(np.int32)}, ("images", "int32")),
            ({"labels": good["labels"][:3]}, ("7", "3")),
            ({"table": good["table"][:, :200]}, ("table", "(3, 200)")),
            ({"images": good["images"][:0], "labels": good["labels"][:0]}, ("no samples",)),
        ):
            path = self.folder / "wrong.safetensors"
            save_file({key: v for key, v in {**good, **change}.items() if v is not None}, path)
            with self.subTest(words):
                self.assert_refused(errors.BadData, words, lambda path=path: DataFile(path))
        path.write_bytes(b"not safetensors")
        self.assert_refused(errors.BadData, (str(path),), lambda: DataFile(path))

    def test_labels_and_shapes_are_held_against_the_model(self) -> None:
        data = DataFile(models.data(self.folder / "data.safetensors", 7))
        data.check_labels(models.CLASSES)
        data.check_shape((None, *models.INPUT))
        data.labels[4] = models.CLASSES
        self.assert_refused(
            errors.BadData, ("label 5", "sample 4"), lambda: data.check_labels(models.CLASSES)
        )
        self.assert_refused(
            errors.BadData, ("(3, 8, 8)",), lambda: data.check_shape((None, 3, 16, 8))
        )


if __name__ == "__main__":
    unittest.main()
