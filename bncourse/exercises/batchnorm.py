"""Exercises of the chapter `batchnorm`."""

import math
import statistics

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.engine import Exercise, Regime, fits


def batchnorm_forward(x, gamma, beta, eps):
    """Batch norm in training mode: normalize each column, then scale and shift.

    Args:
        x: (N, D) with N >= 2; a column's mean may be 1e8 times its standard
            deviation.
        gamma: (D,) scale of each column.
        beta: (D,) shift of each column.
        eps: float, added to the variance, inside the square root.
    Returns:
        y: (N, D), whose column j has mean beta[j]. The batch variance divides by
            N. The arguments are left as they are.
    """
    mean = x.mean(axis=0)
    var = ((x - mean) ** 2).mean(axis=0)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def _batchnorm_forward(wrong, x, gamma, beta, eps):
    axis = 1 if "wrong_axis" in wrong else None if "whole_array_statistics" in wrong else 0
    single = x.dtype == np.float32
    raw, x = x if single else x.astype(float), x.astype(float)
    mean, var = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    count = x.size / mean.size
    if "one_pass_variance" in wrong:
        var = (raw * raw).mean(axis, keepdims=True) - raw.mean(axis, keepdims=True) ** 2
    if "unbiased_variance" in wrong:
        var = var * count / (count - 1)
    y = _affine(wrong, (x - mean) / _divisor(wrong, var, eps), gamma, beta)
    if "one_pass_variance" in wrong and single and axis == 0:
        # Rounding differs with the type that the sums are taken in: an answer may even come out right.
        return np.ma.array(y, mask=np.broadcast_to(_cancels(raw, eps), y.shape))
    return y


def _divisor(wrong, var, eps):
    """What the centred values are divided by: the square root of var + eps."""
    eps = 0 if {"no_eps", "no_eps:2"} & wrong else eps
    if "no_eps:2" in wrong:  # with a guard against dividing by 0
        var = np.where(var == 0, 1, var)
    power = 1 if "no_square_root" in wrong else 0.5
    return var**power + eps if "eps_outside_root" in wrong else (var + eps) ** power


def _affine(wrong, xhat, gamma, beta):
    gamma = 1 if {"no_gamma", "no_affine"} & wrong else gamma
    beta = 0 if {"no_beta", "no_affine"} & wrong else beta
    return gamma * (xhat + beta) if "shift_before_scale" in wrong else gamma * xhat + beta


def _cancels(x, eps):
    """Columns whose variance drowns in the rounding of E[x^2] - E[x]^2."""
    rounding = np.finfo(x.dtype if x.dtype.kind == "f" else float).eps
    x = x.astype(float)
    return rounding * x.mean(0) ** 2 > 1e-4 * (x.var(0) + eps)


def _forward_view(y, x, gamma, beta, eps):
    """y, with columns of which only "right or not" can be told where E[x^2] - E[x]^2 is garbage."""
    if x.dtype == np.float32:
        return y  # the oracle masks them
    lost, right = _cancels(x, eps), _batchnorm_forward(frozenset(), x, gamma, beta, eps)
    y = y.astype(float)
    y[:, lost] = fits(y[:, lost], right[:, lost], 1e-5)
    return y


def _signed(rng, low, high, d):
    """Numbers of both signs, none of them near 0 (nor near 1 where low is larger)."""
    return rng.uniform(low, high, d) * rng.permutation((-1.0) ** np.arange(d))


def _eps(rng, low=0.1, high=0.5):
    return float(rng.uniform(low, high))


