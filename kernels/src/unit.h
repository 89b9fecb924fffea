// The mathematics of one hidden unit in one training step (docs/model.md, "Training").
//
// Compile-time parameters: REAL (float or double), DIMENSION d of the input, DEPTH tau of the truncated
// backpropagation, UPDATE_B (1: B is trained, 0: B stays as drawn), and those of sigma.h. WEIGHTED (1: units are nodes of a
// quadrature with weights of sum 1 in place of N equal units) makes the rich twin of it, and TANGENTS (1: numbers carry
// derivatives, see jets.h) its tangents (docs/model.md, "Finite width").
// Every weight is kept as initial value + drift: updates are of size N^(beta-2) and would vanish beside an O(1)
// weight in float, but not beside their own sum.
#pragma once
#include "sigma.h"
#ifndef WEIGHTED
#define WEIGHTED 0
#endif
#ifndef TANGENTS
#define TANGENTS 0
#endif
#if TANGENTS
#include "jets.h"
typedef Uniform Number;
#else
typedef double Number;  // of sums over units, and of what follows from them
#endif

#define HISTORY (DEPTH + UPDATE_B)  // how many past hidden values a unit must remember
#define BACK (DEPTH - 1)            // how many earlier steps the backpropagation reaches
#define AT_LEAST_ONE(n) ((n) > 0 ? (n) : 1)

// What every unit needs of step k, the same for all of them.
template <class Real> struct Input {
    typename Lane<Real>::Scalar x[DIMENSION];
    Real memory;
};

// The update that step k-1 decided on, applied while step k passes over the units.
template <class Real> struct Pending {
    Real c;                                       // times S_{k-1}
    Real w[DIMENSION];                            // times C sigma'(a_{k-1})
    Real w_back[AT_LEAST_ONE(BACK)][DIMENSION];   // times B sigma'(a_{k-1-l}), l = 1..tau-1
    Real b[DEPTH];                                // times S_{k-2-l}, l = 0..tau-1
};

// What a step sums over the units.
template <class V> struct Sums {
    V output;                       // C S
    V memory;                       // B S
    V gain;                         // C sigma'(a_k)
    V overlap[DEPTH];               // S_{k-1-l} S_k
    V back[AT_LEAST_ONE(BACK)];     // B sigma'(a_{k-1-l})
};

template <class V> struct Unit {
    typedef typename Fixed<V>::Type Start;
    Start w_start[DIMENSION];
    V w_drift[DIMENSION];
    Start c_start;
    V c_drift;
    Start b_start;
    V b_drift;
#if WEIGHTED
    Start weight;
#endif
    V value[AT_LEAST_ONE(HISTORY)];  // S_{k-1}, S_{k-2}, ...
#if STORES_SLOPE
    V slope[DEPTH];                  // sigma'(a_{k-1}), ...: where it cannot be had from the value
#endif
};

// A unit as an array of its fields, each of type V.
template <class V> KERNEL constexpr long fields_of() { return sizeof(Unit<V>) / sizeof(V); }

// A unit's part in the mean over units; the sums of a network count every unit once, and divide by N at the end.
template <class V> KERNEL V weighed(const Unit<V>& unit, const V& value) {
#if WEIGHTED
    return unit.weight * value;
#else
    (void)unit;
    return value;
#endif
}

template <class V> KERNEL V past_slope(const Unit<V>& unit, int l) {
#if STORES_SLOPE
    return unit.slope[l];
#else
    return slope_of_value(unit.value[l]);
#endif
}

// theta_k from theta_{k-1}. W first: it uses C and B as they were before the update.
template <class V, class Real> KERNEL void apply(Unit<V>& unit, const Pending<Real>& pending) {
    const V gain = (unit.c_start + unit.c_drift) * past_slope(unit, 0);
    for (int j = 0; j < DIMENSION; ++j) unit.w_drift[j] -= pending.w[j] * gain;
    for (int l = 1; l <= BACK; ++l) {
        const V through = (unit.b_start + unit.b_drift) * past_slope(unit, l);
        for (int j = 0; j < DIMENSION; ++j) unit.w_drift[j] -= pending.w_back[l - 1][j] * through;
    }
    unit.c_drift -= pending.c * unit.value[0];
#if UPDATE_B
    for (int l = 0; l < DEPTH; ++l) unit.b_drift -= pending.b[l] * unit.value[l + 1];
#endif
}

// a_k = W . X_k + M_k
template <class V, class Real> KERNEL V argument(const Unit<V>& unit, const Input<Real>& input) {
    V a = Lift<V, Real>::of(input.memory);
    for (int j = 0; j < DIMENSION; ++j) a += (unit.w_start[j] + unit.w_drift[j]) * input.x[j];
    return a;
}

template <class V> KERNEL void accumulate(const Unit<V>& unit, const Hidden<V>& now, Sums<V>& sums) {
    const V c = unit.c_start + unit.c_drift, b = unit.b_start + unit.b_drift;
    const V value = weighed(unit, now.value);
    sums.output += c * value;
    sums.memory += b * value;
    sums.gain += c * weighed(unit, now.slope);
#if UPDATE_B
    for (int l = 0; l < DEPTH; ++l) sums.overlap[l] += unit.value[l] * value;
#endif
    for (int l = 0; l < BACK; ++l) sums.back[l] += b * weighed(unit, past_slope(unit, l));
}

template <class V> KERNEL void remember(Unit<V>& unit, const Hidden<V>& now) {
    for (int l = HISTORY - 1; l > 0; --l) unit.value[l] = unit.value[l - 1];
    unit.value[0] = now.value;
#if STORES_SLOPE
    for (int l = DEPTH - 1; l > 0; --l) unit.slope[l] = unit.slope[l - 1];
    unit.slope[0] = now.slope;
#endif
}
