// One step of the chains driven by Gaussian noise (docs/model.md, "Data"):
//     H' = L H + M n(H) + R xi,      H = (X, Z),   n(H) = (sin X, tanh Z),   xi standard normal.
// linear-gaussian has M = 0. Lanes are replicas; the noise of a step is a function of (seed, stream, replica, step).
#pragma once
#include "philox.h"

struct Chain {
    int inputs, hidden;                      // d and the dimension of Z
    int nonlinear;                           // 0: M = 0
    const double *linear, *coupling, *noise; // L, M, R, row-major (inputs + hidden) squared
    const double* target;                    // constant, sin_x (inputs), x (inputs), z (hidden)
    u32 seed, stream;
};

// n(H) into `curved`, and Y = f(H) as the target's coefficients say.
template <class V> KERNEL V observe(const Chain& chain, const V* h, V* curved) {
    const int d = chain.inputs, size = d + chain.hidden;
    const double *sin_x = chain.target + 1, *x = sin_x + d, *z = x + d;
    V y = splat<V>(chain.target[0]);
    for (int i = 0; i < d; ++i) {
        curved[i] = sin_lanes(h[i]);
        y += curved[i] * sin_x[i] + h[i] * x[i];
    }
    for (int i = d; i < size; ++i) {
        curved[i] = chain.nonlinear ? tanh_lanes(h[i]) : V{};
        y += h[i] * z[i - d];
    }
    return y;
}

// xi of a step.
template <class V, class W> KERNEL void draw_noise(const Chain& chain, W replica, u64 step, V* xi) {
    const int size = chain.inputs + chain.hidden;
    for (int i = 0; i < size; i += 2) {
        const Pair<V> pair = normal_pair<V>(W{} + u64(i / 2), W{} + step, replica, W{}, chain.seed, chain.stream);
        xi[i] = pair.first;
        if (i + 1 < size) xi[i + 1] = pair.second;
    }
}

// H_k from H_{k-1} and the step's noise; next is work space of the same length as h.
template <class V> KERNEL void advance(const Chain& chain, V* h, const V* curved, const V* xi, V* next) {
    const int size = chain.inputs + chain.hidden;
    for (int i = 0; i < size; ++i) {
        V sum = {};
        for (int j = 0; j < size; ++j) {
            sum += h[j] * chain.linear[i * size + j] + xi[j] * chain.noise[i * size + j];
            if (chain.nonlinear) sum += curved[j] * chain.coupling[i * size + j];
        }
        next[i] = sum;
    }
    for (int i = 0; i < size; ++i) h[i] = next[i];
}
