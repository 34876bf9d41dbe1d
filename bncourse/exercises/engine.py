"""What an exercise is, and how an answer is judged: draw inputs, compare with the oracle, name the mistake."""

import inspect
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bncourse.exercises import guard

TRIALS = 2  # draws of each regime in one check


class Regime(NamedTuple):
    """A kind of input: `draw(rng)` returns the arguments, and `rtol` is what rounding may cost on them."""

    draw: Callable
    rtol: float = 1e-6


class Exercise(NamedTuple):
    """One exercise. Everything that is known about it stands in the chapter's module, once.

    The solution's signature and docstring are the stub's. `oracle(wrong, *args)` returns the right
    answer where the set `wrong` is empty and makes the mistakes that it names otherwise; a second form
    of a mistake is called "code:2". A masked entry of its answer matches anything (what rounding makes
    of it can't be told). `mutates_input` needs no switch: the engine compares the arguments.
    """

    solution: Callable
    oracle: Callable
    mistakes: dict  # code -> what went wrong, in one sentence to the reader
    regimes: dict  # what the reader is told about the inputs -> Regime
    hints: tuple  # three, each saying more than the one before
    outputs: tuple = ("the result",)  # a name for each returned value
    alternatives: tuple = ()  # other right answers; the tests try them
    expected: str = "expected"  # what the oracle's value is called beside the reader's
    forms: tuple = ()  # second forms of mistakes, as "code:2"
    view: Callable = lambda answer, *args: answer  # the side of an answer that is compared
    run: Callable = lambda answer, *args: answer(*args)  # how an answer is put to work
    arguments: tuple = ()  # names of the drawn inputs, where they are not the solution's parameters
    prepare: Callable = lambda: (
        None
    )  # called before the time limit starts: imports torch where needed

    @property
    def name(self):
        return self.solution.__name__

    @property
    def doc(self):
        return inspect.getdoc(self.solution)

    @property
    def inputs(self):
        """Names of the drawn inputs."""
        return self.arguments or tuple(inspect.signature(self.solution).parameters)

    def source(self):
        """The source of the solution."""
        return inspect.getsource(self.solution)


class Trial(NamedTuple):
    """One draw: `make()` gives fresh arguments, the same ones each time."""

    regime: str
    rtol: float
    make: Callable


class Part(NamedTuple):
    """One returned value beside the expected one."""

    name: str
    got: object  # an array of the right shape, or what could not be read as one
    want: np.ndarray
    problem: str | None  # why it can't be compared: "has shape (3,), expected (3, 2)"
    view: object = None  # the side of `got` that is compared
    right: bool = False

    @property
    def readable(self):
        """Whether `got` is an array of numbers, though it may have the wrong shape."""
        return isinstance(self.got, np.ndarray) and self.got.dtype.kind in "fiu"


def trials(exercise, seed):
    """The inputs of one check: TRIALS draws of every regime."""
    return [
        Trial(
            name, regime.rtol, lambda r=regime, key=(seed, i, j): r.draw(np.random.default_rng(key))
        )
        for i, (name, regime) in enumerate(exercise.regimes.items())
        for j in range(TRIALS)
    ]


class Attempt(NamedTuple):
    """What one trial gave."""

    trial: Trial
    error: BaseException | None
    mutated: str | None  # name of an argument that was changed in place
    parts: list  # of Part; empty where the call failed
    notes: tuple  # what was accepted although it is unusual

    @property
    def right(self):
        return self.error is None and all(part.right for part in self.parts)


def attempt(exercise, answer, trial):
    """Put the answer to work on one trial. Needs a surrounding `guard.guard`."""
    args, untouched = trial.make(), trial.make()
    outcome = guard.call(exercise.run, answer, *args)
    pairs = zip(exercise.inputs, untouched, args, strict=True)
    changed = [name for name, old, new in pairs if not _same(old, new)]
    parts, notes = [], []
    if outcome.error is None:
        outcome = guard.call(_parts, exercise, outcome.value, trial, untouched, notes)
        parts = outcome.value or []
    return Attempt(trial, outcome.error, changed[0] if changed else None, parts, tuple(notes))


def diagnose(exercise, attempts):
    """The smallest set of mistakes that gives the answers of all attempts: a tuple of codes, or None."""
    usable = [a for a in attempts if a.parts and all(part.readable for part in a.parts)]
    if not usable:
        return None
    usable.sort(key=lambda a: a.right)  # the failing ones tell most
    inputs = [a.trial.make() for a in usable]
    switches = [code for code in exercise.mistakes if code != "mutates_input"] + list(
        exercise.forms
    )
    for size in (1, 2):
        for wrong in itertools.combinations(switches, size):
            codes = tuple(dict.fromkeys(code_of(switch) for switch in wrong))
            if len(codes) == size and all(
                _explains(exercise, frozenset(wrong), a, args)
                for a, args in zip(usable, inputs, strict=True)
            ):
                return codes
    return None


def code_of(switch):
    """The catalogue's code of a switch: "no_centering" for "no_centering:2"."""
    return switch.partition(":")[0]