def _forward_args(rng, n, d, kind="float", offset=5.0):
    """Ordinary columns, a wide one (so that no two rows are alike), and one with a very large mean."""
    large, spread, eps = rng.uniform(5e7, 9e7), 1.0, _eps(rng)
    if kind == "tiny":
        large, spread, eps = large / 100, 4e-3, _eps(rng, 8e-6, 2e-5)
    elif kind == "int":
        large, spread = 10 * large, 3.0
    elif kind == "float32":
        large, spread, eps = large / 1e4 + 2e3, 0.6, _eps(rng, 0.3, 0.5)
    center = _signed(rng, offset / 2, offset, d)
    scale = spread * rng.uniform(0.8, 1.2, d)
    center[-2:], scale[-2] = (large / 20, large), large / 15
    x = center + scale * rng.normal(size=(n, d))
    gamma, beta = _signed(rng, 1.3, 2.4, d), _signed(rng, 0.4, 1.5, d)
    if kind == "constant":
        x[:, 0] = rng.integers(2, 9)
    x = x[:, rng.permutation(d)]
    if kind == "int":
        x = np.rint(x).astype(np.int64)
    elif kind == "float32":
        x, gamma, beta = (a.astype(np.float32) for a in (x, gamma, beta))
    elif kind == "strided":
        x, gamma, beta = np.repeat(x, 2, 1)[:, ::2], gamma[::-1], np.repeat(beta, 3)[::3]
    return x, gamma, beta, eps


def _forward_loop(x, gamma, beta, eps):
    columns = []
    for column, g, b in zip(x.T.tolist(), gamma.tolist(), beta.tolist(), strict=True):
        mean = sum(column) / len(column)
        var = sum((value - mean) ** 2 for value in column) / len(column)
        columns.append([g * (value - mean) / math.sqrt(var + eps) + b for value in column])
    return [list(row) for row in zip(*columns, strict=True)]


def _forward_statistics(x, gamma, beta, eps):
    y = np.empty(x.shape)
    for j in range(x.shape[1]):
        column = [float(value) for value in x[:, j]]
        spread = (statistics.pvariance(column) + eps) ** 0.5
        y[:, j] = [
            statistics.NormalDist(statistics.fmean(column), spread).zscore(v) for v in column
        ]
    return y * gamma + beta


def _forward_einsum(x, gamma, beta, eps):
    centred = x - np.einsum("nd->d", x)[None] / len(x)
    var = np.einsum("nd,nd->d", centred, centred) / len(x)
    return np.einsum("nd,d->nd", centred, gamma * (var + eps) ** -0.5) + beta


def _forward_folded(x, gamma, beta, eps):
    scale = gamma / np.sqrt(np.var(x, axis=0) + eps)
    return x * scale + (beta - np.mean(x, axis=0) * scale)


def _forward_in_place_on_a_copy(x, gamma, beta, eps):
    y = np.array(x.T, dtype=float)
    y -= y.mean(1, keepdims=True)
    y /= np.sqrt(np.diag(np.cov(y, bias=True)) + eps)[:, None]
    y *= gamma[:, None]
    y += beta[:, None]
    return y.T


_NO_ROOT = "The centred values were divided by var + eps; the square root of it is due, so that they end with variance 1."
_EPS_OUTSIDE = (
    "eps was added to the standard deviation; it belongs to the variance, inside the square root."
)
_NO_EPS = "eps is missing: the divisor is sqrt(var + eps), whatever the size of var."
_NO_GAMMA = "The scale gamma is missing: y = gamma * xhat + beta."
_NO_BETA = "The shift beta is missing: y = gamma * xhat + beta."

