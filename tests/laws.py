"""What every batch normalization must hold: laws of `bncourse.batchnorm`, each a function of the module.

`test_batchnorm` runs them on the real module, `test_mutants` on spoilt copies that they must catch.
"""

import numpy as np
import torch

TOLERANCE = 1e-10  # relative, in float64
SHAPES = {
    "batch": (6, 3),
    "batch of two": (2, 4),
    "one feature": (5, 1),
    "as many features as examples": (4, 4),
    "more features than examples": (3, 8),
    "images": (3, 2, 4, 5),
    "images as wide as channels": (2, 3, 2, 3),
    "one pixel": (4, 2, 1, 1),
}


def close(got, want, tolerance=TOLERANCE):
    """Assert relative agreement, measured against the largest expected value."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    worst = np.abs(got - want).max() / max(1e-300, np.abs(want).max(initial=0))
    assert worst <= tolerance, f"off by {worst:.1e} of the largest value"


def draw(shape, seed=0, mean=2.0, scale=1.5):
    """x, gamma, beta and dy that are nowhere 0, 1 or centred."""
    rng = np.random.default_rng(seed)
    x = mean + scale * rng.normal(size=shape)
    gamma = rng.uniform(0.5, 2, shape[1]) * rng.choice([-1, 1], shape[1])
    return x, gamma, rng.normal(size=shape[1]) + 0.5, 0.3 + rng.normal(size=shape)


def torch_layer(x, gamma, beta, eps, momentum=0.1):
    kind = torch.nn.BatchNorm1d if x.ndim == 2 else torch.nn.BatchNorm2d
    layer = kind(x.shape[1], eps=eps, momentum=momentum, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(gamma))
        layer.bias.copy_(torch.tensor(beta))
    return layer


def agrees_with_torch(bn):
    """Outputs, all gradients, both running statistics over several batches, and inference."""
    for seed, (shape, eps) in enumerate(
        (shape, eps) for shape in SHAPES.values() for eps in (1e-5, 0.3)
    ):
        x, gamma, beta, dy = draw(shape, seed)
        layer = torch_layer(x, gamma, beta, eps, momentum=0.3)
        mean, var = np.zeros(shape[1]), np.ones(shape[1])
        for batch in (x, 3 * x - 1, x + dy):
            layer.zero_grad()
            tensor = torch.tensor(batch, requires_grad=True)
            want = layer(tensor)
            want.backward(torch.tensor(dy))
            got, cache = bn.batchnorm_forward(batch, gamma, beta, eps)
            close(got, want.detach())
            dx, dgamma, dbeta = bn.batchnorm_backward(dy, cache)
            # dx is a difference of terms of the size of dy / std, and a batch of two cancels them all
            size = np.abs(gamma).max() * np.abs(dy).max() / np.sqrt(cache.var.min() + eps)
            assert np.abs(dx - tensor.grad.numpy()).max() <= TOLERANCE * size
            close(dgamma, layer.weight.grad)
            close(dbeta, layer.bias.grad)
            mean, var = bn.update_running(mean, var, cache, momentum=0.3)
        close(mean, layer.running_mean)
        close(var, layer.running_var)
        layer.eval()
        for test in (x, x[:1]):
            got = bn.batchnorm_inference(test, gamma, beta, mean, var, eps)
            close(got, layer(torch.tensor(test)).detach())


def agrees_with_finite_differences(bn):
    for seed, shape in enumerate(SHAPES.values()):
        x, gamma, beta, dy = draw(shape, seed)
        _, cache = bn.batchnorm_forward(x, gamma, beta, 0.2)
        grads = bn.batchnorm_backward(dy, cache)
        for i, grad in enumerate(grads):
            args = [x, gamma, beta]
            want = np.empty_like(args[i])
            for index in np.ndindex(want.shape):
                sides = []
                for step in (1e-5, -1e-5):
                    moved = [arg.copy() for arg in args]
                    moved[i][index] += step
                    sides.append(np.sum(bn.batchnorm_forward(*moved, 0.2)[0] * dy))
                want[index] = (sides[0] - sides[1]) / 2e-5
            assert np.abs(grad - want).max() <= 1e-7


def standardizes_each_channel(bn):
    for shape in SHAPES.values():
        x, *_ = draw(shape)
        y, _ = bn.batchnorm_forward(x, np.ones(shape[1]), np.zeros(shape[1]), 0.0)
        axes = (0, *range(2, len(shape)))
        assert np.abs(y.mean(axes)).max() < TOLERANCE
        assert np.abs(y.var(axes) - 1).max() < TOLERANCE


def is_exact_for_a_large_offset(bn):
    """Mean 1e8: the data lies on a grid, so that subtracting the offset is exact, and torch gets that."""
    for shape in SHAPES.values():
        x, gamma, beta, dy = draw(shape)
        x = np.round(x * 2**20) / 2**20
        layer = torch_layer(x, gamma, beta, 1e-5, momentum=1.0)
        want = layer(torch.tensor(x)).detach()
        got, cache = bn.batchnorm_forward(x + 1e8, gamma, beta, 1e-5)
        close(got, want)
        mean, var = bn.update_running(np.zeros(shape[1]), np.ones(shape[1]), cache, momentum=1.0)
        close(mean, layer.running_mean.numpy() + 1e8)
        close(var, layer.running_var)


def maps_a_constant_feature_to_beta(bn):
    for value in (0.1, 7.0, 1e8):
        x, gamma, beta, dy = draw((5, 3))
        x[:, 1] = value
        y, cache = bn.batchnorm_forward(x, gamma, beta, 1e-5)
        assert np.array_equal(y[:, 1], np.full(5, beta[1]))
        layer = torch_layer(x, gamma, beta, 1e-5)
        tensor = torch.tensor(x, requires_grad=True)
        layer(tensor).backward(torch.tensor(dy))
        close(bn.batchnorm_backward(dy, cache)[0], tensor.grad)


def changes_no_argument(bn):
    for shape in SHAPES.values():
        x, gamma, beta, dy = draw(shape)
        mean, var = np.full(shape[1], 0.5), np.full(shape[1], 2.0)
        given = [x, gamma, beta, dy, mean, var]
        before = [array.copy() for array in given]
        _, cache = bn.batchnorm_forward(x, gamma, beta)
        bn.batchnorm_backward(dy, cache)
        first = bn.batchnorm_backward(dy, cache)
        second = bn.batchnorm_backward(dy, cache)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        bn.update_running(mean, var, cache)
        bn.batchnorm_inference(x, gamma, beta, mean, var)
        assert all(np.array_equal(a, b) for a, b in zip(given, before, strict=True))


def treats_an_ensemble_as_separate_batches(bn):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(2, 1, (3, 5, 4)), rng.normal(size=(3, 5, 4))
    gamma, beta = rng.normal(size=(3, 1, 4)), rng.normal(size=(3, 1, 4))
    y, cache = bn.batchnorm_forward(x, gamma, beta, axis=-2)
    grads = bn.batchnorm_backward(dy, cache)
    for s in range(3):
        alone, one = bn.batchnorm_forward(x[s], gamma[s, 0], beta[s, 0])
        close(y[s], alone)
        for got, want in zip(grads, bn.batchnorm_backward(dy[s], one), strict=True):
            close(got[s].reshape(want.shape), want)


LAWS = (
    agrees_with_torch,
    agrees_with_finite_differences,
    standardizes_each_channel,
    is_exact_for_a_large_offset,
    maps_a_constant_feature_to_beta,
    changes_no_argument,
    treats_an_ensemble_as_separate_batches,
)
