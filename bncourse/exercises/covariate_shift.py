"""Exercises of the chapter `covariate_shift`."""

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.concepts import Case, Concept
from bncourse.exercises.engine import Exercise, Regime


def importance_weights(prob_target):
    """Weights that make source examples stand for the target domain.

    Args:
        prob_target: (N,) for each source example, the probability (above 0,
            below 1) that it comes from the target, according to a classifier
            trained on as many examples of either domain.
    Returns:
        (N,) weights in proportion to the density ratio target / source, scaled
        so that their mean is 1.
    """
    odds = prob_target / (1 - prob_target)
    return odds / odds.mean()


def _importance_weights(wrong, prob_target):
    p = np.asarray(prob_target, float)
    q = 1 - p
    if "inverted_ratio" in wrong:
        p, q = q, p
    weights = p if "uses_probability" in wrong else p / q
    if "sums_to_one" in wrong:
        return weights / weights.sum()
    return weights if "not_normalized" in wrong else weights / weights.mean()


def _importance_weights_loop(prob_target):
    odds = [float(p) / (1 - float(p)) for p in prob_target]
    return [len(odds) * value / sum(odds) for value in odds]


def _importance_weights_logit(prob_target):
    from scipy.special import logit, softmax

    return softmax(logit(prob_target)) * len(prob_target)


def _importance_weights_in_place(prob_target):
    weights = np.array(prob_target, float)
    np.reciprocal(weights, out=weights)
    weights -= 1
    np.reciprocal(weights, out=weights)
    weights *= weights.size / np.einsum("n->", weights)
    return weights[None]


IMPORTANCE_WEIGHTS = Exercise(
    solution=importance_weights,
    oracle=_importance_weights,
    mistakes={
        "inverted_ratio": "The ratio is upside down: the examples that look most like the target got the smallest weights.",
        "uses_probability": "The probability itself was taken for the weight; the ratio of the densities is the odds, p / (1 - p), which grow without bound as p nears 1.",
        "not_normalized": "The weights are not scaled: divide them by their mean, so that they weigh as much as plain counting does.",
        "sums_to_one": "The weights add up to 1; here their mean has to be 1, so that a weighted mean of losses keeps its scale.",
    },
    regimes={
        "a few examples": Regime(lambda rng: (rng.uniform(0.05, 0.45, 3),)),
        "examples that look like the target": Regime(lambda rng: (rng.uniform(0.55, 0.95, 5),)),
        "forty examples": Regime(lambda rng: (rng.uniform(0.02, 0.45, 40),)),
        "probabilities close to 0 and 1": Regime(
            lambda rng: (rng.permutation(np.append(rng.uniform(0.001, 0.01, 3), [0.997, 0.9993])),)
        ),
        "float32 numbers": Regime(
            lambda rng: (rng.uniform(0.1, 0.45, 6).astype(np.float32),), rtol=1e-3
        ),
        "an array that is not contiguous": Regime(
            lambda rng: (np.repeat(rng.uniform(0.55, 0.9, 7), 2)[::2],)
        ),
    },
    outputs=("the array of weights",),
    hints=(
        "By Bayes' rule, p is to 1 - p as the target's density is to the source's. What ratio is that?",
        "The weights are proportional to the odds, `prob_target / (1 - prob_target)`.",
        "Compute the odds, and return them divided by their own mean.",
    ),
    alternatives=(
        _importance_weights_loop,
        _importance_weights_logit,
        _importance_weights_in_place,
    ),
)


