// The activation that a program is compiled for.
//
// Compile-time parameters: ACTIVATION_HEADER, the file with the C++ of an entry of kernels/activations/, and
// STORES_SLOPE, 0 where the slope is a function of the value. The file defines
//     sigma(a, value, slope)    and, unless STORES_SLOPE,    slope_of_value(value)
#pragma once
#include "functions.h"
#include ACTIVATION_HEADER

// S and its slope sigma'(a).
template <class V> struct Hidden { V value, slope; };

template <class V> KERNEL Hidden<V> activate(V a) {
    Hidden<V> hidden;
    sigma(a, hidden.value, hidden.slope);
    return hidden;
}
