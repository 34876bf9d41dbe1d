"""Ensembles: S networks with their own seeds and learning rates, trained as one computation.

All arrays carry the network first: activations are (S, N, D), weights (S, I, O), and everything else of
a layer (S, 1, O). Network s gives bitwise the numbers that it would give if it were trained alone.
"""

from typing import NamedTuple

import numpy as np

from bncourse import layers
from bncourse.batchnorm import batchnorm_backward, batchnorm_forward

GAIN = {"relu": 2.0, "sigmoid": 1.0, "tanh": 1.0}  # He for ReLU, Xavier (fan-in) for the others


class Layer(NamedTuple):
    """One layer of S networks; `bias` is None in front of batch norm, `gamma` and `beta` without it."""

    weight: np.ndarray  # (S, I, O)
    bias: np.ndarray | None  # (S, 1, O)
    gamma: np.ndarray | None
    beta: np.ndarray | None


def init(widths, rngs, activation="relu", batchnorm=False, dtype=np.float32):
    """Draw the layers of one network for each generator in `rngs`.

    Args:
        widths: numbers of units, input first, output last: [64, 32, 10].
        rngs: S generators; each draws the weights of its own network only.
        activation: "relu", "sigmoid" or "tanh"; sets the variance of the weights, GAIN / fan-in.
        batchnorm: put batch norm (and no bias) between each hidden layer and its activation.
    Returns:
        A list of `Layer`.
    """
    if activation not in GAIN:
        raise ValueError(f"activation must be one of {sorted(GAIN)}, got {activation!r}")
    net, count = [], len(rngs)
    for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
        hidden = len(net) < len(widths) - 2
        scale = np.sqrt((GAIN[activation] if hidden else 1.0) / fan_in)
        weight = np.stack([rng.normal(0, scale, (fan_in, fan_out)) for rng in rngs]).astype(dtype)
        zeros = np.zeros((count, 1, fan_out), dtype)
        if hidden and batchnorm:
            net.append(Layer(weight, None, np.ones_like(zeros), zeros))
        else:
            net.append(Layer(weight, zeros, None, None))
    return net


def forward(net, x, activation="relu", eps=1e-5):
    """Outputs (S, N, K) of the networks in training mode, and what `backward` needs.

    Args:
        net: layers from `init`.
        x: (S, N, D), or (N, D) where all networks see the same examples.
    """
    act = layers.ACTIVATIONS[activation][0]
    h, tape = x, []
    for i, layer in enumerate(net):
        pre, cache = layers.linear_forward(h, layer.weight, layer.bias), None
        if layer.gamma is not None:
            pre, cache = batchnorm_forward(pre, layer.gamma, layer.beta, eps, axis=-2)
        out = act(pre) if i < len(net) - 1 else pre
        tape.append((h, cache, out))
        h = out
    return h, tape


def backward(net, tape, dout, activation="relu"):
    """Gradients of the loss for every array of `net`, as a list of `Layer`."""
    act_backward = layers.ACTIVATIONS[activation][1]
    grads, d = [], dout
    for i in reversed(range(len(net))):
        x, cache, out = tape[i]
        if i < len(net) - 1:
            d = act_backward(d, out)
        dbias = dgamma = dbeta = None
        if cache is not None:
            d, dgamma, dbeta = batchnorm_backward(d, cache)
        if net[i].bias is not None:
            dbias = d.sum(-2, keepdims=True)
        dx, dweight = layers.linear_backward(d, x, net[i].weight, need_dx=i > 0)
        grads.append(Layer(dweight, dbias, dgamma, dbeta))
        d = dx
    return grads[::-1]


def sgd_step(net, grads, lr):
    """Change `net` in place by one step of gradient descent; `lr` is (S,)."""
    rate = np.asarray(lr, net[0].weight.dtype).reshape(-1, 1, 1)
    for layer, grad in zip(net, grads, strict=True):
        for value, slope in zip(layer, grad, strict=True):
            if value is not None:
                value -= rate * slope


def batches(count, batch_size, rngs, steps):
    """Yield, `steps` times, the (S, batch_size) indices of the next batch of each network.

    Each network shuffles all `count` examples with its own generator and drops what is left over.
    """
    if not 0 < batch_size <= count:
        raise ValueError(f"batch_size must be 1 to {count} (the examples), got {batch_size}")
    per_epoch = count // batch_size
    for step in range(steps):
        if step % per_epoch == 0:
            order = np.stack([rng.permutation(count) for rng in rngs])
        start = (step % per_epoch) * batch_size
        yield order[:, start : start + batch_size]


def train(
    x, y, widths, lr, seeds, steps, batch_size, activation="relu", batchnorm=False, watch=None
):
    """Train S networks with plain stochastic gradient descent on softmax cross-entropy.

    Args:
        x, y: examples (N, D) and labels (N,), the same for all networks.
        lr: one learning rate for each network, (S,), or one number for all.
        seeds: S seeds; each sets the initialization and the order of the batches of its network.
        watch: called as `watch(step, net)` after each step; collect what you need there.
    Returns:
        The trained layers and the batch losses (S, steps) in nats.
    """
    rngs = [np.random.default_rng(seed) for seed in seeds]
    lr = np.broadcast_to(lr, (len(rngs),))
    net = init(widths, rngs, activation, batchnorm, x.dtype)
    losses = np.empty((len(rngs), steps))
    for step, index in enumerate(batches(len(x), batch_size, rngs, steps)):
        logits, tape = forward(net, x[index], activation)
        losses[:, step], dlogits = layers.softmax_cross_entropy(logits, y[index])
        sgd_step(net, backward(net, tape, dlogits, activation), lr)
        if watch is not None:
            watch(step, net)
    return net, losses
