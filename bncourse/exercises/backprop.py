"""Exercises of the chapter `backprop`."""

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.engine import Exercise, Regime


def _signs(rng, d):
    """Signs in turn, so that both occur wherever there are two columns."""
    return rng.choice([-1, 1]) * (-1) ** np.arange(d)


def _batch(rng, n, d):
    """`x` with an offset, and `dy` that is neither centred nor constant nor at right angles to x."""
    z = rng.normal(size=(n, d))
    x = rng.uniform(2, 5, d) * _signs(rng, d) + rng.uniform(0.6, 1.5, d) * z
    dy = rng.uniform(0.7, 2, d) * _signs(rng, d) + rng.uniform(1, 2, d) * _signs(rng, d) * z
    return x, dy + rng.normal(size=(n, d))


def batchnorm_param_grads(dy, xhat):
    """Gradients with respect to gamma and beta, where y = gamma * xhat + beta.

    Args:
        dy: (N, D), gradient of the loss with respect to y.
        xhat: (N, D), the standardized batch.
    Returns:
        (dgamma, dbeta), each (D,): gamma and beta have one number for each
        feature, which all N examples share.
    """
    return (dy * xhat).sum(axis=0), dy.sum(axis=0)


def _batchnorm_param_grads(wrong, dy, xhat):
    dy, xhat = np.asarray(dy, float), np.asarray(xhat, float)
    axis = 1 if "wrong_axis" in wrong else 0
    dgamma = (dy if "ignores_xhat" in wrong else dy * xhat).sum(axis)
    dbeta = dy.sum(axis)
    if {"mean_for_sum", "mean_for_sum:2"} & wrong:
        dgamma = dgamma / dy.shape[axis]
    if {"mean_for_sum", "mean_for_sum:3"} & wrong:
        dbeta = dbeta / dy.shape[axis]
    return (dbeta, dgamma) if "swapped" in wrong else (dgamma, dbeta)


def _batchnorm_param_grads_args(rng, n, d, kind="float"):
    x, dy = _batch(rng, n, d)
    if kind == "constant":
        x[:, rng.integers(d)] = rng.integers(2, 9)
    xhat = (x - x.mean(0)) / np.sqrt(x.var(0) + rng.uniform(0.1, 0.5))
    if kind == "int":
        return np.rint(4 * dy).astype(int), xhat
    if kind == "float32":
        return (dy + 100).astype(np.float32), xhat.astype(np.float32)
    if kind == "strided":
        return np.asfortranarray(dy), np.repeat(xhat, 2, 0)[::2]
    return dy, xhat


def _batchnorm_param_grads_loop(dy, xhat):
    n, d = dy.shape
    dgamma, dbeta = [0.0] * d, [0.0] * d
    for j in range(d):
        for i in range(n):
            dgamma[j] += float(dy[i, j]) * float(xhat[i, j])
            dbeta[j] += float(dy[i, j])
    return dgamma, dbeta


def _batchnorm_param_grads_einsum(dy, xhat):
    return np.einsum("nd,nd->d", dy, xhat), np.einsum("nd->d", dy)


def _batchnorm_param_grads_matmul(dy, xhat):
    return np.diag(xhat.T @ dy), np.ones((1, len(dy))) @ dy


