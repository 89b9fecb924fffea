// Training of one replica, written for a team: members that share its N units and add up their sums.
//
// A Team offers   pass(pending, input) -> Sums<Number>   one sweep over the units: apply, forward, sum, remember
//                 leads()                                true for the one member that writes results
// A host team has one member; on a GPU it is a block of threads. Every member carries the scalars below.
#pragma once
#include "unit.h"

// The replica's state between segments, besides its units. Doubles throughout: it is stored and restored as it is.
struct ReplicaState {
    Number memory;                                     // M_k, formed from sums of step k-1
    double x[AT_LEAST_ONE(BACK)][DIMENSION];           // X_{k-1}, X_{k-2}, ...
    Number pending_c, pending_w[DIMENSION];
    Number pending_w_back[AT_LEAST_ONE(BACK)][DIMENSION];
    Number pending_b[DEPTH];
};

struct Training {
    double width, output_scale;  // N and N^-beta; of a rich twin the number of nodes and 1 / eps
    double rate;                 // alpha N^(2 beta - 1) / K; of a rich twin alpha eps^2 / K
    double clip;                 // N^gamma, or 0 for none

    KERNEL double share() const { return WEIGHTED ? 1.0 : 1.0 / width; }  // of a sum over units in their mean
};

// The state after its pending update was applied.
KERNEL void settled(ReplicaState& state) {
    const ReplicaState kept = state;
    state = ReplicaState{};
    state.memory = kept.memory;
    COPY_BITS(state.x, kept.x, sizeof kept.x);
}

// psi_N: the identity on [-L, L], bounded by 2 L, of slope at most 1.
KERNEL double plain(double y) { return y; }
#if TANGENTS
KERNEL double plain(const Number& y) { return y.value; }
#endif

KERNEL Number clipped(const Number& y, double limit) {
    const bool negative = plain(y) < 0;
    const Number size = negative ? -y : y;
    if (limit <= 0 || plain(size) <= limit) return y;
    const Number bounded = limit + limit * tanh_lanes(Number((size - limit) / limit));
    return negative ? -bounded : bounded;
}

template <class Real> KERNEL Pending<Real> rounded(const ReplicaState& state) {
    Pending<Real> pending;
    pending.c = Real(state.pending_c);
    for (int j = 0; j < DIMENSION; ++j) pending.w[j] = Real(state.pending_w[j]);
    for (int l = 0; l < BACK; ++l)
        for (int j = 0; j < DIMENSION; ++j) pending.w_back[l][j] = Real(state.pending_w_back[l][j]);
    for (int l = 0; l < DEPTH; ++l) pending.b[l] = Real(state.pending_b[l]);
    return pending;
}

// What step k does to the parameters, and the memory of step k+1, from the sums of step k alone. Narrow networks wait
// for this chain at every step, so it divides by nothing: share is 1/N. push: the rate times the clipped residual.
template <class Real>
KERNEL void plan_update(ReplicaState& state, double share, const Sums<Number>& sums,
                        const typename Lane<Real>::Scalar* x, Number push) {
    state.pending_c = push;
    for (int j = 0; j < DIMENSION; ++j) state.pending_w[j] = push * double(x[j]);
    Number reach = share * sums.gain;  // mu_0 / N, but for the factor N^-beta that is in push
    Number next_memory = sums.memory;
    for (int l = 0; l < DEPTH; ++l) {
        const Number change = push * reach;
        state.pending_b[l] = UPDATE_B ? change : Number{};
        if (UPDATE_B) next_memory -= change * sums.overlap[l];
        if (l < BACK) {
            for (int j = 0; j < DIMENSION; ++j) state.pending_w_back[l][j] = change * state.x[l][j];
            reach *= share * sums.back[l];
        }
    }
    state.memory = next_memory * share;
    for (int l = BACK - 1; l > 0; --l)
        for (int j = 0; j < DIMENSION; ++j) state.x[l][j] = state.x[l - 1][j];
    for (int j = 0; j < DIMENSION; ++j) state.x[0][j] = x[j];
}

template <class Real, class Team>
KERNEL void train(Team& team, const Training& training, ReplicaState& state, const typename Lane<Real>::Scalar* x,
                  const typename Lane<Real>::Scalar* y, long steps, Number* squared_error) {
    const double share = training.share(), rate = training.rate * training.output_scale;
    for (long k = 0; k < steps; ++k, x += DIMENSION) {
        Input<Real> input;
        for (int j = 0; j < DIMENSION; ++j) input.x[j] = x[j];
        input.memory = Real(state.memory);
        const Sums<Number> sums = team.pass(rounded<Real>(state), input);
        const Number output = training.output_scale * sums.output;
        const Number miss = output - double(y[k]);
        if (team.leads()) squared_error[k] = miss * miss;
        plan_update<Real>(state, share, sums, x, rate * (clipped(output, training.clip) - double(y[k])));
    }
}
