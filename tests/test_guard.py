"""Answers that loop, exit, print without end or take all memory get a result, and leave nothing behind."""

import os
import signal
import sys
import time
import warnings

import numpy as np
import pytest

from bncourse.exercises import guard
from bncourse.exercises.checks import is_blank, judge
from bncourse.exercises.normalization import STANDARDIZE, check, standardize


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    monkeypatch.setattr(guard, "TIME_LIMIT", 0.4)


def loops(train, test):
    while True:
        pass


def swallows(train, test):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            pass


def swallows_twice(train, test):
    try:
        while True:
            try:
                sum(range(1000))
            except BaseException:
                continue
    except BaseException:
        while True:
            try:
                time.sleep(1)
            except:  # noqa: E722
                pass


@pytest.mark.parametrize("answer", [loops, swallows, swallows_twice])
def test_an_endless_loop_is_timed_out(answer):
    start = time.perf_counter()
    result = judge(STANDARDIZE, answer, 0)
    assert result.status == "timed out" and time.perf_counter() - start < 5
    assert sys.gettrace() is None and signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert check.standardize(standardize).passed


@pytest.mark.parametrize(
    "leave", [lambda: sys.exit(0), lambda: os._exit(0), lambda: os.abort(), quit]
)
def test_ending_the_process_is_refused(leave):
    result = judge(STANDARDIZE, lambda train, test: leave(), 0)
    assert result.status == "error" and "end the whole process" in str(result)


def test_the_functions_that_end_the_process_are_put_back():
    before = os._exit, os.abort
    judge(STANDARDIZE, loops, 0)
    assert (os._exit, os.abort) == before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory limit is Linux's")
def test_a_huge_allocation_is_a_memory_error():
    import resource

    result = judge(STANDARDIZE, lambda train, test: np.ones(30 * 2**27), 0)
    assert result.status == "error" and "MemoryError" in str(result)
    result = judge(STANDARDIZE, lambda train, test: bytearray(30 * 2**30), 0)
    assert result.status == "error" and "MemoryError" in str(result)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_endless_printing_is_capped(capfd):
    def answer(train, test):
        for _ in range(2000):
            print("x" * 100_000)
            sys.stderr.write("y" * 1000)
        return standardize(train, test)

    result = judge(STANDARDIZE, answer, 0)
    assert result.status in ("passed", "timed out")
    assert capfd.readouterr() == ("", "")


def test_warnings_become_a_note(capfd):
    def answer(train, test):
        warnings.warn("old function", DeprecationWarning, stacklevel=1)
        return standardize(train, test)

    result = judge(STANDARDIZE, answer, 0)
    assert result.passed and "DeprecationWarning: old function" in str(result)
    assert capfd.readouterr() == ("", "")


def test_replacing_the_comparison_does_not_help(monkeypatch):
    for name in ("allclose", "isclose", "array_equal"):
        monkeypatch.setattr(np, name, lambda *args, **kwargs: True)
    monkeypatch.setattr(np.testing, "assert_allclose", lambda *args, **kwargs: None)
    assert not judge(STANDARDIZE, lambda train, test: (train, test), 0).passed


def test_recursion_and_a_repr_that_recurses_are_survived():
    class Deep:
        def __repr__(self):
            return repr(self)

        __str__ = __repr__

    assert judge(STANDARDIZE, lambda train, test: Deep(), 0).status == "failed"

    def forever(train, test):
        return forever(train, test)

    result = judge(STANDARDIZE, forever, 0)
    assert result.status == "error" and "RecursionError" in str(result)


def test_errors_point_at_a_line_of_the_answer():
    def answer(train, test):
        mean = train.mean(0)
        return train - mean, test[:, 99]

    result = judge(STANDARDIZE, answer, 0)
    assert (
        result.status == "error"
        and "in line 3 of your code: `return train - mean, test[:, 99]`" in str(result)
    )


def test_a_stub_with_work_in_it_says_which_line_to_delete():
    def answer(train, test):
        train.mean(0)
        raise NotImplementedError

    result = judge(STANDARDIZE, answer, 0)
    assert result.status == "error" and "Delete it" in str(result)


def test_blank_classes_are_blank_and_written_ones_are_not():
    class Stub:
        """Doc."""

        def __init__(self, n):
            """Doc."""
            raise NotImplementedError

        def train(self): ...

    class Written(Stub):
        def __init__(self, n):
            self.n = n

    assert is_blank(Stub) and not is_blank(Written) and is_blank(...)


