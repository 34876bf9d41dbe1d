"""Exercises of the chapter `regularization`."""

import math

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.engine import Exercise, Regime


def batch_mean_std(sigma, n):
    """Standard deviation of the mean of a batch, from batch to batch.

    Args:
        sigma: standard deviation of one example.
        n: number of independent examples in a batch.
    Returns:
        float: standard deviation of the mean of the batch.
    """
    return sigma / math.sqrt(n)


def _batch_mean_std(wrong, sigma, n):
    spread = sigma**2 if "variance_for_std" in wrong else sigma
    if "ignores_n" in wrong:
        return float(spread)
    return spread / (n if {"one_over_n", "variance_for_std"} & wrong else math.sqrt(n))


def _std_args(sigmas, sizes):
    """`sigmas` stay away from 1, sqrt(n) and n, where two of the formulas agree."""
    return lambda rng: (float(rng.uniform(*sigmas)), int(rng.integers(*sizes)))


def _batch_mean_std_variances(sigma, n):
    return np.sqrt(np.sum(np.full(n, sigma**2)) / n**2)


def _batch_mean_std_norm(sigma, n):
    return np.linalg.norm([sigma / n] * n)


def _batch_mean_std_power(sigma, n):
    return np.array(sigma * float(n) ** -0.5)


BATCH_MEAN_STD = Exercise(
    solution=batch_mean_std,
    oracle=_batch_mean_std,
    mistakes={
        "one_over_n": "That is sigma / n; errors of independent examples partly cancel, and their mean falls only as 1 / sqrt(n).",
        "ignores_n": "That is the spread of one example; the mean of a batch varies less, the larger the batch is.",
        "variance_for_std": "That is the variance of the mean, sigma^2 / n; its square root is asked for.",
    },
    regimes={
        "a small batch": Regime(_std_args((30, 60), (2, 8))),
        "a sigma below 1": Regime(_std_args((0.2, 0.7), (3, 12))),
        "a large batch": Regime(_std_args((0.2, 0.7), (64, 513))),
        "a whole number for sigma": Regime(
            lambda rng: (int(rng.integers(30, 60)), int(rng.integers(2, 8)))
        ),
    },
    outputs=("the standard deviation",),
    hints=(
        "What do you know about the variance of a sum of independent numbers?",
        "The variance of the sum of n examples is n * sigma^2, and dividing a number by n divides its variance by n^2.",
        "So the variance of the mean is sigma^2 / n. Return its square root.",
    ),
    alternatives=(_batch_mean_std_variances, _batch_mean_std_norm, _batch_mean_std_power),
)


def dropout_forward(x, p, mask):
    """Inverted dropout in training mode, with a mask that was drawn before.

    Args:
        x: (N, D) activations.
        p: probability with which a unit was dropped when the mask was drawn, 0 <
            p < 1.
        mask: (N, D) numbers or booleans: 1 (True) where a unit is kept, 0
            (False) where it is dropped.
    Returns:
        (N, D): 0 where dropped; what is kept is scaled so that, over all masks,
        the expected output is x. In evaluation there is then nothing left to do.
    """
    return x * mask / (1 - p)


def _dropout_forward(wrong, x, p, mask):
    x, mask = np.asarray(x, float), np.asarray(mask, float)
    if "drops_kept" in wrong:
        mask = 1 - mask
    if "not_inverted" in wrong:
        return x * mask
    if "multiplies_by_p" in wrong:
        return x * mask * p
    if "multiplies_by_keep" in wrong:
        return x * mask * (1 - p)
    return x * mask / (p if "divides_by_p" in wrong else 1 - p)


def _dropout_args(rng, n, d, p, kind="float", mask_type=float):
    """Activations that are never 0, and a mask that keeps and drops something of each row."""
    x = rng.uniform(0.5, 3, (n, d)) * rng.choice([-1, 1], (n, d))
    mask = rng.random((n, d)) > 0.5
    mask[:, 0], mask[:, -1] = True, False
    mask = rng.permuted(mask, axis=1)
    if kind == "int":
        x = np.rint(10 * x).astype(int)
    elif kind == "float32":
        x = (x + 1e3).astype(np.float32)
    elif kind == "strided":
        x, mask = np.asfortranarray(x), np.repeat(mask, 2, 1)[:, ::2]
    mask = mask if mask_type is bool else mask.astype(mask_type)
    return x, float(rng.uniform(*p)), mask


def _dropout_where(x, p, mask):
    return np.where(np.asarray(mask, bool), x, 0) / (1 - p)