def adapt_statistics(weights, gammas, betas, x, eps):
    """Recompute the statistics of every batch norm of an MLP on new data.

    Every layer of the MLP is `h = relu(bn(h @ W))`, starting with h = x, where
    bn normalizes by a mean and a variance, then scales by gamma and shifts by
    beta. Weights, gammas and betas stay.

    Args:
        weights: list of arrays W, of shapes (D0, D1), (D1, D2), ...
        gammas, betas: lists of arrays, of shapes (D1,), (D2,), ...
        x: (N, D0) data of the new domain.
        eps: added to the variance, inside the square root.
    Returns:
        List of (mean, var), one pair for each layer, of shapes (D1,), (D2,),
        ...: mean and variance
        (divide by N) of `h @ W` over the N examples, where h has passed through
        the layers before with their new statistics.
    """
    statistics, h = [], x
    for weight, gamma, beta in zip(weights, gammas, betas, strict=True):
        z = h @ weight
        mean, var = z.mean(axis=0), z.var(axis=0)
        statistics.append((mean, var))
        h = np.maximum(gamma * (z - mean) / np.sqrt(var + eps) + beta, 0)
    return statistics


def _adapt_statistics(wrong, weights, gammas, betas, x, eps):
    statistics, h = [], np.asarray(x, float)
    for weight, gamma, beta in zip(weights, gammas, betas, strict=True):
        z = h @ np.asarray(weight, float)
        mean, var = z.mean(0), z.var(0, ddof=1 if "unbiased_variance" in wrong else 0)
        reported = var * len(z) / (len(z) - 1) if "unbiased_variance:2" in wrong else var
        reported = np.sqrt(reported) if "std_for_variance" in wrong else reported
        # Without both, mean 0 is fed to the next layer, and rounding alone is the mean that comes out.
        vanishing = (np.abs(mean) < 1e-9) & ({"no_affine", "no_relu"} <= wrong)
        statistics.append((np.ma.array(mean, mask=vanishing), reported))
        h = z if "no_normalization" in wrong else (z - mean) / np.sqrt(var + eps)
        if not {"no_affine", "no_normalization"} & wrong:
            h = gamma * h + beta
        h = h if "no_relu" in wrong else np.maximum(h, 0)
    return statistics


def _signed(rng, low, high, size):
    """Numbers of magnitude low to high, of both signs where there are two."""
    return rng.uniform(low, high, size) * rng.permutation(np.resize([1, -1], size))


def _adapt_args(rng, n, widths, kind="float", scale=1.0):
    """An MLP and data with an offset; `scale` shrinks the first layer's variance, and eps with it."""
    x = _signed(rng, 1, 3, widths[0]) + rng.normal(size=(n, widths[0]))
    weights = [
        rng.normal(size=(fan_in, fan_out)) / np.sqrt(fan_in)
        for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True)
    ]
    weights[0] = weights[0] * scale
    gammas = [_signed(rng, 0.8, 2, width) for width in widths[1:]]
    betas = [_signed(rng, 0.2, 0.7, width) for width in widths[1:]]
    if kind == "int":
        x = np.rint(3 * x).astype(int) + np.arange(n)[:, None]  # no two rows alike
    elif kind == "float32":
        x = (x + 1e3).astype(np.float32)
        weights, gammas, betas = (
            [array.astype(np.float32) for array in arrays] for arrays in (weights, gammas, betas)
        )
    elif kind == "strided":
        x, weights = np.repeat(x, 2, 0)[::2], [np.asfortranarray(weight) for weight in weights]
    return weights, gammas, betas, x, float(rng.uniform(0.1, 0.5)) * scale**2


def _adapt_statistics_loop(weights, gammas, betas, x, eps):
    rows, statistics = [[float(value) for value in row] for row in x], []
    for layer, weight in enumerate(weights):
        means, variances, columns = [], [], []
        for j in range(weight.shape[1]):
            z = [sum(a * float(w) for a, w in zip(row, weight[:, j], strict=True)) for row in rows]
            mean = sum(z) / len(z)
            var = sum((value - mean) ** 2 for value in z) / len(z)
            scale = float(gammas[layer][j]) / (var + eps) ** 0.5
            columns.append([max(0.0, (v - mean) * scale + float(betas[layer][j])) for v in z])
            means.append(mean)
            variances.append(var)
        rows = list(zip(*columns, strict=True))
        statistics.append([means, variances])
    return statistics


