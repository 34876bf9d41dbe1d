"""What a check says: the `Result`, in plain text and in HTML from the same paragraphs."""

import html
import linecache
import re
import traceback

import numpy as np

from bncourse.exercises import engine, guard
from bncourse.exercises.engine import describe

SIGNS = {"passed": "✓", "failed": "✗", "not attempted": "○", "error": "✗", "timed out": "✗"}
TITLES = {
    "passed": "passed",
    "failed": "not yet",
    "not attempted": "not attempted",
    "error": "it stopped with an error",
    "timed out": "it took too long",
}
EDGES = {
    "passed": "#2e7d32",
    "not attempted": "#80868b",
}  # an edge only: the words carry the meaning


class Result:
    """The outcome of a check.

    Attributes:
        name: the exercise.
        status: "passed", "failed", "not attempted", "error" or "timed out".
        mistake: a code of the exercise's catalogue, a tuple of codes, or None.
        message: paragraphs of plain text.
        example: (label, text) pairs of the smallest example that went wrong; may be empty.
        hint: the first hint, where one helps.
        seed: repeats this check, `check.NAME(answer, seed=...)`; None where chance plays no part.
    """

    def __init__(self, name, status, message=(), *, mistake=None, example=(), hint=None, seed=None):
        self.name, self.status, self.mistake = name, status, mistake
        self.message, self.example = tuple(message), tuple(example)
        self.hint, self.seed = hint, seed

    @property
    def passed(self):
        return self.status == "passed"

    @property
    def title(self):
        return f"{SIGNS[self.status]} {self.name}: {TITLES[self.status]}"

    def to_dict(self):
        """Everything as JSON can hold it."""
        return {
            "name": self.name,
            "status": self.status,
            "mistake": list(self.mistake) if isinstance(self.mistake, tuple) else self.mistake,
            "message": list(self.message),
            "example": [list(pair) for pair in self.example],
            "hint": self.hint,
            "seed": self.seed,
        }

    def __str__(self):
        lines = [self.title, *("  " + text for text in self.message)]
        if self.example:
            lines.append("  The smallest example that went wrong:")
            for label, text in self.example:
                pad = "\n" + " " * (len(label) + 7)
                lines.append(f"    {label} = {text.replace(chr(10), pad)}")
        if self.hint:
            lines.append(f"  Hint: {self.hint}")
        if self.status in ("failed", "error"):
            lines.append(f"  More help: check.{self.name}.hint()")
        if self.seed is not None:
            lines.append(
                f"  The same inputs again: check.{self.name}({self.name}, seed={self.seed})"
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        esc = _html
        body = [f'<h4 style="margin:0 0 .3em">{esc(self.title)}</h4>']
        body += [f'<p style="margin:.3em 0">{esc(text)}</p>' for text in self.message]
        if self.example:
            rows = "\n".join(f"{label} =\n{text}" for label, text in self.example)
            body.append(
                "<details open><summary>The smallest example that went wrong</summary>"
                f'<pre tabindex="0" style="overflow:auto;margin:.3em 0">{html.escape(rows)}</pre></details>'
            )
        if self.hint:
            body.append(f"<details><summary>Hint</summary><p>{esc(self.hint)}</p></details>")
        if self.status in ("failed", "error"):
            body.append(f"<p>More help: <code>check.{esc(self.name)}.hint()</code></p>")
        if self.seed is not None:
            call = f"check.{self.name}({self.name}, seed={self.seed})"
            body.append(f"<p>The same inputs again: <code>{esc(call)}</code></p>")
        edge = EDGES.get(self.status, "#c5221f")
        return (
            f'<div class="bn-check" style="border-left:.35em solid {edge};padding:.3em 0 .3em .9em">'
            + "\n".join(body)
            + "</div>"
        )


def _html(text):
    """Escaped, with `code` as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text))


class Text(str):
    """A line that a notebook shows without quotes."""

    def __repr__(self):
        return str(self)


class Code(Text):
    """Source code that a notebook shows as code."""

    def _repr_html_(self):
        return f'<pre tabindex="0" style="overflow:auto">{html.escape(self)}</pre>'


def not_attempted(exercise):
    """The result for a stub."""
    text = "Write your own code in place of `raise NotImplementedError`, then run this cell again."
    return Result(exercise.name, "not attempted", [text])


def not_callable(exercise, answer):
    """The result for something that is no function."""
    text = (
        f"check.{exercise.name} takes the function itself, `check.{exercise.name}({exercise.name})`, "
        f"and got {describe(answer)}."
    )
    return Result(exercise.name, "failed", [text])


def explain(exercise, answer, attempts, log, seed, timed_out):
    """Turn attempts into a `Result`: what is right, what is not, the likely cause, an example."""
    name = exercise.name
    notes = list(dict.fromkeys(note for attempt in attempts for note in attempt.notes))
    notes += [f"Your code warned: {text}" for text in log.warned[:2]]
    if timed_out:
        text = f"There was no answer within {guard.TIME_LIMIT:g} seconds. Is there a loop that never ends?"
        return Result(name, "timed out", [text], seed=seed)
    mutated = next((a for a in attempts if a.mutated), None)
    error = next((a for a in attempts if a.error is not None), None)
    failing = [a for a in attempts if not a.right]
    if not failing and mutated is None:
        return Result(name, "passed", notes)
    wrong = [a for a in failing if a.error is None]  # a mistake may be fatal on some inputs only
    codes = (engine.diagnose(exercise, attempts) or ()) if wrong else ()
    if error is not None and mutated is None and not codes:
        return _explain_error(exercise, answer, error, attempts, seed)
    if error is not None:
        notes.append(f"With {error.trial.regime} it stops: {_error(answer, error.error)}")
    message = [exercise.mistakes[code] for code in codes]
    judged = sorted((a for a in failing if a.parts), key=lambda a: _size(a.trial.make()))
    if judged and not codes:
        message = [_what_is_right(judged, attempts), *_signatures(judged, log)]
    elif judged and len(judged[0].parts) > 1:
        message.insert(0, _what_is_right(judged, attempts))
    if mutated is not None:
        known = "mutates_input" in exercise.mistakes
        codes += ("mutates_input",) if known else ()
        text = "Your code changes its argument in place; the caller's data must stay as it was."
        message.append(f"{text} (Changed: {mutated.mutated}.)")
    message = [text[:1].upper() + text[1:] if text.startswith("the ") else text for text in message]
    message += notes
    mistake = codes[0] if len(codes) == 1 else codes or None
    example = _example(exercise, judged[0]) if judged else ()
    return Result(
        name,
        "failed",
        message,
        mistake=mistake,
        example=example,
        hint=None if codes else exercise.hints[0],
        seed=seed,
    )


def _explain_error(exercise, answer, attempt, attempts, seed):
    message = [
        _error(answer, attempt.error),
        f"Seen on this kind of input: {attempt.trial.regime}.",
    ]
    right = [a.trial.regime for a in attempts if a.right]
    if right:
        message.append(f"It is right on: {'; '.join(dict.fromkeys(right))}.")
    return Result(exercise.name, "error", message, hint=exercise.hints[0], seed=seed)


def _error(answer, error):
    """One sentence: what was raised, and in which line of the answer."""
    where = _where(answer, error)
    if isinstance(error, SystemExit | guard.Exited):
        return f"Your code tried to end the whole process{where} A function returns its result."
    if isinstance(error, NotImplementedError):
        return f"The line `raise NotImplementedError` is still there{where} Delete it."
    text = f"{type(error).__name__}: {_safe(error)}".rstrip(":. ")
    return f"{text}{where}"


def _where(answer, error):
    """The line of the reader's code in which an error was raised, as ", in line 3: `...`."""
    values = vars(answer).values() if isinstance(answer, type) else [answer]
    codes = [value.__code__ for value in values if hasattr(value, "__code__")]
    files = {code.co_filename for code in codes}
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
    if not own:
        return "."
    frame = own[-1]
    line = (frame.line or linecache.getline(frame.filename, frame.lineno)).strip()
    number = frame.lineno - min(code.co_firstlineno for code in codes) + 1
    place = f"in line {number} of your code" if number > 0 else f"in {frame.name}"
    return f", {place}: `{line}`." if line else f", {place}."


def _what_is_right(failing, attempts):
    """Which returned values are right, or else on which kinds of input all of them are."""
    parts = [part.name for part in failing[0].parts]
    good = [
        n
        for i, n in enumerate(parts)
        if all(len(a.parts) > i and a.parts[i].right for a in failing)
    ]
    bad = [n for n in parts if n not in good]
    if good:
        return f"{_listed(good)} right; {_listed(bad)} not."
    wrong = {a.trial.regime for a in attempts if not a.right}
    right = list(dict.fromkeys(a.trial.regime for a in attempts if a.trial.regime not in wrong))
    if right:
        return f"{_listed(bad)} right on this kind of input: {'; '.join(right)}. But not on: {failing[0].trial.regime}."
    return f"{_listed(bad)} not right."


def _listed(names):
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{', '.join(names[:-1])} and {names[-1]} are"


def _signatures(failing, log):
    """What is conspicuous about wrong values that no known mistake explains."""
    for part in [part for part in failing[0].parts if not part.right][:2]:
        if part.got is None and log.printed:
            yield f"{part.name} is None: your code prints its result; it has to return it."
        elif part.got is None:
            yield f"{part.name} is None: is there a `return` at the end?"
        elif part.problem:
            shape = part.got.shape if isinstance(part.got, np.ndarray) else ()
            transposed = part.want.ndim == 2 and shape[::-1] == part.want.shape
            yield f"{part.name} {part.problem}{' (is it transposed?)' if transposed else ''}."
    for i, part in enumerate(failing[0].parts):
        if not part.right and not part.problem:
            pairs = [(a.parts[i].got, a.parts[i].want) for a in failing if len(a.parts) > i]
            text = _signature([(g, w) for g, w in pairs if np.shape(g) == np.shape(w)])
            if text:
                yield f"{part.name} {text}."


def _signature(pairs):
    with np.errstate(all="ignore"):
        pairs = [(np.asarray(g, float), np.asarray(w, float)) for g, w in pairs]
        if any(not np.isfinite(g).all() for g, _ in pairs):
            return "contains NaN or infinity"

        def always(relation):
            return all(relation(g, w) for g, w in pairs)

        def constant(x):
            return np.ptp(x) <= 1e-3 * np.abs(x).max(initial=0)

        def scaled(g, w):
            factor = (g * w).sum() / (w * w).sum() if w.any() else 0
            off = np.abs(g - factor * w).max(initial=0)
            return np.sum(w != 0) > 1 and abs(factor) > 1e-9 and off <= 1e-3 * np.abs(g).max()

        if always(lambda g, w: np.abs(g + w).max(initial=0) <= 1e-3 * np.abs(w).max(initial=0)):
            return "has the wrong sign"
        off = max(np.abs(g - w).max(initial=0) / np.abs(w).max(initial=1e-300) for g, w in pairs)
        if off < 0.01:
            return (
                f"is close to the right value, but not equal (off by {off:.0e} of the largest value): "
                "perhaps a small number is added, or a constant rounded"
            )
        if always(scaled):
            return "is off by a constant factor"
        if always(lambda g, w: w.size > 1 and constant(g - w)):
            return "is off by a constant"
        if always(lambda g, w: np.allclose(np.sort(g, None), np.sort(w, None), rtol=1e-5)):
            return "has the right values in the wrong places"
    return None


def _size(value):
    """How many numbers are in an array, or in nested lists of arrays."""
    if isinstance(value, tuple | list):
        return sum(map(_size, value))
    return value.size if isinstance(value, np.ndarray) else 1


def _example(exercise, attempt):
    """Inputs, answer and expected value of one trial, for its first two wrong parts."""
    inputs = zip(exercise.inputs, attempt.trial.make(), strict=True)
    lines = [(n, _show(value) if _size(value) <= 32 else _outline(value)) for n, value in inputs]
    wrong = [part for part in attempt.parts if not part.right]
    for part in wrong[: 2 if _size([part.got for part in wrong[:2]]) <= 30 else 1]:
        lines.append((f"your {part.name.removeprefix('the ')}", _show(part.got)))
        if part.want.size:
            lines.append((exercise.expected, _show(part.want)))
    return lines


def _outline(value):
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{len(value)} arrays of shapes {', '.join(str(np.shape(v)) for v in value[:4])}" + (
        ", ..." if len(value) > 4 else ""
    )


def _show(value):
    if isinstance(value, tuple | list) and any(isinstance(v, np.ndarray) for v in value):
        return "\n".join(_show(v) for v in value)
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        if not value.ndim:
            return f"{value:.6g}"
        return np.array2string(value, precision=4, suppress_small=True, threshold=30, edgeitems=3)
    return show(value)


def show(value):
    """`repr(value)`, short, whatever the object does."""
    return _safe(value, repr)


def _safe(value, how=str):
    """`str(value)` or `repr(value)`, short, whatever the object does."""
    with guard.guard(limit=1):
        outcome = guard.call(how, value)
    text = outcome.value if isinstance(outcome.value, str) else describe(value)
    return text if len(text) <= 300 else text[:300] + " ..."
