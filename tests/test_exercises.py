"""Laws that hold for every exercise of every chapter."""

import inspect
import itertools

import numpy as np
import pytest

from bncourse.exercises import chapters, engine, guard
from bncourse.exercises.checks import judge
from bncourse.exercises.concepts import Concept

EXERCISES = [e for checks in chapters().values() for e in checks if isinstance(e, engine.Exercise)]
CONCEPTS = [e for checks in chapters().values() for e in checks if isinstance(e, Concept)]
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
each_concept = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda e: e.name)


def switches(exercise):
    return [c for c in exercise.mistakes if c != "mutates_input"] + list(exercise.forms)


def wrong_answer(exercise, wrong):
    """The exercise with an answer that makes the mistakes `wrong`; what `run` would give is given directly."""

    def unmask(value):
        if isinstance(value, (tuple, list)):
            return type(value)(unmask(v) for v in value)
        return np.ma.getdata(value)

    return exercise._replace(run=lambda answer, *args: answer(*args)), lambda *args: unmask(
        exercise.oracle(frozenset(wrong), *args)
    )


def test_there_are_exercises_and_no_two_share_a_name():
    names = [exercise.name for exercise in EXERCISES + CONCEPTS]
    assert len(names) >= 4 and len(set(names)) == len(names)


@each_exercise
def test_solution_passes_on_many_seeds(exercise):
    for seed in range(1000):
        result = judge(exercise, exercise.solution, seed)
        assert result.passed, f"seed {seed}\n{result}"


@each_exercise
def test_passed_output_is_the_same_each_time(exercise):
    seen = {
        (str(r), r._repr_html_())
        for s in range(20)
        for r in [judge(exercise, exercise.solution, s)]
    }
    assert len(seen) == 1


@each_exercise
def test_blank_stubs_are_not_attempted(exercise):
    name, signature = exercise.name, inspect.signature(exercise.solution)
    for body in (
        "raise NotImplementedError",
        "raise NotImplementedError('do')",
        "...",
        "pass",
        "'doc'",
    ):
        space = {}
        exec(f"def {name}{signature}:\n    '''doc'''\n    {body}\n", space)
        assert judge(exercise, space[name], 0).status == "not attempted", body
    assert judge(exercise, lambda *args: "hello", 0).status == "failed"


@each_exercise
def test_every_mistake_is_named_alone_on_every_regime(exercise):
    for (name, regime), switch in itertools.product(exercise.regimes.items(), switches(exercise)):
        alone, answer = wrong_answer(exercise._replace(regimes={name: regime}), [switch])
        for seed in range(8):
            result = judge(alone, answer, seed)
            fatal = result.status == "error" and result.mistake is None  # it raises on these inputs
            named = result.mistake == engine.code_of(switch)
            assert named or fatal, f"{switch} on {name}, seed {seed}\n{result}"


@each_exercise
def test_every_mistake_is_named_alone_by_the_whole_check(exercise):
    for switch in switches(exercise):
        whole, answer = wrong_answer(exercise, [switch])
        for seed in range(8):
            result = judge(whole, answer, seed)
            assert result.mistake == engine.code_of(switch), f"{switch}, seed {seed}\n{result}"


@each_exercise
def test_every_pair_of_mistakes_is_rejected(exercise):
    for pair in itertools.combinations(switches(exercise), 2):
        alone, answer = wrong_answer(exercise, pair)
        for seed in range(3):
            result = judge(alone, answer, seed)
            assert not result.passed, f"{pair}, seed {seed}\n{result}"


@each_exercise
def test_right_alternatives_pass(exercise):
    assert len(exercise.alternatives) >= 3
    for alternative in exercise.alternatives:
        for seed in range(30):
            result = judge(exercise, alternative, seed)
            assert result.passed, f"{alternative.__name__}, seed {seed}\n{result}"


def arrays(value):
    """The arrays in nested lists of inputs."""
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in arrays(item)]
    return [value] if isinstance(value, np.ndarray) and value.size else []


TAKES_ARRAYS = [e for e in EXERCISES if arrays(engine.trials(e, 0)[0].make())]


@pytest.mark.parametrize("exercise", TAKES_ARRAYS, ids=lambda e: e.name)
def test_changing_an_argument_is_found(exercise):
    def spoil(answer, *args):
        result = exercise.run(answer, *args)
        for array in arrays(args):
            array.flat[0] += 1
        return result

    result = judge(exercise._replace(run=spoil), exercise.solution, 0)
    expected = "mutates_input" if "mutates_input" in exercise.mistakes else None
    assert result.status == "failed" and result.mistake == expected
    assert "in place" in str(result)


@each_exercise
def test_right_only_at_the_first_call_fails(exercise):
    calls = itertools.count()

    def first_only(*args):
        return exercise.solution(*args) if next(calls) == 0 else None

    assert not judge(exercise, first_only, 0).passed


