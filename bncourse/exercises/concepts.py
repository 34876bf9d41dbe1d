"""Exercises without code: the answer is a dict from case to choice, and every wrong choice is explained."""

import difflib
import inspect
from collections.abc import Callable
from typing import NamedTuple

from bncourse.exercises import report
from bncourse.exercises.engine import describe


class Case(NamedTuple):
    """One case: the right choice, why it is right, and for each other choice why it is not.

    What is said about a wrong choice must not tell the right one.
    """

    right: str
    because: str
    wrong: dict = {}  # choice -> explanation; without one, the concept's `otherwise` is said


class Concept(NamedTuple):
    """One concept exercise. `statement.__name__` and its docstring are the exercise's."""

    statement: Callable
    choices: dict  # choice -> what it means
    cases: dict  # what the reader is shown -> Case
    mistakes: dict  # code -> what was confused, in one sentence to the reader
    code: (
        Callable  # code(choice, right) -> code of a wrong choice; one that is no mistake is dropped
    )
    hints: tuple
    otherwise: dict = {}  # choice -> what to say where a case has no explanation of its own

    @property
    def name(self):
        return self.statement.__name__

    @property
    def doc(self):
        return inspect.getdoc(self.statement)

    @property
    def solution(self):
        """The right answers, as the reader would write them."""
        return {text: case.right for text, case in self.cases.items()}

    def source(self):
        """The right answers with their reasons, as Python."""
        rows = [f'    # {c.because}\n    "{text}": "{c.right}",' for text, c in self.cases.items()]
        return "\n".join(["{", *rows, "}"])

    def judge(self, answers):
        """A `Result` for any object."""
        if answers is ... or (isinstance(answers, dict) and all(map(_open, answers.values()))):
            text = f"Replace each ... by one of: {', '.join(self.choices)}."
            return report.Result(self.name, "not attempted", [text])
        if not isinstance(answers, dict):
            text = f"The answer is a dict from case to choice, got {describe(answers)}."
            return report.Result(self.name, "failed", [text])
        problems = [p for text, choice in answers.items() for p in self._problem(text, choice)]
        problems = list(dict.fromkeys(problems))
        lines, codes = [], []
        for text, case in self.cases.items():
            choice = answers.get(text, ...)
            if _open(choice) or not isinstance(choice, str) or choice not in self.choices:
                lines.append(f"○ {text}: open.")
            elif choice == case.right:
                lines.append(f"✓ {text}: {choice}. {case.because}")
            else:
                why = case.wrong.get(choice) or self.otherwise[choice]
                lines.append(f"✗ {text}: not {choice}. {why}")
                codes.append(self.code(choice, case.right))
        right = sum(line.startswith("✓") for line in lines)
        if right == len(self.cases) and not problems:
            return report.Result(self.name, "passed", lines)
        codes = tuple(dict.fromkeys(code for code in codes if code in self.mistakes))
        advice = [self.mistakes[code] for code in codes]
        return report.Result(
            self.name,
            "failed",
            [f"{right} of {len(self.cases)} are right.", *lines, *problems, *advice],
            mistake=codes[0] if len(codes) == 1 else codes or None,
            hint=self.hints[0],
        )

    def _problem(self, text, choice):
        if text not in self.cases:
            close = difflib.get_close_matches(str(text)[:200], self.cases, n=1)
            yield f"There is no case {report.show(text)}" + (
                f"; did you mean {close[0]!r}?" if close else "."
            )
        elif not _open(choice) and not (isinstance(choice, str) and choice in self.choices):
            yield f"{report.show(choice)} is none of: {', '.join(self.choices)}."


def _open(choice):
    return choice is ... or choice is None or (isinstance(choice, str) and not choice.strip())