BATCHNORM_FORWARD = Exercise(
    solution=batchnorm_forward,
    oracle=_batchnorm_forward,
    mistakes={
        "no_square_root": _NO_ROOT,
        "eps_outside_root": _EPS_OUTSIDE,
        "no_eps": _NO_EPS,
        "unbiased_variance": "The variance was divided by N - 1; the layer normalizes by the variance divided by N (`ddof=0`).",
        "wrong_axis": "Each row was normalized by its own statistics (that is layer normalization); average over the batch, axis 0.",
        "whole_array_statistics": "One mean and one variance were taken over the whole array; each column needs its own.",
        "shift_before_scale": "beta was added before multiplying by gamma, so it was scaled too; scale first, then shift.",
        "no_gamma": _NO_GAMMA,
        "no_beta": _NO_BETA,
        "one_pass_variance": "Only columns with a large mean are wrong: mean(x^2) - mean(x)^2 subtracts two huge numbers and keeps their rounding; average (x - mean)^2.",
        "mutates_input": "An argument was changed in place, so the caller's batch is no longer what it was; compute new arrays.",
    },
    forms=("no_eps:2",),
    regimes={
        "a small batch": Regime(lambda rng: _forward_args(rng, 4, 3), rtol=1e-5),
        "more columns than rows": Regime(lambda rng: _forward_args(rng, 3, 6), rtol=1e-5),
        "as many rows as columns": Regime(lambda rng: _forward_args(rng, 5, 5), rtol=1e-5),
        "many rows, all columns far from 0": Regime(
            lambda rng: _forward_args(rng, 20, 4, offset=4e4), rtol=1e-5
        ),
        "tiny variances beside a tiny eps": Regime(
            lambda rng: _forward_args(rng, 5, 4, "tiny"), rtol=1e-5
        ),
        "a column that is constant": Regime(
            lambda rng: _forward_args(rng, 6, 4, "constant"), rtol=1e-5
        ),
        "whole numbers (an integer array)": Regime(
            lambda rng: _forward_args(rng, 5, 4, "int"), rtol=1e-5
        ),
        "float32 numbers, some of them near 10000": Regime(
            lambda rng: _forward_args(rng, 4, 6, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _forward_args(rng, 6, 4, "strided"), rtol=1e-5
        ),
    },
    outputs=("y",),
    view=_forward_view,
    hints=(
        "Every column has its own mean and variance: which axis do you average over to get D of each?",
        "xhat = (x - mean) / sqrt(var + eps), with `x.mean(axis=0)` and `x.var(axis=0)`; then gamma and beta.",
        "Return gamma times xhat, plus beta: (D,) arrays meet the columns of (N, D) without any reshaping.",
    ),
    alternatives=(
        _forward_loop,
        _forward_statistics,
        _forward_einsum,
        _forward_folded,
        _forward_in_place_on_a_copy,
    ),
)


def batchnorm_inference(x, gamma, beta, running_mean, running_var, eps):
    """Batch norm in evaluation mode: normalize by stored statistics.

    Args:
        x: (N, D); N may be 1.
        gamma, beta: (D,) scale and shift of each column.
        running_mean, running_var: (D,) statistics kept from training; a
            variance, not a standard deviation.
        eps: float, added to the variance, inside the square root.
    Returns:
        y: (N, D). A row of y depends on no other row of x, and the running
            statistics stay as they are.
    """
    xhat = (x - running_mean) / np.sqrt(running_var + eps)
    return gamma * xhat + beta


def _batchnorm_inference(wrong, x, gamma, beta, running_mean, running_var, eps):
    x, mean, var = (np.asarray(a, float) for a in (x, running_mean, running_var))
    if {"batch_statistics", "batch_statistics:2"} & wrong:
        mean = x.mean(0)
    if {"batch_statistics", "batch_statistics:3"} & wrong:
        var = x.var(0)
    return _affine(wrong, (x - mean) / _divisor(wrong, var, eps), gamma, beta)


def _inference_args(rng, n, d, kind="float"):
    """A batch that is not like the running statistics."""
    eps, offset = _eps(rng), 5.0
    var = rng.uniform(0.4, 2, d)
    if kind == "tiny":
        eps, var = _eps(rng, 8e-6, 2e-5), var * 2e-5
    elif kind == "int":
        var = var * 9
    elif kind == "float32":
        eps, offset, var = _eps(rng, 0.3, 0.5), 8e3, var / 2
    std = np.sqrt(var)
    mean = _signed(rng, offset / 2, offset, d)
    x = mean + std * (_signed(rng, 1, 1.5, d) + rng.normal(size=(n, d)) * rng.uniform(1.5, 2, d))
    if kind == "int":
        x = np.rint(x).astype(int)
    arrays = [x, _signed(rng, 1.3, 2.4, d), _signed(rng, 0.4, 1.5, d), mean, var]
    if kind == "float32":
        arrays = [a.astype(np.float32) for a in arrays]
    elif kind == "strided":
        arrays = [np.asfortranarray(x), *(np.repeat(a, 2)[::2] for a in arrays[1:])]
    return *arrays, eps


def _inference_loop(x, gamma, beta, running_mean, running_var, eps):
    return [
        [
            float(g) * (float(value) - float(m)) / math.sqrt(float(v) + eps) + float(b)
            for value, g, b, m, v in zip(row, gamma, beta, running_mean, running_var, strict=True)
        ]
        for row in x
    ]


def _inference_folded(x, gamma, beta, running_mean, running_var, eps):
    scale = gamma / (running_var + eps) ** 0.5
    return x * scale + (beta - running_mean * scale)


def _inference_matrix(x, gamma, beta, running_mean, running_var, eps):
    """As the one linear layer that evaluation mode is."""
    weight = np.diag(gamma / np.sqrt(running_var + eps))
    return x @ weight + (beta - running_mean @ weight)


def _inference_in_place_on_a_copy(x, gamma, beta, running_mean, running_var, eps):
    y = np.subtract(x, running_mean, dtype=float)
    np.divide(y, np.sqrt(np.add(running_var, eps)), out=y)
    np.multiply(y, gamma, out=y)
    return np.add(y, beta, out=y)


BATCHNORM_INFERENCE = Exercise(
    solution=batchnorm_inference,
    oracle=_batchnorm_inference,
    mistakes={
        "batch_statistics": "The mean or the variance of the batch at hand was used, so an example's output depends on its neighbours; evaluation takes the running ones.",
        "no_affine": "gamma and beta are missing: evaluation scales and shifts just as training does.",
        "no_square_root": _NO_ROOT,
        "no_eps": _NO_EPS,
        "eps_outside_root": _EPS_OUTSIDE,
        "no_gamma": _NO_GAMMA,
        "no_beta": _NO_BETA,
        "shift_before_scale": "beta was added before multiplying by gamma, so it was scaled too; scale first, then shift.",
    },
    forms=("batch_statistics:2", "batch_statistics:3"),
    regimes={
        "a small batch": Regime(lambda rng: _inference_args(rng, 3, 2)),
        "a batch of one": Regime(lambda rng: _inference_args(rng, 1, 4)),
        "as many rows as columns": Regime(lambda rng: _inference_args(rng, 4, 4)),
        "more columns than rows": Regime(lambda rng: _inference_args(rng, 3, 6)),
        "tiny variances beside a tiny eps": Regime(lambda rng: _inference_args(rng, 5, 3, "tiny")),
        "whole numbers (an integer array)": Regime(lambda rng: _inference_args(rng, 5, 4, "int")),
        "float32 numbers with means of thousands": Regime(
            lambda rng: _inference_args(rng, 6, 3, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(lambda rng: _inference_args(rng, 7, 3, "strided")),
    },
    outputs=("y",),
    hints=(
        "What would a batch of one example have for a variance? Where else can a mean and a variance come from?",
        "xhat = (x - running_mean) / sqrt(running_var + eps); the scale and the shift are those of training.",
        "The same line as in training, with running_mean and running_var in the place of the batch's mean and variance.",
    ),
    alternatives=(
        _inference_loop,
        _inference_folded,
        _inference_matrix,
        _inference_in_place_on_a_copy,
    ),
)


def batchnorm2d_forward(x, gamma, beta, eps):
    """Batch norm of images in training mode, with one mean for each channel.

    Args:
        x: (N, C, H, W), N images of C channels.
        gamma, beta: (C,) scale and shift of each channel.
        eps: float, added to the variance, inside the square root.
    Returns:
        y: (N, C, H, W). A channel's statistics are those of its N*H*W numbers,
            and its variance divides by their count.
    """
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    var = x.var(axis=(0, 2, 3), keepdims=True)
    xhat = (x - mean) / np.sqrt(var + eps)
    return gamma[:, None, None] * xhat + beta[:, None, None]


_AXES = {
    "per_pixel": 0,
    "instance_norm": (2, 3),
    "layer_norm": (1, 2, 3),
    "whole_array_statistics": None,
}
_STATISTICS_LAST = {"broadcasts_last_axis:2", "broadcasts_last_axis:3"}
_AFFINE_LAST = {"broadcasts_last_axis", "broadcasts_last_axis:2"}
_MIXES = "reshape_mixes_channels"


def _batchnorm2d_forward(wrong, x, gamma, beta, eps):
    x, channels = x.astype(float), (-1, 1, 1)
    ddof = 1 if "unbiased_variance" in wrong else 0

    def normalize(x, axis, shape=None):
        mean, var = x.mean(axis, keepdims=True), x.var(axis, ddof=ddof, keepdims=True)
        if shape:
            mean, var = mean.reshape(shape), var.reshape(shape)
        return (x - mean) / _divisor(wrong, var, eps)

    if _MIXES in wrong:
        return (gamma * normalize(x.reshape(-1, len(gamma)), 0) + beta).reshape(x.shape)
    if f"{_MIXES}:2" in wrong:
        xhat = normalize(x.reshape(-1, len(gamma)), 0).reshape(x.shape)
    elif f"{_MIXES}:5" in wrong:  # the same as the first form where W = C
        return gamma * normalize(x, (0, 1, 2)) + beta
    elif f"{_MIXES}:3" in wrong:
        rows = gamma * normalize(np.moveaxis(x, 1, 3), (0, 1, 2)) + beta
        return rows.reshape(x.shape)
    elif f"{_MIXES}:6" in wrong:  # right statistics, never transposed back
        rows, each = np.swapaxes(x, 0, 1), (-1, 1, 1, 1)
        rows = gamma.reshape(each) * normalize(rows, (1, 2, 3)) + beta.reshape(each)
        return rows.reshape(x.shape)
    elif f"{_MIXES}:4" in wrong:
        rows = gamma[:, None] * normalize(x.reshape(len(gamma), -1), 1) + beta[:, None]
        return rows.reshape(x.shape)
    else:
        axis = next((axes for code, axes in _AXES.items() if code in wrong), (0, 2, 3))
        last = _STATISTICS_LAST & wrong and axis == (0, 2, 3)
        xhat = normalize(x, axis, (-1,) if last else None)
    if not _AFFINE_LAST & wrong:
        gamma, beta = gamma.reshape(channels), beta.reshape(channels)
    return gamma * xhat + beta


def _images(rng, n, c, h, w, kind="float"):
    """Images that differ in brightness, with channels of different mean and variance."""
    eps, offset, scale = _eps(rng), 4.0, rng.uniform(0.7, 1.3, (c, 1, 1))
    if kind == "tiny":
        eps, scale = _eps(rng, 8e-6, 2e-5), scale * 4e-3
    elif kind == "int":
        scale = scale * 3
    center = _signed(rng, offset / 2, offset, c)[:, None, None] * scale
    x = rng.normal(size=(n, c, h, w)) + 0.5 * rng.normal(size=(n, 1, 1, 1))
    x = center + scale * x
    gamma, beta = _signed(rng, 1.3, 2.4, c), _signed(rng, 0.4, 1.5, c)
    if kind == "int":
        x = np.rint(x).astype(int)
    elif kind == "dead":
        x[:, rng.integers(c)] = 0
    elif kind == "float32":
        x, gamma, beta = (a.astype(np.float32) for a in (x + 1e3, gamma, beta))
    elif kind == "strided":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, 3)), 3, 1)
        gamma, beta = np.repeat(gamma, 2)[::2], beta[::-1]
    return x, gamma, beta, eps


