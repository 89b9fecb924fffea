"""sigma(a) = erf a, whose slope is not an elementary function of its value."""

from __future__ import annotations

import numpy as np

from rnnlimits.kernels.activations.base import Activation, Array


def _value(a: Array) -> Array:
    if isinstance(a, np.ndarray):
        from scipy import special  # only now: most commands need none of it, and it takes as long as all the rest

        return special.erf(a)  # type: ignore[no-any-return]
    from cupyx.scipy.special import erf  # unlike tanh, special functions cannot be called through NumPy

    return erf(a)


def _slope(a: Array) -> Array:
    return 2.0 / np.sqrt(np.pi) * np.exp(-(a**2))  # type: ignore[no-any-return]


ACTIVATION = Activation(
    name="erf",
    value=_value,
    slope=_slope,
    slope_of_value=None,
    slope_bound=2.0 / float(np.sqrt(np.pi)),
    odd=True,
    single_error=1.5e-7,
    source="""
template <class V> KERNEL void sigma(V a, V& value, V& slope) { erf_lanes(a, value, slope); }
""",
    autodiff=lambda jax: jax.scipy.special.erf,
)
