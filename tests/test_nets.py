import numpy as np
import pytest
import torch

from bncourse import layers, nets

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (60, 7))
Y = RNG.integers(0, 4, 60)
WIDTHS = [7, 6, 5, 4]


def torch_loss(net, x, y, activation, batchnorm):
    """The same computation with torch, for one network of an ensemble; arrays become leaves."""
    act = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[activation]
    tensors, h = [], torch.tensor(x)
    for i, layer in enumerate(net):
        leaf = [None if a is None else torch.tensor(a, requires_grad=True) for a in layer]
        tensors.append(leaf)
        h = h @ leaf[0]
        if leaf[1] is not None:
            h = h + leaf[1]
        if leaf[2] is not None:
            h = torch.nn.functional.batch_norm(
                h, None, None, leaf[2][0], leaf[3][0], training=True, eps=1e-5
            )
        h = act(h) if i < len(net) - 1 else h
    return torch.nn.functional.cross_entropy(h, torch.tensor(y)), tensors


@pytest.mark.parametrize("batchnorm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_loss_and_gradients_agree_with_torch(activation, batchnorm):
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    net = nets.init(WIDTHS, rngs, activation, batchnorm, np.float64)
    logits, tape = nets.forward(net, X, activation)
    losses, dlogits = layers.softmax_cross_entropy(logits, np.broadcast_to(Y, (3, 60)))
    grads = nets.backward(net, tape, dlogits, activation)
    for s in range(3):
        one = [nets.Layer(*[None if a is None else a[s] for a in layer]) for layer in net]
        loss, tensors = torch_loss(one, X, Y, activation, batchnorm)
        loss.backward()
        assert abs(losses[s] - loss.item()) < 1e-10
        for grad, leaf in zip(grads, tensors, strict=True):
            for got, want in zip(grad, leaf, strict=True):
                assert (got is None) == (want is None)
                if got is not None:
                    assert np.abs(got[s] - want.grad.numpy()).max() < 1e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batchnorm", [True, False])
def test_an_ensemble_is_bitwise_its_networks_trained_alone(batchnorm, dtype):
    lr = [0.03, 0.1, 0.3, 0.1]
    settings = {"steps": 25, "batch_size": 16, "batchnorm": batchnorm}
    x = X.astype(dtype)
    net, losses = nets.train(x, Y, WIDTHS, lr, [5, 6, 7, 8], **settings)
    for s, seed in enumerate([5, 6, 7, 8]):
        alone, loss = nets.train(x, Y, WIDTHS, lr[s], [seed], **settings)
        assert np.array_equal(losses[s], loss[0])
        for many, one in zip(net, alone, strict=True):
            for a, b in zip(many, one, strict=True):
                assert a is None and b is None or np.array_equal(a[s], b[0])


def test_wide_networks_are_bitwise_equal_too():
    x, widths = np.tile(X, (2, 9)).astype(np.float32), [63, 100, 100, 4]
    net, losses = nets.train(x, np.tile(Y, 2), widths, 0.1, range(9), 5, 60, batchnorm=True)
    _, alone = nets.train(x, np.tile(Y, 2), widths, 0.1, [8], 5, 60, batchnorm=True)
    assert np.array_equal(losses[8], alone[0])


def test_training_lowers_the_loss_and_seeds_differ():
    _, losses = nets.train(X, Y, WIDTHS, 0.3, range(4), 200, 20, batchnorm=True)
    assert (losses[:, -20:].mean(1) < losses[:, :20].mean(1) - 0.3).all()
    assert len(np.unique(losses[:, 0])) == 4


def test_watch_sees_every_step():
    seen = []
    nets.train(X, Y, WIDTHS, 0.1, [0], 7, 20, watch=lambda step, net: seen.append((step, len(net))))
    assert seen == [(step, 3) for step in range(7)]


def test_each_epoch_uses_every_example_once():
    rngs = [np.random.default_rng(0), np.random.default_rng(1)]
    taken = np.concatenate(list(nets.batches(12, 4, rngs, 3)), axis=1)
    assert np.array_equal(np.sort(taken, axis=1), np.tile(np.arange(12), (2, 1)))
    assert not np.array_equal(taken[0], taken[1])


def test_weights_have_the_stated_variance():
    net = nets.init([400, 300, 2], [np.random.default_rng(0)], "relu", dtype=np.float64)
    assert abs(net[0].weight.var() * 400 / 2 - 1) < 0.02
    net = nets.init([400, 300, 2], [np.random.default_rng(0)], "tanh", dtype=np.float64)
    assert abs(net[0].weight.var() * 400 - 1) < 0.02


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="swish"):
        nets.init(WIDTHS, [RNG], "swish")
    with pytest.raises(ValueError, match="1 to 60.*got 61"):
        nets.train(X, Y, WIDTHS, 0.1, [0], 1, 61)


def test_losses_do_not_overflow():
    loss, dlogits = layers.softmax_cross_entropy(
        np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0])
    )
    assert loss == 5e3 and np.isfinite(dlogits).all()
    assert np.isfinite(layers.sigmoid(np.array([-1e9, 1e9]))).all()