def _forward2d_loop(x, gamma, beta, eps):
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].ravel()]
        mean = math.fsum(values) / len(values)
        var = math.fsum((v - mean) ** 2 for v in values) / len(values)
        y[:, c] = gamma[c] * (x[:, c] - mean) / math.sqrt(var + eps) + beta[c]
    return y.tolist()


def _forward2d_rows(x, gamma, beta, eps):
    n, c, h, w = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, c)
    return batchnorm_forward(rows, gamma, beta, eps).reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _forward2d_flat(x, gamma, beta, eps):
    flat = np.swapaxes(x, 0, 1).reshape(x.shape[1], -1)
    std = np.sqrt(np.var(flat, axis=1) + eps)
    flat = (flat - flat.mean(1)[:, np.newaxis]) * (gamma / std)[:, np.newaxis] + beta[:, np.newaxis]
    return flat.reshape(x.shape[1], x.shape[0], *x.shape[2:]).swapaxes(0, 1)


def _forward2d_einsum(x, gamma, beta, eps):
    count = x.size / x.shape[1]
    centred = x - np.einsum("nchw->c", x).reshape(1, -1, 1, 1) / count
    scale = gamma / np.sqrt(np.einsum("nchw,nchw->c", centred, centred) / count + eps)
    return np.einsum("nchw,c->nchw", centred, scale) + np.expand_dims(beta, (0, 2, 3))