@each_exercise
def test_arguments_are_drawn_afresh_and_repeat_with_the_seed(exercise):
    def flat(seed):
        return [str(trial.make()) for trial in engine.trials(exercise, seed)]

    assert flat(1) == flat(1) and flat(1) != flat(2)


@each_exercise
def test_it_is_described(exercise):
    doc = exercise.doc
    assert "Returns:" in doc or inspect.isclass(exercise.solution)
    assert max(map(len, doc.splitlines())) <= 84, "the stub has to fit a page"
    assert len(exercise.hints) == 3 and len(set(exercise.hints)) == 3
    assert all(text.endswith(".") for text in exercise.mistakes.values())
    source = inspect.getsource(exercise.solution)
    assert len(source.splitlines()) - len(doc.splitlines()) <= 25


@each_exercise
def test_hostile_answers_get_a_result_and_no_output(exercise, capfd):
    def raises(error):
        def answer(*args):
            raise error

        return answer

    class AlwaysEqual:
        def __eq__(self, other):
            return True

        __array__ = property(lambda self: 1 / 0)

        def __repr__(self):
            raise SystemExit

    values = [
        None,
        "text",
        float("nan"),
        [],
        [[1], [2, 3]],
        {},
        object(),
        AlwaysEqual(),
        1j,
        np.ones((2, 2, 2)),
    ]
    answers = [lambda *args, v=v: v for v in values[1:]]
    answers += [
        raises(e) for e in (ValueError("x"), SystemExit(3), KeyboardInterrupt(), RecursionError())
    ]
    answers += [lambda: 3, 3, "f", print]
    for answer in answers:
        result = judge(exercise, answer, 0)
        assert result.status in ("failed", "error"), str(result)
        assert str(result) and result._repr_html_() and result.to_dict()
    assert capfd.readouterr() == ("", "")
    assert guard.TIME_LIMIT <= 5


@each_concept
def test_right_answers_pass_and_a_blank_is_not_attempted(concept):
    assert judge(concept, concept.solution, 0).passed
    for blank in (..., {}, dict.fromkeys(concept.cases, ...), dict.fromkeys(concept.cases)):
        assert judge(concept, blank, 0).status == "not attempted"
    assert len(concept.hints) == 3 and len(concept.cases) >= 6


@each_concept
def test_every_wrong_choice_is_explained_without_telling_the_right_one(concept):
    coded = set()
    for text, case in concept.cases.items():
        for choice in set(concept.choices) - {case.right}:
            result = judge(concept, {**concept.solution, text: choice}, 0)
            code = concept.code(choice, case.right)
            assert result.status == "failed"
            assert result.mistake == (code if code in concept.mistakes else None)
            coded.add(result.mistake)
            (line,) = [line for line in result.message if line.startswith("✗")]
            assert len(line) > len(text) + len(choice) + 25
            told = line.removeprefix(f"✗ {text}: not {choice}.")
            assert case.right not in told and case.because not in str(result)
    assert coded - {None} == set(concept.mistakes)


@each_concept
def test_what_is_open_is_shown_and_not_given_away(concept):
    first, *rest = concept.cases
    result = judge(concept, {first: concept.solution[first]}, 0)
    assert result.status == "failed" and result.mistake is None
    assert f"1 of {len(concept.cases)} are right." in result.message
    for text in rest:
        assert f"○ {text}: open." in result.message
        assert concept.cases[text].because not in str(result)


@each_concept
def test_several_mistakes_are_named_together(concept):
    answers, codes = dict(concept.solution), []
    for code in concept.mistakes:
        for text, case in concept.cases.items():
            wrong = [
                c
                for c in concept.choices
                if c != case.right and concept.code(c, case.right) == code
            ]
            if wrong and answers[text] == case.right and len(codes) < 2:
                answers[text] = wrong[0]
                codes.append(code)
                break
    assert set(judge(concept, answers, 0).mistake) == set(codes) and len(codes) == 2


@each_concept
def test_odd_answers_to_a_concept_get_a_result(concept, capfd):
    first = next(iter(concept.cases))
    typo = judge(concept, {first[:-2]: concept.solution[first]}, 0)
    assert typo.status == "failed" and f"did you mean {first!r}" in str(typo)
    other = judge(concept, {first: "nonsense"}, 0)
    assert other.status == "failed" and "'nonsense' is none of" in str(other)
    for odd in (
        3,
        "text",
        [1],
        None,
        {1: 2},
        {first: 3},
        {first: [1]},
        {first: np.ones(3)},
        object(),
    ):
        result = judge(concept, odd, 0)
        assert result.status == "failed" and str(result) and result._repr_html_()
    assert capfd.readouterr() == ("", "")
