"""Signal and uptake equations of the phantom.

Concentrations are in mM, times in s (the pharmacokinetic literature's minutes are converted here), T1 in s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

RELAXIVITY_PER_MM_S = 4.5
"""Longitudinal relaxivity r1 of a gadolinium chelate in tissue, 1/(mM s)."""

HEMATOCRIT = 0.42

_AIF_STEP_S = 1.0


def spgr_signal(t1_s: ArrayLike, proton_density: ArrayLike, *, tr_s: float, flip_deg: float) -> NDArray[np.float64]:
    """Steady-state spoiled gradient-echo signal M0 sin(a) (1 - E1) / (1 - cos(a) E1), with E1 = exp(-TR / T1).

    T2* decay is left out: echo times of dynamic breast protocols are short. Arguments broadcast against each other.

    Args:
        t1_s: T1 in seconds.
        proton_density: M0 in signal units.
        tr_s: Repetition time in seconds.
        flip_deg: Flip angle a in degrees.

    Returns:
        The signal in the units of M0.
    """
    angle = np.deg2rad(flip_deg)
    e1 = np.exp(-tr_s / np.asarray(t1_s, dtype=float))
    return np.asarray(proton_density, dtype=float) * np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1)


def enhanced_t1_s(t10_s: ArrayLike, concentration_mm: ArrayLike) -> NDArray[np.float64]:
    """T1 with contrast agent, fast exchange: 1/T1 = 1/T10 + r1 C."""
    return 1.0 / (
        1.0 / np.asarray(t10_s, dtype=float) + RELAXIVITY_PER_MM_S * np.asarray(concentration_mm, dtype=float)
    )


def parker_blood_concentration(time_s: ArrayLike) -> NDArray[np.float64]:
    """Population arterial blood concentration (mM) of Parker et al., Magn Reson Med 2006;56:993, Table 1.

    `time_s` counts from the bolus arrival; the concentration is 0 before it.
    """
    t = np.asarray(time_s, dtype=float) / 60.0
    amplitude, center, width = (0.809, 0.330), (0.17046, 0.365), (0.0563, 0.132)
    alpha, beta, s, tau = 1.050, 0.1685, 38.078, 0.483
    gaussians = sum(
        a / (w * np.sqrt(2 * np.pi)) * np.exp(-((t - c) ** 2) / (2 * w**2))
        for a, c, w in zip(amplitude, center, width, strict=True)
    )
    exponent = np.clip(-s * (t - tau), -700, 700)
    return np.where(t >= 0, gaussians + alpha * np.exp(-beta * t) / (1 + np.exp(exponent)), 0.0)


def tofts_concentration(
    time_s: ArrayLike, *, ktrans_per_min: float, ve: float, vp: float, arrival_s: float
) -> NDArray[np.float64]:
    """Extended Tofts tissue concentration for Parker's arterial input.

    Ct(t) = vp Cp(t) + Ktrans integral of Cp(u) exp(-Ktrans/ve (t - u)) du, with Cp = Cb / (1 - hematocrit). The
    integral is a sum over 1 s steps (trapezoid).

    Args:
        time_s: Seconds after injection.
        ktrans_per_min: Transfer constant Ktrans per minute.
        ve: Fraction of extravascular extracellular space.
        vp: Fraction of plasma.
        arrival_s: Seconds from injection to arrival of the bolus.

    Returns:
        Concentration in mM, shaped as `time_s` (at least 1-D).
    """
    wanted = np.atleast_1d(np.asarray(time_s, dtype=float))
    grid = np.arange(0.0, float(wanted.max()) + 2 * _AIF_STEP_S, _AIF_STEP_S)
    plasma = parker_blood_concentration(grid - arrival_s) / (1 - HEMATOCRIT)
    ktrans_per_s = ktrans_per_min / 60.0
    decay = np.exp(-ktrans_per_s / ve * grid)
    integral = np.convolve(plasma, decay)[: grid.size] - 0.5 * (plasma * decay[0] + plasma[0] * decay)
    tissue = vp * plasma + ktrans_per_s * integral * _AIF_STEP_S
    return np.interp(wanted, grid, tissue)