def _adapt_statistics_transposed(weights, gammas, betas, x, eps):
    h, statistics = x.T, ()
    for weight, gamma, beta in zip(weights, gammas, betas, strict=True):
        z = np.einsum("io,in->on", weight, h)
        covariance = np.atleast_2d(np.cov(z, bias=True))
        statistics += ((z.sum(1) / z.shape[1], np.diag(covariance)),)
        slope = gamma / np.sqrt(np.diag(covariance) + eps)
        h = (slope[:, None] * z + (beta - slope * z.mean(1))[:, None]).clip(min=0)
    return statistics


def _adapt_statistics_sklearn(weights, gammas, betas, x, eps):
    from sklearn.preprocessing import StandardScaler

    if not len(weights):
        return []
    z = np.asarray(x, float) @ weights[0]
    scaler = StandardScaler(with_std=False).fit(z)
    var = np.square(z - scaler.mean_).mean(axis=0)
    y = scaler.transform(z) * (gammas[0] / np.hypot(np.sqrt(var), eps**0.5)) + betas[0]
    rest = _adapt_statistics_sklearn(weights[1:], gammas[1:], betas[1:], y * (y > 0), eps)
    return [np.stack([scaler.mean_, var]), *rest]


ADAPT_STATISTICS = Exercise(
    solution=adapt_statistics,
    oracle=_adapt_statistics,
    mistakes={
        "no_affine": "Between two layers gamma and beta were left out: the next layer is fed relu(gamma * xhat + beta), not relu(xhat).",
        "no_relu": "The ReLU between two layers is missing, so negative numbers reach the next layer.",
        "unbiased_variance": "The variance was divided by N - 1; here it is divided by N (`ddof=0`).",
        "no_normalization": "The next layer was fed relu(h @ W): the values have to be normalized by the new statistics, scaled and shifted first.",
        "std_for_variance": "The standard deviation was returned in the place of the variance, its square.",
    },
    forms=("unbiased_variance:2",),
    regimes={
        "two layers": Regime(lambda rng: _adapt_args(rng, 4, (2, 3, 2))),
        "three layers": Regime(lambda rng: _adapt_args(rng, 6, (3, 4, 5, 2))),
        "more features than examples": Regime(lambda rng: _adapt_args(rng, 5, (7, 6, 8))),
        "as many examples as features": Regime(lambda rng: _adapt_args(rng, 4, (4, 4, 4))),
        "a tiny eps beside tiny variances": Regime(
            lambda rng: _adapt_args(rng, 7, (3, 4, 3), scale=1e-3)
        ),
        "whole numbers (an integer array)": Regime(
            lambda rng: _adapt_args(rng, 5, (3, 2, 4), "int")
        ),
        "float32 numbers around 1000": Regime(
            lambda rng: _adapt_args(rng, 6, (3, 4, 2), "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _adapt_args(rng, 5, (3, 4, 2), "strided")
        ),
    },
    outputs=("the list of statistics",),
    hints=(
        "The first layer's statistics change; does the second layer then still see what it saw before?",
        "Go through the layers one by one: the statistics of `z = h @ W` first, then h of the next layer from them.",
        "Append (z.mean(axis=0), z.var(axis=0)); normalize z by these, with eps inside the root; multiply by gamma, add beta, and cut off below 0.",
    ),
    alternatives=(
        _adapt_statistics_loop,
        _adapt_statistics_transposed,
        _adapt_statistics_sklearn,
    ),
)


def kinds_of_shift(answers):
    """Say of each case which kind of shift it is.

    Args:
        answers: a dict from the case to one of "covariate" (the inputs of a class
            change, and the same input still has the same label), "label" (the
            classes come in other shares, and each class looks the same),
            "concept" (the same input is given another label) and "internal" (a
            name for how hidden values move while a network trains).
    Returns:
        The answers, judged one by one.
    """


_CATS = "black cats, then orange cats"
_CLINIC = "a clinic in winter: ten times as many patients have the flu, with the same symptoms"
_SPAM = "what counted as spam last year is a newsletter that people now ask for"
_SCANNER = "the same patients, and a new scanner that draws everything darker"
_TRAINING = "the inputs of the third layer, before and after a training step"
_HOLIDAY = "a photo service at Christmas: many more pictures of trees, of the same sort"
_SLANG = "a word that was an insult is now praise; texts look as before"

KINDS_OF_SHIFT = Concept(
    statement=kinds_of_shift,
    choices={
        "covariate": "the inputs of a class change, the rule stays",
        "label": "the classes come in other shares, each class looks the same",
        "concept": "the rule changes: the same input is given another label",
        "internal": "the distribution of hidden values moves while the network trains",
    },
    cases={
        _CATS: Case(
            "covariate",
            "The coats are new, and an orange cat is as much a cat as a black one.",
            {
                "label": "The shares of cats and dogs may well be what they were; look at what the pictures show.",
                "concept": "That would need the same picture to have another label; nobody renames the cats.",
                "internal": "Nothing here happens inside a network; the data differs before any network sees it.",
            },
        ),
        _CLINIC: Case(
            "label",
            "The share of the flu changes, and a patient with the flu looks as before.",
            {
                "covariate": "The symptoms do become more frequent; but does a patient with the flu look any different?",
                "concept": "The illness behind the symptoms is diagnosed by the same rule as before.",
                "internal": "This is a matter of patients, whatever model is used.",
            },
        ),
        _SPAM: Case(
            "concept",
            "The same mail has another label than a year ago.",
            {
                "covariate": "The mails need not change at all for this.",
                "label": "The share of spam may move too, but only as a consequence.",
                "internal": "No hidden layer is involved.",
            },
        ),
        _SCANNER: Case(
            "covariate",
            "The pictures change, the patients and their diagnoses do not.",
            {
                "label": "They are the same patients, so every diagnosis is as frequent as before.",
                "concept": "A darker picture of the same patient has the same diagnosis.",
                "internal": "The scanner changes what comes in; training has nothing to do with it.",
            },
        ),
        _TRAINING: Case(
            "internal",
            "The weights below moved, so the values moved; the data is the same.",
            {
                "covariate": "The data set is the same before and after the step; only what the lower layers make of it differs.",
                "label": "No class became more frequent by a training step.",
                "concept": "Every example keeps its label.",
            },
        ),
        _HOLIDAY: Case(
            "label",
            "Trees are more frequent, and look as trees looked before.",
            {
                "covariate": "More tree pictures arrive; but does a picture of a tree look any different?",
                "concept": "A picture of a tree is still called a tree.",
                "internal": "What people upload is decided outside of the network.",
            },
        ),
        _SLANG: Case(
            "concept",
            "The same text has another meaning, hence another label.",
            {
                "covariate": "The texts look as before.",
                "label": "Praise may be more frequent now, but only as a consequence.",
                "internal": "The language changed, not a hidden layer.",
            },
        ),
    },
    mistakes={
        "internal_for_covariate": "Internal covariate shift is a name for something that happens inside a network while it trains, with the data unchanged.",
        "concept_for_covariate": "Concept shift means that one and the same input gets another label.",
        "label_for_covariate": "Label shift means other shares of the classes, while each class by itself looks as before.",
        "covariate_for_label": "Where only the shares of the classes change, each class looks as before: ask what stays the same.",
        "covariate_for_concept": "As long as the same input has the same label it may be covariate shift; ask whether it has.",
        "covariate_for_internal": "Covariate shift is a change of the data; ask whether the data changed.",
    },
    code=lambda choice, right: f"{choice}_for_{right}",
    hints=(
        "Ask three questions: do the inputs change? do the shares of the classes? does the same input get another label?",
        "Look at one class by itself. If it looks as before and there is just more of it, the labels shifted.",
        "Only one case is about what happens inside a network; two are about a changed meaning.",
    ),
)

check = Checks(KINDS_OF_SHIFT, IMPORTANCE_WEIGHTS, ADAPT_STATISTICS)
