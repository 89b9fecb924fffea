// The recursion of the recurrent NTK for a pair of sequences (docs/rntk.md), one source for host and device.
//
// Compile-time parameters: REAL (float, double), ACTIVATION (0 ReLU, 1 erf, 2 a series in the correlation).
//
// A sequence is a table of records, one for each step: its inputs, then for each layer what a pair needs of the sequence's
// own variance q there (`fields`). The inputs are scaled by sigma_u / sqrt(m), and for ReLU and erf also as the fields are.
// Steps are counted from the end, 0 is the last one. Beyond a sequence's first step its values are zero; what runs there
// is masked.
//
// ReLU and erf: q is a sum of squares (of the state before, scaled; of the inputs, or of the state of the layer below; of
// the bias; for erf of 1/2). Divided by sqrt(q) these are components of a unit vector, and the correlation c of a pair is
// that of two such vectors, but for states, which are as alike as V_phi says. So y = 2 (1 - c) is the squared distance of
// the vectors plus what the states lack: a sum of terms that are not negative, right to its last digits where c is near 1.
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

    KERNEL int fields() const { return ACTIVATION == 0 ? 4 : ACTIVATION == 1 ? 3 : 3 + terms; }
    KERNEL long record() const { return inputs + long(layers) * fields(); }
};

// a b + c in one place, so that the compiler fuses it in every loop alike: a sequence and its double must not differ.
template <class V, class B> KERNEL V fused(V a, B b, V c) { return a * b + c; }

// States of a pair after a step, of each layer: `link` (ReLU: 2 (1 - k), k the correlation of the states; erf, series:
// V_phi) and `tangent` (V_phi' Theta; for ReLU twice that). Where there is no step before: NO_LINK and 0.
#define NO_LINK Real(ACTIVATION == 0 ? 2 : 0)

template <class V> struct Kernels {
    V nngp, ntk;  // V_phi and V_phi + V_phi' Theta of the last layer
};

#if ACTIVATION != 2
// Squared distance of the two vectors in inputs and bias. `layer` 0 has the inputs; field + 1 is the bias.
template <class V, class One, class Other> KERNEL V distance_of(const Network& net, One one, Other other, int field, int layer) {
    const V bias = other(field + 1) - one(field + 1);
    V sum = bias * bias;
    for (int j = 0; layer == 0 && j < net.inputs; ++j) {
        const V gap = other(j) - one(j);
        sum = fused(gap, gap, sum);
    }
    return sum;
}
#endif

#if ACTIVATION == 0
// half: that of sqrt(q q'). Not a product, which a compiler might fuse with the sum that it enters, and here alone.
template <class V> KERNEL V covariance_of(V half, V y) { return fused(V(-half), y, V(half + half)); }

// Fields: components of the state before and of the bias, sqrt(q / 2), component of the state of the layer below.
template <class V, class One, class Other>
KERNEL void pair_step(const Network& net, One one, Other other, V* link, V* tangent, int layers) {
    const Real w = net.w / 2, u = net.u / 2;
    EVERY_LAYER for (int layer = 0; layer < layers; ++layer) {
        const int field = net.inputs + layer * net.fields();
        V y = distance_of<V>(net, one, other, field, layer);
        auto add_state = [&](int f, V lacking) {
            const V gap = other(f) - one(f), both = other(f) * one(f);
            y = fused(both, lacking, fused(gap, gap, y));
        };
        add_state(field, link[layer]);
        if (layer) add_state(field + 3, link[layer - 1]);
        const Arc<V> arc = arc_of(y);
        const V s = covariance_of(V(other(field + 2) * one(field + 2)), y);
        const V theta = fused(tangent[layer], w, layer ? fused(tangent[layer - 1], u, s) : s);
        link[layer] = arc.shortfall;
        tangent[layer] = arc.twice_slope * theta;
    }
}

// Of the last layer, at the step of these records.
template <class V, class One, class Other>
KERNEL Kernels<V> kernels_of(const Network& net, One one, Other other, const V* link, const V* tangent, int layers) {
    const int field = net.inputs + (layers - 1) * net.fields() + 2;
    const V half = other(field) * one(field), nngp = half * (Real(1) - Real(0.5) * link[layers - 1]);
    return {nngp, fused(tangent[layers - 1], Real(0.5), nngp)};
}

