"""Exercises of the chapter `why_it_works`."""

import math

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.engine import Exercise, Regime


def effective_learning_rate(lr, weight):
    """Learning rate at which the direction of a scale-invariant weight vector turns.

    Batch norm divides the length of the weight vector out again, so only its
    direction matters. The gradient is inversely proportional to the length, and
    a step of a given length turns a longer vector less.

    Args:
        lr: number, the learning rate of gradient descent.
        weight: (D,), not all zero.
    Returns:
        float: the rate at which gradient descent on the vector of length 1 would
            take the same turn.
    """
    return lr / np.sum(np.square(weight, dtype=float))


def _effective_learning_rate(wrong, lr, weight):
    weight = np.asarray(weight, float)
    power = 1 if {"first_power", "multiplies:2"} & wrong else 2
    scale = np.linalg.norm(weight) ** power
    scale = scale / weight.size if "mean_for_sum" in wrong else scale
    if "ignores_norm" in wrong:
        return np.float64(lr)
    return lr * scale if {"multiplies", "multiplies:2"} & wrong else lr / scale


def _effective_learning_rate_args(rng, d, low, high, kind="float"):
    """A weight vector with a length from `low` to `high`."""
    weight = rng.normal(size=d)
    weight *= rng.uniform(low, high) / np.linalg.norm(weight)
    lr = rng.uniform(0.05, 0.9)
    if kind == "int":
        return int(rng.integers(1, 4)), np.rint(weight).astype(int)
    if kind == "float32":
        return lr, weight.astype(np.float32)
    if kind == "strided":
        return lr, np.repeat(weight, 2)[::2]
    return lr, weight


def _effective_learning_rate_loop(lr, weight):
    total = 0.0
    for value in weight:
        total += float(value) ** 2
    return lr / total


def _effective_learning_rate_two_steps(lr, weight):
    length = math.hypot(*weight)
    scaled_gradient = lr / length
    return np.float32(scaled_gradient / length)


def _effective_learning_rate_einsum(lr, weight):
    weight = np.array(weight, float)
    return np.array(lr * np.einsum("d,d->", weight, weight) ** -1)


EFFECTIVE_LEARNING_RATE = Exercise(
    solution=effective_learning_rate,
    oracle=_effective_learning_rate,
    mistakes={
        "first_power": "You divided by the norm once; it counts twice, once for the gradient and once for the turn that a step makes.",
        "multiplies": "You multiplied by the norm; a longer weight vector turns less in a step, so divide (by the norm squared).",
        "ignores_norm": "That is the learning rate itself; it is the effective one only where the weight has norm 1.",
        "mean_for_sum": "You divided by the mean of the squares; the squared norm is their sum.",
    },
    forms=("multiplies:2",),
    regimes={  # lengths at which no two mistakes meet, such as sqrt(D) or D
        "two weights": Regime(lambda rng: _effective_learning_rate_args(rng, 2, 3, 8)),
        "a long weight vector": Regime(lambda rng: _effective_learning_rate_args(rng, 5, 30, 300)),
        "a weight vector shorter than 1": Regime(
            lambda rng: _effective_learning_rate_args(rng, 4, 0.1, 0.6)
        ),
        "many weights": Regime(lambda rng: _effective_learning_rate_args(rng, 40, 8, 20)),
        "whole numbers (an integer array)": Regime(
            lambda rng: _effective_learning_rate_args(rng, 3, 8, 20, "int")
        ),
        "float32 numbers": Regime(
            lambda rng: _effective_learning_rate_args(rng, 6, 20, 200, "float32"), rtol=1e-4
        ),
        "an array that is not contiguous": Regime(
            lambda rng: _effective_learning_rate_args(rng, 4, 8, 20, "strided")
        ),
    },
    outputs=("the effective learning rate",),
    hints=(
        "If the weight vector is twice as long, what happens to the gradient, and what to the angle by which a step of a given length turns it?",
        "The gradient is divided by the norm of the weight, and so is the turn: two factors 1 / norm.",
        "Divide lr by the sum of the squares of the weights.",
    ),
    alternatives=(
        _effective_learning_rate_loop,
        _effective_learning_rate_two_steps,
        _effective_learning_rate_einsum,
    ),
)