BATCHNORM_PARAM_GRADS = Exercise(
    solution=batchnorm_param_grads,
    oracle=_batchnorm_param_grads,
    mistakes={
        "mean_for_sum": "The contributions of the examples were averaged; each example uses the same gamma and beta, so their gradients add up.",
        "wrong_axis": "You summed along each row, over the features; gamma and beta are shared by the examples of a column, so the sum runs over the batch (axis 0).",
        "swapped": "The two results are in each other's place: dgamma comes first, then dbeta.",
        "ignores_xhat": "dgamma lacks the factor xhat: gamma multiplies xhat, so a change of gamma moves y by xhat times as much.",
    },
    forms=("mean_for_sum:2", "mean_for_sum:3"),
    regimes={
        "a small batch": Regime(lambda rng: _batchnorm_param_grads_args(rng, 3, 2)),
        "more features than examples": Regime(lambda rng: _batchnorm_param_grads_args(rng, 4, 6)),
        "as many examples as features": Regime(lambda rng: _batchnorm_param_grads_args(rng, 4, 4)),
        "many examples": Regime(lambda rng: _batchnorm_param_grads_args(rng, 20, 3)),
        "a feature that is constant in the batch": Regime(
            lambda rng: _batchnorm_param_grads_args(rng, 5, 3, "constant")
        ),
        "whole numbers in dy (an integer array)": Regime(
            lambda rng: _batchnorm_param_grads_args(rng, 5, 4, "int")
        ),
        "float32 numbers": Regime(
            lambda rng: _batchnorm_param_grads_args(rng, 6, 3, "float32"), rtol=1e-3
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _batchnorm_param_grads_args(rng, 5, 3, "strided")
        ),
    },
    outputs=("dgamma", "dbeta"),
    hints=(
        "How many of the N * D outputs change when one number of gamma changes, and by how much each?",
        "dL/dgamma_j is the sum over the batch of dL/dy_ij * dy_ij/dgamma_j; find dy_ij/dgamma_j and dy_ij/dbeta_j from y = gamma * xhat + beta.",
        "dgamma is the sum over axis 0 of dy times xhat, and dbeta the sum over axis 0 of dy alone.",
    ),
    alternatives=(
        _batchnorm_param_grads_loop,
        _batchnorm_param_grads_einsum,
        _batchnorm_param_grads_matmul,
    ),
)


def batchnorm_backward(dy, x, gamma, eps):
    """Backward pass of batch norm in training mode, through mean and variance.

    The forward pass is y = gamma * xhat + beta with xhat = (x - mean) / sqrt(var
    + eps), mean and var taken over the batch (divide by N).

    Args:
        dy: (N, D), gradient of the loss with respect to y.
        x: (N, D), the input of the forward pass.
        gamma: (D,).
        eps: float, inside the square root.
    Returns:
        (dx, dgamma, dbeta), of shapes (N, D), (D,) and (D,). Each number of x
        moves the mean and the variance of its column as well, so its gradient
        has three parts.
    """
    sigma = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) / sigma
    through_mean = dy.mean(axis=0)
    through_variance = xhat * (dy * xhat).mean(axis=0)
    dx = gamma / sigma * (dy - through_mean - through_variance)
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)


def _batchnorm_backward(wrong, dy, x, gamma, eps):
    dy, x, gamma = (np.asarray(a, float) for a in (dy, x, gamma))
    n = len(x)
    centred = x - x.sum(0) / n
    var = (centred**2).sum(0) / (n - 1 if "unbiased_variance" in wrong else n)
    sigma = np.sqrt(var + (0 if {"no_eps", "eps_outside_root"} & wrong else eps))
    sigma = sigma + eps if "eps_outside_root" in wrong else sigma
    xhat = centred / (sigma**2 if "no_square_root" in wrong else sigma)
    if {"no_square_root", "no_square_root:2"} & wrong:
        sigma = sigma**2
    dgamma, dbeta = (dy * xhat).sum(0), dy.sum(0)
    mean, component = dbeta / n, xhat * dgamma / n
    if "full_projection" in wrong:
        square = (xhat**2).sum(0)
        component = xhat * dgamma / np.where(square == 0, 1, square)
    mean = mean * n if {"missing_1_over_n", "missing_1_over_n:3"} & wrong else mean
    component = component * n if {"missing_1_over_n", "missing_1_over_n:4"} & wrong else component
    if {"detached_statistics", "detached_mean"} & wrong:
        mean = 0
    if {"detached_statistics", "detached_variance"} & wrong:
        component = 0
    component = -component if "wrong_sign_variance" in wrong else component
    dx = (1 if "no_gamma" in wrong else gamma) / sigma * (dy - mean - component)
    dx = dx * n if "missing_1_over_n:2" in wrong else dx
    if "mean_for_sum" in wrong:
        dgamma, dbeta = dgamma / n, dbeta / n
    return (dx, dbeta, dgamma) if "swapped" in wrong else (dx, dgamma, dbeta)