def _dropout_loop(x, p, mask):
    return [
        [float(value) / (1 - p) if keep else 0.0 for value, keep in zip(row, keeps, strict=True)]
        for row, keeps in zip(x, mask, strict=True)
    ]


def _dropout_in_place_on_a_copy(x, p, mask):
    y = np.array(x, dtype=float)
    y[np.equal(mask, 0)] = 0
    y *= 1 / (1 - p)
    return y


DROPOUT_FORWARD = Exercise(
    solution=dropout_forward,
    oracle=_dropout_forward,
    mistakes={
        "not_inverted": "What is kept was not scaled, so the expected output is (1 - p) * x; inverted dropout makes up for it in training.",
        "divides_by_p": "What is kept was divided by p, the probability to drop; the probability to keep is 1 - p.",
        "drops_kept": "The mask was used the wrong way round: 1 marks what is kept.",
        "multiplies_by_p": "What is kept was multiplied by p, the probability to drop; it has to be divided by the probability to keep.",
        "multiplies_by_keep": "What is kept was multiplied by 1 - p, which makes the expected output smaller still; dividing by it makes up for what is lost.",
    },
    regimes={
        "two rows and a mask of numbers": Regime(lambda rng: _dropout_args(rng, 2, 3, (0.1, 0.4))),
        "a mask of booleans": Regime(
            lambda rng: _dropout_args(rng, 3, 4, (0.6, 0.85), mask_type=bool)
        ),
        "a mask of whole numbers, as many rows as columns": Regime(
            lambda rng: _dropout_args(rng, 4, 4, (0.2, 0.4), mask_type=int)
        ),
        "whole numbers (an integer array)": Regime(
            lambda rng: _dropout_args(rng, 5, 2, (0.6, 0.8), "int")
        ),
        "float32 numbers around 1000": Regime(
            lambda rng: _dropout_args(rng, 3, 6, (0.1, 0.4), "float32", np.float32), rtol=1e-4
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _dropout_args(rng, 4, 3, (0.15, 0.4), "strided", bool)
        ),
    },
    outputs=("the output",),
    hints=(
        "A unit is kept with probability 1 - p. What does it have to become then, so that its mean over all masks is x?",
        "(1 - p) * scale * x + p * 0 = x: solve for the scale.",
        "Multiply x by the mask, and divide by 1 - p.",
    ),
    alternatives=(_dropout_where, _dropout_loop, _dropout_in_place_on_a_copy),
)


def variance_ratio(mean, var, p):
    """Factor by which the variance of a unit behind dropout changes in evaluation.

    Inverted dropout multiplies the unit in training by 0 with probability p and
    by 1 / (1 - p) otherwise, independently of the unit's value. In evaluation it
    does nothing.

    Args:
        mean: mean of the unit over the data; any sign.
        var: variance of the unit over the data, as it is in evaluation.
        p: probability to drop, 0 < p < 1.
    Returns:
        float: variance in evaluation / variance in training.
    """
    return var / ((var + mean**2) / (1 - p) - mean**2)


def _variance_ratio(wrong, mean, var, p):
    if "naive_keep" in wrong:
        ratio = 1 - p
    else:
        square = (var + mean**2) / (1 - p)
        ratio = var / (square if "forgets_mean" in wrong else square - mean**2)
    return float(1 / ratio if "inverted_ratio" in wrong else ratio)


def _ratio_args(means, variances, p):
    """The mean is far enough from 0 to matter; p stays away from 1/2, where p and 1 - p agree."""

    def draw(rng):
        mean = rng.uniform(*means)
        return float(mean), float(rng.uniform(*variances)), float(rng.uniform(*p))

    return draw


def _variance_ratio_added(mean, var, p):
    noise = p / (1 - p)  # the variance of the mask divided by the square of its mean
    return 1 / (1 + noise * (1 + mean * mean / var))


def _variance_ratio_product(mean, var, p):
    mask_var = 1 / (1 - p) - 1
    return np.float64(var) / (var * mask_var + var + mean**2 * mask_var)


def _variance_ratio_enumerated(mean, var, p):
    std = var**0.5  # a unit with two values, mean - std and mean + std, and its four outcomes
    values = np.array([0, 0, mean - std, mean + std]) / (1 - p)
    weights = np.array([p, p, 1 - p, 1 - p]) / 2
    return var / np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)