def test_result_in_html_is_escaped_and_text_and_dict_agree():
    result = judge(STANDARDIZE, lambda train, test: "<script>alert(1)</script>", 3)
    page = result._repr_html_()
    assert "<script" not in page and result.seed == 3 and result.to_dict()["seed"] == 3
    assert result.to_dict()["status"] == result.status == "failed"
    result = check.standardize(lambda train, test: (train * 0, test * 0), seed=1)
    page = result._repr_html_()
    assert "<h4" in page and "<details" in page and "✗" in page and "<script" not in page


def test_what_is_right_already_is_said():
    def answer(train, test):
        return standardize(train, test)[0], test

    assert "train_z is right; test_z is not." in str(judge(STANDARDIZE, answer, 0))
    result = judge(STANDARDIZE, lambda train, test: standardize(train, test)[::-1], 0)
    assert result.status == "failed" and "shape" in str(result)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: -z, "wrong sign"),
        (lambda z: 2 * z, "constant factor"),
        (lambda z: z + 1, "off by a constant"),
        (lambda z: z[::-1], "wrong places"),
        (lambda z: z * np.nan, "NaN"),
        (lambda z: z.T, "transposed"),
        (lambda z: None, "is there a `return`"),
        (lambda z: z.tolist() + [1], "can't be read as an array"),
        (lambda z: z.astype(str), "expected numbers"),
        (lambda z: print(z), "prints its result"),
    ],
)
def test_unknown_mistakes_are_described(change, says):
    from bncourse.exercises.normalization import WHITEN, whiten

    one = WHITEN._replace(view=lambda z, *args: z)
    assert says in str(judge(one, lambda x: change(whiten(x)), 0))


def test_seeds_repeat_a_check():
    def answer(train, test):
        return train, test

    assert str(check.standardize(answer, seed=5)) == str(check.standardize(answer, seed=5))
    assert str(check.standardize(answer, seed=5)) != str(check.standardize(answer, seed=6))
    with pytest.raises(ValueError, match="got -1"):
        check.standardize(answer, seed=-1)


def test_hints_follow_each_other_and_the_solution_is_the_tested_source():
    from bncourse.exercises.checks import Check

    fresh = Check(STANDARDIZE)
    said = [str(fresh.hint()) for _ in range(4)]
    assert [text[:11] for text in said] == [
        "Hint 1 of 3",
        "Hint 2 of 3",
        "Hint 3 of 3",
        "Hint 3 of 3",
    ]
    assert fresh.hint(1) == said[0]
    with pytest.raises(ValueError, match="1 to 3, got 7"):
        fresh.hint(7)
    space = {"np": np}
    exec(str(fresh.solution()), space)
    assert judge(STANDARDIZE, space["standardize"], 0).passed


def test_best_is_the_answer_if_it_passes_and_the_solution_if_not(capsys):
    assert check.standardize.best(standardize) is standardize and capsys.readouterr().out == ""
    assert check.standardize.best(loops) is standardize
    assert "does not pass yet" in capsys.readouterr().out


def test_a_typo_is_answered_by_the_nearest_name():
    with pytest.raises(AttributeError, match="did you mean check.standardize"):
        _ = check.standardise
    assert {"standardize", "whiten"} <= set(dir(check))


def test_progress_is_kept_and_a_pass_stays_a_pass(tmp_path):
    from bncourse.exercises import progress

    assert str(check.progress()).startswith("0 of 4")
    check.standardize(lambda train, test: 1)
    assert "✗ standardize: not yet" in str(check.progress())
    check.standardize(standardize)
    check.standardize(lambda train, test: 1)
    assert str(check.progress()).startswith("1 of 4")
    assert "✓ standardize: passed" in str(check.progress()) and "○ whiten" in str(check.progress())
    assert [p.name for p in progress.path().parent.iterdir()] == ["progress.json"]


def test_illegible_or_unwritable_progress_is_no_obstacle(monkeypatch, tmp_path):
    from bncourse.exercises import progress

    progress.path().parent.mkdir(parents=True)
    for text in ("{", "[1]", '{"standardize": "odd"}', "null"):
        progress.path().write_text(text)
        assert progress.read() == {} and str(check.progress()).startswith("0 of 4")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("a file where a folder should be")
    assert check.standardize(standardize).passed and progress.read() == {}


def test_a_subclass_that_adds_nothing_is_not_blank():
    class Written:
        def __init__(self, n):
            self.n = n

    class Adds(Written):
        pass

    class Overrides(Written):
        def train(self):
            pass

    assert not is_blank(Adds) and not is_blank(Overrides)


def test_one_import_has_the_checks_of_all_chapters():
    from bncourse.exercises import chapters
    from bncourse.exercises import check as every

    names = {exercise.name for checks in chapters().values() for exercise in checks}
    assert set(dir(every)) == names | {"progress"} and len(names) >= 35
    assert every.standardize(standardize).passed
