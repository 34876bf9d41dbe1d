"""Exercises of the chapter `practice`."""

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.engine import Exercise, Regime


def _signed(rng, low, high, size):
    """Numbers of magnitude low to high, of both signs where there are two."""
    return rng.uniform(low, high, size) * rng.permutation(np.resize([1, -1], size))


def _root(wrong, square, eps):
    """What to divide by: sqrt(square + eps), or what mistakes make of it."""
    eps = 0 if "no_eps" in wrong else eps
    if "no_square_root" in wrong:
        return square + eps
    return np.sqrt(square) + eps if "eps_outside_root" in wrong else np.sqrt(square + eps)


def fold_batchnorm(weight, bias, gamma, beta, mean, var, eps):
    """Fold batch norm in evaluation mode into the linear layer before it.

    Args:
        weight: (out, in) of the linear layer, `x @ weight.T + bias` as in
            PyTorch.
        bias: (out,) of the linear layer.
        gamma, beta: (out,) scale and shift of the batch normalization that
            follows.
        mean, var: (out,) its running statistics.
        eps: added to the variance, inside the square root.
    Returns:
        (weight, bias) of the one linear layer that computes the same, of the
        same shapes.
    """
    scale = gamma / np.sqrt(var + eps)
    return weight * scale[:, None], (bias - mean) * scale + beta


def _fold_batchnorm(wrong, weight, bias, gamma, beta, mean, var, eps):
    weight, bias, gamma, beta, mean, var = (
        np.asarray(a, float) for a in (weight, bias, gamma, beta, mean, var)
    )
    scale = gamma / _root(wrong, var, eps)
    offset = 0 if "bias_dropped" in wrong else bias
    outside = offset if "bias_unscaled" in wrong else 0
    shift = scale * beta if "beta_scaled" in wrong else beta
    if "beta_scaled:2" in wrong:
        shift = gamma * beta
    center = 0 if "mean_dropped" in wrong else mean
    folded = weight * (scale if "wrong_axis" in wrong else scale[:, None])
    return folded, (offset - outside - center) * scale + outside + shift


def _fold_args(rng, size, kind="float", scale=1.0, inputs=None):
    """A square weight, where a scale along the wrong axis goes through, unless `inputs` is given."""
    inputs = inputs or size
    weight = rng.normal(size=(size, inputs)) + _signed(rng, 0.3, 1, inputs)
    bias, mean = _signed(rng, 0.5, 2, size) * scale, _signed(rng, 0.7, 3, size) * scale
    gamma, beta = _signed(rng, 0.4, 2, size), _signed(rng, 0.5, 2, size)
    var, eps = rng.uniform(0.3, 3, size) * scale**2, float(rng.uniform(0.1, 0.5)) * scale**2
    arrays = [weight, bias, gamma, beta, mean, var]
    if kind == "int":
        arrays = [np.rint(a + 3 * np.sign(a)).astype(int) for a in arrays]
    elif kind == "float32":
        arrays = [a.astype(np.float32) for a in (weight, bias + 1e3, gamma, beta, mean + 1e3, var)]
    elif kind == "strided":
        arrays = [np.asfortranarray(weight), *(np.repeat(a, 2)[::2] for a in arrays[1:])]
    elif kind == "dead":
        var[rng.integers(size)] = 0
    return *arrays, eps


def _fold_batchnorm_loop(weight, bias, gamma, beta, mean, var, eps):
    rows, shifts = [], []
    for i, row in enumerate(weight):
        scale = float(gamma[i]) / (float(var[i]) + eps) ** 0.5
        rows.append([scale * float(value) for value in row])
        shifts.append(scale * float(bias[i]) + float(beta[i]) - scale * float(mean[i]))
    return rows, shifts


def _fold_batchnorm_diagonal(weight, bias, gamma, beta, mean, var, eps):
    scale = np.diag(gamma) @ np.linalg.inv(np.sqrt(np.diag(var + eps)))
    return np.einsum("ij,jk->ik", scale, weight), scale @ (bias - mean) + beta


def _fold_batchnorm_probe(weight, bias, gamma, beta, mean, var, eps):
    """Read the layer off its outputs: an affine map is known from the origin and the unit vectors."""

    def both(x):
        return (x @ weight.T + bias - mean) / np.sqrt(var + eps) * gamma + beta

    shift = both(np.zeros(weight.shape[1]))
    return (both(np.eye(weight.shape[1])) - shift).T, shift[None]


def _fold_batchnorm_in_place(weight, bias, gamma, beta, mean, var, eps):
    scale = np.power(var + eps, -0.5) * gamma
    folded, shift = weight.astype(float).T, bias.astype(float)
    folded *= scale
    shift *= scale
    shift += beta - mean * scale
    return folded.T, shift