def equivalent_learning_rates(lr, weight_decay, steps):
    """Growing learning rates that replace weight decay on scale-invariant weights.

    Gradient descent with weight decay takes the step w <- (1 - weight_decay *
    lr) * w - lr * gradient.
    Without weight decay and with the learning rates returned here it takes the
    same directions: the weights are not shrunk, so at each step they are longer
    by one factor more. The rate has to grow twice as fast, as the square of the
    length; and already the first step needs the factor once, for the shrinking
    happens before the gradient is subtracted.

    Args:
        lr: number, the constant learning rate.
        weight_decay: number, with weight_decay * lr < 1.
        steps: int >= 1.
    Returns:
        (steps,), the learning rates of the steps t = 0, 1, 2, ...
    """
    shrink = 1 - weight_decay * lr
    t = np.arange(steps)
    return lr * shrink ** (-2.0 * t - 1)


def _equivalent_learning_rates(wrong, lr, weight_decay, steps):
    t = np.arange(steps, dtype=float) + ("off_by_one" in wrong)
    single = {"single_power", "single_power:2"} & wrong
    exponent = (1 if single else 2) * t
    exponent = exponent + (0 if {"single_power:2", "off_by_one:2"} & wrong else 1)
    exponent = exponent if "decaying" in wrong else -exponent
    shrink = 1 - (weight_decay if "factor_without_lr" in wrong else weight_decay * lr)
    return (1 if "factors_only" in wrong else lr) * np.power(shrink, exponent)


def _equivalent_learning_rates_args(rng, steps, lr=(0.15, 0.6), weight_decay=(0.15, 0.6)):
    return float(rng.uniform(*lr)), float(rng.uniform(*weight_decay)), steps


def _equivalent_learning_rates_loop(lr, weight_decay, steps):
    shrink = 1 - weight_decay * lr
    rates = [lr / shrink]
    while len(rates) < steps:
        rates.append(rates[-1] / shrink / shrink)
    return rates


def _equivalent_learning_rates_logs(lr, weight_decay, steps):
    odd = np.arange(1, 2 * steps, 2)
    return np.exp(np.log(lr) - odd * np.log1p(-weight_decay * lr))


def _equivalent_learning_rates_lengths(lr, weight_decay, steps):
    """Follow the length of a weight that decays, before and after each shrinking."""
    before = np.cumprod([1.0] + [1 - lr * weight_decay] * steps)
    return lr / (before[:-1] * before[1:])