def _batchnorm_backward_args(rng, n, d, kind="float"):
    x, dy = _batch(rng, n, d)
    gamma = rng.choice([rng.uniform(0.4, 0.8, d), rng.uniform(1.3, 2, d)]) * _signs(rng, d)
    eps = rng.uniform(0.15, 0.5)
    if kind == "tiny":  # of the size of the variances, so that it shows
        x, eps = 0.01 * x, 1e-4 * eps
    elif kind == "constant":
        x[:, rng.integers(d)] = rng.integers(2, 9)
    elif kind == "int":
        x = np.rint(2 * x).astype(int) + 4 * (np.arange(n) == rng.integers(n))[:, None]
        dy, gamma = np.rint(4 * dy).astype(int), (rng.integers(2, 4, d) * _signs(rng, d))
    elif kind == "float32":
        x, dy, gamma = (a.astype(np.float32) for a in (x + 1e3, dy, gamma))
    elif kind == "strided":
        x, dy, gamma = np.asfortranarray(x), np.repeat(dy, 2, 1)[:, ::2], np.repeat(gamma, 2)[::2]
    return dy, x, gamma, eps


def _batchnorm_backward_stages(dy, x, gamma, eps):
    n = x.shape[0]
    centred = x - x.sum(0) / n
    inverse = 1 / np.sqrt((centred**2).sum(0) / n + eps)
    xhat = centred * inverse
    dxhat = dy * gamma
    dvar = (dxhat * centred).sum(0) * -0.5 * inverse**3
    dmean = -(dxhat * inverse).sum(0) - 2 * dvar * centred.mean(0)
    return dxhat * inverse + dvar * 2 * centred / n + dmean / n, np.sum(dy * xhat, 0), np.sum(dy, 0)


def _batchnorm_backward_jacobian(dy, x, gamma, eps):
    n, d = x.shape
    columns, dgamma = [], []
    for j in range(d):
        centred = x[:, j].astype(float) - x[:, j].mean(dtype=float)
        sigma = (centred @ centred / n + eps) ** 0.5
        xhat = centred / sigma
        jacobian = (
            gamma[j] / sigma * (np.eye(n) - np.full((n, n), 1 / n) - np.outer(xhat, xhat) / n)
        )
        columns.append(jacobian.T @ dy[:, j])
        dgamma.append(xhat @ dy[:, j])
    return np.stack(columns, axis=1), dgamma, [sum(column.tolist()) for column in dy.T]


def _batchnorm_backward_closed(dy, x, gamma, eps):
    n = len(x)
    mean, var = np.einsum("nd->d", x) / n, np.var(x, axis=0)
    xhat = (x - mean) / (var + eps) ** 0.5
    dbeta, dgamma = np.einsum("nd->d", dy), np.einsum("nd,nd->d", dy, xhat)
    dx = gamma * (n * dy - dbeta - xhat * dgamma) / (n * (var + eps) ** 0.5)
    return [dx.tolist(), dgamma, dbeta]


def _batchnorm_backward_complex_step(dy, x, gamma, eps):
    """The forward pass is analytic: a tiny imaginary step gives its derivative to full precision."""

    def loss(z):
        centred = z - z.mean(0)
        y = gamma * centred / np.sqrt((centred * centred).mean(0) + eps)
        return (y * dy).sum()

    dx = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        z = x.astype(complex)
        z[index] += 1e-30j
        dx[index] = loss(z).imag / 1e-30
    xhat = (x - x.mean(0, dtype=float)) / np.sqrt(x.var(0, dtype=float) + eps)
    return dx, (dy * xhat).sum(0), dy.sum(0)