FOLD_BATCHNORM = Exercise(
    solution=fold_batchnorm,
    oracle=_fold_batchnorm,
    mistakes={
        "bias_dropped": "The linear layer's own bias was dropped; batch normalization cancels it in training only, in evaluation it counts: (bias - mean) * scale + beta.",
        "wrong_axis": "The columns of the weight were scaled; a scale belongs to an output, which is a row of weight (out, in).",
        "no_square_root": "The scale divides by var + eps; its square root, a standard deviation, is due.",
        "no_eps": "eps was left out: the layer divides by sqrt(var + eps), so the folded one must too.",
        "beta_scaled": "beta was multiplied as well; it is added last, after the scale.",
        "eps_outside_root": "eps was added to the standard deviation; it belongs inside the root, sqrt(var + eps).",
        "bias_unscaled": "The linear layer's bias was not scaled; it goes through the normalization with the rest.",
        "mean_dropped": "The running mean was not subtracted from the bias.",
    },
    forms=("beta_scaled:2",),
    regimes={
        "two inputs and two outputs": Regime(lambda rng: _fold_args(rng, 2)),
        "five inputs and five outputs": Regime(lambda rng: _fold_args(rng, 5)),
        "four inputs and two outputs": Regime(lambda rng: _fold_args(rng, 2, inputs=4)),
        "two inputs and three outputs": Regime(lambda rng: _fold_args(rng, 3, inputs=2)),
        "a tiny eps beside tiny variances": Regime(lambda rng: _fold_args(rng, 3, scale=1e-2)),
        "an output whose variance is 0": Regime(lambda rng: _fold_args(rng, 4, "dead")),
        "whole numbers (integer arrays)": Regime(lambda rng: _fold_args(rng, 3, "int")),
        "float32 numbers, some around 1000": Regime(
            lambda rng: _fold_args(rng, 4, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(lambda rng: _fold_args(rng, 3, "strided")),
    },
    outputs=("weight", "bias"),
    hints=(
        "In evaluation the normalization is a fixed straight line for each output: a slope times the input plus a shift. What are slope and shift?",
        "The slope is scale = gamma / sqrt(var + eps). Put z = x @ weight.T + bias into (z - mean) * scale + beta and sort the terms.",
        "Multiply row i of the weight by scale[i], for which scale needs a second axis (`scale[:, None]`); the bias becomes (bias - mean) * scale + beta.",
    ),
    alternatives=(
        _fold_batchnorm_loop,
        _fold_batchnorm_diagonal,
        _fold_batchnorm_probe,
        _fold_batchnorm_in_place,
    ),
)


def groupnorm(x, groups, gamma, beta, eps):
    """Group normalization: normalize each group of channels of each image by itself.

    Args:
        x: (N, C, H, W) images.
        groups: number of groups, a divisor of C; the first C / groups channels
            are the first group, and so on.
        gamma, beta: (C,) scale and shift of each channel.
        eps: added to the variance (divide by the count), inside the square root.
    Returns:
        y (N, C, H, W).
    """
    n, c = x.shape[:2]
    grouped = x.reshape(n, groups, -1)
    mean, var = grouped.mean(axis=2, keepdims=True), grouped.var(axis=2, keepdims=True)
    xhat = ((grouped - mean) / np.sqrt(var + eps)).reshape(x.shape)
    return gamma.reshape(c, 1, 1) * xhat + beta.reshape(c, 1, 1)


def _groupnorm(wrong, x, groups, gamma, beta, eps):
    x, gamma, beta = np.asarray(x, float), np.asarray(gamma, float), np.asarray(beta, float)
    n, c, h, w = x.shape
    size = c // groups
    order = np.arange(c)  # channels, group by group
    if "strided_groups" in wrong:
        order = order.reshape(size, groups).T.ravel()
    split = (n, groups, size, h, w)
    if "instance_norm" in wrong:
        split = (n, c, 1, h, w)
    elif "layer_norm" in wrong:
        split = (n, 1, c, h, w)
    axes = (0, 2, 3, 4) if "mixes_examples" in wrong else (2, 3, 4)
    axes = tuple(axis for axis in axes if axis < 3) if "per_pixel" in wrong else axes
    grouped = x[:, order].reshape(split)
    mean = grouped.mean(axes, keepdims=True)
    var = grouped.var(axes, ddof=1 if "unbiased_variance" in wrong else 0, keepdims=True)
    xhat = np.empty_like(x)
    xhat[:, order] = ((grouped - mean) / _root(wrong, var, eps)).reshape(x.shape)
    group = np.arange(c) // size
    if "affine_per_group" in wrong:
        gamma, beta = gamma[group], beta[group]
    elif "affine_per_group:2" in wrong:
        gamma, beta = gamma[group * size], beta[group * size]
    return gamma[:, None, None] * xhat + beta[:, None, None]


def _group_args(rng, shape, groups, kind="float"):
    """Images whose channels and examples differ in mean and spread."""
    n, c = shape[:2]
    center = _signed(rng, 1, 3, (n, c))[..., None, None]
    x = center + rng.uniform(0.5, 2, (n, c, 1, 1)) * rng.normal(size=shape)
    gamma, beta = _signed(rng, 0.4, 2, c), _signed(rng, 0.5, 2, c)
    if kind == "int":
        x = np.rint(3 * x).astype(int)
    elif kind == "float32":
        x, gamma, beta = ((a + b).astype(np.float32) for a, b in ((x, 4e3), (gamma, 0), (beta, 0)))
    elif kind == "strided":
        x = np.asfortranarray(x)
    elif kind == "constant":
        x[0, : c // groups] = center[0, 0]
    elif kind == "tiny":
        return 1e-2 * x, groups, gamma, beta, 1e-4 * float(rng.uniform(0.1, 0.5))
    return x, groups, gamma, beta, float(rng.uniform(0.1, 0.5))


def _groupnorm_loop(x, groups, gamma, beta, eps):
    size, y = x.shape[1] // groups, np.zeros(x.shape)
    for n in range(len(x)):
        for g in range(groups):
            channels = range(g * size, (g + 1) * size)
            values = [float(v) for c in channels for v in x[n, c].ravel()]
            mean = sum(values) / len(values)
            std = (sum((v - mean) ** 2 for v in values) / len(values) + eps) ** 0.5
            for c in channels:
                y[n, c] = float(gamma[c]) * (x[n, c] - mean) / std + float(beta[c])
    return y.tolist()


def _groupnorm_einsum(x, groups, gamma, beta, eps):
    n, c, h, w = x.shape
    grouped = x.reshape(n, groups, c // groups, h, w).astype(float)
    count = grouped[0, 0].size
    centred = grouped - np.einsum("ngshw->ng", grouped)[..., None, None, None] / count
    inverse = (np.einsum("ngshw,ngshw->ng", centred, centred) / count + eps) ** -0.5
    slope = inverse[..., None] * gamma.reshape(groups, -1)
    y = np.einsum("ngshw,ngs->ngshw", centred, slope).reshape(x.shape)
    return y + beta[None, :, None, None]


def _groupnorm_split(x, groups, gamma, beta, eps):
    images = np.array(x.transpose(2, 3, 1, 0), float)  # channels last but one, one image a column
    for part in np.split(images, groups, axis=2):  # views: in place on the copy
        part -= part.mean(axis=(0, 1, 2))
        part /= np.sqrt(np.square(part).mean((0, 1, 2)) + eps)
    return (images.transpose(3, 0, 1, 2) * gamma + beta).transpose(0, 3, 1, 2)


def _groupnorm_folded(x, groups, gamma, beta, eps):
    size = x.shape[1] // groups
    rows = x.reshape(len(x) * groups, -1)
    scale = 1 / np.sqrt(np.var(rows, axis=1, dtype=float) + eps)
    shift = -np.mean(rows, axis=1, dtype=float) * scale
    scale, shift = (np.repeat(v.reshape(len(x), groups), size, axis=1) for v in (scale, shift))
    scale, shift = scale * gamma, shift * gamma + beta
    return x * scale[..., None, None] + shift[..., None, None]


GROUPNORM = Exercise(
    solution=groupnorm,
    oracle=_groupnorm,
    mistakes={
        "mixes_examples": "The statistics were taken over all images together; every image is normalized by itself.",
        "strided_groups": "Neighbouring channels were dealt out to different groups; a group is a run of C / groups neighbouring channels.",
        "affine_per_group": "The channels of a group share one gamma and one beta; only the statistics belong to the group, every channel has its own gamma and beta.",
        "instance_norm": "Every channel was normalized by itself, which is instance normalization; the channels of a group share their statistics.",
        "layer_norm": "All channels of an image were normalized together, as if there were one group; there are `groups` of them.",
        "per_pixel": "Every pixel was normalized by itself; the statistics are taken over height and width too.",
        "unbiased_variance": "The variance was divided by the count minus 1; here it is divided by the count (`ddof=0`).",
        "no_square_root": "The centred values were divided by the variance plus eps; its square root is due.",
        "eps_outside_root": "eps was added to the standard deviation; it belongs inside the root, sqrt(var + eps).",
    },
    forms=("affine_per_group:2",),
    regimes={
        "two images of four channels": Regime(lambda rng: _group_args(rng, (2, 4, 1, 3), 2)),
        "three groups of two channels": Regime(lambda rng: _group_args(rng, (3, 6, 2, 3), 3)),
        "two groups of three channels": Regime(lambda rng: _group_args(rng, (2, 6, 3, 2), 2)),
        "as many images, rows and columns as channels": Regime(
            lambda rng: _group_args(rng, (4, 4, 4, 4), 2)
        ),
        "a tiny eps beside tiny variances": Regime(
            lambda rng: _group_args(rng, (3, 4, 2, 2), 2, "tiny")
        ),
        "a group that is constant in one image": Regime(
            lambda rng: _group_args(rng, (3, 4, 2, 3), 2, "constant")
        ),
        "whole numbers (an integer array)": Regime(
            lambda rng: _group_args(rng, (2, 4, 2, 3), 2, "int")
        ),
        "float32 numbers around 4000": Regime(
            lambda rng: _group_args(rng, (2, 4, 3, 2), 2, "float32"), rtol=1e-2
        ),
        "an array that is not contiguous": Regime(
            lambda rng: _group_args(rng, (3, 8, 2, 3), 4, "strided")
        ),
    },
    outputs=("y",),
    hints=(
        "Each image has `groups` means. Which numbers of x go into one of them?",
        "`x.reshape(n, groups, -1)` puts the numbers of a group in one row, as neighbouring channels lie next to each other.",
        "Normalize each row of that array by its mean and variance, reshape back to x.shape, and then use gamma and beta as (C, 1, 1).",
    ),
    alternatives=(_groupnorm_loop, _groupnorm_einsum, _groupnorm_split, _groupnorm_folded),
)


def rmsnorm(x, gamma, eps):
    """RMS norm: divide each example by the root of its mean square.

    Args:
        x: (N, D), one example a row.
        gamma: (D,) scale of each feature.
        eps: added to the mean square, inside the root.
    Returns:
        y (N, D): x divided by sqrt(mean square of its row + eps), times gamma.
        Nothing is subtracted or added.
    """
    mean_square = np.mean(np.square(x), axis=1, keepdims=True)
    return x / np.sqrt(mean_square + eps) * gamma


def _rmsnorm(wrong, x, gamma, eps):
    x = np.asarray(x, float)
    axis = None if "whole_array" in wrong else 0 if "wrong_axis" in wrong else 1
    centred = x - x.mean(axis, keepdims=True)
    x, square = (centred, centred**2) if "subtracts_mean" in wrong else (x, x**2)
    square = centred**2 if "divides_by_std" in wrong else square
    total = (np.sum if "sum_for_mean" in wrong else np.mean)(square, axis, keepdims=True)
    gamma = 1 if "no_gamma" in wrong else np.asarray(gamma, float)
    return x / _root(wrong, total, eps) * gamma


def _rms_args(rng, n, d, kind="float"):
    """Rows with an offset of their own, so that a subtracted mean shows."""
    x = _signed(rng, 0.7, 2, n)[:, None] + rng.uniform(0.5, 1.5, (n, 1)) * rng.normal(size=(n, d))
    gamma, eps = _signed(rng, 0.4, 2, d), float(rng.uniform(0.2, 0.5))
    if kind == "int":
        x = np.rint(x + np.sign(x)).astype(int)
        gamma = rng.permutation(np.resize([2, -3, 4, -2], d))
    elif kind == "float32":
        x, gamma = x.astype(np.float32), gamma.astype(np.float32)
    elif kind == "strided":
        x = np.repeat(np.asfortranarray(x), 2, 1)[:, ::2]
    elif kind == "zero":
        x[rng.integers(n)] = 0
    elif kind == "tiny":
        x, eps = 1e-2 * x, 1e-4 * eps
    return x, gamma, eps


def _rmsnorm_loop(x, gamma, eps):
    y = []
    for row in x.tolist():
        root = (sum(value * value for value in row) / len(row) + eps) ** 0.5
        y.append([float(g) * value / root for g, value in zip(gamma, row, strict=True)])
    return y


def _rmsnorm_norm(x, gamma, eps):
    d = x.shape[1]
    extended = np.column_stack([x, np.full(len(x), np.sqrt(d * eps))])
    return np.sqrt(d) * x * gamma / np.linalg.norm(extended, axis=1)[:, np.newaxis]


def _rmsnorm_einsum(x, gamma, eps):
    inverse = (np.einsum("nd,nd->n", x, x) / x.shape[-1] + eps) ** -0.5
    return np.einsum("n,nd,d->nd", inverse, x, gamma)


def _rmsnorm_moments(x, gamma, eps):
    y = x.T.astype(float)  # a copy
    y /= np.sqrt(y.var(axis=0) + y.mean(axis=0) ** 2 + eps)
    return y.T @ np.diag(gamma)


RMSNORM = Exercise(
    solution=rmsnorm,
    oracle=_rmsnorm,
    mistakes={
        "subtracts_mean": "The mean of each row was subtracted, which makes it layer normalization without beta; RMS normalization leaves the mean where it is.",
        "wrong_axis": "Each column was divided by its own root mean square; the mean square belongs to an example, a row (axis 1).",
        "no_square_root": "The rows were divided by the mean square; its root is due.",
        "no_gamma": "gamma was left out: each feature is multiplied by its own scale at the end.",
        "eps_outside_root": "eps was added to the root; it belongs inside, sqrt(mean square + eps).",
        "no_eps": "eps was left out: it is added to the mean square, so that a row of zeros stays finite.",
        "divides_by_std": "The rows were divided by their standard deviation; the mean square is taken of x itself, not of x minus its mean.",
        "sum_for_mean": "The squares were added up; their mean is due, so divide by D.",
        "whole_array": "One mean square was taken over the whole array; each row has its own.",
    },
    regimes={
        "two examples": Regime(lambda rng: _rms_args(rng, 2, 3)),
        "more examples than features": Regime(lambda rng: _rms_args(rng, 6, 4)),
        "more features than examples": Regime(lambda rng: _rms_args(rng, 3, 7)),
        "as many examples as features": Regime(lambda rng: _rms_args(rng, 4, 4)),
        "a tiny eps beside tiny numbers": Regime(lambda rng: _rms_args(rng, 5, 3, "tiny")),
        "a row of zeros": Regime(lambda rng: _rms_args(rng, 4, 3, "zero")),
        "whole numbers (integer arrays)": Regime(lambda rng: _rms_args(rng, 3, 4, "int")),
        "float32 numbers": Regime(lambda rng: _rms_args(rng, 3, 5, "float32"), rtol=1e-3),
        "an array that is not contiguous": Regime(lambda rng: _rms_args(rng, 5, 4, "strided")),
    },
    outputs=("y",),
    hints=(
        "The name is the recipe, read from the back: square, mean, root. Along which axis is the mean?",
        "`np.mean(x**2, axis=1, keepdims=True)` is one mean square for each example.",
        "Divide x by the root of the mean square plus eps, then multiply by gamma, which meets the last axis by itself.",
    ),
    alternatives=(_rmsnorm_loop, _rmsnorm_norm, _rmsnorm_einsum, _rmsnorm_moments),
)


def merge_statistics(counts, means, variances):
    """Mean and variance of all machines' data, from those of each machine.

    Args:
        counts: (K,) numbers of examples on the K machines.
        means: (K, D) mean of each feature on each machine.
        variances: (K, D) variance of each feature on each machine (divided by
            the machine's count).
    Returns:
        (mean, var), (D,) each, of all examples together (divide by the number of
        all examples).
    """
    share = (counts / counts.sum())[:, None]
    mean = (share * means).sum(axis=0)
    var = (share * (variances + (means - mean) ** 2)).sum(axis=0)
    return mean, var


def _merge_statistics(wrong, counts, means, variances):
    counts, means, variances = (np.asarray(a, float) for a in (counts, means, variances))
    total = counts.sum()
    share = np.full(len(counts), 1 / len(counts)) if "unweighted" in wrong else counts / total
    mean = share @ means
    within = variances.mean(0) if "average_of_variances" in wrong else share @ variances
    spread = share @ (means - mean) ** 2
    var = within if {"average_of_variances", "forgets_mean_spread"} & wrong else within + spread
    var = spread if "spread_only" in wrong else var
    return mean, var * total / (total - 1) if "unbiased_variance" in wrong else var


def _merge_args(rng, counts, d, kind="float"):
    """Machines of different size whose data differ in mean and variance."""
    counts = rng.permutation(counts)
    means = _signed(rng, 1, 3, d) + 1.5 * rng.normal(size=(len(counts), d))
    variances = rng.uniform(0.3, 3, means.shape)
    variances[counts == 1] = 0
    if kind == "int":
        means, variances = np.rint(3 * means).astype(int), np.rint(4 * variances).astype(int)
        means += np.arange(len(counts))[:, None] ** 2  # the machines do not agree by accident
    elif kind == "float32":
        means, variances = (means + 100).astype(np.float32), variances.astype(np.float32)
    elif kind == "strided":
        means, variances = np.asfortranarray(means), np.repeat(variances, 2, 0)[::2]
    elif kind == "constant":
        means[:, 0], variances[:, 0] = means[0, 0], 0
    elif kind == "tiny":
        means, variances = 1e-3 * means, 1e-6 * variances
    return counts, means, variances


def _merge_statistics_loop(counts, means, variances):
    mean, var = [], []
    for j in range(len(means[0])):
        first = sum(int(n) * float(m[j]) for n, m in zip(counts, means, strict=True)) / sum(counts)
        parts = zip(counts, means, variances, strict=True)
        square = sum(int(n) * (float(v[j]) + (float(m[j]) - first) ** 2) for n, m, v in parts)
        mean.append(first)
        var.append(square / sum(counts))
    return mean, var


def _merge_statistics_pairwise(counts, means, variances):
    """One machine after the other, by the update of Chan, Golub and LeVeque."""
    count, mean, square = 0, np.zeros(means.shape[1]), np.zeros(means.shape[1])
    for n, m, v in zip(counts, means, variances, strict=True):
        delta, new = m - mean, count + n
        square += n * v + delta**2 * (count * n / new)
        mean += delta * (n / new)
        count = new
    return mean, square / count


def _merge_statistics_moments(counts, means, variances):
    first = np.einsum("k,kd->d", counts, means) / counts.sum()
    second = np.einsum("k,kd->d", counts, variances + np.square(means)) / counts.sum()
    return [first, second - first**2]


def _merge_statistics_average(counts, means, variances):
    mean = np.average(means, axis=0, weights=counts)
    deviations = np.average(variances, axis=0, weights=counts)
    return np.stack([mean, deviations + np.average((means - mean) ** 2, axis=0, weights=counts)])


MERGE_STATISTICS = Exercise(
    solution=merge_statistics,
    oracle=_merge_statistics,
    mistakes={
        "average_of_variances": "The variances were simply averaged: the machines count by their numbers of examples, and the spread of their means belongs to the variance too.",
        "unweighted": "All machines got the same weight; one with more examples counts more, in proportion to counts.",
        "forgets_mean_spread": "Only the variances within the machines were averaged; the squared distance of each machine's mean from the common mean has to be added.",
        "spread_only": "That is the variance of the machines' means; the variance within each machine has to be added.",
        "unbiased_variance": "The sum of squares was divided by the number of all examples minus 1; here it is divided by their number.",
    },
    regimes={
        "two machines": Regime(lambda rng: _merge_args(rng, [2, 5], 2)),
        "three machines": Regime(lambda rng: _merge_args(rng, [3, 4, 8], 4)),
        "as many machines as features": Regime(lambda rng: _merge_args(rng, [7, 2, 3, 9], 4)),
        "a machine with a single example": Regime(lambda rng: _merge_args(rng, [6, 1, 3], 2)),
        "a feature that is constant everywhere": Regime(
            lambda rng: _merge_args(rng, [4, 2, 9, 3, 5], 3, "constant")
        ),
        "tiny numbers": Regime(lambda rng: _merge_args(rng, [4, 2, 9], 2, "tiny")),
        "whole numbers (integer arrays)": Regime(lambda rng: _merge_args(rng, [2, 3, 6], 3, "int")),
        "float32 numbers around 100": Regime(
            lambda rng: _merge_args(rng, [12, 3, 5], 3, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _merge_args(rng, [2, 7, 4], 5, "strided")
        ),
    },
    outputs=("mean", "var"),
    hints=(
        "Two machines, each with variance 0 but with different means: what is the variance of all their data?",
        "The mean of all is the average of the means, weighted by counts. The variance is the weighted average of two things: the spread within a machine and the spread of its mean around the common mean.",
        "With share = counts / counts.sum(), add up share * (variance + (mean of the machine - common mean)**2) over the machines.",
    ),
    alternatives=(
        _merge_statistics_loop,
        _merge_statistics_pairwise,
        _merge_statistics_moments,
        _merge_statistics_average,
    ),
)


def freeze_batchnorm(model):
    """Freeze the batch norm layers of a PyTorch model for good, and nothing else.

    A frozen layer normalizes by the running statistics that it has, in training
    too; neither these
    nor its gamma and beta change any more, whatever comes: forward passes,
    `model.train()` and
    `model.eval()`, optimizer steps. The rest of the model goes on learning, and
    dropout dropping.

    Args:
        model: a `torch.nn.Module` in training mode, with any number of
            BatchNorm1d, BatchNorm2d and BatchNorm3d layers, at any depth.
    Returns:
        The model with its batch-normalization layers frozen (the same object or
        another).
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # deaf to model.train()
            for parameter in module.parameters():
                parameter.requires_grad_(False)
    return model


_RATE, _DECAY = 0.1, 0.2  # of the optimizer; the decay moves what only has its gradient set to zero


def _step(parameters):
    """One step of SGD with weight decay; `torch.optim` takes more than a second to load."""
    import torch

    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter -= _RATE * (parameter.grad + _DECAY * parameter)
                parameter.grad = None


def _torch_model(widths, depth, values, spatial, eps, momentum):
    """A model in training mode: layers nested in a block, at the top level, and in a head of its own class."""
    import torch
    from torch import nn

    widths, options = widths.tolist(), {"dtype": torch.float64}
    kinds = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

    def mix(fan_in, fan_out):
        if not spatial:
            return nn.Linear(fan_in, fan_out, bias=False, **options)
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]
        return convolution(fan_in, fan_out, 1, bias=False, **options)

    def norm(width, kind=kinds[spatial]):
        return kind(width, eps=eps, momentum=momentum, **options)

    block = nn.Sequential(mix(*widths[:2]), norm(widths[1]), nn.ReLU())
    for _ in range(depth - 1):
        block = nn.Sequential(block)
    head = _torch_head(widths[2:], norm(widths[3], nn.BatchNorm1d), options)
    model = nn.Sequential(block, mix(*widths[1:3]), norm(widths[2]), nn.Tanh(), head)
    tensors = [tensor for tensor in model.state_dict().values() if tensor.ndim]
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(torch.from_numpy(value).reshape(tensor.shape))
    return model


def _torch_head(widths, batchnorm, options):
    """The end of the model. Its dropout rate is 1, which leaves nothing to chance: in evaluation h counts twice."""
    from torch import nn

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(widths[0], **options)
            self.dropout = nn.Dropout(1.0)
            self.linear = nn.Linear(*widths, bias=False, **options)
            self.bn = batchnorm

        def forward(self, h):
            h = self.norm(h.flatten(2).mean(2) if h.ndim > 2 else h)
            return self.bn(self.linear(h + self.dropout(h)))

    return Head()


def _import_torch():
    """Before the time limit starts: the first import takes seconds."""
    import torch  # noqa: F401


def _run_freeze_batchnorm(answer, widths, depth, values, x, dy, eps, momentum):
    """Freeze a model and use it: its outputs tell what is frozen, however that was done."""
    import torch

    x, dy = torch.tensor(x), torch.tensor(dy)
    frozen = answer(_torch_model(widths, depth, values, x.ndim - 3, eps, momentum))
    if not isinstance(frozen, torch.nn.Module):
        return frozen
    frozen(x[0])
    frozen.eval()
    before = frozen(x[1])
    frozen.train()
    training = frozen(x[2])
    if training.requires_grad:
        training.backward(dy)
    _step(frozen.parameters())
    frozen.eval()
    return [output.detach().numpy() for output in (before, training, frozen(x[1]))]


def _freeze_batchnorm(wrong, widths, depth, values, x, dy, eps, momentum):
    """The same outputs from formulas on plain tensors."""
    import torch

    if "nothing_frozen" in wrong:
        wrong = wrong | {"gradients_only", "statistics_only"}
    everyone, nested = {0, 1, 2}, {0, 2} if "top_level_only" in wrong else set()
    everything = {"freezes_everything", "freezes_everything:2", "freezes_everything:4"} & wrong
    pinned = {"freezes_everything", "freezes_everything:3"} & wrong
    resets = {"gradients_only", "train_resets", "freezes_everything:4"} & wrong
    first = everyone if "gradients_only" in wrong else nested
    moving = everyone if resets else nested
    batch = everyone if "batch_statistics" in wrong else moving

    tensors = [torch.tensor(value) for value in values]
    layers, others = (
        [tensors[k : k + 4] for k in (1, 6, 13)],
        [tensors[k] for k in (0, 5, 10, 11, 12)],
    )
    learning = [] if everything else [*others]
    for k in everyone if "statistics_only" in wrong else nested:
        learning += layers[k][:2]
    for tensor in learning:
        tensor.requires_grad_(True)

    def output(x, *how):
        return _plain_output(x, others, layers, eps, momentum, *how)

    x = torch.tensor(x)
    output(x[0], first, first, True)
    before = output(x[1])
    training = output(x[2], moving, batch, not pinned)
    if learning:
        training.backward(torch.tensor(dy))
    _step(learning)
    return [tensor.detach().numpy() for tensor in (before, training, output(x[1]))]


def _plain_output(x, others, layers, eps, momentum, moving=(), batch=(), drops=False):
    """One forward pass; layers `moving` update their statistics, layers in `batch` normalize by the batch."""
    import torch

    first, second, scale, shift, last = others

    def norm(k, h):
        gamma, beta, mean, var = layers[k]
        if k in moving:
            new = h.detach().mean(0), h.detach().var(0)
            layers[k][2:] = [
                (1 - momentum) * a + momentum * b for a, b in zip((mean, var), new, strict=True)
            ]
        if k in batch:
            mean, var = h.mean(0), h.var(0, correction=0)
        return gamma * (h - mean) / torch.sqrt(var + eps) + beta

    h = x.movedim(1, -1).flatten(
        0, -2
    )  # 1x1 convolutions and their norms see each pixel as an example
    h = torch.relu(norm(0, h @ first.T))
    h = torch.tanh(norm(1, h @ second.T)).reshape(len(x), -1, len(scale)).mean(1)
    h = torch.nn.functional.layer_norm(h, scale.shape, scale, shift)
    return norm(2, (h if drops else 2 * h) @ last.T)


def _freeze_args(rng, n, widths, spatial=(), depth=1):
    """The numbers of a model, three batches of different mean and scale, and a gradient."""

    def layer(width):
        gamma, beta = _signed(rng, 0.6, 2, width), _signed(rng, 0.3, 1, width)
        return gamma, beta, rng.normal(size=width), rng.uniform(0.5, 2, width)

    def matrix(fan_in, fan_out):
        return rng.normal(size=(fan_out, fan_in)) / np.sqrt(fan_in)

    values = [matrix(*widths[:2]), *layer(widths[1]), matrix(*widths[1:3]), *layer(widths[2])]
    values += [*layer(widths[2])[:2], matrix(*widths[2:]), *layer(widths[3])]
    x, ones = rng.normal(size=(3, n, widths[0], *spatial)), [1] * (len(spatial) + 2)
    x = x * rng.uniform(0.5, 2, (3, *ones)) + _signed(rng, 0.5, 2, (3, *ones))
    dy, eps, momentum = (
        rng.normal(size=(n, widths[3])),
        rng.uniform(0.1, 0.5),
        rng.uniform(0.1, 0.35),
    )
    return np.array(widths), depth, values, x, dy + 0.5, float(eps), float(momentum)


def _is_batchnorm(module):
    return "BatchNorm" in type(module).__name__


def _freeze_by_overriding_train(model):
    """Patch `train` of the model alone (`eval` calls it too), so that it ends with the layers in evaluation."""
    from torch import nn

    layers = [module for module in model.modules() if _is_batchnorm(module)]

    def train(mode=True):
        nn.Module.train(model, mode)
        for layer in layers:
            layer.eval()
        return model

    for layer in layers:
        layer.weight.requires_grad = layer.bias.requires_grad = False
    model.train = train
    return model.train()


def _freeze_by_hook(model):
    """Send each layer to evaluation right before it is used."""
    for module in model.modules():
        if _is_batchnorm(module):
            module.register_forward_pre_hook(lambda layer, inputs: layer.eval() and None)
            for parameter in module.parameters():
                parameter.requires_grad = False
    return model


def _freeze_by_replacing(model):
    """A copy of the model, in which fixed numbers stand in the place of each layer."""
    import copy

    from torch import nn

    class Frozen(nn.Module):
        def __init__(self, layer):
            super().__init__()
            scale = layer.weight.detach() / (layer.running_var + layer.eps).sqrt()
            self.register_buffer("scale", scale.clone())
            self.register_buffer("shift", layer.bias.detach() - layer.running_mean * scale)

        def forward(self, x):
            shape = (1, -1) + (1,) * (x.ndim - 2)
            return x * self.scale.reshape(shape) + self.shift.reshape(shape)

    def replace(parent):
        for name, child in parent.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(parent, name, Frozen(child))
            replace(child)
        return parent

    return replace(copy.deepcopy(model))


def _freeze_by_wrapping(model):
    """A module around the model, with a `train` of its own."""
    from torch import nn

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.train()

        def train(self, mode=True):
            super().train(mode)
            for module in self.modules():
                if _is_batchnorm(module):
                    module.eval().requires_grad_(False)
            return self

        def forward(self, x):
            return self.inner(x)

    return Wrapper()


FREEZE_BATCHNORM = Exercise(
    solution=freeze_batchnorm,
    oracle=_freeze_batchnorm,
    mistakes={
        "gradients_only": "The running statistics still follow every batch: `requires_grad = False` keeps the optimizer away from gamma and beta, but only evaluation mode keeps the statistics.",
        "train_resets": "The layers were put in evaluation mode, but the next `model.train()` puts them back; they have to stay there.",
        "freezes_everything": "More is frozen than batch normalization: after `model.train()` all other weights have to learn, and dropout has to drop.",
        "statistics_only": "The optimizer still changes gamma and beta: evaluation mode keeps the statistics only, `requires_grad` has to be False too.",
        "batch_statistics": "In training the layers still normalize by the batch; with momentum 0 the running statistics stay as they are, but are not used.",
        "nothing_frozen": "No layer is frozen: the statistics follow every batch, and the optimizer changes gamma and beta.",
        "top_level_only": "Only the layers at the top level of the model are frozen; `model.modules()` finds those inside of other modules too.",
    },
    forms=("freezes_everything:2", "freezes_everything:3", "freezes_everything:4"),
    regimes={
        "a model with BatchNorm1d": Regime(lambda rng: _freeze_args(rng, 5, [2, 3, 4, 2])),
        "a model with BatchNorm1d for sequences": Regime(
            lambda rng: _freeze_args(rng, 4, [2, 3, 3, 2], (3,), depth=2)
        ),
        "a model with BatchNorm2d": Regime(
            lambda rng: _freeze_args(rng, 4, [2, 4, 3, 2], (2, 3), depth=3)
        ),
        "a model with BatchNorm3d": Regime(
            lambda rng: _freeze_args(rng, 4, [2, 3, 4, 3], (2, 1, 2))
        ),
    },
    outputs=(
        "the output in evaluation after a forward pass",
        "the output in training after model.train()",
        "the output in evaluation after an optimizer step",
    ),
    run=_run_freeze_batchnorm,
    arguments=("widths", "depth", "values", "x", "dy", "eps", "momentum"),
    prepare=_import_torch,
    hints=(
        "Two things move: gamma and beta, by the optimizer, and the running statistics, by forward passes. Which switch stops which?",
        "`parameter.requires_grad_(False)` stops the optimizer, and `module.eval()` the statistics, until `model.train()` visits every layer: how could a layer not listen?",
        "For every BatchNorm1d, 2d and 3d in `model.modules()`: call eval(), give it a `train` method that changes nothing and returns the layer, and switch off the gradients of its parameters.",
    ),
    alternatives=(
        _freeze_by_overriding_train,
        _freeze_by_hook,
        _freeze_by_replacing,
        _freeze_by_wrapping,
    ),
)

check = Checks(FOLD_BATCHNORM, GROUPNORM, RMSNORM, MERGE_STATISTICS, FREEZE_BATCHNORM)
