"""Tests that a training which was stopped goes on as if it had not been."""

import unittest

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.client import Failed
from tests.with_pytorch import WithWorker

TRAININGS = (
    ("float", "eager", "default"),
    ("qat", "eager", "default"),
    ("qat", "eager-2023", "default"),
    ("qat", "fx", "default"),
    ("qat", "fx", "tuned"),
    ("qat", "pt2e", "default"),
)


class Checkpoint(WithWorker):
    def everything(self, trainer: int) -> dict[str, np.ndarray]:
        output = self.folder / "everything"
        self.worker.call("train_save", trainer=trainer, output=output)
        return load_file(output)

    def test_going_on_gives_the_same_bits(self) -> None:
        model = self.model("residual_batch_norm")
        saved = self.folder / "checkpoint"
        for mode, path, tuning in TRAININGS:
            with self.subTest(f"{mode} {path} {tuning}"):
                given = {"mode": mode, "path": path, "tuning": tuning}
                straight = self.begin(model, **given)
                first = self.train(straight, [0.02])
                self.worker.call("train_save", trainer=straight, output=saved)
                second = self.train(straight, [0.01])
                stopped = self.begin(model, **given)
                self.worker.call("train_restore", trainer=stopped, input=saved)
                resumed = self.train(stopped, [0.01])
                self.assertEqual(resumed["loss"], second["loss"])
                self.assertNotEqual(resumed["loss"], first["loss"])
                found, expected = self.everything(stopped), self.everything(straight)
                self.assertEqual(found.keys(), expected.keys())
                for name, value in expected.items():
                    np.testing.assert_array_equal(found[name], value, err_msg=name)
                before = load_file(saved)
                self.assertTrue(any((before[name] != expected[name]).any() for name in before))
                self.assertEqual(
                    sum(name.startswith("velocity/") for name in expected),
                    len(self.trained(model)),
                )
                for trainer in (straight, stopped):
                    self.worker.call("train_drop", trainer=trainer)

    def trained(self, model: object) -> list[str]:
        """Initializers that training changes by gradients: all but running statistics."""
        trainer = self.begin(model)
        names = [name for name in self.state(trainer) if not name.endswith((".mean", ".variance"))]
        self.worker.call("train_drop", trainer=trainer)
        return names

    def test_without_velocities_the_next_epoch_would_differ(self) -> None:
        model, saved = self.model("residual"), self.folder / "checkpoint"
        straight = self.begin(model)
        self.train(straight, [0.02])
        self.worker.call("train_save", trainer=straight, output=saved)
        second = self.train(straight, [0.01])
        tensors = load_file(saved)
        save_file({k: v for k, v in tensors.items() if not k.startswith("velocity/")}, saved)
        stopped = self.begin(model)
        self.worker.call("train_restore", trainer=stopped, input=saved)
        self.assertNotEqual(self.train(stopped, [0.01])["loss"], second["loss"])

    def test_another_trainers_checkpoint_is_refused(self) -> None:
        model, saved = self.model("residual"), self.folder / "checkpoint"
        trainer = self.begin(model)
        self.worker.call("train_save", trainer=trainer, output=saved)
        other = self.begin(self.model("assorted"))
        quantized = self.begin(model, mode="qat", path="fx")
        for wrong in (other, quantized):
            before = self.everything(wrong)
            with self.assertRaises(Failed) as caught:
                self.worker.call("train_restore", trainer=wrong, input=saved)
            answer = caught.exception.answer
            self.assertEqual((answer["stage"], answer["type"]), ("load", "BadData"))
            self.assertIn("missing ['model/", answer["message"])
            after = self.everything(wrong)
            self.assertTrue(all((before[name] == after[name]).all() for name in before))
        tensors = load_file(saved)
        tensors["model/head.weight"] = tensors["model/head.weight"][:, :5].copy()
        save_file(tensors, saved)
        with self.assertRaises(Failed) as caught:
            self.worker.call("train_restore", trainer=trainer, input=saved)
        self.assertIn("`head.weight` has shape (5, 5)", caught.exception.answer["message"])


if __name__ == "__main__":
    unittest.main()
