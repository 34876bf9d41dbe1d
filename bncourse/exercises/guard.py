"""Run a reader's code inside the kernel, whatever it does, and report what happened."""

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from typing import NamedTuple

import numpy as np

TIME_LIMIT = 5.0  # seconds for all calls of one check
MEMORY_LIMIT = 4 << 30  # bytes that the calls may add to the process
PRINT_LIMIT = 2_000  # characters that are kept of what the code prints


class TimedOut(BaseException):
    """Raised in the reader's code when its time is over; a BaseException, so `except Exception` lets it pass."""


class Exited(BaseException):
    """Raised in place of ending the process."""


class Outcome(NamedTuple):
    """What one call did: it returned `value`, or it raised `error`."""

    value: object = None
    error: BaseException | None = None


class Log:
    """What was printed and warned while a guard was up."""

    def __init__(self):
        self.out = _Capped()
        self.caught = []
        self.expired = False  # the time limit has passed

    @property
    def printed(self):
        return self.out.text

    @property
    def warned(self):
        """The distinct warnings, as "Category: message", in the order of their first appearance."""
        with contextlib.suppress(BaseException):  # a reader's warning class may do anything
            lines = [f"{w.category.__name__}: {w.message}"[:200] for w in self.caught]
            return list(dict.fromkeys(lines))
        return []


def call(function, *args):
    """Call and catch everything, `sys.exit` and a time-out included. Needs a surrounding `guard`."""
    try:
        return Outcome(value=_run(function, args))
    except BaseException as error:  # whatever the reader's code raises is an answer to judge
        return Outcome(error=error)


def _run(function, args):
    return function(*args)  # frames below this one are the reader's: see `_inside_run`


@contextlib.contextmanager
def guard(limit=None):
    """Bound the time, memory and output of the calls inside; yields the `Log`.

    The time limit needs a Unix signal and the main thread; elsewhere (Windows, a worker thread) there is
    none. A single long call into C, such as `sum(itertools.count())`, can't be interrupted from within
    the process: the grader's worker processes can.
    """
    log = Log()
    with (
        contextlib.redirect_stdout(log.out),
        contextlib.redirect_stderr(log.out),
        warnings.catch_warnings(record=True) as log.caught,
        np.errstate(all="warn", under="ignore"),
        _no_exit(),
        _memory(MEMORY_LIMIT),
        _timer(limit or TIME_LIMIT, log),
    ):
        warnings.simplefilter("always")
        yield log


class _Capped(io.TextIOBase):
    """Keeps the first PRINT_LIMIT characters, and throws the rest away."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        if len(self.text) < PRINT_LIMIT:
            self.text += text[: PRINT_LIMIT - len(self.text)]
        return len(text)


@contextlib.contextmanager
def _no_exit():
    def refuse(*args):
        raise Exited("your code tried to end the whole process")

    names = ("_exit", "abort")
    saved = {name: getattr(os, name) for name in names}
    try:
        for name in names:
            setattr(os, name, refuse)
        yield
    finally:
        for name in names:
            setattr(os, name, saved[name])


@contextlib.contextmanager
def _memory(extra):
    """Let the process grow by `extra` bytes only (Linux), so that a huge allocation is a MemoryError."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        old = resource.getrlimit(resource.RLIMIT_AS)
        room = used + extra if old[0] < 0 else min(old[0], used + extra)
        resource.setrlimit(resource.RLIMIT_AS, (room, old[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


@contextlib.contextmanager
def _timer(limit, log):
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def expire(signum, frame):
        # Raise in the reader's code only: never in ours, which has to put everything back.
        log.expired = True
        if frame.f_code.co_filename == __file__ or not _inside_run(frame):
            return
        # Code that swallows the exception (`while True: try: ... except: pass`) is traced from here
        # on: the tracer raises again in its handler, where nothing catches it.
        sys.settrace(trace)
        while frame.f_code is not _run.__code__:
            frame.f_trace = trace
            frame = frame.f_back
        raise TimedOut(message)

    def trace(frame, event, arg):
        if event == "line" and frame.f_code.co_filename != __file__ and _inside_run(frame):
            raise TimedOut(message)
        return trace

    message = f"no answer within {limit:g} seconds"
    old_trace, old_handler = sys.gettrace(), signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit, 0.01)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old_handler)
        sys.settrace(old_trace)


def _inside_run(frame):
    while frame is not None:
        if frame.f_code is _run.__code__:
            return True
        frame = frame.f_back
    return False
