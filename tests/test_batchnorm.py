import laws
import numpy as np
import pytest

from bncourse import batchnorm


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_batchnorm_holds_the_law(law):
    law(batchnorm)


def test_gradient_is_blind_to_shifting_the_batch():
    x, gamma, beta, dy = laws.draw((6, 3))
    _, cache = batchnorm.batchnorm_forward(x, gamma, beta)
    dx, _, _ = batchnorm.batchnorm_backward(dy, cache)
    assert np.abs(dx.sum(0)).max() < 1e-12


def test_float32_stays_float32():
    x, gamma, beta, dy = (a.astype(np.float32) for a in laws.draw((6, 3)))
    y, cache = batchnorm.batchnorm_forward(x, gamma, beta)
    grads = batchnorm.batchnorm_backward(dy, cache)
    assert {a.dtype for a in (y, *grads)} == {np.dtype(np.float32)}


def test_integers_are_taken_as_floats():
    x = np.array([[1, 2], [3, 5], [8, 13]])
    y, _ = batchnorm.batchnorm_forward(x, np.ones(2), np.zeros(2))
    want, _ = batchnorm.batchnorm_forward(x.astype(float), np.ones(2), np.zeros(2))
    assert np.array_equal(y, want)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: batchnorm.batchnorm_forward(np.ones((1, 3)), *np.ones((2, 3))), r"\(1, 3\)"),
        (lambda: batchnorm.batchnorm_forward(np.ones(3), *np.ones((2, 3))), r"\(3,\)"),
        (lambda: batchnorm.batchnorm_forward(np.ones((4, 3)), np.ones(2), np.ones(3)), "gamma"),
        (lambda: batchnorm.batchnorm_forward(np.ones((4, 3)), np.ones(3), np.ones(2)), "beta"),
        (
            lambda: batchnorm.batchnorm_inference(np.ones((4, 3)), *np.ones((3, 3)), np.ones(4)),
            "running_var",
        ),
        (
            lambda: batchnorm.batchnorm_backward(
                np.ones((3, 4)), batchnorm.batchnorm_forward(np.eye(4)[:, :3], *np.ones((2, 3)))[1]
            ),
            r"\(4, 3\), got \(3, 4\)",
        ),
    ],
)
def test_a_wrong_shape_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
