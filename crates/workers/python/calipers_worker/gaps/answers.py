"""The form of an answer to a question about a framework."""

from typing import Any

Answer = dict[str, Any]


def answer(word: str, summary: str, *evidence: str, **numbers: float) -> Answer:
    """`yes`, `no` or `partly`, a sentence, what was seen, and what was measured."""
    return {
        "answer": word,
        "summary": summary,
        "evidence": list(evidence),
        "numbers": {name: float(number) for name, number in numbers.items()},
    }