BATCHNORM2D_FORWARD = Exercise(
    solution=batchnorm2d_forward,
    oracle=_batchnorm2d_forward,
    mistakes={
        _MIXES: "The channels got mixed up: they are axis 1, not the last, and `reshape` moves no number, so a column of `x.reshape(-1, C)` is no channel; bring axis 1 to the end with `transpose` first, and back again after.",
        "per_pixel": "Every pixel position got statistics of its own (average over axis 0 only); a channel is averaged over images, rows and columns: axes 0, 2 and 3.",
        "instance_norm": "Each image was normalized by itself (that is instance normalization); a channel's statistics are taken over the batch too: axes 0, 2 and 3.",
        "layer_norm": "The statistics are those of one image over all its channels (that is layer normalization); take them channel by channel, over axes 0, 2 and 3.",
        "broadcasts_last_axis": "Vectors of C numbers met the last axis, the columns of the image, as NumPy aligns shapes from the right; reshape them to (C, 1, 1), or keep the dimensions.",
        "unbiased_variance": "The variance was divided by one less than the count; the layer normalizes by the variance divided by N*H*W (`ddof=0`).",
        "whole_array_statistics": "One mean and one variance were taken over the whole array; each channel needs its own.",
        "no_square_root": _NO_ROOT,
        "no_eps": _NO_EPS,
        "eps_outside_root": _EPS_OUTSIDE,
    },
    forms=(
        f"{_MIXES}:2",
        f"{_MIXES}:3",
        f"{_MIXES}:4",
        f"{_MIXES}:5",
        f"{_MIXES}:6",
        "no_eps:2",
        "broadcasts_last_axis:2",
        "broadcasts_last_axis:3",
    ),
    regimes={
        "small images": Regime(lambda rng: _images(rng, 3, 2, 1, 2)),
        "more channels than images": Regime(lambda rng: _images(rng, 2, 4, 3, 4)),
        "as many images as channels": Regime(lambda rng: _images(rng, 3, 3, 2, 3)),
        # Elsewhere W = C, so that vectors which meet the wrong axis give numbers and no error; here they
        # give more columns than x has, and an answer that takes W for C is found out.
        "images one pixel wide": Regime(lambda rng: _images(rng, 3, 4, 5, 1)),
        "tiny variances beside a tiny eps": Regime(lambda rng: _images(rng, 4, 2, 3, 2, "tiny")),
        "whole numbers (an integer array)": Regime(lambda rng: _images(rng, 2, 3, 4, 3, "int")),
        "a dead channel (all zeros)": Regime(lambda rng: _images(rng, 4, 3, 2, 3, "dead")),
        "float32 numbers around 1000": Regime(
            lambda rng: _images(rng, 2, 3, 2, 3, "float32"), rtol=4e-3
        ),
        "images stored channels last (an array that is not contiguous)": Regime(
            lambda rng: _images(rng, 4, 3, 2, 3, "strided")
        ),
    },
    outputs=("y",),
    hints=(
        "A channel is one feature, seen at N*H*W places: how many means does the layer have?",
        "`x.mean(axis=(0, 2, 3), keepdims=True)` has shape (1, C, 1, 1) and meets x as it should; so does the variance.",
        "gamma and beta have shape (C,) and would meet the last axis: give them the shape (C, 1, 1) before the last line of `batchnorm_forward`.",
    ),
    alternatives=(_forward2d_loop, _forward2d_rows, _forward2d_flat, _forward2d_einsum),
)


