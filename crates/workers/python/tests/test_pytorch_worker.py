"""Tests of the PyTorch worker against the ONNX reference evaluator, numpy, and itself anew."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save_file

from calipers_worker import onnx_graph
from calipers_worker.batches import DataFile
from calipers_worker.pytorch import artefacts, quantize
from tests import models
from tests.client import Failed, Worker

BUILDERS = {
    "residual": lambda path: models.residual(path, batch_norm=False),
    "residual_batch_norm": lambda path: models.residual(path, batch_norm=True),
    "assorted": models.assorted,
}


class WithWorker(unittest.TestCase):
    """One worker process for all tests of a class, and a folder of their own for each."""

    worker: Worker

    @classmethod
    def setUpClass(cls) -> None:
        cls.worker = Worker("pytorch")
        cls.addClassCleanup(cls.worker.close)
        # One thread: with these sizes, threads only wait for each other.
        cls.worker.call("hello", threads=1)
        torch.set_num_threads(1)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.data = models.data(self.folder / "data", 70)

    def model(self, name: str) -> Path:
        return BUILDERS[name](self.folder / f"{name}.onnx")

    def logits(self, model: Path, weights: Path | None = None) -> np.ndarray:
        output = self.folder / "logits"
        self.worker.call(
            "logits", model=model, weights=weights, data=self.data, batch=32, output=output
        )
        return load_file(output)["logits"]

    def loaded_logits(self, worker: Worker, **arguments: object) -> np.ndarray:
        handle = worker.call("load", **arguments)["handle"]
        output = self.folder / "loaded"
        worker.call("evaluate", handle=handle, data=self.data, batch=32, output=output)
        worker.call("unload", handle=handle)
        return load_file(output)["logits"]

    def begin(self, model: Path, **arguments: object) -> int:
        given = {"mode": "float", "path": "eager", "momentum": 0.9, "weight_decay": 1e-2}
        given |= {"weights": None, **arguments}
        return self.worker.call("train_begin", model=model, **given)["trainer"]

    def train(self, trainer: int, rates: list[float], batch: int = 32) -> dict[str, object]:
        return self.worker.call(
            "train_epoch", trainer=trainer, data=self.data, batch=batch, learning_rates=rates
        )

    def state(self, trainer: int) -> dict[str, np.ndarray]:
        output = self.folder / "state"
        self.worker.call("train_state", trainer=trainer, output=output)
        return load_file(output)


class FloatModel(WithWorker):
    def test_hello_tells_what_runs(self) -> None:
        with Worker("pytorch") as worker:
            hello = worker.call("hello", threads=2)
            self.assertEqual(hello["framework"], "pytorch")
            self.assertEqual(hello["versions"]["torch"], torch.__version__.split("+")[0])
            self.assertEqual(hello["threads"], 2)
            self.assertEqual(hello["pid"], worker.process.pid)
            self.assertEqual(worker.call("hello", threads=1)["threads"], 1)

    def test_logits_equal_the_onnx_reference(self) -> None:
        images = DataFile(self.data).floats(0, 70)
        for name in BUILDERS:
            with self.subTest(name):
                model = self.model(name)
                (expected,) = ReferenceEvaluator(str(model)).run(None, {"image": images})
                np.testing.assert_allclose(self.logits(model), expected, rtol=0, atol=1e-5)

    def test_float_artefact_equals_the_model(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                saved = self.worker.call("save_float", model=model, weights=None, artefact=folder)
                self.assertEqual(saved["file_bytes"], (folder / saved["file"]).stat().st_size)
                found = self.loaded_logits(
                    self.worker, path="eager", variant="float", model=model, artefact=folder
                )
                np.testing.assert_array_equal(found, self.logits(model))

    def test_times_each_inference(self) -> None:
        model, folder = self.model("residual"), self.folder / "float"
        self.worker.call("save_float", model=model, weights=None, artefact=folder)
        loaded = self.worker.call(
            "load", path="eager", variant="float", model=model, artefact=folder
        )
        self.assertEqual(loaded["quantized"], {})
        self.assertEqual(loaded["float"]["Conv"], 6)
        arguments = {"handle": loaded["handle"], "data": self.data, "count": 23}
        times = self.worker.call("time", samples=7, **arguments)["nanoseconds"]
        self.assertEqual(len(times), 23)
        self.assertTrue(all(isinstance(time, int) and time > 0 for time in times))
        with self.assertRaises(Failed) as caught:
            self.worker.call("time", samples=71, **arguments)
        self.assertEqual(caught.exception.answer["stage"], "time")


class Training(WithWorker):
    def linear_model(self) -> Path:
        model = models.ModelBuilder(5)
        value = model.node("Flatten", "flatten", ["image"], axis=1)
        size = int(np.prod(models.INPUT))
        weight = model.normal("head.weight", (models.CLASSES, size), 0.05)
        bias = model.normal("head.bias", (models.CLASSES,), 0.1)
        value = model.node("Gemm", "head", [value, weight, bias], transB=1)
        return model.save(self.folder / "linear.onnx", value)

    def test_update_rule_by_hand(self) -> None:
        model = self.linear_model()
        rates = [0.1, 0.1, 0.1, 0.01, 0.01]
        own = models.initializers(model)
        weights = [own["head.weight"].astype(np.float64), own["head.bias"].astype(np.float64)]
        velocities = [np.zeros_like(weight) for weight in weights]
        losses, data = [], DataFile(self.data)
        for step, (images, labels) in enumerate(data.batches(16)):
            inputs = images.reshape(len(labels), -1).astype(np.float64)
            scores = inputs @ weights[0].T + weights[1]
            scores -= scores.max(1, keepdims=True)
            probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            losses += list(-np.log(probabilities[np.arange(len(labels)), labels]))
            error = (probabilities - np.eye(models.CLASSES)[labels]) / len(labels)
            for index, gradient in enumerate([error.T @ inputs, error.sum(0)]):
                velocities[index] = 0.9 * velocities[index] + gradient + 1e-2 * weights[index]
                weights[index] = weights[index] - rates[step] * velocities[index]
        trainer = self.begin(model)
        result = self.train(trainer, rates, batch=16)
        self.assertEqual(result["steps"], 5)
        self.assertEqual(len(result["step_seconds"]), 5)
        self.assertAlmostEqual(result["loss"], float(np.mean(losses)), places=4)
        state = self.state(trainer)
        np.testing.assert_allclose(state["head.weight"], weights[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state["head.bias"], weights[1], rtol=1e-4, atol=1e-5)

    def test_batch_norm_keeps_the_unbiased_variance(self) -> None:
        model = self.model("residual_batch_norm")
        images = DataFile(self.data).floats(0, 70)
        stem = onnx.load(model)
        del stem.graph.node[1:]
        stem.graph.output[0].name = stem.graph.node[0].output[0]
        stem.graph.output[0].type.tensor_type.ClearField("shape")
        (values,) = ReferenceEvaluator(stem).run(None, {"image": images})
        own = models.initializers(model)
        for mode, path in (("float", "eager"), ("qat", "eager"), ("qat", "fx")):
            with self.subTest(f"{mode} {path}"):
                trainer = self.begin(model, mode=mode, path=path)
                self.train(trainer, [0.01], batch=70)
                state = self.state(trainer)
                # Fake-quantized inputs and weights move the statistics a little.
                tolerance = 1e-5 if mode == "float" else 2e-2
                mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), ddof=1)
                for key, batch in (("mean", mean), ("variance", variance)):
                    expected = 0.9 * own[f"stem.norm.{key}"] + 0.1 * batch
                    np.testing.assert_allclose(
                        state[f"stem.norm.{key}"], expected, rtol=tolerance, atol=tolerance
                    )
        biased = 0.9 * own["stem.norm.variance"] + 0.1 * values.var((0, 2, 3))
        self.assertGreater(np.abs(biased - expected).max(), 1e-5)

    def test_state_makes_the_same_model(self) -> None:
        for name in BUILDERS:
            with self.subTest(name):
                model, folder = self.model(name), self.folder / name
                trainer = self.begin(model)
                self.assertEqual(self.train(trainer, [0.05])["steps"], 3)
                state = self.state(trainer)
                own = models.initializers(model)
                self.assertEqual(
                    {key: value.shape for key, value in state.items()},
                    {key: value.shape for key, value in own.items()},
                )
                self.assertTrue(all((state[key] != own[key]).any() for key in own))
                self.worker.call("train_finish", trainer=trainer, artefact=folder)
                found = self.loaded_logits(
                    self.worker,
                    path="eager",
                    variant="float-finetuned",
                    model=model,
                    artefact=folder,
                )
                again = self.logits(model, self.folder / "state")
                np.testing.assert_array_equal(found, again)

    def test_training_learns(self) -> None:
        trainer = self.begin(self.model("residual_batch_norm"))
        first = self.train(trainer, [0.05])
        for _ in range(8):
            last = self.train(trainer, [0.05])
        self.assertLess(last["loss"], 0.7 * first["loss"])
        self.assertGreater(last["accuracy"], first["accuracy"])

    def test_qat_without_a_step_keeps_the_master_weights(self) -> None:
        for name in BUILDERS:
            model = self.model(name)
            own = models.initializers(model)
            for path in quantize.PATHS:
                with self.subTest(f"{name} {path}"):
                    trainer = self.begin(model, mode="qat", path=path)
                    self.train(trainer, [0.0])
                    state = self.state(trainer)
                    for key, value in own.items():
                        if not key.endswith((".mean", ".variance")):
                            np.testing.assert_array_equal(state[key], value, err_msg=key)
                    self.train(trainer, [0.01])
                    state = self.state(trainer)
                    self.assertTrue(all((state[key] != own[key]).any() for key in own))
                    self.worker.call("train_drop", trainer=trainer)

    def test_a_loss_that_is_not_finite_names_step_and_rate(self) -> None:
        trainer = self.begin(self.model("residual"))
        with self.assertRaises(Failed) as caught:
            for _ in range(3):
                self.train(trainer, [1e6, 1e20, 1e30], batch=32)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "NonFiniteLoss"))
        self.assertRegex(answer["message"], r"step 3 of 3 .*learning rate 1e\+30.*loss is")
        self.worker.call("train_drop", trainer=trainer)
        with self.assertRaises(Failed) as caught:
            self.worker.call("train_drop", trainer=trainer)
        self.assertEqual(caught.exception.answer["type"], "UnknownHandle")

    def test_wrong_requests_are_typed_errors(self) -> None:
        trainer = self.begin(self.model("residual"))
        data = load_file(self.data)
        data["labels"][3] = models.CLASSES
        save_file(data, self.data)
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [0.1])
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("train", "BadData"))
        models.data(self.data, 70)
        with self.assertRaises(Failed) as caught:
            self.train(trainer, [0.1, 0.1])
        self.assertIn("1 or 3", caught.exception.answer["message"])

        broken = onnx.load(self.model("residual"))
        broken.graph.node[1].op_type = "Sigmoid"
        path = self.folder / "broken.onnx"
        onnx.save(broken, path)
        with self.assertRaises(Failed) as caught:
            self.logits(path)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("build", "UnsupportedOperator"))
        self.assertIn("`stem.relu` (Sigmoid)", answer["message"])


class Quantization(WithWorker):
    def test_everything_executes_in_8_bit(self) -> None:
        residual = {"Conv": 6, "MaxPool": 1, "Add": 2, "GlobalAveragePool": 1, "Gemm": 1}
        assorted = {"Conv": 2, "AveragePool": 1, "Relu": 1, "Add": 1, "Gemm": 2}
        for name in BUILDERS:
            model = self.model(name)
            for path in quantize.PATHS:
                with self.subTest(f"{name} {path}"):
                    folder = self.folder / f"{name}-{path}"
                    self.worker.call(
                        "quantize",
                        path=path,
                        model=model,
                        weights=None,
                        data=self.data,
                        batch=32,
                        artefact=folder,
                    )
                    loaded = self.worker.call(
                        "load", path=path, variant="ptq-static", model=model, artefact=folder
                    )
                    self.assertEqual(loaded["float"], {})
                    expected = assorted if name == "assorted" else residual
                    self.assertEqual(loaded["quantized"], expected)

    def test_modules_are_pytorchs_quantized_ones(self) -> None:
        graph = onnx_graph.load(self.model("residual_batch_norm"))
        for path in quantize.PATHS:
            for qat in (False, True):
                with self.subTest(f"{path} {qat}"):
                    model = quantize.convert_empty(graph, path, qat=qat)
                    kinds = [type(module) for module in model.modules()]
                    convs = [kind for kind in kinds if "Conv" in kind.__name__]
                    self.assertEqual(len(convs), 6)
                    self.assertEqual(sum(kind.__name__ == "ConvReLU2d" for kind in convs), 3)
                    linear = [kind for kind in kinds if kind.__name__ == "Linear"]
                    self.assertEqual(len(linear), 1)
                    for kind in convs + linear:
                        self.assertRegex(kind.__module__, r"torch\.ao\.nn\..*quantized\.modules")
                    self.assertNotIn(torch.nn.BatchNorm2d, kinds)

    def test_a_fresh_process_gives_the_same_logits(self) -> None:
        data = DataFile(self.data)
        engine = quantize.select_engine()
        self.assertIn(engine, torch.backends.quantized.supported_engines)
        for name in BUILDERS:
            file = self.model(name)
            graph = onnx_graph.load(file)
            for path in quantize.PATHS:
                for variant in ("ptq-static", "qat"):
                    with self.subTest(f"{name} {path} {variant}"):
                        model = quantize.prepare(graph, path, qat=variant == "qat")
                        with torch.no_grad():
                            for images, _ in data.batches(32):
                                model(torch.from_numpy(images))
                        model = quantize.convert(model, path)
                        folder = self.folder / f"{name}-{path}-{variant}"
                        artefacts.save(model, folder)
                        with torch.inference_mode():
                            expected = [
                                model(torch.from_numpy(images)).numpy()
                                for images, _ in data.batches(32)
                            ]
                        found = self.loaded_logits(
                            self.worker, path=path, variant=variant, model=file, artefact=folder
                        )
                        np.testing.assert_array_equal(found, np.concatenate(expected))

    def test_int8_stays_near_float(self) -> None:
        for name in BUILDERS:
            model = self.model(name)
            expected = self.logits(model)
            for path in quantize.PATHS:
                with self.subTest(f"{name} {path}"):
                    folder = self.folder / f"{name}-{path}"
                    arguments = {"path": path, "model": model, "artefact": folder}
                    result = self.worker.call(
                        "quantize", weights=None, data=self.data, batch=32, **arguments
                    )
                    self.assertEqual(result["samples"], 70)
                    found = self.loaded_logits(self.worker, variant="ptq-static", **arguments)
                    noise = np.square(found - expected).sum()
                    decibels = 10 * np.log10(np.square(expected).sum() / noise)
                    self.assertGreater(decibels, 15)
                    self.assertTrue((found != expected).any())

    def test_qat_artefact_stays_near_its_master_weights(self) -> None:
        model = self.model("residual_batch_norm")
        for path in quantize.PATHS:
            with self.subTest(path):
                trainer = self.begin(model, mode="qat", path=path)
                for _ in range(5):
                    self.train(trainer, [0.02])
                self.state(trainer)
                expected = self.logits(model, self.folder / "state")
                folder = self.folder / path
                result = self.worker.call("train_finish", trainer=trainer, artefact=folder)
                self.assertEqual(result["file_bytes"], (folder / "model.pt").stat().st_size)
                found = self.loaded_logits(
                    self.worker, path=path, variant="qat", model=model, artefact=folder
                )
                agreement = (found.argmax(1) == expected.argmax(1)).mean()
                self.assertGreater(agreement, 0.85)

    def test_an_absent_artefact_is_an_error_of_load(self) -> None:
        with self.assertRaises(Failed) as caught:
            self.worker.call(
                "load",
                path="fx",
                variant="qat",
                model=self.model("residual"),
                artefact=self.folder / "nowhere",
            )
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("load", "BadData"))
        self.assertIn("nowhere", answer["message"])


if __name__ == "__main__":
    unittest.main()
