"""Whatever an answer returns or raises, there is a result, and nothing on stdout or stderr."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bncourse.exercises import chapters
from bncourse.exercises.checks import judge
from bncourse.exercises.report import SIGNS

EXERCISES = {e.name: e for checks in chapters().values() for e in checks}
FAST = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
arrays = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(max_len=3)),
    hnp.array_shapes(min_dims=0, max_dims=4, max_side=4),
)
values = st.recursive(
    st.one_of(scalars, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.builds(np.ma.masked_invalid, hnp.arrays(float, (3, 2))),
    ),
    max_leaves=8,
)
errors = st.sampled_from(
    [ValueError, KeyError, ZeroDivisionError, StopIteration, GeneratorExit, SystemExit]
    + [KeyboardInterrupt, AssertionError, UnicodeDecodeError, MemoryError, NotImplementedError]
)


def judged(exercise, answer, seed=0):
    """The result, after everything that a result can do was done in silence."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        result = judge(exercise, answer, seed)
        assert str(result) and result._repr_html_()
    assert out.getvalue() == err.getvalue() == ""
    json.dumps(result.to_dict())
    assert result.status in SIGNS and isinstance(result.mistake, str | tuple | None)
    return result


@pytest.mark.parametrize("name", EXERCISES)
def test_any_returned_value_gets_a_result(name):
    @FAST
    @given(value=values)
    def law(value):
        assert not judged(EXERCISES[name], lambda *args: value).passed

    law()


@pytest.mark.parametrize("name", EXERCISES)
def test_any_object_in_place_of_an_answer_gets_a_result(name):
    @FAST
    @given(value=values)
    def law(value):
        assert not judged(EXERCISES[name], value).passed

    law()


@pytest.mark.parametrize("name", EXERCISES)
def test_any_exception_gets_a_result(name):
    @FAST
    @given(error=errors, text=st.text(max_size=20))
    def law(error, text):
        def answer(*args):
            raise error("utf-8", b"", 0, 1, text) if error is UnicodeDecodeError else error(text)

        assert judged(EXERCISES[name], answer).status in ("error", "failed", "not attempted")

    law()


@pytest.mark.parametrize("name", [n for n, e in EXERCISES.items() if hasattr(e, "run")])
def test_the_right_answer_with_one_value_spoilt_fails(name):
    """Any single number of any output, moved well beyond rounding, is seen."""
    exercise = EXERCISES[name]

    def spoil(value, position, by):
        if isinstance(value, tuple | list):
            index = position % len(value)
            return type(value)(
                spoil(v, position // len(value), by) if i == index else v
                for i, v in enumerate(value)
            )
        array = np.array(np.ma.getdata(value), float)
        array.flat[position % array.size] += by * (1 + np.abs(array).max())
        return array

    @settings(FAST, max_examples=25)
    @given(position=st.integers(0, 10**6), by=st.sampled_from([-1.0, 0.3, np.nan]))
    def law(position, by):
        right = exercise._replace(run=lambda answer, *args: answer(*args))
        spoilt = judged(
            right, lambda *args: spoil(exercise.oracle(frozenset(), *args), position, by)
        )
        assert spoilt.status == "failed"

    law()