def identity_affine(mean, var, eps):
    """Scale and shift with which batch normalization gives its input back.

    Args:
        mean: (D,) mean of each column, as the layer subtracts it.
        var: (D,) variance of each column; the layer divides by sqrt(var + eps).
        eps: float.
    Returns:
        (gamma, beta), (D,) each, with gamma > 0, such that
        gamma * (x - mean) / sqrt(var + eps) + beta = x for every x.
    """
    return np.sqrt(var + eps), mean.copy()


def _identity_affine(wrong, mean, var, eps):
    mean, var = np.asarray(mean, float), np.asarray(var, float)
    gamma = _divisor(wrong, var, 0 if "eps_ignored" in wrong else eps)
    if "variance_for_std" in wrong:
        gamma = gamma**2
    beta = -mean if "wrong_sign" in wrong else mean
    if "inverse_gamma:2" in wrong:
        beta = -beta / gamma
    if {"inverse_gamma", "inverse_gamma:2"} & wrong:
        gamma = 1 / gamma
    return (beta, gamma) if "swapped" in wrong else (gamma, beta)


def _statistics(rng, d, kind="float"):
    """Means and variances of d columns; no variance + eps is near 1, where many mistakes meet."""
    eps, mean = _eps(rng), _signed(rng, 1.5, 5, d)
    var = np.where(np.arange(d) % 2, rng.uniform(0.1, 0.4, d), rng.uniform(1.5, 4, d))
    if kind == "tiny":
        eps, var = _eps(rng, 8e-6, 2e-5), var * 1e-5
    elif kind == "int":
        mean, var = np.rint(3 * mean).astype(int), np.rint(2 * var + 1).astype(int)
    elif kind == "constant":
        var[-1] = 0
    elif kind == "float32":
        mean, var = (2e3 * mean).astype(np.float32), var.astype(np.float32)
    elif kind == "strided":
        mean, var = np.repeat(mean, 2)[::2], var[::-1]
    return mean, var, eps