// A sequence with itself at one and the same step, c = 1: the value of each layer, and what its record keeps.
//
// The variance is rounded to twice the square of a number, sqrt(q / 2): the product of that field of two equal sequences
// is then half the variance to the last bit.
template <class V, class Own, class Keep>
KERNEL void own_step(const Network& net, Own own, Keep keep, V* value, V* tangent, int layers) {
    const Real w = net.w / 2, u = net.u / 2, bias = root(net.b);
    EVERY_LAYER for (int layer = 0; layer < layers; ++layer) {
        const int field = net.inputs + layer * net.fields();
        const V before = value[layer] * net.w, below = layer ? V(value[layer - 1] * net.u) : V{};
        V q = before + net.b;
        if (layer) q = q + below;
        else for (int j = 0; j < net.inputs; ++j) q = fused(own(j), own(j), q);
        const V deviation = root(q), half = root(V(q * Real(0.5)));
        auto component = [&](V size) { return q > V{} ? V(size / deviation) : V{}; };
        for (int j = 0; layer == 0 && j < net.inputs; ++j) keep(j, component(own(j)));
        keep(field, component(root(before)));
        keep(field + 1, component(splat<V>(bias)));
        keep(field + 2, half);
        keep(field + 3, component(root(below)));
        const V square = half * half, s = covariance_of(square, V{});
        const V theta = fused(tangent[layer], w, layer ? fused(tangent[layer - 1], u, s) : s);
        value[layer] = square;
        tangent[layer] = theta;
    }
}
KERNEL Real own_share() { return Real(0.5); }  // of `tangent` above in the kernel
#elif ACTIVATION == 1
// With A = 1 + 2 q, V_phi = (2 / pi) arcsin z, z = 2 S / sqrt(A A'). The components are those of A, sqrt(2) times those of
// q, and 1, which is not correlated: y = 2 (1 - z) exceeds 2 / sqrt(A A'), and 4 - y too.
//
// Fields: the squares of the components of 1 and of states, together; component of the bias; g = 1 / sqrt(A).
template <class V, class One, class Other>
KERNEL void pair_step(const Network& net, One one, Other other, V* link, V* tangent, int layers) {
    const Real w = net.w * 4, u = net.u * 4;
    EVERY_LAYER for (int layer = 0; layer < layers; ++layer) {
        const int field = net.inputs + layer * net.fields();
        const V g = other(field + 2) * one(field + 2), gw = g * w, gu = g * u, least = g + g;
        V lacking = other(field) + one(field);
        lacking = fused(V(-gw), link[layer], lacking);
        if (layer) lacking = fused(V(-gu), link[layer - 1], lacking);
        const V y = larger(least, V(distance_of<V>(net, one, other, field, layer) + lacking));
        const V twice = Real(2) - y;  // 2 z, and twice 2 S / sqrt(A A') with Theta for S below
        V theta = fused(tangent[layer], gw, twice);
        if (layer) theta = fused(tangent[layer - 1], gu, theta);
        const V cosine = root(V(y * larger(least, V(Real(4) - y)))), more = Real(2) + cosine;  // cosine: 2 sqrt(1 - z^2)
        const V inverse = Real(1) / V(cosine * more);
        link[layer] = scaled_arctan(V(twice * cosine * inverse));
        tangent[layer] = V(more * inverse) * V(theta * Real(0.63661977236758134));
    }
}

template <class V, class One, class Other>
KERNEL Kernels<V> kernels_of(const Network&, One, Other, const V* link, const V* tangent, int layers) {
    return {link[layers - 1], V(link[layers - 1] + tangent[layers - 1])};
}

template <class V, class Own, class Keep>
KERNEL void own_step(const Network& net, Own own, Keep keep, V* value, V* tangent, int layers) {
    EVERY_LAYER for (int layer = 0; layer < layers; ++layer) {
        const int field = net.inputs + layer * net.fields();
        V states = value[layer] * net.w;
        if (layer) states = fused(value[layer - 1], net.u, states);
        V q = states + net.b;
        for (int j = 0; layer == 0 && j < net.inputs; ++j) q = fused(own(j), own(j), q);
        const V whole = Real(1) + q * Real(2), g = Real(1) / root(whole), scale = root(V(Real(2) / whole));
        for (int j = 0; layer == 0 && j < net.inputs; ++j) keep(j, V(own(j) * scale));
        keep(field, V((Real(1) + states * Real(2)) / whole));
        keep(field + 1, V(scale * root(net.b)));
        keep(field + 2, g);
        const V theta = fused(tangent[layer], net.w, layer ? fused(tangent[layer - 1], net.u, q) : q);
        // tan(arcsin(z) / 2) = z / (1 + cos): here z = 2 q / (1 + 2 q) and cos = sqrt(1 + 4 q) / (1 + 2 q).
        const V cosine = root(V(Real(1) + q * Real(4)));
        value[layer] = scaled_arctan(V(q * Real(2) / (whole + cosine)));
        tangent[layer] = theta * V(Real(1.2732395447351628) / cosine);
    }
}
KERNEL Real own_share() { return Real(1); }
#else
// Fields: 1 / sqrt(q), then the odd Hermite coefficients A_1, A_3, ...: V_phi = constant + sum A_n A'_n c^n, then one more
// such number for V_phi and one for V_phi' that stand for all that follow, right at c = 1.
template <class V, class One, class Other>
KERNEL void pair_step(const Network& net, One one, Other other, V* link, V* tangent, int layers) {
    V drive = splat<V>(net.b);
    drive = fused(other(0), one(0), drive);
    for (int j = 1; j < net.inputs; ++j) drive = fused(other(j), one(j), drive);
    EVERY_LAYER for (int layer = 0; layer < layers; ++layer) {
        const int field = net.inputs + layer * net.fields();
        const V s = fused(link[layer], net.w, layer ? fused(link[layer - 1], net.u, splat<V>(net.b)) : drive);
        const V theta = fused(tangent[layer], net.w, layer ? fused(tangent[layer - 1], net.u, s) : s);
        const V both = one(field) * other(field);
        const V c = larger(splat<V>(Real(-1)), smaller(splat<V>(Real(1)), V(s * both))), square = c * c;
        const int last = field + net.terms;
        V value = one(last + 1) * other(last + 1), slope = one(last + 2) * other(last + 2);
        for (int n = net.terms; n >= 1; --n) {
            const V product = one(field + n) * other(field + n);
            value = value * square + product;
            slope = slope * square + product * Real(2 * n - 1);
        }
        link[layer] = value * c + net.constant;
        tangent[layer] = V(slope * both) * theta;
    }
}

template <class V, class One, class Other>
KERNEL Kernels<V> kernels_of(const Network&, One, Other, const V* link, const V* tangent, int layers) {
    return {link[layers - 1], V(link[layers - 1] + tangent[layers - 1])};
}
#endif
