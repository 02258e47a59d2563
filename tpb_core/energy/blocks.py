"""Least squares on blocks: fitted, refitted without some of them, or with blocks drawn again, all from sums of squares and products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FOLDS = 5
RIDGE = 1e-10
LEAST_SHAPE = 0.2
"""With hardly more blocks than columns, weights vary by no more than this variance allows (its inverse)."""


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
        gram = gram + RIDGE * max(float(np.trace(gram)), 1e-30) * np.eye(len(moment))
        root = np.linalg.cholesky(gram)
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

    def redrawn(self, times: int, rng: np.random.Generator) -> Floats:
        """(times, p): coefficients with blocks weighted at random, mean 1, variance b / (b - p): a Bayesian bootstrap.

        Blocks drawn with replacement would now and then leave out all the few that show what a rare term costs.
        """
        blocks, columns = self.moment.shape
        shape = max((blocks - columns) / blocks, LEAST_SHAPE)
        return np.array([self.fit(rng.gamma(shape, 1 / shape, blocks)) for _ in range(times)])

    def covariance(self) -> Floats:
        """(p, p) of coefficients of any sign, by the jackknife: how they change where one block after the other is left out."""
        ridge = RIDGE * max(float(np.trace(self.gram.sum(axis=0))), 1e-30) * np.eye(self.gram.shape[1])
        without = np.linalg.solve(self.gram.sum(axis=0) + ridge - self.gram, (self.moment.sum(axis=0) - self.moment)[:, :, None])[:, :, 0]
        off = (without - without.mean(axis=0)) / self.scale
        return np.asarray(off.T @ off * (len(self) - 1) / len(self))


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
