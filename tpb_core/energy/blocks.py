"""Least squares on blocks: fitted, refitted without some of them, or drawn as sure as they are, all from sums of squares and products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FOLDS = 5
RIDGE = 1e-10
SWEEPS = 40
COLLINEAR = 1e-10
"""Least variance along an axis of correlated coefficients, as a share of one of them."""


@dataclass(frozen=True)
class Blocks:
    """`gram` (b, p, p), `moment` (b, p), `square` (b) and `count` (b) of b stretches of rows; columns were divided by `scale` (p)."""

    gram: Floats
    moment: Floats
    square: Floats
    count: Floats
    scale: Floats

    def __len__(self) -> int:
        return len(self.square)

    def of(self, columns: list[int]) -> Blocks:
        """The same rows with some of the columns."""
        return Blocks(self.gram[:, columns][:, :, columns], self.moment[:, columns], self.square, self.count, self.scale[columns])

    def fit(self, weight: Floats | None = None) -> Floats:
        """Non-negative coefficients (p) from blocks that count `weight` times each (default once)."""
        from scipy import optimize

        weight = np.ones(len(self)) if weight is None else weight
        gram, moment = np.tensordot(weight, self.gram, 1), weight @ self.moment
        root = np.linalg.cholesky(_ridged(gram))
        coefficients, _ = optimize.nnls(root.T, np.linalg.solve(root, moment))
        return np.asarray(coefficients / self.scale)

    def misfit(self, coefficients: Floats) -> Floats:
        """Sum of squared residuals of each block."""
        scaled = coefficients * self.scale
        return np.asarray(self.square - 2 * self.moment @ scaled + np.einsum("i,bij,j->b", scaled, self.gram, scaled))

    def held_out(self) -> Floats:
        """Mean squared residual of each fold when fitted on the others; folds are every fifth block."""
        fold = np.arange(len(self)) % FOLDS
        errors = []
        for k in range(FOLDS):
            mine = fold == k
            if mine.any() and (~mine).any():
                errors.append(float(self.misfit(self.fit((~mine).astype(np.float64)))[mine].sum() / max(self.count[mine].sum(), 1e-30)))
        return np.array(errors)

    def drawn(self, times: int, rng: np.random.Generator) -> Floats:
        """(times, p): coefficients as sure as the blocks make them, if nothing costs less than nothing.

        Draws from the normal distribution of coefficients of any sign, cut where one is negative, by Gibbs sampling of `times` chains along
        the axes of that normal distribution, from the non-negative fit on.
        """
        from scipy import special

        scale = self.scale
        centre, covariance = self.any_sign() * scale, self.covariance() * np.outer(scale, scale)
        spread = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
        axes = vectors * np.sqrt(np.maximum(values, COLLINEAR))  # (p, axes): theta / spread = centre / spread + axes @ x
        inverse = vectors / np.sqrt(np.maximum(values, COLLINEAR))
        theta = np.tile(np.maximum(self.fit() * scale / spread, 1e-9), (times, 1))
        x = (theta - centre / spread) @ inverse
        for _ in range(SWEEPS):
            for k in range(axes.shape[1]):
                axis = axes[:, k]
                with np.errstate(divide="ignore", invalid="ignore"):
                    limit = x[:, k : k + 1] - theta / axis
                low = np.where(axis > 0, limit, -np.inf).max(axis=1)
                high = np.where(axis < 0, limit, np.inf).min(axis=1)
                flip = low > 0  # in the far tail on either side, the other sign keeps its digits
                a, b = np.where(flip, -high, low), np.where(flip, -low, high)
                below, above = special.ndtr(a), special.ndtr(b)
                new = special.ndtri(below + rng.uniform(size=times) * (above - below))
                new = np.where(np.isfinite(new), np.clip(new, a, b), np.where(np.isfinite(b), b, a))
                new = np.where(flip, -new, new)
                theta = np.maximum(theta + (new - x[:, k])[:, None] * axis, 0.0)
                x[:, k] = new
        return np.asarray(theta * spread / scale)

    def any_sign(self) -> Floats:
        """Coefficients (p) of plain least squares."""
        return np.asarray(np.linalg.solve(_ridged(self.gram.sum(axis=0)), self.moment.sum(axis=0)) / self.scale)

    def covariance(self) -> Floats:
        """(p, p) of coefficients of any sign, by the jackknife: how they change where one block after the other is left out."""
        rest = _ridged(self.gram.sum(axis=0)) - self.gram
        without = np.linalg.solve(rest, (self.moment.sum(axis=0) - self.moment)[:, :, None])[:, :, 0]
        off = (without - without.mean(axis=0)) / self.scale
        return np.asarray(off.T @ off * (len(self) - 1) / len(self))

    def covariance_where_told(self) -> Floats:
        """(p, p) of coefficients of any sign, by what each block pulls at the fit of all: finite where one alone tells of a column."""
        inverse = np.linalg.inv(_ridged(self.gram.sum(axis=0)))
        pulls = (self.moment - self.gram @ (self.any_sign() * self.scale)) @ inverse / self.scale
        return np.asarray(pulls.T @ pulls)


def _ridged(gram: Floats) -> Floats:
    """Sums of products that can be inverted, whatever columns they are of."""
    return np.asarray(gram + RIDGE * max(float(np.trace(gram)), 1e-30) * np.eye(len(gram)))


def blocks_of(design: Floats, values: Floats, trust: Floats, length: int, most: int = 400) -> Blocks:
    """Cut rows into stretches of `length` (more where there would be over `most` of them) and add them up."""
    n, p = design.shape
    length = max(length, -(-n // most), 1)
    starts = np.arange(0, n, length)
    scale = np.sqrt(np.maximum((trust[:, None] * design**2).sum(axis=0), 1e-300))
    scale = np.where(scale > 1e-140, scale, 1.0)
    scaled = design / scale
    weighted = scaled * trust[:, None]
    gram = np.empty((len(starts), p, p))
    for j in range(p):
        gram[:, j, :] = np.add.reduceat(weighted * scaled[:, j : j + 1], starts, axis=0)
    moment = np.add.reduceat(weighted * values[:, None], starts, axis=0)
    return Blocks(gram, moment, np.add.reduceat(trust * values**2, starts), np.add.reduceat(trust, starts), scale)