def _identity_loop(mean, var, eps):
    return [math.sqrt(v + eps) for v in var.tolist()], [float(m) for m in mean]


def _identity_probe(mean, var, eps):
    """From what a plain layer makes of two inputs: a line through two points."""
    low, high = (mean - 1, mean + 1)
    out = [(x - mean) / np.sqrt(var + eps) for x in (low, high)]
    gamma = (high - low) / (out[1] - out[0])
    return gamma, low - gamma * out[0]


def _identity_hypot(mean, var, eps):
    return np.stack([np.hypot(np.sqrt(var), np.sqrt(eps)), mean])


IDENTITY_AFFINE = Exercise(
    solution=identity_affine,
    oracle=_identity_affine,
    mistakes={
        "variance_for_std": "gamma is var + eps; the layer divides by the square root of that, so the square root undoes it.",
        "inverse_gamma": "That gamma divides by the standard deviation once more; the layer divides already, so gamma has to multiply by sqrt(var + eps).",
        "wrong_sign": "beta has the wrong sign: the layer subtracts the mean, so beta has to add it.",
        "eps_ignored": "eps is missing in gamma: the layer divides by sqrt(var + eps), not by sqrt(var).",
        "eps_outside_root": "eps was added to the standard deviation; the layer adds it to the variance, inside the square root.",
        "swapped": "gamma and beta are returned in the wrong order; gamma comes first.",
    },
    forms=("inverse_gamma:2",),
    regimes={
        "two columns": Regime(lambda rng: _statistics(rng, 2)),
        "five columns": Regime(lambda rng: _statistics(rng, 5)),
        "tiny variances beside a tiny eps": Regime(lambda rng: _statistics(rng, 3, "tiny")),
        "a column that is constant (variance 0)": Regime(
            lambda rng: _statistics(rng, 4, "constant")
        ),
        "whole numbers (integer arrays)": Regime(lambda rng: _statistics(rng, 3, "int")),
        "float32 numbers with means of thousands": Regime(
            lambda rng: _statistics(rng, 4, "float32"), rtol=1e-3
        ),
        "arrays that are not contiguous": Regime(lambda rng: _statistics(rng, 3, "strided")),
    },
    outputs=("gamma", "beta"),
    hints=(
        "The layer first subtracts and divides; what undoes a division, and what undoes a subtraction?",
        "Solve gamma * (x - mean) / sqrt(var + eps) + beta = x: gamma has to cancel the divisor.",
        "gamma is the divisor itself, eps included; beta is what was subtracted.",
    ),
    alternatives=(_identity_loop, _identity_probe, _identity_hypot),
)