VARIANCE_RATIO = Exercise(
    solution=variance_ratio,
    oracle=_variance_ratio,
    mistakes={
        "naive_keep": "That is 1 - p, which is right for a unit of mean 0 only: dropping a unit moves it by its whole mean, too.",
        "inverted_ratio": "The ratio is upside down: evaluation is above, training below, and training has the larger variance.",
        "forgets_mean": "The variance in training lacks its second term: a variance is the mean of the square minus the square of the mean.",
    },
    regimes={
        "a positive mean": Regime(_ratio_args((0.6, 2), (0.5, 3), (0.2, 0.4))),
        "a negative mean": Regime(_ratio_args((-2, -0.6), (0.5, 3), (0.6, 0.8))),
        "a mean much larger than the standard deviation": Regime(
            _ratio_args((3, 6), (0.3, 0.8), (0.1, 0.3))
        ),
        "a large variance": Regime(_ratio_args((-3, -2), (10, 20), (0.3, 0.45))),
        "whole numbers for mean and var": Regime(
            lambda rng: (
                int(rng.choice([-3, -2, 2, 3])),
                int(rng.integers(2, 6)),
                float(rng.uniform(0.2, 0.4)),
            )
        ),
    },
    outputs=("the ratio",),
    hints=(
        "Dropout leaves the mean as it is. What does it make of the mean of the square?",
        "In training the square is 0 with probability p and (value / (1 - p))^2 otherwise, so its mean is (var + mean^2) / (1 - p).",
        "The variance in training is that minus mean^2; divide var by it.",
    ),
    alternatives=(_variance_ratio_added, _variance_ratio_product, _variance_ratio_enumerated),
)


def ghost_batchnorm(x, gamma, beta, eps, ghost_size):
    """Batch norm in training mode of each small group of a batch by itself.

    Args:
        x: (N, D) the batch.
        gamma: (D,) scale.
        beta: (D,) shift.
        eps: is added to the variance, inside the square root.
        ghost_size: rows of a group, 2 to N. Groups are consecutive rows; where N
            is not a multiple of ghost_size the last group is smaller (it has at
            least 2 rows).
    Returns:
        (N, D): y = gamma * xhat + beta, where xhat is x normalized by the mean
        and the variance (divide by the number of rows) of its group. The order
        of the rows stays.
    """
    groups = []
    for start in range(0, len(x), ghost_size):
        group = x[start : start + ghost_size]
        xhat = (group - group.mean(axis=0)) / np.sqrt(group.var(axis=0) + eps)
        groups.append(gamma * xhat + beta)
    return np.concatenate(groups)


def _with_and_without_remainder(answer, x, gamma, beta, eps, ghost_size):
    """The answer to a batch that leaves a remainder, and to its first rows, which leave none."""
    whole = x[: len(x) - len(x) % ghost_size].copy(order="K")
    return answer(x, gamma, beta, eps, ghost_size), answer(whole, gamma, beta, eps, ghost_size)


def _ghost_batchnorm(wrong, x, gamma, beta, eps, ghost_size):
    def parts(x):
        x, y = np.asarray(x, float), np.empty(x.shape)
        n, rows = len(x), np.arange(len(x))
        group = rows // ghost_size
        if "full_batch" in wrong:
            group = 0 * rows
        elif "strided_groups" in wrong:
            group = rows % -(-n // ghost_size)
        for i in set(group.tolist()):
            part = x[group == i]
            y[group == i] = (part - part.mean(0)) / np.sqrt(part.var(0) + eps) * gamma + beta
        last = n - n % ghost_size
        if "drops_remainder" in wrong:
            return y[:last]
        if "drops_remainder:2" in wrong:
            y[last:] = x[last:]
        elif "drops_remainder:3" in wrong:
            y[last:] = 0
        return y

    return parts(x), parts(x[: len(x) - len(x) % ghost_size])


def _ghost_args(rng, n, d, ghost_size, kind="float"):
    """Rows that lie apart in every column, so that no group happens to have a variance near 0."""
    eps, scale = rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5, d)
    x = rng.permuted(np.tile(np.arange(n), (d, 1)), axis=1).T + rng.uniform(-0.3, 0.3, (n, d))
    x = scale * x + rng.uniform(2, 9, d) * rng.choice([-1, 1], d)
    gamma = rng.uniform(1.3, 3, d) * rng.choice([-1, 1], d)
    beta = rng.uniform(0.5, 2, d) * rng.choice([-1, 1], d)
    if kind == "constant":
        x[:, -1] = rng.integers(2, 9)
    elif kind == "tiny":
        x, eps = 0.01 * x, 1e-4 * eps
    elif kind == "int":
        x, gamma, beta = (np.rint(3 * v).astype(int) for v in (x, gamma, beta))
    elif kind == "float32":
        # a large spread too: in float32 the mean of squares minus the squared mean is right to 1 %
        x, gamma, beta = (v.astype(np.float32) for v in (20 * x + 1e3, gamma, beta))
    elif kind == "strided":
        x, gamma = np.repeat(x, 2, 0)[::2], np.repeat(gamma, 2)[::2]
    return x, gamma, beta, float(eps), ghost_size