BATCHNORM_BACKWARD = Exercise(
    solution=batchnorm_backward,
    oracle=_batchnorm_backward,
    mistakes={
        "detached_statistics": "The mean and the variance were treated as constants; both are computed from x, so the gradient flows through them too.",
        "detached_mean": "The part through the mean is missing: every example moves the mean of the batch, which takes mean(dy) away.",
        "detached_variance": "The part through the variance is missing: every example moves sigma, which takes the component along xhat away.",
        "wrong_sign_variance": "The part through the variance has the wrong sign: a larger sigma shrinks xhat, so it is taken away, like the mean of dy.",
        "unbiased_variance": "The variance was divided by N - 1; batch norm normalizes by the variance divided by N.",
        "no_gamma": "dx lacks the factor gamma: y = gamma * xhat + beta, so the gradient with respect to xhat is dy * gamma.",
        "no_square_root": "var + eps stands where its square root is due: xhat and its gradient are divided by sigma = sqrt(var + eps).",
        "missing_1_over_n": "A factor 1/N is missing in dx: what is taken away from dy are means over the batch, where you have sums.",
        "no_eps": "eps is missing: sigma is sqrt(var + eps) in the backward pass as well.",
        "eps_outside_root": "eps was added after the root; sigma is sqrt(var + eps).",
        "full_projection": "The component along xhat was taken away entirely, by dividing by the sum of xhat**2; it is divided by N, and with eps > 0 a little of it remains.",
        "mean_for_sum": "dgamma and dbeta were averaged over the batch; the contributions of the examples add up.",
        "swapped": "dgamma and dbeta are in each other's place: the order is dx, dgamma, dbeta.",
    },
    forms=("missing_1_over_n:2", "missing_1_over_n:3", "missing_1_over_n:4", "no_square_root:2"),
    regimes={
        "a small batch": Regime(lambda rng: _batchnorm_backward_args(rng, 3, 2)),
        "more features than examples": Regime(lambda rng: _batchnorm_backward_args(rng, 4, 6)),
        "as many examples as features": Regime(lambda rng: _batchnorm_backward_args(rng, 4, 4)),
        "a feature that is constant in the batch": Regime(
            lambda rng: _batchnorm_backward_args(rng, 7, 3, "constant")
        ),
        "a tiny eps and tiny variances": Regime(
            lambda rng: _batchnorm_backward_args(rng, 5, 3, "tiny")
        ),
        "whole numbers (integer arrays)": Regime(
            lambda rng: _batchnorm_backward_args(rng, 5, 3, "int")
        ),
        "float32 numbers around 1000": Regime(
            lambda rng: _batchnorm_backward_args(rng, 6, 4, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _batchnorm_backward_args(rng, 5, 4, "strided")
        ),
    },
    outputs=("dx", "dgamma", "dbeta"),
    hints=(
        "If one number of x moves, what else moves in its column besides its own xhat?",
        "dx has three parts: dy itself, minus the mean of dy (through the mean of the batch), minus xhat times the mean of dy * xhat (through its variance).",
        "Compute sigma = sqrt(var + eps) and xhat; dx is gamma / sigma times the bracket of the three parts, all means over axis 0, and dgamma and dbeta are sums of dy * xhat and of dy.",
    ),
    alternatives=(
        _batchnorm_backward_stages,
        _batchnorm_backward_jacobian,
        _batchnorm_backward_closed,
        _batchnorm_backward_complex_step,
    ),
)


def project(v, xhat):
    """Take away from each column of v its mean and its component along xhat.

    Args:
        v: (N, D).
        xhat: (N, D), every column with mean 0, but of any length. A column of
            zeros has no direction, and nothing is taken away along it.
    Returns:
        (N, D): each column has mean 0 and inner product 0 with its column of
        xhat.
    """
    inner, square = (v * xhat).sum(axis=0), (xhat * xhat).sum(axis=0)
    component = xhat * inner / np.where(square > 0, square, 1)
    return v - v.mean(axis=0) - component


def _project(wrong, v, xhat):
    v, xhat = np.asarray(v, float), np.asarray(xhat, float)
    across = {"wrong_axis", "wrong_axis:2"} & wrong
    axis = 1 if across else None if "whole_array" in wrong else 0
    mean = v.mean(axis, keepdims=True)
    base = v - mean if "wrong_axis:2" in wrong else v  # differs where rows of xhat are not centred
    inner, square = (base * xhat).sum(axis, keepdims=True), (xhat * xhat).sum(axis, keepdims=True)
    if "divides_by_length" in wrong:
        square = np.sqrt(square)
    if "zero_column" not in wrong:
        square = np.where(square > 0, square, 1)
    if "not_normalized" in wrong:
        square = 1
    if "divides_by_n" in wrong:
        square = v.shape[axis or 0]
    mean = 0 if "component_only" in wrong else mean
    return v - mean - (0 if "mean_only" in wrong else xhat * inner / square)


def _project_args(rng, n, d, kind="float"):
    """One column of xhat is 0 in every draw; eps makes the others shorter than sqrt(N)."""
    x, v = _batch(rng, n, d)
    x[:, rng.integers(d)] = 3
    xhat = (x - x.mean(0)) / np.sqrt(x.var(0) + rng.uniform(0.3, 0.6))
    if kind == "int":
        x = np.rint(3 * x).astype(int) * (1 + (x != 3) * np.arange(n)[:, None])
        return np.rint(9 * v).astype(int), n * x - x.sum(0)  # whole numbers with mean 0
    if kind == "float32":
        return (v + 100).astype(np.float32), xhat.astype(np.float32)
    if kind == "strided":
        return np.repeat(v, 2, 1)[:, ::2], np.asfortranarray(xhat)
    if kind == "short":
        return v, xhat / 100
    return v, xhat


def _project_loop(v, xhat):
    columns = []
    for a, b in zip(v.T.tolist(), xhat.T.tolist(), strict=True):
        mean = sum(a) / len(a)
        square = sum(q * q for q in b)
        slope = sum(p * q for p, q in zip(a, b, strict=True)) / square if square else 0.0
        columns.append([p - mean - slope * q for p, q in zip(a, b, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def _project_least_squares(v, xhat):
    """What a straight line through (xhat, v) leaves over."""
    result = np.empty(v.shape)
    for j in range(v.shape[1]):
        design = np.column_stack([np.ones(len(v)), xhat[:, j]])
        result[:, j] = v[:, j] - design @ np.linalg.lstsq(design, v[:, j], rcond=None)[0]
    return result


def _project_einsum(v, xhat):
    centred = v - np.einsum("nd->d", v) / len(v)
    square = np.einsum("nd,nd->d", xhat, xhat)
    unit = np.divide(xhat, np.sqrt(square), out=np.zeros(v.shape), where=square > 0)
    return centred - unit * np.einsum("nd,nd->d", unit, centred)


def _project_matrix(v, xhat):
    n = len(v)
    matrices = [np.eye(n) - 1 / n - np.outer(b, np.linalg.pinv(b[:, None])) for b in xhat.T]
    return np.transpose([m @ a for m, a in zip(matrices, v.T, strict=True)])


PROJECT = Exercise(
    solution=project,
    oracle=_project,
    mistakes={
        "mean_only": "Only the mean was taken away; the component along xhat is still there.",
        "component_only": "Only the component along xhat was taken away; the mean is still there.",
        "not_normalized": "xhat was multiplied by the plain inner product; divide it by xhat·xhat, the square of xhat's length.",
        "wrong_axis": "You worked along the rows; the mean and the inner product belong to a column, so they run over the batch (axis 0).",
        "whole_array": "One mean and one inner product were taken over the whole array; each column needs its own.",
        "divides_by_n": "The inner product was divided by N; xhat need not have variance 1 (eps makes it smaller), so divide by xhat·xhat.",
        "divides_by_length": "The inner product was divided by the length of xhat once; a projection divides by its square, xhat·xhat.",
        "zero_column": "A column of zeros in xhat was divided by its length 0; it has no component to take away, so only the mean goes.",
    },
    forms=("wrong_axis:2",),
    regimes={
        "a small batch": Regime(lambda rng: _project_args(rng, 3, 2)),
        "more columns than rows": Regime(lambda rng: _project_args(rng, 4, 6)),
        "as many rows as columns": Regime(lambda rng: _project_args(rng, 4, 4)),
        "many rows": Regime(lambda rng: _project_args(rng, 15, 3)),
        "short columns in xhat": Regime(lambda rng: _project_args(rng, 5, 3, "short")),
        "whole numbers (integer arrays)": Regime(lambda rng: _project_args(rng, 5, 3, "int")),
        "float32 numbers around 100": Regime(
            lambda rng: _project_args(rng, 6, 3, "float32"), rtol=1e-3
        ),
        "arrays that are not contiguous": Regime(lambda rng: _project_args(rng, 5, 4, "strided")),
    },
    hints=(
        "In a column, which multiple c of xhat makes v - c * xhat orthogonal to xhat?",
        "c is the inner product of v and xhat divided by the inner product of xhat with itself; xhat is centred, so the mean can be taken away before or after.",
        "Sum v * xhat and xhat * xhat over axis 0, replace a sum of 0 in the divisor by 1, and take the mean and c * xhat away from v.",
    ),
    alternatives=(_project_loop, _project_least_squares, _project_einsum, _project_matrix),
)


def numerical_gradient(f, x, dy, h):
    """Gradient of sum(f(x) * dy) with respect to x, by central differences.

    Args:
        f: function of an (N, D) array; it gives an array of the same shape. Any
            number of its result may depend on any number of x.
        x: (N, D), where the gradient is taken; may hold whole numbers. It is the
            caller's and stays as it is.
        dy: (N, D), the weights of the loss.
        h: float > 0, the step to each side.
    Returns:
        (N, D): how the loss changes with each number of x, while the others
        stay.
    """
    x = np.array(x, dtype=float)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        gradient[index] = np.sum((f(x + step) - f(x - step)) * dy) / (2 * h)
    return gradient


class _Curve(list):
    """Two coefficients of a curved function that mixes all numbers of x; shown to the reader as code."""

    def __repr__(self):
        return f"lambda x: {self[0]} * x**3 + {self[1]} * x * x.mean()"


def _curve(coefficients, x):
    """The function for x (N, D), or for any number of such arrays at once."""
    cubic, mixing = coefficients
    x = np.asarray(x)
    return cubic * x**3 + mixing * x * x.mean(axis=(-2, -1), keepdims=True)


def _run_numerical_gradient(answer, coefficients, x, dy, h):
    coefficients = [float(value) for value in coefficients]
    return answer(lambda x: _curve(coefficients, x), x, dy, h)


def _numerical_gradient(wrong, coefficients, x, dy, h):
    x, dy = np.asarray(x, float), np.asarray(dy, float)
    dy = np.ones_like(dy) if "ignores_dy" in wrong else dy
    h = 1e-5 if "ignores_h" in wrong else h
    one_sided = {"forward_difference", "forward_difference:2"} & wrong
    step = h * np.eye(x.size).reshape(-1, *x.shape)  # one array for each number of x
    if "moves_everything" in wrong:
        step = h
    above = x if "forward_difference:2" in wrong else x + step
    below = x if {"forward_difference", "forward_difference:3"} & wrong else x - step
    change = (_curve(coefficients, above) - _curve(coefficients, below)) * dy
    if "moves_everything" not in wrong:
        change = change.sum(axis=(-2, -1)).reshape(x.shape)
    gradient = change / (h if one_sided or "missing_half" in wrong else 2 * h)
    return -gradient if "wrong_sign" in wrong else gradient


def _numerical_gradient_args(rng, n, d, kind="float", low=0.05, high=0.2):
    coefficients = rng.uniform([0.4, 0.8], [0.9, 1.6]) * rng.choice([-1, 1], 2)
    x = rng.uniform(0.6, 1.5, d) * _signs(rng, d) + 0.5 * rng.normal(size=(n, d))
    dy = rng.uniform(0.6, 1.5, d) * _signs(rng, d) + rng.normal(size=(n, d))
    if kind == "int":
        x, dy = np.rint(2 * x).astype(int), np.rint(3 * dy).astype(int) + 4
    elif kind == "float32":
        x, dy = x.astype(np.float32), dy.astype(np.float32)
    elif kind == "strided":
        x, dy = np.asfortranarray(x), np.repeat(dy, 2, 0)[::2]
    return _Curve(coefficients.round(2).tolist()), x, dy, float(rng.uniform(low, high))


def _numerical_gradient_restores(f, x, dy, h):
    x, gradient = x.astype(float), np.zeros(x.shape)  # a copy
    entries = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    for _ in entries:
        old = x[entries.multi_index]
        x[entries.multi_index] = old + h
        above = (f(x) * dy).sum()
        x[entries.multi_index] = old - h
        gradient[entries.multi_index] = (above - (f(x) * dy).sum()) / h / 2
        x[entries.multi_index] = old
    return gradient


def _numerical_gradient_flat(f, x, dy, h):
    def loss(flat):
        return np.vdot(f(flat.reshape(x.shape)), dy)

    flat = np.asarray(x, float).ravel()
    steps = h * np.eye(flat.size)
    return np.reshape([(loss(flat + s) - loss(flat - s)) / (2 * h) for s in steps], x.shape)


def _numerical_gradient_one_sided_mean(f, x, dy, h):
    """The mean of a forward and a backward difference is a central one."""
    rows = []
    here = np.sum(f(x) * dy)
    for i in range(x.shape[0]):
        rows.append([])
        for j in range(x.shape[1]):
            unit = np.outer(np.arange(x.shape[0]) == i, np.arange(x.shape[1]) == j)
            forward = (np.sum(f(x + h * unit) * dy) - here) / h
            backward = (here - np.sum(f(x - h * unit) * dy)) / h
            rows[-1].append(float(forward + backward) / 2)
    return rows


NUMERICAL_GRADIENT = Exercise(
    solution=numerical_gradient,
    oracle=_numerical_gradient,
    run=_run_numerical_gradient,
    mistakes={
        "forward_difference": "That is a one-sided difference, between x and a point h away, with an error that grows like h; compare x + h with x - h.",
        "missing_half": "The two points x + h and x - h are 2h apart: divide the difference by 2 * h.",
        "ignores_dy": "dy is missing: the loss is sum(f(x) * dy), not sum(f(x)).",
        "mutates_input": "x was changed in place, and the caller finds other numbers in it; work on a copy.",
        "wrong_sign": "The sign is wrong: the loss at x + h comes first, minus the loss at x - h.",
        "moves_everything": "All numbers of x were moved at once; f mixes them, so move one at a time and keep the others.",
        "ignores_h": "The step is not the given h: with h up to 0.2 the curvature of f shows in the result.",
    },
    forms=("forward_difference:2", "forward_difference:3"),
    regimes={
        "a small batch": Regime(lambda rng: _numerical_gradient_args(rng, 3, 2)),
        "more columns than rows": Regime(lambda rng: _numerical_gradient_args(rng, 2, 4)),
        "as many rows as columns": Regime(lambda rng: _numerical_gradient_args(rng, 3, 3)),
        "a small step": Regime(
            lambda rng: _numerical_gradient_args(rng, 3, 2, low=0.01, high=0.02)
        ),
        "whole numbers (integer arrays)": Regime(
            lambda rng: _numerical_gradient_args(rng, 3, 2, "int")
        ),
        "float32 numbers": Regime(
            lambda rng: _numerical_gradient_args(rng, 3, 2, "float32", low=0.1), rtol=3e-4
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _numerical_gradient_args(rng, 4, 2, "strided")
        ),
    },
    outputs=("the gradient",),
    hints=(
        "Move one number of x by h to each side and keep the others; how much does sum(f(x) * dy) change?",
        "Each entry is (loss at x + h minus loss at x - h) / (2 * h), and `np.ndindex(x.shape)` visits all entries; work on a copy of x with float numbers, as a whole number can't move by h.",
        "For every index make two float copies of x, add h to that entry of one and subtract it in the other, and put the sum of (f(one) - f(other)) * dy, divided by 2 * h, into an array of zeros.",
    ),
    alternatives=(
        _numerical_gradient_restores,
        _numerical_gradient_flat,
        _numerical_gradient_one_sided_mean,
    ),
)

check = Checks(BATCHNORM_PARAM_GRADS, BATCHNORM_BACKWARD, PROJECT, NUMERICAL_GRADIENT)
