"""Batch normalization in NumPy: forward, backward, inference, running statistics.

Shapes follow `torch.nn.BatchNorm1d/2d`: `x` is (N, C) or (N, C, H, W), and `gamma`, `beta` and the
running statistics are (C,). Source: Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167.
"""

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What the backward pass needs, and what the running statistics are made of."""

    centred: np.ndarray  # x - mean, shape of x; the normalized input xhat is centred * inv_std
    inv_std: np.ndarray  # 1 / sqrt(var + eps), broadcasts against x
    gamma: np.ndarray  # broadcasts against x
    mean: np.ndarray  # batch mean, shape of gamma as it was given
    var: np.ndarray  # biased batch variance, same shape
    count: int  # numbers averaged for each mean
    axis: tuple  # axes that were averaged


def batchnorm_forward(x, gamma, beta, eps=1e-5, axis=None):
    """Normalize each channel by its own batch, then scale and shift: `y = gamma * xhat + beta`.

    The variance takes two passes, and the centred values are centred once more: that costs little and
    keeps a batch with mean 1e8 and standard deviation 1 exact to rounding.

    Args:
        x: (N, C) or (N, C, H, W) floats; with `axis`, any shape.
        gamma, beta: (C,); with `axis`, any shape that broadcasts against x.
        eps: added to the variance, inside the square root.
        axis: axes to average over; by default all but axis 1.
    Returns:
        y (shape of x) and the `Cache` for `batchnorm_backward` and `update_running`.
    Raises:
        ValueError: a channel has fewer than two values, or a shape does not fit.
    """
    x = _as_float(x)
    channels, axis = _layout(x, axis)
    count = int(np.prod([x.shape[a] for a in axis]))
    if count < 2:
        raise ValueError(
            f"batch statistics need at least two values a channel, got x of shape {x.shape}"
        )
    gamma, beta = _per_channel("gamma", gamma, x, channels), _per_channel("beta", beta, x, channels)
    mean = _sum(x, axis) / count
    centred = x - mean
    rest = _sum(centred, axis) / count  # what rounding left in the mean
    centred -= rest
    var = _sum(centred * centred, axis) / count
    inv_std = 1 / np.sqrt(var + eps)
    y = centred * (gamma * inv_std)
    y += beta
    if channels:
        mean, var = mean.reshape(channels), var.reshape(channels)
    return y, Cache(centred, inv_std, gamma, mean, var, count, axis)


def batchnorm_backward(dy, cache):
    """Send the gradient of the loss through the layer, through the mean and the variance too.

    `dx = gamma * inv_std * (dy - mean(dy) - xhat * mean(dy * xhat))`.

    Args:
        dy: gradient of the loss with respect to y, shape of x.
        cache: what `batchnorm_forward` returned.
    Returns:
        dx (shape of x), dgamma and dbeta (shape of gamma as it was given).
    """
    centred, inv_std, axis = cache.centred, cache.inv_std, cache.axis
    if np.shape(dy) != centred.shape:
        raise ValueError(f"dy must have the shape of x, {centred.shape}, got {np.shape(dy)}")
    dbeta = _sum(dy, axis)
    dgamma = inv_std * _sum(dy * centred, axis)
    scale = cache.gamma * inv_std
    dx = dy * scale
    dx -= scale * dbeta / cache.count
    dx -= centred * (scale * inv_std * dgamma / cache.count)
    return dx, dgamma.reshape(cache.mean.shape), dbeta.reshape(cache.mean.shape)


def batchnorm_inference(x, gamma, beta, running_mean, running_var, eps=1e-5):
    """Normalize by stored statistics, so that an example's output does not depend on its batch.

    Args:
        x: (N, C) or (N, C, H, W); N may be 1.
        gamma, beta, running_mean, running_var: (C,).
        eps: added to the variance, inside the square root.
    Returns:
        y, shape of x.
    """
    x = _as_float(x)
    channels, _ = _layout(x, None)
    gamma, beta = _per_channel("gamma", gamma, x, channels), _per_channel("beta", beta, x, channels)
    mean = _per_channel("running_mean", running_mean, x, channels)
    var = _per_channel("running_var", running_var, x, channels)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def update_running(running_mean, running_var, cache, momentum=0.1):
    """Move the running statistics towards the batch: `(1 - momentum) * old + momentum * batch`.

    PyTorch's convention: `momentum` is the weight of the *new* batch, and the variance that is
    stored is the unbiased one (divided by count - 1), while the layer normalizes by the biased one.

    Args:
        running_mean, running_var: (C,), not changed.
        cache: what `batchnorm_forward` returned for the batch.
        momentum: weight of the new batch, 0 to 1.
    Returns:
        The new running mean and running variance, (C,) each.
    """
    unbiased = cache.var * (cache.count / (cache.count - 1))
    return (
        (1 - momentum) * np.asarray(running_mean) + momentum * cache.mean,
        (1 - momentum) * np.asarray(running_var) + momentum * unbiased,
    )


def _sum(a, axis):
    """Sum over `axis`, kept as length 1; a product with ones is several times faster over rows."""
    if axis == (-2,) or (axis == (0,) and a.ndim == 2):
        return np.ones((1, a.shape[-2]), a.dtype) @ a
    return a.sum(axis, keepdims=True)


def _as_float(x):
    x = np.asarray(x)
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def _layout(x, axis):
    """The shape of one statistic (None where the caller named the axes), and the axes to average."""
    if axis is None:
        if x.ndim < 2:
            raise ValueError(f"x must be (N, C) or (N, C, H, W), got shape {x.shape}")
        return (x.shape[1],), (0, *range(2, x.ndim))
    return None, (axis,) if isinstance(axis, int) else tuple(axis)


def _per_channel(name, values, x, channels):
    """`values` of shape (C,), reshaped so that it meets axis 1 of x."""
    values = np.asarray(values)
    if channels is None:
        return values
    if values.shape != channels:
        raise ValueError(
            f"{name} must have shape {channels} for x of shape {x.shape}, got {values.shape}"
        )
    return values.reshape(channels + (1,) * (x.ndim - 2))
