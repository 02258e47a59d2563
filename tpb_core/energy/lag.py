"""Slow meters of a whole node (BMC, PDU): their lag and averaging, found by holding them against the faster meters inside the node.

y_i = a + b * (mean in-band power over [t_i - tau - W, t_i - tau]) over a grid of tau and W, least squares; the interval of tau from
SSE < SSE_min * (1 + 3.84 / (n - 3)), with n reduced for residuals that are not white (docs/explanation/measuring-power.md, section 7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel
from tpb_core.energy.observations import Observations

Floats = npt.NDArray[np.float64]

SCOPES = ("node", "psu", "outlet", "rack", "switch")
LONGEST_LAG_S = 12.0
STEP_S = 0.25
FINE_S = 0.05
AVERAGINGS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
LEAST_READINGS = 20
CHI2 = 3.84


@dataclass(frozen=True)
class Lag:
    """What was found: delay and averaging with standard uncertainties in seconds; watts = offset_w + factor * in-band watts."""

    delay_s: float
    delay_u_s: float
    averaging_s: float
    averaging_u_s: float
    offset_w: float
    factor: float
    readings: int

    def described(self) -> dict[str, float]:
        """For the ledger's parameters. A factor outside 1.0 to 1.25 hints at a wrong scope."""
        return {name: float(getattr(self, name)) for name in ("delay_s", "delay_u_s", "averaging_s", "offset_w", "factor", "readings")}


def is_slow(channel: Channel) -> bool:
    """Whether a channel is a node's power whose delay or averaging nobody stated."""
    return channel.kind == "power" and channel.scope in SCOPES and (channel.delay_ms is None or channel.averaging_ms is None)


def with_lag(channel: Channel, lag: Lag) -> Channel:
    """The channel with what was found where it states nothing itself."""
    found = {
        "delay_ms": lag.delay_s * 1e3,
        "delay_u_ms": lag.delay_u_s * 1e3,
        "averaging_ms": lag.averaging_s * 1e3,
        "averaging_u_ms": lag.averaging_u_s * 1e3,
    }
    if channel.delay_ms is not None:
        del found["delay_ms"], found["delay_u_ms"]
    if channel.averaging_ms is not None:
        del found["averaging_ms"], found["averaging_u_ms"]
    return replace(channel, **found)  # type: ignore[arg-type]


def fit_lag(slow: Observations, in_band: list[Observations]) -> Lag | None:
    """Fit a slow channel read without delay or averaging. None with too few readings inside the in-band record."""
    seen = (slow.lo_s + slow.hi_s) / 2
    first = max(fast.first_read_s for fast in in_band) + LONGEST_LAG_S + max(AVERAGINGS)
    last = min(fast.last_read_s for fast in in_band)
    use = slow.good & (seen >= first) & (seen <= last)
    if use.sum() < LEAST_READINGS:
        early = max(fast.first_read_s for fast in in_band) + max(AVERAGINGS)
        use = slow.good & (seen >= early) & (seen <= last)
    if use.sum() < LEAST_READINGS:
        return None
    t, y = seen[use], slow.mean_w[use]
    curves = [_cumulative(fast) for fast in in_band]

    def misfit(tau: float, width: float) -> tuple[float, float, float, Floats]:
        spread = max(width, slow.refresh_s / 2, 0.05)  # an instant is known no better than its refresh
        x = sum((_mean(curve, t - tau - width / 2, spread) for curve in curves), np.zeros(len(t)))
        design = np.column_stack([np.ones(len(t)), x])
        theta = np.linalg.lstsq(design, y, rcond=None)[0]
        residual = y - design @ theta
        return float(residual @ residual), float(theta[0]), float(theta[1]), residual

    coarse = {(tau, w): misfit(tau, w)[0] for tau in np.arange(0.0, LONGEST_LAG_S + STEP_S, STEP_S) for w in AVERAGINGS}
    tau0, width = min(coarse, key=lambda key: coarse[key])
    fine = {tau: misfit(tau, width)[0] for tau in np.arange(max(tau0 - 2 * STEP_S, 0.0), tau0 + 2 * STEP_S + FINE_S, FINE_S)}
    tau = min(fine, key=lambda key: fine[key])
    least, offset, factor, residual = misfit(tau, width)
    correlation = float(np.corrcoef(residual[1:], residual[:-1])[0, 1]) if np.ptp(residual) > 0 else 0.0
    effective = max(len(t) * (1 - max(correlation, 0.0)) / (1 + max(correlation, 0.0)), 5.0)
    bound = max(least, 1e-12) * (1 + CHI2 / (effective - 3))
    near = [key for key, value in {**coarse, **{(t_, width): v for t_, v in fine.items()}}.items() if value <= bound]
    taus, widths = [key[0] for key in near] or [tau], [key[1] for key in near] or [width]
    delay_u = max((max(taus) - min(taus)) / 2 / 1.96, FINE_S / np.sqrt(12))
    return Lag(float(tau), float(delay_u), float(width), float((max(widths) - min(widths)) / 2 / 1.96), offset, factor, len(t))


def _cumulative(fast: Observations) -> tuple[Floats, Floats]:
    stamps = np.concatenate([fast.cell_lo_s, fast.cell_hi_s[-1:]])
    return stamps, np.concatenate([[0.0], np.cumsum(fast.mean_w * (fast.cell_hi_s - fast.cell_lo_s))])


def _mean(curve: tuple[Floats, Floats], centre: Floats, width: float) -> Floats:
    upper, lower = np.interp(centre + width / 2, *curve), np.interp(centre - width / 2, *curve)
    return np.asarray((upper - lower) / width)
