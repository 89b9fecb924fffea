"""sigma(a) = tanh a."""

from __future__ import annotations

import numpy as np

from rnnlimits.kernels.activations.base import Activation, Array


def _slope_of_value(value: Array) -> Array:
    return 1.0 - value * value


def _slope(a: Array) -> Array:
    return _slope_of_value(np.tanh(a))


ACTIVATION = Activation(
    name="tanh",
    value=np.tanh,
    slope=_slope,
    slope_of_value=_slope_of_value,
    slope_bound=1.0,
    odd=True,
    single_error=1.5e-7,
    source="""
template <class V> KERNEL V slope_of_value(V value) { return typename Lane<V>::Scalar(1) - value * value; }

template <class V> KERNEL void sigma(V a, V& value, V& slope) {
    value = tanh_lanes(a);
    slope = slope_of_value(value);
}
""",
    autodiff=lambda jax: jax.numpy.tanh,
)