EQUIVALENT_LEARNING_RATES = Exercise(
    solution=equivalent_learning_rates,
    oracle=_equivalent_learning_rates,
    mistakes={
        "single_power": "The rates grow by one factor a step; the effective rate has the squared length in it, so the factor is due twice a step.",
        "decaying": "These rates decay; weights that are no longer shrunk stay longer, so it takes growing rates to turn them as much.",
        "off_by_one": "The exponents are shifted: t starts at 0, and the exponent -2t - 1 starts at -1.",
        "factor_without_lr": "The factor should be 1 - weight_decay * lr, as a step shrinks the weights by lr * weight_decay, not by weight_decay.",
        "factors_only": "These are the factors alone; multiply them by lr.",
    },
    forms=("single_power:2", "off_by_one:2"),
    regimes={
        "three steps": Regime(lambda rng: _equivalent_learning_rates_args(rng, 3)),
        "two steps": Regime(lambda rng: _equivalent_learning_rates_args(rng, 2)),
        "five to nine steps": Regime(
            lambda rng: _equivalent_learning_rates_args(rng, int(rng.integers(5, 10)))
        ),
        "thirty steps": Regime(
            lambda rng: _equivalent_learning_rates_args(rng, 30, (0.1, 0.3), (0.1, 0.3))
        ),
        "the small numbers of real training": Regime(
            lambda rng: _equivalent_learning_rates_args(rng, 6, (0.05, 0.2), (2e-4, 1e-3)),
            rtol=1e-8,
        ),
        "a whole number as learning rate": Regime(lambda rng: (2, float(rng.uniform(0.1, 0.3)), 4)),
        "a whole number as weight decay": Regime(lambda rng: (float(rng.uniform(0.1, 0.3)), 2, 4)),
    },
    outputs=("the sequence of rates",),
    hints=(
        "Without decay the weights are longer by 1 / (1 - weight_decay * lr) after each step; how does the effective learning rate depend on the length?",
        "Step t has had t shrinkings, each of which counts twice, and the step's own, which counts once: the exponent of 1 - weight_decay * lr is -2t - 1.",
        "Take t = 0, 1, ... from `np.arange(steps)` and return lr times (1 - weight_decay * lr) to the power -2t - 1.",
    ),
    alternatives=(
        _equivalent_learning_rates_loop,
        _equivalent_learning_rates_logs,
        _equivalent_learning_rates_lengths,
    ),
)


def gradient_predictiveness(grad_before, grad_after):
    """How well the gradient before a step predicts the gradient after it.

    Args:
        grad_before: array of any shape, not all zero: the gradient before the
            step.
        grad_after: array of the same shape, not all zero: the gradient after it.
    Returns:
        (relative_change, cosine), two floats: the length of the difference
        relative to the length of grad_before, and the cosine of the angle
        between the two gradients. Arrays of any shape are
        read as vectors: the length is the root of the sum of all squares.
    """
    before, after = np.ravel(grad_before), np.ravel(grad_after)
    length = np.linalg.norm(before)
    relative_change = np.linalg.norm(after - before) / length
    return relative_change, before @ after / (length * np.linalg.norm(after))


def _gradient_predictiveness(wrong, grad_before, grad_after):
    before, after = np.ravel(grad_before).astype(float), np.ravel(grad_after).astype(float)
    norm = np.linalg.norm
    change, reference = norm(after - before), norm(after if "wrong_reference" in wrong else before)
    if {"difference_of_norms", "difference_of_norms:2"} & wrong:
        change = norm(after) - norm(before)
        change = abs(change) if "difference_of_norms" in wrong else change
    if "squared_change" in wrong:
        change, reference = change**2, reference**2
    if not {"no_normalization", "no_normalization:2"} & wrong:
        change = change / reference
    first, second = before, after
    if "cosine_of_differences" in wrong:
        second = after - before
    elif "cosine_of_differences:2" in wrong:
        first = after - before
    cosine = first @ second
    if not {"no_normalization:2", "no_normalization:3"} & wrong:
        cosine = cosine / (norm(first) * norm(second))
    return (cosine, change) if "swapped" in wrong else (change, cosine)


def _gradient_pair(rng, shape, length=3.0, kind="float"):
    """Gradients at a sharp or at an obtuse angle, the second one shorter or longer than the first."""
    before, other = rng.normal(size=shape), rng.normal(size=shape)
    before /= np.linalg.norm(before)
    other -= before * np.sum(before * other)
    other /= np.linalg.norm(other)
    angle, ratio = rng.uniform([0.5, 0.4], [1.1, 0.65])
    if rng.integers(2):
        angle, ratio = np.pi - angle, 1 / ratio
    after = length * ratio * (np.cos(angle) * before + np.sin(angle) * other)
    before = length * before
    if kind == "int":
        return np.rint(before).astype(int), np.rint(after).astype(int)
    if kind == "float32":
        return before.astype(np.float32), after.astype(np.float32)
    if kind == "strided":
        return np.asfortranarray(before), np.repeat(after, 2, 1)[:, ::2]
    return before, after