def count_parameters(widths):
    """Count the numbers that training adjusts in a network with batch normalization.

    Every hidden layer is Linear without bias, then batch normalization with
    gamma and beta, then ReLU. The output layer is Linear with bias, and nothing
    else.

    Args:
        widths: list of ints, [inputs, hidden, ..., hidden, outputs].
    Returns:
        int: how many numbers gradient descent updates. Running statistics are no
            such numbers.
    """
    *sizes, outputs = widths
    weights = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    return weights + 2 * sum(sizes[1:]) + outputs


def _count_parameters(wrong, widths):
    hidden, outputs = widths[1:-1], widths[-1]
    each = 4 if {"statistics_learned", "statistics_learned:2"} & wrong else 2
    each = 0 if "no_affine" in wrong else each  # the whole layer is taken to have no parameters
    each += 1 if "bias_kept" in wrong else 0
    total = sum(a * b for a, b in zip(widths[:-1], widths[1:], strict=True)) + each * sum(hidden)
    total += len(hidden) if "statistics_learned:2" in wrong else 0
    return total + (0 if "no_output_bias" in wrong else outputs)


def _widths(rng, hidden, low=6, high=12):
    """Layers wider than the output, so that no two mistakes cancel."""
    first, last = rng.integers(2, 6, 2)
    return ([int(first), *rng.integers(low, high, hidden).tolist(), int(last)],)


def _count_shapes(widths):
    shapes = []
    for i in range(len(widths) - 1):
        shapes.append((widths[i + 1], widths[i]))
        shapes += [(widths[i + 1],)] * (1 if i == len(widths) - 2 else 2)
    return sum(math.prod(shape) for shape in shapes)


def _count_recursive(widths):
    first, second, *rest = widths
    if not rest:
        return (first + 1) * second
    return (first + 2) * second + _count_recursive([second, *rest])


def _count_arrays(widths):
    w = np.array(widths)
    return w[:-1] @ w[1:] + 2 * w[1:-1].sum() + w[-1]


COUNT_PARAMETERS = Exercise(
    solution=count_parameters,
    oracle=_count_parameters,
    mistakes={
        "bias_kept": "The hidden Linear layers have no bias here: subtracting the mean would remove it, and beta takes its place.",
        "statistics_learned": "The running mean and variance were counted; they are averages that the forward pass keeps, and no gradient reaches them.",
        "no_affine": "gamma and beta are missing: batch normalization has two trainable numbers for each hidden unit.",
        "no_output_bias": "The bias of the output layer is missing: no batch normalization follows there, so nothing replaces it.",
    },
    forms=("statistics_learned:2",),
    regimes={
        "one hidden layer": Regime(lambda rng: _widths(rng, 1)),
        "two hidden layers": Regime(lambda rng: _widths(rng, 2)),
        "four hidden layers": Regime(lambda rng: _widths(rng, 4)),
        "wide hidden layers": Regime(lambda rng: _widths(rng, 3, 60, 120)),
        "hidden layers of one width": Regime(
            lambda rng: ([4, *[int(rng.integers(8, 30))] * 3, int(rng.integers(2, 6))],)
        ),
    },
    outputs=("count",),
    hints=(
        "Write down the shape of every array that gradient descent updates, layer by layer.",
        "A hidden layer from a to b units has a*b weights, b gammas and b betas; what has the output layer?",
        "Sum a*b over neighbouring widths, add 2*b for each hidden width, and the last width once for its bias.",
    ),
    alternatives=(_count_shapes, _count_recursive, _count_arrays),
)

check = Checks(
    BATCHNORM_FORWARD, BATCHNORM_INFERENCE, BATCHNORM2D_FORWARD, IDENTITY_AFFINE, COUNT_PARAMETERS
)
