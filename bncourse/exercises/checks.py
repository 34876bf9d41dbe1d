"""`check.NAME(answer)`: what a reader types, and what comes back."""

import difflib
import dis
import inspect
import random

from bncourse.exercises import engine, guard, progress, report
from bncourse.exercises.concepts import Concept


class Check:
    """The check of one exercise: call it with your answer; `.hint()` and `.solution()` help."""

    def __init__(self, exercise):
        self._exercise = exercise
        self._hints_given = 0
        self.__name__ = exercise.name
        self.__doc__ = exercise.doc

    def __call__(self, answer, *, seed=None):
        """Judge an answer on freshly drawn inputs; the same `seed` draws the same inputs again.

        Returns a `Result`, whatever the answer is and does.
        """
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise ValueError(f"seed must be a whole number >= 0, got {seed!r}")
        result = judge(self._exercise, answer, random.randrange(10**6) if seed is None else seed)
        progress.record(result.name, result.status)
        return result

    def hint(self, number=None):
        """The next hint, or hint 1, 2 or 3."""
        hints = self._exercise.hints
        if number is None:
            self._hints_given = min(self._hints_given + 1, len(hints))
            number = self._hints_given
        if number not in range(1, len(hints) + 1):
            raise ValueError(f"number must be 1 to {len(hints)}, got {number!r}")
        return report.Text(f"Hint {number} of {len(hints)}: {hints[number - 1]}")

    def solution(self):
        """The source of a right answer, the one that the tests run."""
        return report.Code(self._exercise.source())

    def best(self, answer):
        """Your answer if it passes, and the solution if it does not, so that you can go on."""
        if self(answer).passed:
            return answer
        print(f"{self.__name__}: going on with the course's solution, as yours does not pass yet.")
        return self._exercise.solution

    def __repr__(self):
        return (
            f"check.{self.__name__}({self.__name__})  .hint()  .solution()  .best({self.__name__})"
        )


class Checks:
    """Checks by name: `check.NAME(answer)`; `dir(check)` lists the names."""

    def __init__(self, *exercises):
        self._checks = {exercise.name: Check(exercise) for exercise in exercises}

    def __getattr__(self, name):
        checks = self.__dict__.get("_checks", {})
        if name in checks:
            return checks[name]
        close = difflib.get_close_matches(name, checks, n=1, cutoff=0.5)
        guess = f"did you mean check.{close[0]}?" if close else f"there are {', '.join(checks)}."
        raise AttributeError(f"There is no check.{name}; {guess}")

    def progress(self):
        """How far you are with these exercises, on this machine."""
        known = progress.read()
        lines = [
            f"{report.SIGNS[status]} {name}: {report.TITLES[status]}"
            for name in self._checks
            for status in [known.get(name, "not attempted")]
        ]
        done = sum(known.get(name) == "passed" for name in self._checks)
        return report.Text("\n".join([f"{done} of {len(lines)} exercises passed", *lines]))

    def __dir__(self):
        return [*self._checks, "progress"]

    def __iter__(self):
        return iter(check._exercise for check in self._checks.values())

    def __repr__(self):
        return f"Checks: {', '.join(self._checks)}. Try check.NAME(NAME)."


def judge(exercise, answer, seed):
    """Run every trial of one seed in this process, and report."""
    if isinstance(exercise, Concept):
        return exercise.judge(answer)
    if is_blank(answer):
        return report.not_attempted(exercise)
    if not callable(answer):
        return report.not_callable(exercise, answer)
    exercise.prepare()
    attempts, timed_out = [], False
    with guard.guard() as log:
        for trial in engine.trials(exercise, seed):
            attempts.append(engine.attempt(exercise, answer, trial))
            if log.expired or isinstance(attempts[-1].error, guard.TimedOut):
                timed_out = True
                break
    return report.explain(exercise, answer, attempts, log, seed, timed_out)


def is_blank(answer):
    """Whether an answer is still a stub: `...`, `pass`, only a docstring, or `raise NotImplementedError`."""
    if answer is ...:
        return True
    if inspect.isclass(answer):
        classes = [c for c in answer.__mro__ if c is not object]
        methods = [v for c in classes for v in vars(c).values() if inspect.isfunction(v)]
        return all(is_blank(method) for method in methods)
    code = getattr(answer, "__code__", None)
    if not inspect.isfunction(answer) or code.co_flags & inspect.CO_GENERATOR:
        return False
    if code.co_names == ("NotImplementedError",):
        return _STUB_RAISES.issuperset(_operations(code))
    constants = set(code.co_consts) - {None, answer.__doc__}
    return not code.co_names and not constants and _operations(code) in _STUBS_PASS


def _operations(code):
    return tuple(step.opname for step in dis.get_instructions(code))


def _stub_raises_plain():
    raise NotImplementedError


def _stub_raises_called():
    raise NotImplementedError("with a message")


def _stub_passes():
    pass


def _stub_documented():
    """Only a docstring."""


_STUB_RAISES = {
    *_operations(_stub_raises_plain.__code__),
    *_operations(_stub_raises_called.__code__),
}
_STUBS_PASS = {_operations(_stub_passes.__code__), _operations(_stub_documented.__code__)}
