"""One style for all figures, and one colour for each meaning, with a marker as its second sign."""

import numpy as np

COLORS = {
    "raw": "#b3261e",
    "centred": "#a15c00",
    "scaled": "#7a5195",
    "standardized": "#0b6e99",
    "whitened": "#2e7d32",
    "guess": "#5f6368",
}
MARKERS = {
    "raw": "s",
    "centred": "^",
    "scaled": "v",
    "standardized": "o",
    "whitened": "D",
}


def use_style():
    """Figures as the course shows them: white paper (so they read in a dark theme), sharp, no clutter."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.figsize": (6.4, 3.4),
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e4e4e4",
            "axes.axisbelow": True,
            "font.size": 10,
            "legend.frameon": False,
        }
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
    except (ImportError, AttributeError):  # plain Python: there is no notebook to sharpen
        pass


def points(ax, x, estimates, name, label=None):
    """Markers at `x` (P,) for P estimates, each with its interval as a vertical bar."""
    value, low, high = np.array(estimates).T
    ax.errorbar(
        x,
        value,
        yerr=[value - low, high - value],
        fmt=MARKERS[name],
        color=COLORS[name],
        capsize=3,
        markersize=6,
        label=label or name,
    )


def band(ax, x, estimates, name, label=None):
    """A line through T estimates at the places `x` (T,), with their intervals as a band."""
    value, low, high = np.array(estimates).T
    ax.plot(x, value, color=COLORS[name], label=label or name)
    ax.fill_between(x, low, high, color=COLORS[name], alpha=0.2, linewidth=0)


def loss_surface(ax, x, t, path, name):
    """Contours of the loss of `x @ w = t` over two weights, and the path (T, 2) of gradient descent.

    Both axes have the same unit, so that round is round. The contours are drawn where 1, 10, 40, 100,
    300, 1000 and 3000 % of the initial excess loss are left.
    """
    best = np.linalg.lstsq(x, t, rcond=None)[0]
    reach = 1.4 * np.abs(best).max()
    grid = [np.linspace(b / 2 - reach, b / 2 + reach, 301) for b in best]
    w = np.stack(np.meshgrid(*grid), -1) - best
    excess = np.einsum("...i,ij,...j", w, x.T @ x, w) / np.einsum("i,ij,j", best, x.T @ x, best)
    ax.contour(*grid, excess, levels=[0.01, 0.1, 0.4, 1, 3, 10, 30], colors="#9aa0a6", linewidths=1)
    ax.plot(*path.T, color=COLORS[name], marker=MARKERS[name], markersize=3, linewidth=1)
    ax.plot(*best, color="black", marker="*", markersize=11)
    ax.set_aspect("equal")


def guess_line(ax, guess, reference, label):
    """A dashed line at the median of `reference` divided by the reader's guess; nothing without one."""
    if guess is not None:
        y = np.median(reference) / guess
        ax.axhline(y, ls="--", color=COLORS["guess"], zorder=1)
        place = {"xycoords": ("axes fraction", "data"), "ha": "left", "va": "bottom"}
        ax.annotate(label, (0.01, y), color=COLORS["guess"], **place)
