"""The exhibits of the bug museum: ten small layers, each with one bug at most, under names that say nothing.

All have the same interface. `forward(x)` takes an (N, D) batch and returns y = gamma * xhat + beta.
`backward(dy)` belongs to the last `forward`: it returns dx, and leaves `dgamma` and `dbeta` in the layer.
A new layer is in training mode, where it is meant to normalize by the batch (variance divided by N, eps
inside the root) and to move its running statistics as PyTorch does (unbiased variance, momentum is the
weight of the new batch). In evaluation mode it is meant to normalize by the running statistics, which are
constants there, in `backward` too. `state_dict` and `load_state_dict` carry a layer into another one.
Each class is written out in full, so that all there is to see of it is in one place.
"""

import numpy as np


class Amber:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (x.var(axis=0, ddof=1) - self.running_var)
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.training:
            dy = dy - self.dbeta / len(dy) - self.xhat * self.dgamma / len(dy)
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        return {"gamma": self.gamma.copy(), "beta": self.beta.copy()}

    def load_state_dict(self, state):
        self.gamma, self.beta = state["gamma"].copy(), state["beta"].copy()


class Basalt:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        if self.training:
            mean, var, new = x.mean(axis=0), x.var(axis=0), self.momentum
            self.running_mean = (1 - new) * self.running_mean + new * mean
            self.running_var = (1 - new) * self.running_var + new * x.var(axis=0, ddof=1)
        else:
            mean, var = self.running_mean, self.running_var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma = (dy * self.xhat).sum(axis=0)
        self.dbeta = dy.sum(axis=0)
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_var"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        for name, array in state.items():
            setattr(self, name, array.copy())


class Coral:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.mean, self.var = np.zeros(num_features), np.ones(num_features)  # the running ones

    def forward(self, x):
        mean, var = self.mean, self.var
        if self.training:
            self.degrees = len(x) - 1
            mean = x.mean(axis=0)
            var = ((x - mean) ** 2).sum(axis=0) / self.degrees
            self.mean = (1 - self.momentum) * self.mean + self.momentum * mean
            self.var = (1 - self.momentum) * self.var + self.momentum * var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.training:
            dy = dy - dy.mean(axis=0) - self.xhat * self.dgamma / self.degrees
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        return {"arrays": np.stack([self.gamma, self.beta, self.mean, self.var])}

    def load_state_dict(self, state):
        self.gamma, self.beta, self.mean, self.var = state["arrays"].copy()


class Dolomite:
    """A batch-normalization layer? Same interface as every exhibit."""

    buffers = {}

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        if num_features not in self.buffers:
            self.buffers[num_features] = np.zeros(num_features), np.ones(num_features)
        self.running_mean, self.running_var = self.buffers[num_features]

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (x.var(axis=0, ddof=1) - self.running_var)
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.training:
            dy = dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0)
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_var"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        for name, array in state.items():
            getattr(self, name)[:] = array


class Emerald:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        n, mean, var = len(x), self.running_mean, self.running_var
        if self.training:
            mean = x.mean(axis=0)
            var = (x * x).mean(axis=0) - mean * mean
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            unbiased = var * (n / (n - 1))
            self.running_var = self.running_var + self.momentum * (unbiased - self.running_var)
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.training:
            dy = dy - self.dbeta / len(dy) - self.xhat * self.dgamma / len(dy)
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_var"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        vars(self).update({name: array.copy() for name, array in state.items()})


class Flint:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_std = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        if self.training:
            mean, var, old, new = x.mean(axis=0), x.var(axis=0), 1 - self.momentum, self.momentum
            self.running_mean = old * self.running_mean + new * mean
            self.running_std = old * self.running_std + new * x.std(axis=0, ddof=1)
        else:
            mean, var = self.running_mean, self.running_std**2
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.training:
            dy = dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0)
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_std"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        for name, array in state.items():
            setattr(self, name, array.copy())


class Garnet:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)

    def forward(self, x):
        mean = x.mean(axis=1, keepdims=True)
        var = ((x - mean) ** 2).mean(axis=1, keepdims=True)
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        dxhat = self.gamma * dy
        along = self.xhat * (dxhat * self.xhat).mean(axis=1, keepdims=True)
        return (dxhat - dxhat.mean(axis=1, keepdims=True) - along) / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        return {"gamma": self.gamma.copy(), "beta": self.beta.copy()}

    def load_state_dict(self, state):
        self.gamma, self.beta = state["gamma"].copy(), state["beta"].copy()


class Halite:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        self.is_batch = len(x) > 1
        mean, var = self.running_mean, self.running_var
        if self.is_batch:
            mean, var = x.mean(axis=0), x.var(axis=0)
        if self.is_batch and self.training:
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            change = x.var(axis=0, ddof=1) - self.running_var
            self.running_var = self.running_var + self.momentum * change
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.is_batch:
            dy = dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0)
        return self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_var"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        vars(self).update({name: array.copy() for name, array in state.items()})


class Ivory:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running = np.stack([np.zeros(num_features), np.ones(num_features)])

    def forward(self, x):
        mean, var = self.running
        if self.training:
            n, mean = len(x), x.sum(axis=0) / len(x)
            var = ((x - mean) ** 2).sum(axis=0) / n
            batch = np.stack([mean, var * n / (n - 1)])
            self.running = self.running - self.momentum * (self.running - batch)
        self.inverse = (var + self.eps) ** -0.5
        self.centred = x - mean
        return self.gamma * self.inverse * self.centred + self.beta

    def backward(self, dy):
        self.dgamma = self.inverse * (dy * self.centred).sum(axis=0)
        self.dbeta = dy.sum(axis=0)
        dx = self.gamma * self.inverse * dy
        if self.training:
            dx = dx - self.centred * self.inverse**2 * (dx * self.centred).mean(axis=0)
            dx = dx - dx.mean(axis=0)
        return dx

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        return {"affine": np.stack([self.gamma, self.beta]), "running": self.running.copy()}

    def load_state_dict(self, state):
        self.gamma, self.beta = state["affine"].copy()
        self.running = state["running"].copy()


class Jade:
    """A batch-normalization layer? Same interface as every exhibit."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var, new = x.mean(axis=0), x.var(axis=0), self.momentum
            self.running_mean = (1 - new) * self.running_mean + new * mean
            self.running_var = (1 - new) * self.running_var + new * x.var(axis=0, ddof=1)
        self.std = np.sqrt(var)
        self.inverse = 1 / (self.std + self.eps)
        self.xhat = (x - mean) * self.inverse
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        if self.training:
            along = self.xhat * self.dgamma / (self.std * self.inverse)
            dy = dy - (self.dbeta + along) / len(dy)
        return self.gamma * dy * self.inverse

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_var"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        for name, array in state.items():
            setattr(self, name, array.copy())


EXHIBITS = (Amber, Basalt, Coral, Dolomite, Emerald, Flint, Garnet, Halite, Ivory, Jade)
