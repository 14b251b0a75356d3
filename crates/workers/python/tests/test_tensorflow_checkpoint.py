"""Tests of checkpoints: a training that stops and goes on is the one that did not stop."""

import unittest
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests import models
from tests.client import Failed, Worker
from tests.tensorflow_worker import WithWorker

TRAININGS = {
    "float": {"mode": "float", "path": "keras"},
    "tfmot": {"mode": "qat", "path": "tfmot"},
    "tfmot tuned": {"mode": "qat", "path": "tfmot", "tuning": "tuned"},
}


class Checkpoints(WithWorker):
    def model(self) -> Path:
        return models.residual(self.folder / "model.onnx", batch_norm=True)

    def save(self, trainer: int, name: str) -> Path:
        path = self.folder / name
        self.worker.call("train_save", trainer=trainer, output=path)
        return path

    def test_resuming_gives_the_bits_of_not_stopping(self) -> None:
        model = self.model()
        for name, arguments in TRAININGS.items():
            with self.subTest(name):
                straight = self.begin(model, **arguments)
                self.train(straight, [0.05])
                unbroken = self.train(straight, [0.02])
                stopped = self.begin(model, **arguments)
                self.train(stopped, [0.05])
                checkpoint = self.save(stopped, "checkpoint")
                self.worker.call("train_drop", trainer=stopped)
                resumed = self.begin(model, **arguments)
                self.worker.call("train_restore", trainer=resumed, input=checkpoint)
                went_on = self.train(resumed, [0.02])
                self.assertEqual(went_on["loss"], unbroken["loss"])
                self.assertEqual(went_on["accuracy"], unbroken["accuracy"])
                expected = load_file(self.save(straight, "straight"))
                found = load_file(self.save(resumed, "resumed"))
                self.assertEqual(found.keys(), expected.keys())
                for key, value in expected.items():
                    np.testing.assert_array_equal(found[key], value, err_msg=key)
                outputs = []
                for trainer, folder in ((straight, "a"), (resumed, "b")):
                    self.worker.call("train_finish", trainer=trainer, artefact=self.folder / folder)
                    variant = "qat" if arguments["mode"] == "qat" else "float-finetuned"
                    of_artefact = {"variant": variant, "path": arguments["path"], "model": model}
                    of_artefact["tuning"] = arguments.get("tuning", "default")
                    outputs.append(
                        self.loaded_logits(
                            self.worker, artefact=self.folder / folder, **of_artefact
                        )
                    )
                np.testing.assert_array_equal(*outputs)

    def test_a_checkpoint_holds_velocities_and_ranges(self) -> None:
        model = self.model()
        trainer = self.begin(model, **TRAININGS["tfmot"])
        before = load_file(self.save(trainer, "before"))
        self.train(trainer, [0.05])
        after = load_file(self.save(trainer, "after"))
        changed = {key for key, value in after.items() if (value != before[key]).any()}
        velocities = {key for key in after if key.startswith("velocity/")}
        self.assertEqual(len(velocities), len(models.initializers(model)) - 12)
        self.assertLessEqual(velocities, changed)
        ranges = {key for key in after if key.endswith(("activation_max:0", "output_max:0"))}
        self.assertTrue(ranges)
        self.assertLessEqual(ranges, changed)
        self.assertEqual((before["steps"], after["steps"]), (0, 3))

    def test_a_fresh_process_goes_on_with_the_same_bits(self) -> None:
        model = self.model()
        trainer = self.begin(model, **TRAININGS["tfmot"])
        self.train(trainer, [0.05])
        checkpoint = self.save(trainer, "checkpoint")
        expected = self.train(trainer, [0.02])
        with Worker("tensorflow") as fresh:
            fresh.call("hello", threads=2)
            begun = {"momentum": 0.9, "weight_decay": 1e-2, "weights": None, "tuning": "default"}
            begun |= {"model": model, **TRAININGS["tfmot"]}
            again = fresh.call("train_begin", **begun)["trainer"]
            fresh.call("train_restore", trainer=again, input=checkpoint)
            found = fresh.call(
                "train_epoch", trainer=again, data=self.data, batch=32, learning_rates=[0.02]
            )
        self.assertEqual(found["loss"], expected["loss"])

    def test_what_does_not_fit_is_refused_and_changes_nothing(self) -> None:
        model = self.model()
        checkpoint = self.save(self.begin(model), "float")
        trainer = self.begin(model, **TRAININGS["tfmot"])
        before = load_file(self.save(trainer, "before"))
        with self.assertRaises(Failed) as caught:
            self.worker.call("train_restore", trainer=trainer, input=checkpoint)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), ("load", "BadData"))
        self.assertIn("is no checkpoint of this training", answer["message"])
        wrong = load_file(self.save(trainer, "wrong"))
        key = next(key for key in wrong if "kernel" in key)
        wrong[key] = np.zeros((1, 2), np.float32)
        save_file(wrong, self.folder / "wrong")
        with self.assertRaises(Failed) as caught:
            self.worker.call("train_restore", trainer=trainer, input=self.folder / "wrong")
        self.assertIn(key, caught.exception.answer["message"])
        after = load_file(self.save(trainer, "after"))
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value, err_msg=name)


if __name__ == "__main__":
    unittest.main()