def _gradient_predictiveness_loop(grad_before, grad_after):
    square_before = square_after = square_change = inner = 0.0
    for a, b in zip(np.ravel(grad_before).tolist(), np.ravel(grad_after).tolist(), strict=True):
        square_before += a * a
        square_after += b * b
        square_change += (b - a) ** 2
        inner += a * b
    return [(square_change / square_before) ** 0.5, inner / (square_before * square_after) ** 0.5]


def _gradient_predictiveness_scipy(grad_before, grad_after):
    from scipy.spatial import distance

    before, after = grad_before.flatten(), grad_after.flatten()
    change = distance.euclidean(before, after) / distance.norm(before)
    return change, 1 - distance.cosine(before, after)


def _gradient_predictiveness_law_of_cosines(grad_before, grad_after):
    before, after = grad_before.astype(float), grad_after.astype(float)
    cosine = np.vdot(before / np.sqrt(np.vdot(before, before)), after / np.sqrt((after**2).sum()))
    ratio = np.linalg.norm(after) / np.linalg.norm(before)
    return np.array([np.sqrt(1 + ratio**2 - 2 * ratio * cosine), cosine])


GRADIENT_PREDICTIVENESS = Exercise(
    solution=gradient_predictiveness,
    oracle=_gradient_predictiveness,
    mistakes={
        "no_normalization": "A length was not divided out: the change is relative to the norm of grad_before, and a cosine is the inner product divided by both norms.",
        "wrong_reference": "The change was taken relative to grad_after; grad_before is what was predicted from, so its norm is the reference.",
        "cosine_of_differences": "The cosine was taken with the difference of the gradients; it is that of the angle between grad_before and grad_after.",
        "difference_of_norms": "That is the change of the norm; a gradient that only turns keeps its norm, so take the norm of the difference.",
        "squared_change": "The change is the square of what it should be: take the root of the sum of squares, above and below.",
        "swapped": "The two results are in each other's place: the relative change comes first, then the cosine.",
    },
    forms=(
        "no_normalization:2",
        "no_normalization:3",
        "cosine_of_differences:2",
        "difference_of_norms:2",
    ),
    regimes={
        "two short vectors": Regime(lambda rng: _gradient_pair(rng, 3)),
        "two matrices": Regime(lambda rng: _gradient_pair(rng, (3, 4))),
        "two square matrices": Regime(lambda rng: _gradient_pair(rng, (3, 3), 5.0)),
        "the kernels of a convolution (4 axes)": Regime(
            lambda rng: _gradient_pair(rng, (2, 3, 2, 2))
        ),
        "tiny gradients": Regime(lambda rng: _gradient_pair(rng, 5, 1e-4)),
        "whole numbers (integer arrays)": Regime(
            lambda rng: _gradient_pair(rng, (2, 3), 40.0, "int")
        ),
        "float32 numbers": Regime(
            lambda rng: _gradient_pair(rng, (4, 2), 300.0, "float32"), rtol=1e-4
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _gradient_pair(rng, (4, 3), 5.0, "strided")
        ),
    },
    outputs=("relative_change", "cosine"),
    hints=(
        "How do you measure the length of an array of any shape, and the angle between two of them?",
        "The change is the norm of grad_after - grad_before over the norm of grad_before; the cosine is the inner product over the product of the norms.",
        "Flatten both arrays with `np.ravel`, then `np.linalg.norm` and `@` are all you need.",
    ),
    alternatives=(
        _gradient_predictiveness_loop,
        _gradient_predictiveness_scipy,
        _gradient_predictiveness_law_of_cosines,
    ),
)

check = Checks(EFFECTIVE_LEARNING_RATE, EQUIVALENT_LEARNING_RATES, GRADIENT_PREDICTIVENESS)