def fits(got, want, rtol):
    """Whether `got` is `want` within rounding. Masked entries of `want` fit anything, NaN fits infinity."""
    if np.shape(got) != np.shape(want):
        return False
    single = got.dtype.kind == "f" and got.dtype.itemsize < 8
    if single:
        rtol = max(rtol, 1e-4)  # an answer in float32, within its precision
    with np.errstate(all="ignore"):
        mask, want = np.ma.getmaskarray(want), np.ma.getdata(want)
        got, finite = got.astype(float), np.isfinite(want)
        largest = np.abs(want[finite & ~mask]).max(initial=0)
        floor = largest if single else min(1, largest)
        close = np.abs(got - want) <= rtol * (np.abs(want) + floor)
        return bool((np.where(finite, close, ~np.isfinite(got)) | mask).all())


def _explains(exercise, wrong, attempt, args):
    try:
        with np.errstate(all="ignore"):
            leaves = [exercise.view(x, *args) for x in _leaves(exercise.oracle(wrong, *args))]
    except Exception:  # two mistakes need not make sense together
        return False
    return len(leaves) == len(attempt.parts) and all(
        fits(part.got if part.view is None else part.view, want, attempt.trial.rtol)
        for part, want in zip(attempt.parts, leaves, strict=True)
    )


def _leaves(nested):
    """The arrays of nested tuples and lists, in order; masks are kept."""
    if isinstance(nested, (tuple, list)):
        return [leaf for value in nested for leaf in _leaves(value)]
    return [nested if np.ma.isMaskedArray(nested) else np.asarray(nested)]


def _same(before, after):
    if isinstance(before, np.ndarray):
        return np.array_equal(before, after)
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    return True


def _parts(exercise, value, trial, args, notes):
    """The parts of an answer beside those of the oracle. Runs guarded: `value` may be anything."""
    with np.errstate(all="ignore"):
        template = exercise.oracle(frozenset(), *args)
    several = isinstance(template, (tuple, list))
    names = exercise.outputs if several and len(template) == len(exercise.outputs) else None
    parts = _match(
        value, template, exercise.outputs[0] if not names else "the result", names, notes
    )
    if any(part.problem for part in parts):
        return [
            part._replace(right=not part.problem and fits(part.got, part.want, trial.rtol))
            for part in parts
        ]
    judged = []
    for part in parts:
        view, want = exercise.view(part.got, *args), exercise.view(part.want, *args)
        judged.append(part._replace(view=view, right=fits(view, want, trial.rtol)))
    given = [leaf.dtype for leaf in _leaves(list(args))]
    single = any(part.got.dtype == np.float32 and not part.right for part in judged)
    if single and np.float32 not in given:
        notes.append("You computed in float32, which keeps 7 digits; the inputs have 16.")
    return judged


def _match(value, template, name, names, notes):
    """Parts of `value`, nested like `template`; a part that does not fit says why."""
    if not isinstance(template, (tuple, list)):
        want = np.asarray(template)
        got, problem = _read_array(value, want.shape, notes)
        return [Part(name, got, want, problem)]
    value = _from_torch(value, notes)
    inner = max(np.ndim(child) for child in template)
    if isinstance(value, np.ndarray) and value.ndim > inner and len(value) == len(template):
        value = list(value)
    names = names or [f"{name}[{i}]" for i in range(len(template))]
    wanted = f"expected {len(template)} values: {', '.join(names)}"
    if not isinstance(value, (tuple, list)):
        kind = (
            f"one array of shape {value.shape}"
            if isinstance(value, np.ndarray)
            else describe(value)
        )
        return [Part(name, value, np.empty(0), f"is {kind}, {wanted}")]
    if len(value) != len(template):
        return [Part(name, value, np.empty(0), f"has {len(value)} values, {wanted}")]
    return [
        part
        for v, t, child in zip(value, template, names, strict=True)
        for part in _match(v, t, child, None, notes)
    ]


def _from_torch(value, notes):
    if type(value).__module__.partition(".")[0] != "torch":
        return value
    notes.append("You returned a torch tensor; it was read as an array.")
    return value.detach().cpu().numpy()


def _read_array(value, shape, notes):
    """`value` as an array of this shape, or as it is with the reason why it is none."""
    value = _from_torch(value, notes)
    if np.ma.isMaskedArray(value):
        value = value.astype(float).filled(np.nan)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unequal length
        return value, f"is {describe(value)} that can't be read as an array"
    if array.dtype.kind not in "fiu":
        return value, f"is {describe(value)}, expected numbers"
    if shape and array.shape == (1, *shape):
        notes.append(f"Your result has shape {array.shape}; it was read as {shape}.")
        array = array[0]
    if array.shape != shape:
        return array, f"has shape {array.shape}, expected {shape}"
    return array, None


def describe(value):
    """An object's type in words, safe for any object: "None", "a list", "an int"."""
    if value is None:
        return "None"
    name = type(value).__name__[:60]
    return f"{'an' if name[:1].lower() in 'aeio' or name == 'ndarray' else 'a'} {name}"