def _ghost_loop(x, gamma, beta, eps, ghost_size):
    y = [[0.0] * x.shape[1] for _ in x]
    for start in range(0, len(x), ghost_size):
        rows = range(start, min(start + ghost_size, len(x)))
        for j in range(x.shape[1]):
            values = [float(x[i, j]) for i in rows]
            mean = sum(values) / len(values)
            var = sum((value - mean) ** 2 for value in values) / len(values)
            for i in rows:
                y[i][j] = gamma[j] * (float(x[i, j]) - mean) / (var + eps) ** 0.5 + beta[j]
    return y


def _ghost_matrix(x, gamma, beta, eps, ghost_size):
    group = np.arange(len(x)) // ghost_size
    same = (group[:, None] == group).astype(float)
    average = same / same.sum(axis=1, keepdims=True)  # (N, N): averages over the group of a row
    centred = x - average @ x
    return np.einsum("nd,d->nd", centred / np.sqrt(average @ centred**2 + eps), gamma) + beta


def _ghost_reshape(x, gamma, beta, eps, ghost_size):
    def normalize(groups):
        scale = gamma / np.sqrt(np.var(groups, axis=1, keepdims=True) + eps)
        return groups * scale + (beta - groups.mean(axis=1, keepdims=True) * scale)

    whole = len(x) // ghost_size * ghost_size
    y = normalize(x[:whole].reshape(-1, ghost_size, x.shape[1])).reshape(whole, -1)
    return np.vstack([y, normalize(x[None, whole:])[0]]) if whole < len(x) else y


def _ghost_split(x, gamma, beta, eps, ghost_size):
    y = np.array(x, float)
    for view in np.split(y, range(ghost_size, len(y), ghost_size)):
        view -= view.mean(0)
        view /= np.sqrt(np.square(view).mean(0) + eps)
    return y * gamma + beta


GHOST_BATCHNORM = Exercise(
    solution=ghost_batchnorm,
    oracle=_ghost_batchnorm,
    mistakes={
        "full_batch": "The whole batch was normalized at once; each group of `ghost_size` rows takes its own mean and variance.",
        "drops_remainder": "The last rows were left out; they form a smaller group, which is normalized like the others.",
        "strided_groups": "The groups take every k-th row; they have to be consecutive rows: the first `ghost_size`, the next `ghost_size`, and so on.",
    },
    forms=("drops_remainder:2", "drops_remainder:3"),
    regimes={
        "one group and a remainder": Regime(lambda rng: _ghost_args(rng, 5, 2, 3)),
        "several groups": Regime(lambda rng: _ghost_args(rng, 8, 3, 3)),
        "as many rows as columns": Regime(lambda rng: _ghost_args(rng, 6, 6, 4)),
        "a feature that is constant": Regime(lambda rng: _ghost_args(rng, 7, 3, 4, "constant")),
        "a tiny eps and small variances": Regime(lambda rng: _ghost_args(rng, 11, 2, 4, "tiny")),
        "whole numbers (integer arrays)": Regime(lambda rng: _ghost_args(rng, 7, 4, 5, "int")),
        "float32 numbers around 1000": Regime(
            lambda rng: _ghost_args(rng, 8, 5, 6, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(lambda rng: _ghost_args(rng, 8, 3, 5, "strided")),
    },
    outputs=("y with a smaller last group", "y with equal groups"),
    hints=(
        "How do you get the first `ghost_size` rows, and the next ones, and what is left at the end?",
        "`range(0, N, ghost_size)` gives the first row of every group, the last one included; `x[start : start + ghost_size]` stops at the end by itself.",
        "Normalize each of these slices with its own mean and variance along axis 0, and put the results together with `np.concatenate`.",
    ),
    alternatives=(_ghost_loop, _ghost_matrix, _ghost_reshape, _ghost_split),
    run=_with_and_without_remainder,
)

check = Checks(BATCH_MEAN_STD, DROPOUT_FORWARD, VARIANCE_RATIO, GHOST_BATCHNORM)
