"""The framework-free half of the gap probes: verdicts, draws, and the isolation of a probe."""

import json
import os
import signal
import time
import unittest
from pathlib import Path

import numpy as np

from calipers_worker.gaps import isolate
from calipers_worker.gaps.draw import drawn, drawn_integers
from calipers_worker.gaps.judge import judge
from calipers_worker.gaps.stages import NoApi, stage

CASES = Path(__file__).resolve().parents[3] / "gaps/tests/verdicts.json"


class Verdicts(unittest.TestCase):
    def test_every_case_of_the_program_has_the_same_state(self) -> None:
        for case in json.loads(CASES.read_text()):
            operators = [
                {"role": row[0], "class": row[1], "weighted": row[2], "count": (*row, 1)[3]}
                for row in case["operators"]
            ]
            answer = {
                "float_range": 10.0,
                "max_error": case.get("max_error", 0.0),
                "finite": case.get("finite", True),
                "reference": "reference" if "reference_error" in case else None,
                "reference_error": case.get("reference_error"),
                "reference_difference": case.get("reference_difference"),
                "operators": operators,
            }
            with self.subTest(case["name"]):
                state = judge(
                    answer,
                    case["scheme"],
                    0.1,
                    case.get("own_constants", [4096]),
                    case.get("smallest_constant", 0),
                    case.get("comparable"),
                )
                self.assertEqual(state, case["state"])


class Draws(unittest.TestCase):
    def test_split_mix_gives_the_published_outputs(self) -> None:
        # Rosetta Code, "Pseudo-random numbers/Splitmix64", seed 1234567: the upper 24 bits.
        published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
        expected = [(value >> 40) / (1 << 24) for value in published]
        self.assertEqual(drawn(1234567, (3,), 0.0, 1.0).tolist(), np.float32(expected).tolist())
        ids = drawn_integers(7, (4, 50), 10)
        self.assertEqual((ids.min(), ids.max(), ids.dtype), (0, 9, np.int64))


class Isolation(unittest.TestCase):
    def test_an_answer_comes_with_warnings_and_log(self) -> None:
        def probe() -> dict[str, object]:
            import warnings

            warnings.warn("said once", stacklevel=1)
            warnings.warn("said once", stacklevel=1)
            os.write(2, b"on standard error\n")
            return {"value": np.float32(0.5), "bad": float("nan")}

        answer = isolate.run(probe, 20)
        self.assertEqual((answer["outcome"], answer["value"], answer["bad"]), ("ran", 0.5, None))
        self.assertEqual(answer["warnings"], ["UserWarning: said once"])
        self.assertIn("on standard error", answer["log"])

    def test_an_error_has_its_stage(self) -> None:
        def probe() -> dict[str, object]:
            with stage("prepare"), stage("convert"):
                raise ValueError("no such thing")

        answer = isolate.run(probe, 20)
        found = (answer["outcome"], answer["stage"], answer["type"], answer["message"])
        self.assertEqual(found, ("failed", "convert", "ValueError", "no such thing"))

    def test_no_api_is_no_error(self) -> None:
        def probe() -> dict[str, object]:
            raise NoApi("looked for it")

        answer = isolate.run(probe, 20)
        self.assertEqual((answer["outcome"], answer["message"]), ("no_api", "looked for it"))

    def test_a_signal_and_a_silent_end_are_seen(self) -> None:
        def dies() -> dict[str, object]:
            with stage("convert"):
                os.kill(os.getpid(), signal.SIGSEGV)
            return {}

        answer = isolate.run(dies, 20)
        found = (answer["outcome"], answer["signal"], answer["stage"])
        self.assertEqual(found, ("killed", signal.SIGSEGV, "convert"))

        def dies_before_its_child() -> dict[str, object]:
            if os.fork() == 0:
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGSEGV)
            return {}

        answer = isolate.run(dies_before_its_child, 60)
        self.assertEqual((answer["outcome"], answer["signal"]), ("killed", signal.SIGSEGV))

        def leaves() -> dict[str, object]:
            os._exit(7)

        answer = isolate.run(leaves, 20)
        self.assertEqual((answer["outcome"], answer["status"]), ("killed", 7))

    def test_a_probe_that_hangs_goes_with_all_that_it_started(self) -> None:
        read, write = os.pipe()

        def hangs() -> dict[str, object]:
            if os.fork() == 0:
                time.sleep(600)
            time.sleep(600)
            return {}

        answer = isolate.run(hangs, 0.5)
        self.assertEqual(answer["outcome"], "timed_out")
        # The pipe ends when nobody is left who holds its other end.
        os.close(write)
        self.assertEqual(os.read(read, 1), b"")
        os.close(read)


if __name__ == "__main__":
    unittest.main()
