"""sigma(a) = 1 / (1 + exp(-a)), computed from tanh."""

from __future__ import annotations

import numpy as np

from rnnlimits.kernels.activations.base import Activation, Array


def _value(a: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def _slope(a: Array) -> Array:
    return 0.25 * (1.0 - np.tanh(0.5 * a) ** 2)


def _slope_of_value(value: Array) -> Array:
    return value - value * value


ACTIVATION = Activation(
    name="logistic",
    value=_value,
    slope=_slope,
    slope_of_value=_slope_of_value,
    slope_bound=0.25,
    odd=False,
    single_error=1.5e-7,
    source="""
template <class V> KERNEL V slope_of_value(V value) { return value - value * value; }

template <class V> KERNEL void sigma(V a, V& value, V& slope) {
    typedef typename Lane<V>::Scalar Scalar;
    value = tanh_lanes(V(a * Scalar(0.5))) * Scalar(0.5) + Scalar(0.5);
    slope = slope_of_value(value);
}
""",
    autodiff=lambda jax: jax.nn.sigmoid,
)
