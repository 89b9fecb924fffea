// The infinite-width twin of a training run: online SGD on the features of the limit (docs/model.md, "Twin").
//
// Nodes w_q stand for the law of W as units do in a network. Node q carries the features
//     value_scale sigma(w.x + m)   and, for each component j,   slope_scale sigma'(w.x + m) x_j
// and their weights theta. In double: at infinite width nothing hides in the last places but rounding.
// Compile-time parameters: DIMENSION and those of sigma.h; DEPTH, UPDATE_B and REAL of unit.h play no part.
#pragma once
#define DEPTH 1
#define UPDATE_B 0
#define REAL double
#include "unit.h"

template <class V> struct Node {
    V w[DIMENSION], value_scale, slope_scale;
    V value_weight, slope_weight[DIMENSION];
    Hidden<V> now, before;  // features, but for the factor x_j, of this step and of the step before
};

template <class V> KERNEL Hidden<V> features_of(const Node<V>& node, const Input<double>& input) {
    V a = splat<V>(input.memory);
    for (int j = 0; j < DIMENSION; ++j) a += node.w[j] * input.x[j];
    const Hidden<V> hidden = activate(a);
    return {node.value_scale * hidden.value, node.slope_scale * hidden.slope};
}

// theta of the step before, updated by `push` = (alpha / K) (phi . theta - y), then phi . theta of this step. The
// features of the next step are taken in the same sweep: they do not wait for theta.
template <class V>
KERNEL V advance_node(Node<V>& node, double push, const Input<double>& before, const Input<double>& now,
                      const Input<double>& next) {
    V along = V{};
    node.value_weight -= node.before.value * push;
    for (int j = 0; j < DIMENSION; ++j) {
        node.slope_weight[j] -= node.before.slope * (push * before.x[j]);
        along += node.slope_weight[j] * now.x[j];
    }
    const V answer = node.value_weight * node.now.value + along * node.now.slope;
    node.before = node.now;
    node.now = features_of(node, next);
    return answer;
}

// `x` (steps, DIMENSION), memory, y and squared_error (steps). A Team offers  begin(first input),  leads()  and
// sweep(push, before, now, next) -> phi . theta,  and after the last step  finish(push, last).
template <class Team>
KERNEL void follow(Team& team, double rate, const double* x, const double* memory, const double* y, long steps,
                   double* squared_error) {
    Input<double> input[3] = {};  // of the step before, this one, the next one
    double push = 0;
    const auto read = [x, memory, steps](long k) {
        Input<double> at = {};
        if (k >= steps) return at;
        for (int j = 0; j < DIMENSION; ++j) at.x[j] = x[k * DIMENSION + j];
        at.memory = memory[k];
        return at;
    };
    input[1] = read(0);
    team.begin(input[1]);
    for (long k = 0; k < steps; ++k) {
        input[2] = read(k + 1);
        const double miss = team.sweep(push, input[0], input[1], input[2]) - y[k];
        if (team.leads()) squared_error[k] = miss * miss;
        push = rate * miss;
        input[0] = input[1];
        input[1] = input[2];
    }
    team.finish(push, input[0]);
}

// The update that the last step left.
template <class V> KERNEL void settle_node(Node<V>& node, double push, const Input<double>& last) {
    node.value_weight -= node.before.value * push;
    for (int j = 0; j < DIMENSION; ++j) node.slope_weight[j] -= node.before.slope * (push * last.x[j]);
}
