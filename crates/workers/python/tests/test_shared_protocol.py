"""Tests of the protocol's loop with commands that need no framework."""

import unittest

from tests.client import Failed, Worker

PRELUDE = """
import os, subprocess, sys, time
from calipers_worker import protocol
"""

CHATTY = (
    PRELUDE
    + """
def chatter(request, reporter):
    print("a library prints")
    sys.stdout.flush()
    os.write(1, b"{\\"id\\": 1, \\"kind\\": \\"result\\", \\"value\\": {\\"forged\\": 1}}\\n")
    subprocess.run([sys.executable, "-c", "print('a child prints'); print(input())"])
    return {"answer": 42}

def slow(request, reporter):
    with reporter.stage("train"):
        for step in range(1000):
            reporter.progress(step + 1, 1000, "working")
            time.sleep(0.0005)
    return {}

def nested(request, reporter):
    with reporter.stage("build"):
        with reporter.stage("convert"):
            raise RuntimeError("broken inside")

def handled(request, reporter):
    with reporter.stage("build"):
        try:
            with reporter.stage("convert"):
                raise RuntimeError("first")
        except RuntimeError:
            pass
        raise ValueError("second")

def infinite(request, reporter):
    return {"loss": float("inf")}

def exits(request, reporter):
    sys.exit(3)

def typed(request, reporter):
    return {"number": request.integer("number", minimum=1)}

commands = {name: value for name, value in globals().items() if callable(value)}
sys.exit(protocol.serve(lambda: commands))
"""
)

MISSING = (
    PRELUDE
    + """
def load():
    import a_package_that_is_not_there
sys.exit(protocol.serve(load))
"""
)


class Protocol(unittest.TestCase):
    def test_output_of_libraries_and_children_goes_to_stderr(self) -> None:
        with Worker("", CHATTY) as worker:
            self.assertEqual(worker.call("chatter"), {"answer": 42})
            self.assertEqual(worker.call("chatter"), {"answer": 42})
            heard = worker.stderr()
        self.assertIn("a library prints", heard)
        self.assertIn("a child prints", heard)
        self.assertIn("forged", heard)

    def test_an_error_names_the_innermost_stage_and_the_worker_goes_on(self) -> None:
        with Worker("", CHATTY) as worker:
            self.assert_error(worker, "nested", "convert", "RuntimeError", "broken inside")
            self.assert_error(worker, "handled", "build", "ValueError", "second")
            self.assert_error(worker, "infinite", "start", "ValueError", "JSON")
            self.assert_error(worker, "exits", "start", "SystemExit", "3")
            self.assert_error(worker, "unheard-of", "start", "BadArgument", "unheard-of")
            self.assert_error(worker, "typed", "start", "BadArgument", "`number`", number=0)
            self.assert_error(worker, "typed", "start", "BadArgument", "`number`", number=True)
            self.assertEqual(worker.call("typed", number=3), {"number": 3})

    def assert_error(
        self, worker: Worker, command: str, stage: str, kind: str, words: str, **arguments: object
    ) -> None:
        with self.assertRaises(Failed) as caught:
            worker.call(command, **arguments)
        answer = caught.exception.answer
        self.assertEqual((answer["stage"], answer["type"]), (stage, kind))
        self.assertIn(words, answer["message"])
        self.assertIn("Traceback", answer["traceback"])

    def test_lines_that_are_no_requests_are_answered(self) -> None:
        with Worker("", CHATTY) as worker:
            for line in ("{", "[1]", '{"command": "typed"}', '{"id": 1.5, "command": "typed"}'):
                answer = worker.send_line(line)
                self.assertEqual((answer["id"], answer["kind"]), (None, "error"), line)
            self.assertEqual(worker.send_line('{"id": 8, "command": 1}')["id"], 8)
            self.assertEqual(worker.call("typed", number=3), {"number": 3})

    def test_progress_is_throttled_and_the_last_report_always_comes(self) -> None:
        with Worker("", CHATTY) as worker:
            worker.call("slow")
            reports = worker.progress
        self.assertLess(len(reports), 500)
        self.assertEqual((reports[0]["done"], reports[-1]["done"]), (1, 1000))
        self.assertEqual({report["stage"] for report in reports}, {"train"})

    def test_a_missing_package_is_an_answer(self) -> None:
        with Worker("", MISSING) as worker:
            for _ in range(2):
                self.assert_error(
                    worker, "hello", "start", "ModuleNotFoundError", "a_package_that_is_not_there"
                )

    def test_shutdown_and_the_end_of_input_end_the_process(self) -> None:
        with Worker("", CHATTY) as worker:
            self.assertEqual(worker.call("shutdown"), {})
            self.assertEqual(worker.process.wait(60), 0)
        self.assertEqual(Worker("", CHATTY).close(), 0)


if __name__ == "__main__":
    unittest.main()
