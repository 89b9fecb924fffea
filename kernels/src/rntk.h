// The recursion of the recurrent NTK for a pair of sequences (docs/rntk.md), one source for host and device.
//
// Compile-time parameters: REAL (float, double), ACTIVATION (0 ReLU, 1 erf, 2 a series in the correlation).
//
// A sequence is a table of records, one for each step: its inputs, scaled by sigma_u / sqrt(m), then for each layer what
// V_phi needs of the sequence's own variance q there (`fields`). Steps are counted from the end, 0 is the last one. Beyond
// a sequence's first step its values are zero; what runs there is masked.
#pragma once
#include "arcs.h"

typedef REAL Real;

#if defined(__CUDACC__)
#define EVERY_LAYER _Pragma("unroll")  // so that the states of all layers are in registers
#else
#define EVERY_LAYER
#endif

struct Network {
    Real w, u, b, start;  // squares of sigma_w, sigma_u, sigma_b, sigma_h
    Real constant;        // of the series: V_phi at correlation zero
    int layers, inputs, terms;

    KERNEL int fields() const { return ACTIVATION == 0 ? 2 : ACTIVATION == 1 ? 1 : 1 + terms; }
    KERNEL long record() const { return inputs + long(layers) * fields(); }
};

template <class V> struct Moments {
    V value, slope;  // V_phi and V_phi'
};

// Of two sequences, `one` and `other`: callables that give the field with a number of this step's record.
#if ACTIVATION == 0  // fields sqrt(q / 2 pi), 1 / sqrt(q)
template <class V, class One, class Other>
KERNEL Moments<V> moments(const Network&, V s, One one, Other other, int field) {
    V sine;
    const V slope = quarter_arc(V(s * V(one(field + 1) * other(field + 1))), sine);
    return {V(s * slope + V(one(field) * other(field)) * sine), slope};
}
#elif ACTIVATION == 1  // field sqrt(2 / (1 + 2 q))
template <class V, class One, class Other>
KERNEL Moments<V> moments(const Network&, V s, One one, Other other, int field) {
    typedef typename Lane<V>::Scalar Scalar;
    const V both = one(field) * other(field), z = s * both;
    const V cosine = root(V(Scalar(1) - z * z)), more = Scalar(1) + cosine;
    const V inverse = Scalar(1) / V(cosine * more);
    return {scaled_arctan(V(z * cosine * inverse)), V(both * Scalar(0.63661977236758134) * more * inverse)};
}
#else  // fields 1 / sqrt(q), then the odd Hermite coefficients A_1, A_3, ...: V_phi = constant + sum A_n A'_n c^n
template <class V, class One, class Other>
KERNEL Moments<V> moments(const Network& net, V s, One one, Other other, int field) {
    typedef typename Lane<V>::Scalar Scalar;
    const V both = one(field) * other(field);
    const V c = larger(splat<V>(Scalar(-1)), smaller(splat<V>(Scalar(1)), V(s * both))), square = c * c;
    V value = {}, slope = {};
    for (int n = net.terms; n >= 1; --n) {
        const V product = one(field + n) * other(field + n);
        value = value * square + product;
        slope = slope * square + product * Scalar(2 * n - 1);
    }
    return {V(value * c + net.constant), V(slope * both)};
}
#endif

// a b + c in one place, so that the compiler fuses it in every loop alike: a sequence and its double must not differ.
template <class V, class B> KERNEL V fused(V a, B b, V c) { return a * b + c; }

// One step of all layers. value and tangent: V_phi and V_phi' Theta of each layer after the step before, replaced by those
// after this one. drive: the first layer's sigma_b^2 + sigma_u^2/m <x, x'>. of(s, layer) gives the Moments.
template <class V, class Of> KERNEL void advance(const Network& net, V drive, Of of, V* value, V* tangent, int layers) {
    EVERY_LAYER for (int layer = 0; layer < layers; ++layer) {
        const V s = fused(value[layer], net.w, layer ? fused(value[layer - 1], net.u, splat<V>(net.b)) : drive);
        const V theta = fused(tangent[layer], net.w, layer ? fused(tangent[layer - 1], net.u, s) : s);
        const Moments<V> now = of(s, layer);
        value[layer] = now.value;
        tangent[layer] = now.slope * theta;
    }
}

template <class V, class One, class Other> KERNEL V drive_of(const Network& net, One one, Other other) {
    V drive = splat<V>(net.b);
    drive = fused(other(0), one(0), drive);
    for (int j = 1; j < net.inputs; ++j) drive = fused(other(j), one(j), drive);
    return drive;
}

template <class V, class One, class Other>
KERNEL void pair_step(const Network& net, One one, Other other, V* value, V* tangent, int layers) {
    auto of = [&](V s, int layer) { return moments(net, s, one, other, net.inputs + layer * net.fields()); };
    advance(net, drive_of<V>(net, one, other), of, value, tangent, layers);
}

#if ACTIVATION != 2
// A sequence with itself at one and the same step, c = 1: V_phi and V_phi' at its variance q, and the fields of its record.
//
// 1 / sqrt(q) is given two units too large: a correlation that differs from 1 by no more than its own rounding is cut
// to exactly 1, so that equal sequences under two names have the entries of one. Elsewhere V_phi does not feel it.
template <class V, class Keep> KERNEL Moments<V> own_moments(V q, Keep keep) {
    typedef typename Lane<V>::Scalar Scalar;
#if ACTIVATION == 0
    const Scalar unit = sizeof(Scalar) == 4 ? Scalar(1.1920929e-7) : Scalar(2.220446049250313e-16);
    const V deviation = root(q);
    keep(0, V(deviation * Scalar(0.39894228040143268)));
    keep(1, q > V{} ? V((Scalar(1) + 2 * unit) / deviation) : V{});
    return {V(q * Scalar(0.5)), splat<V>(Scalar(0.5))};
#else
    const V field = root(V(Scalar(2) / (Scalar(1) + q * Scalar(2)))), cosine = root(V(Scalar(1) + q * Scalar(4)));
    keep(0, field);
    // tan(arcsin(z) / 2) = z / (1 + cos): here z = 2 q / (1 + 2 q) and cos = sqrt(1 + 4 q) / (1 + 2 q).
    const V tangent = q * Scalar(2) / (q * Scalar(2) + Scalar(1) + cosine);
    return {scaled_arctan(tangent), V(Scalar(1.2732395447351628) / cosine)};
#endif
}

template <class V, class Own, class Keep>
KERNEL void own_step(const Network& net, Own own, Keep keep, V* value, V* tangent, int layers) {
    auto of = [&](V q, int layer) {
        const int field = net.inputs + layer * net.fields();
        return own_moments(q, [&](int f, V x) { keep(field + f, x); });
    };
    advance(net, drive_of<V>(net, own, own), of, value, tangent, layers);
}
#endif
