"""Tests of PyTorch's ways to quantize: what executes, what is stored, and what comes out."""

import os
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch
from onnx import shape_inference
from safetensors.numpy import load_file

from calipers_worker import onnx_graph
from calipers_worker.batches import DataFile
from calipers_worker.pytorch import artefacts, methods, profiles, quantize
from tests import models
from tests.client import Failed, Worker
from tests.with_pytorch import BUILDERS, WithWorker

STATIC = [("eager", "default"), ("eager", "tuned"), ("fx", "default"), ("fx", "tuned")]


def work(path: Path) -> list[tuple[str, int, int]]:
    """Kind, multiply-accumulates and weights of each product of an ONNX file, by its shapes."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in [*inferred.value_info, *inferred.output]
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    products = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight = weights[node.input[1]]
            taps = int(np.prod(weight[1:]))
            made = int(np.prod(shapes[node.output[0]]))
            products.append(("convolution", made * taps, int(np.prod(weight))))
        elif node.op_type in ("Gemm", "MatMul"):
            size = int(np.prod(weights[node.input[1]]))
            products.append(("matrix-product", size, size))
    return products


def products(loaded: dict) -> list[dict]:
    """The operators that are convolutions or matrix products with a weight."""
    return [one for one in loaded["operators"] if one["macs"]]


class Executed(WithWorker):
    def check(self, model: Path, loaded: dict, classes: dict[str, tuple[str, int]]) -> None:
        """Hold the work of all products, in any order, against the shapes of the ONNX file."""
        found = [(one["kind"], one["macs"], one["weights"]) for one in products(loaded)]
        self.assertEqual(sorted(found), sorted(work(model)))
        for one in products(loaded):
            self.assertEqual((one["class"], one["weight_bits"]), classes[one["kind"]], one)

    def test_float_executes_in_float(self) -> None:
        for name in BUILDERS:
            model, folder = self.model(name), self.folder / name
            self.save_float(model, folder)
            loaded = self.load(model, folder, path="eager", variant="float")
            everywhere = {"convolution": ("float", 32), "matrix-product": ("float", 32)}
            self.check(model, loaded, everywhere)
            computed = [one["class"] for one in loaded["operators"] if one["class"] != "move"]
            self.assertEqual(set(computed), {"float"})

    def test_static_executes_in_8_bit(self) -> None:
        kinds = {
            "residual": {"convolution": 6, "pooling": 2, "elementwise": 2, "matrix-product": 1},
            "assorted": {
                "convolution": 2,
                "pooling": 1,
                "activation": 1,
                "elementwise": 1,
                "matrix-product": 2,
            },
        }
        kinds["residual_batch_norm"] = kinds["residual"]
        for name, expected in kinds.items():
            model = self.model(name)
            for path, tuning in STATIC:
                with self.subTest(f"{name} {path} {tuning}"):
                    folder = self.folder / f"{name}-{path}-{tuning}"
                    made = self.quantize(model, folder, path=path, tuning=tuning)
                    self.assertEqual(made["samples"], 70)
                    self.assertEqual(made["file_bytes"], (folder / made["file"]).stat().st_size)
                    self.assertIn("prepare", made["recipe"])
                    self.assertEqual("torch.jit.freeze" in made["recipe"], tuning == "tuned")
                    loaded = self.load(
                        model, folder, path=path, tuning=tuning, variant="ptq-static"
                    )
                    everywhere = {"convolution": ("integer", 8), "matrix-product": ("integer", 8)}
                    self.check(model, loaded, everywhere)
                    found = [
                        one["kind"]
                        for one in loaded["operators"]
                        if one["class"] not in ("convert", "move")
                    ]
                    self.assertEqual({kind: found.count(kind) for kind in found}, expected)
                    self.assertNotIn("float", [one["class"] for one in loaded["operators"]])

    def test_dynamic_and_weight_only_reach_what_they_say(self) -> None:
        model = self.model("assorted")
        float32, int8 = ("float", 32), ("weight_only", 8)
        for path, tuning, variant, convolution, product in (
            ("eager", "default", "ptq-dynamic", float32, ("dynamic", 8)),
            ("fx", "default", "ptq-dynamic", float32, ("dynamic", 8)),
            ("torchao", "default", "ptq-dynamic", float32, ("dynamic", 8)),
            ("torchao", "default", "weight-only", float32, int8),
            ("torchao", "tuned", "weight-only", None, int8),
        ):
            with self.subTest(f"{path} {tuning} {variant}"):
                folder = self.folder / f"{path}-{tuning}-{variant}"
                given = {"path": path, "tuning": tuning, "variant": variant}
                nothing = self.folder / "no such file"
                made = self.quantize(model, folder, data=nothing, **given)
                self.assertEqual((made["samples"], made["calibrate_seconds"]), (0, 0))
                loaded = self.load(model, folder, **given)
                classes = {"convolution": convolution, "matrix-product": product}
                if convolution is None:
                    # The first convolution is an ordinary one, the second is depthwise.
                    found = [
                        (one["class"], one["weight_bits"])
                        for one in products(loaded)
                        if one["kind"] == "convolution"
                    ]
                    self.assertEqual(found, [int8, float32])
                else:
                    self.check(model, loaded, classes)
                expected = self.logits(model)
                found = self.evaluated(loaded["handle"])
                self.assertLess(np.abs(found - expected).max(), 0.1 * np.abs(expected).max())
                self.assertTrue((found != expected).any())

    def test_modules_are_pytorchs_quantized_ones(self) -> None:
        graph = onnx_graph.load(self.model("residual_batch_norm"))
        for path in ("eager", "fx"):
            for variant in ("ptq-static", "qat"):
                with self.subTest(f"{path} {variant}"):
                    model = methods.empty(methods.method(path, "default", variant), graph)
                    kinds = [type(module) for module in model.modules()]
                    convs = [kind for kind in kinds if "Conv" in kind.__name__]
                    self.assertEqual(len(convs), 6)
                    self.assertEqual(sum(kind.__name__ == "ConvReLU2d" for kind in convs), 3)
                    linear = [kind for kind in kinds if kind.__name__ == "Linear"]
                    self.assertEqual(len(linear), 1)
                    for kind in convs + linear:
                        self.assertRegex(kind.__module__, r"torch\.ao\.nn\..*quantized\.modules")
                    self.assertNotIn(torch.nn.BatchNorm2d, kinds)


class Outputs(WithWorker):
    def test_a_fresh_process_gives_the_same_logits(self) -> None:
        data = DataFile(self.data)
        self.assertIn(quantize.select_engine(), torch.backends.quantized.supported_engines)
        for name in ("residual_batch_norm", "assorted"):
            file = self.model(name)
            graph = onnx_graph.load(file)
            for path, tuning, variant in methods.METHODS:
                if path in ("pt2e", "gpu") or variant.startswith("float"):
                    continue
                with self.subTest(f"{name} {path} {tuning} {variant}"):
                    method = methods.method(path, tuning, variant)
                    model = methods.prepared(method, graph)
                    with torch.no_grad():
                        for images in data.batches(32):
                            model(torch.from_numpy(images))
                    model = methods.converted(method, model)
                    folder = self.folder / f"{name}-{path}-{tuning}-{variant}"
                    artefacts.save(method, model, graph, folder)
                    with torch.inference_mode():
                        expected = [
                            model(torch.from_numpy(images)).numpy() for images in data.batches(32)
                        ]
                    found = self.loaded_logits(
                        file, folder, path=path, tuning=tuning, variant=variant
                    )
                    np.testing.assert_array_equal(found, np.concatenate(expected))

    def test_int8_stays_near_float_and_tuned_nearer(self) -> None:
        for name in BUILDERS:
            model = self.model(name)
            expected = self.logits(model)
            for path in ("eager", "fx"):
                decibels = {}
                for tuning in methods.TUNINGS:
                    folder = self.folder / f"{name}-{path}-{tuning}"
                    self.quantize(model, folder, path=path, tuning=tuning)
                    found = self.loaded_logits(
                        model, folder, path=path, tuning=tuning, variant="ptq-static"
                    )
                    noise = np.square(found - expected).sum()
                    decibels[tuning] = 10 * np.log10(np.square(expected).sum() / noise)
                with self.subTest(f"{name} {path}"):
                    self.assertGreater(decibels["default"], 15)
                    # Where the CPU has VNNI, the tuned recipe has one bit more, about 6 decibels.
                    if not quantize.needs_reduced_range():
                        self.assertGreater(decibels["tuned"], decibels["default"] + 2)

    def test_qat_artefact_stays_near_its_master_weights(self) -> None:
        model = self.model("residual_batch_norm")
        for path, tuning in (*STATIC[:1], *STATIC[2:], ("eager-2023", "default")):
            with self.subTest(f"{path} {tuning}"):
                trainer = self.begin(model, mode="qat", path=path, tuning=tuning)
                for _ in range(5):
                    self.train(trainer, [0.02])
                self.state(trainer)
                expected = self.logits(model, self.folder / "state")
                folder = self.folder / f"{path}-{tuning}"
                result = self.worker.call("train_finish", trainer=trainer, artefact=folder)
                self.assertEqual(result["file_bytes"], (folder / "model.pt").stat().st_size)
                self.assertIn("prepare_qat", result["recipe"])
                found = self.loaded_logits(model, folder, path=path, tuning=tuning, variant="qat")
                agreement = (found.argmax(1) == expected.argmax(1)).mean()
                self.assertGreater(agreement, 0.85)

    def test_the_qconfig_of_2023_trains_without_fake_quantization(self) -> None:
        model = self.model("residual_batch_norm")
        losses = {}
        for mode, path in (("float", "eager"), ("qat", "eager-2023"), ("qat", "eager")):
            trainer = self.begin(model, mode=mode, path=path)
            losses[mode, path] = self.train(trainer, [0.02])["loss"]
        expected = losses["float", "eager"]
        self.assertLess(abs(losses["qat", "eager-2023"] - expected), 1e-5)
        self.assertGreater(abs(losses["qat", "eager"] - expected), 1e-4)


class Exported(WithWorker):
    def test_float_and_int8_compile_and_agree(self) -> None:
        model = self.model("residual_batch_norm")
        expected = self.logits(model)
        floating, static, dynamic = (self.folder / name for name in ("float", "static", "dynamic"))
        saved = self.save_float(model, floating, path="pt2e")
        self.assertEqual(saved["file"], "model.pt2")
        self.quantize(model, static, path="pt2e")
        self.quantize(model, dynamic, path="pt2e", variant="ptq-dynamic")
        for folder, variant, tolerance in (
            (floating, "float", 1e-5),
            (static, "ptq-static", 0.1),
            (dynamic, "ptq-dynamic", 0.1),
        ):
            with self.subTest(variant):
                loaded = self.load(model, folder, path="pt2e", variant=variant)
                found = [(one["kind"], one["macs"], one["weights"]) for one in products(loaded)]
                self.assertEqual(sorted(found), sorted(work(model)))
                classes = [one["class"] for one in products(loaded)]
                bits = {one["weight_bits"] for one in products(loaded)}
                self.assertEqual(bits, {32} if variant == "float" else {8})
                # For one sample Inductor multiplies int8 weights of a linear layer in float, and
                # of dynamic quantization it compiles integer kernels for linear layers alone.
                wanted = {
                    "float": ["float"] * 7,
                    "ptq-static": ["integer"] * 6 + ["weight_only"],
                    "ptq-dynamic": ["weight_only"] * 7,
                }
                self.assertEqual(classes, wanted[variant])
                logits = self.evaluated(loaded["handle"])
                self.assertLess(np.abs(logits - expected).max(), tolerance)
                # The size of a batch changes the kernels, and so the last bits.
                one_by_one = self.evaluated(loaded["handle"], batch=1)
                self.assertLess(np.abs(one_by_one - logits).max(), tolerance / 2)

    def test_qat_ends_in_the_compiled_program(self) -> None:
        model = self.model("residual_batch_norm")
        trainer = self.begin(model, mode="qat", path="pt2e")
        losses = [self.train(trainer, [0.02])["loss"] for _ in range(5)]
        self.assertLess(losses[-1], losses[0])
        self.state(trainer)
        expected = self.logits(model, self.folder / "state")
        folder = self.folder / "qat"
        finished = self.worker.call("train_finish", trainer=trainer, artefact=folder)
        self.assertIn("prepare_qat_pt2e", finished["recipe"])
        loaded = self.load(model, folder, path="pt2e", variant="qat")
        self.assertEqual([one["class"] for one in products(loaded)][:6], ["integer"] * 6)
        found = self.evaluated(loaded["handle"])
        self.assertGreater((found.argmax(1) == expected.argmax(1)).mean(), 0.85)

    def test_no_compiler_is_an_error_that_says_so(self) -> None:
        model, folder = self.model("residual"), self.folder / "float"
        self.save_float(model, folder, path="pt2e")
        with (
            mock.patch.dict(os.environ, PATH=str(self.folder)),
            Worker("pytorch") as worker,
            self.assertRaises(Failed) as caught,
        ):
            given = {"path": "pt2e", "tuning": "default", "variant": "float"}
            worker.call("load", model=model, artefact=folder, **given)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("load", "NoCompiler"))


class Measured(WithWorker):
    def test_profile_tells_the_operators_of_one_inference(self) -> None:
        model = self.model("residual")
        for path, tuning, counts in (
            ("eager", "default", {"quantized::conv2d_relu": 3, "quantized::linear": 1}),
            ("fx", "tuned", {"quantized::conv2d_relu": 3, "quantized::add_relu": 2}),
            ("pt2e", "default", {"onednn::qconv_pointwise": 4, "onednn::qconv2d_pointwise": 2}),
        ):
            with self.subTest(f"{path} {tuning}"):
                folder = self.folder / f"{path}-{tuning}"
                self.quantize(model, folder, path=path, tuning=tuning)
                loaded = self.load(model, folder, path=path, tuning=tuning, variant="ptq-static")
                given = {"handle": loaded["handle"], "data": self.data, "samples": 3}
                found = self.worker.call("profile", count=4, **given)
                self.assertEqual(found["profiler"], "torch.profiler")
                self.assertIn("allocated", found["bytes_are"])
                rows = {one["name"]: one for one in found["operators"]}
                self.assertEqual(len(rows), len(found["operators"]))
                self.assertEqual({name: rows[name]["calls"] for name in counts}, counts)
                total = sum(one["nanoseconds"] for one in found["operators"])
                self.assertGreater(total, 0)
                self.assertLess(total, found["wall_nanoseconds"])
                # It begins with the input's quantization and ends with the logits.
                kinds = [one["kind"] for one in found["operators"]]
                self.assertEqual(kinds[0], "conversion")
                self.assertEqual(kinds[kinds.index("convolution") - 1], "conversion")
                self.assertIn("matrix-product", kinds[-2:])

    def test_a_name_of_several_kinds_is_told_by_itself(self) -> None:
        model, folder = self.model("residual"), self.folder / "torchao"
        given = {"path": "torchao", "variant": "ptq-dynamic"}
        self.quantize(model, folder, **given)
        loaded = self.load(model, folder, **given)
        given = {"handle": loaded["handle"], "data": self.data, "samples": 3}
        found = self.worker.call("profile", count=4, **given)["operators"]
        logged = [one["kind"] for one in loaded["operators"] if one["name"] == "aten::add"]
        self.assertEqual(set(logged), {"elementwise", "conversion"})
        # One of the four is inside torchao's quantization, which of them the profile does not say.
        added = [(one["kind"], one["calls"]) for one in found if one["name"] == "aten::add"]
        self.assertEqual((len(logged), added), (4, [("elementwise", 3)]))
        (multiplied,) = [one["kind"] for one in found if one["name"] == "aten::mul"]
        self.assertEqual(multiplied, "conversion")

    def test_kinds_follow_the_log_where_it_has_each_call(self) -> None:
        def kinds(name: str, calls: int, *, on_gpu: bool = False) -> list[str]:
            named = (("aten::add", "conversion"), ("aten::add", "elementwise"), ("x::y", "pooling"))
            logged = [{"name": name, "kind": kind} for name, kind in named]
            return profiles.kinds_of(name, logged, calls, 2, on_gpu=on_gpu)

        self.assertEqual(kinds("aten::add", 4), ["conversion", "elementwise"] * 2)
        self.assertEqual(kinds("aten::add", 2), ["elementwise"] * 2)
        self.assertEqual(kinds("x::y", 4), ["pooling"] * 4)
        self.assertEqual(kinds("aten::to", 2), ["conversion"] * 2)
        self.assertEqual(kinds("aten::to", 2, on_gpu=True), ["movement"] * 2)

    def test_stored_tensors_are_the_initializers_in_8_bit(self) -> None:
        model = self.model("residual")
        own = models.initializers(model)
        matrices = {name: value for name, value in own.items() if value.ndim >= 2}
        for path, tuning, variant, quantized in (
            ("eager", "default", "ptq-static", matrices),
            ("eager", "tuned", "ptq-static", matrices),
            ("fx", "default", "ptq-static", matrices),
            ("pt2e", "default", "ptq-static", matrices),
            ("torchao", "default", "weight-only", ["head.weight"]),
            ("torchao", "tuned", "weight-only", matrices),
            ("eager", "default", "ptq-dynamic", ["head.weight"]),
        ):
            with self.subTest(f"{path} {tuning} {variant}"):
                folder = self.folder / f"{path}-{tuning}-{variant}"
                given = {"path": path, "tuning": tuning, "variant": variant}
                self.quantize(model, folder, **given)
                handle = self.load(model, folder, **given)["handle"]
                output = self.folder / "tensors"
                told = self.worker.call("read_weights", handle=handle, output=output)["tensors"]
                names = [one["name"] for one in told]
                self.assertEqual(len(set(names)), len(names))
                known = self.known(told)
                self.assertLessEqual(set(matrices), set(known))
                tensors = load_file(output)
                for name, weight in matrices.items():
                    one = known[name]
                    value = tensors[one["name"]]
                    self.assertEqual(value.shape, weight.shape)
                    self.assertEqual(value.dtype.name, one["type"])
                    self.assertEqual(one["bytes"], value.nbytes)
                    if name not in quantized:
                        np.testing.assert_array_equal(value, weight)
                        continue
                    self.assertEqual(one["type"], "int8")
                    real = tensors[f"{one['name']}/real"]
                    # Half a step of the coarsest scale that symmetric int8 may take.
                    step = np.abs(weight).max() / 127
                    self.assertLess(np.abs(real - weight).max(), 0.51 * step)
                    self.assertTrue((real != weight).any())
                    again = np.unique(value).size
                    self.assertGreater(again, 20)
                self.assertIn("float32", {one["type"] for one in told})

    def known(self, told: list[dict]) -> dict[str, dict]:
        """The tensors by the initializers that they came from, each of which has one."""
        named = [one for one in told if one["initializer"]]
        known = {one["initializer"]: one for one in named}
        self.assertEqual(len(known), len(named))
        return known

    def test_trained_integers_are_the_initializers_with_their_norms_folded_in(self) -> None:
        model = self.model("residual_batch_norm")
        for path in ("eager", "fx", "pt2e"):
            with self.subTest(path):
                folder = self.folder / path
                trainer = self.begin(model, mode="qat", path=path)
                for _ in range(3):
                    self.train(trainer, [0.02])
                state = self.state(trainer)
                self.worker.call("train_finish", trainer=trainer, artefact=folder)
                handle = self.load(model, folder, path=path, variant="qat")["handle"]
                output = self.folder / "tensors"
                told = self.worker.call("read_weights", handle=handle, output=output)["tensors"]
                known, tensors = self.known(told), load_file(output)
                for name, weight in state.items():
                    if weight.ndim < 2:
                        continue
                    self.assertEqual(known[name]["type"], "int8", name)
                    norm = name.replace("conv.weight", "norm")
                    if norm != name:
                        deviation = np.sqrt(state[f"{norm}.variance"] + 1e-5)
                        factor = state[f"{norm}.scale"] / deviation
                        weight = weight * factor[:, None, None, None]
                    real = tensors[f"{known[name]['name']}/real"]
                    # Ranges are moving averages here, so that a few weights may be cut off.
                    alike = np.corrcoef(real.ravel(), weight.ravel())[0, 1]
                    self.assertGreater(alike, 0.99, name)

    def test_matrices_are_told_in_the_files_layout(self) -> None:
        model = self.model("assorted")
        own = models.initializers(model)
        self.assertEqual(own["hidden.weight"].shape, (64, 6))
        for path, tuning in (*STATIC, ("pt2e", "default")):
            with self.subTest(f"{path} {tuning}"):
                folder = self.folder / f"{path}-{tuning}"
                self.quantize(model, folder, path=path, tuning=tuning)
                given = {"path": path, "tuning": tuning, "variant": "ptq-static"}
                handle = self.load(model, folder, **given)["handle"]
                output = self.folder / "tensors"
                told = self.worker.call("read_weights", handle=handle, output=output)["tensors"]
                (one,) = [one for one in told if one["initializer"] == "hidden.weight"]
                real = load_file(output)[f"{one['name']}/real"]
                self.assertEqual(one["shape"], [6, 64])
                step = np.abs(own["hidden.weight"]).max() / 127
                self.assertLess(np.abs(real - own["hidden.weight"]).max(), 0.51 * step)


class Refused(WithWorker):
    def test_an_absent_artefact_is_an_error_of_load(self) -> None:
        with self.assertRaises(Failed) as caught:
            nowhere = self.folder / "nowhere"
            self.load(self.model("residual"), nowhere, path="fx", variant="qat")
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("load", "BadData"))
        self.assertIn("nowhere", answer["message"])

    def test_what_a_path_does_not_make_is_named(self) -> None:
        with self.assertRaises(Failed) as caught:
            self.quantize(self.model("residual"), self.folder / "x", path="torchao")
        answer = caught.exception.answer
        self.assertEqual(answer["type"], "BadArgument")
        self.assertIn("ptq-dynamic (default)", answer["message"])

    def test_a_hidden_gpu_is_an_error_that_says_so(self) -> None:
        # The test's worker, as all but the GPU's, is started with the GPUs hidden.
        model, folder = self.model("residual"), self.folder / "gpu"
        self.save_float(model, folder, path="gpu")
        with self.assertRaises(Failed) as caught:
            self.load(model, folder, path="gpu", variant="float")
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("load", "NoGpu"))
        self.assertEqual(self.worker.call("hello", threads=1)["devices"], [])


if __name__ == "__main__":
    unittest.main()
