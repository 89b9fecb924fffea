// Tangents of a rich twin, for the units of host and device: nodes of its law, and those that mass moves to.
//
// The nodes carry the mass 1 - s and the ends of the directions the mass s, at s = 0: an end follows the twin, is felt by
// none of its numbers, and only by their derivatives. A direction q moves the mass s = root_q r, with r its variable, so
// that second derivatives summed over directions are weighted by root_q^2.
#pragma once
#define WEIGHTED 1
#define TANGENTS 1
#include "team.h"

// (1 - s) mean + s own for the directions of a group, with s = root r: its derivatives at r = 0.
KERNEL void move(Uniform& mean, const AtEnds& own, Along root, int group) {
    mean.second += 2.0 * root * (own.first[0] - mean.first[group]);
    mean.first[group] += root * (own.value - mean.value);
}

KERNEL void move(Sums<Uniform>& mean, const Sums<AtEnds>& own, Along root, int group) {
    move(mean.output, own.output, root, group);
    move(mean.memory, own.memory, root, group);
    move(mean.gain, own.gain, root, group);
    if (UPDATE_B)
        for (int l = 0; l < DEPTH; ++l) move(mean.overlap[l], own.overlap[l], root, group);
    for (int l = 0; l < BACK; ++l) move(mean.back[l], own.back[l], root, group);
}

KERNEL Input<AtEnds> at_ends(const Input<Uniform>& input, int group) {
    Input<AtEnds> own;
    for (int j = 0; j < DIMENSION; ++j) own.x[j] = input.x[j];
    own.memory = at_ends(input.memory, group);
    return own;
}

KERNEL Pending<AtEnds> at_ends(const Pending<Uniform>& pending, int group) {
    Pending<AtEnds> own;
    own.c = at_ends(pending.c, group);
    for (int j = 0; j < DIMENSION; ++j) own.w[j] = at_ends(pending.w[j], group);
    for (int l = 0; l < BACK; ++l)
        for (int j = 0; j < DIMENSION; ++j) own.w_back[l][j] = at_ends(pending.w_back[l][j], group);
    for (int l = 0; l < DEPTH; ++l) own.b[l] = at_ends(pending.b[l], group);
    return own;
}

template <class V> KERNEL void step(Unit<V>& unit, const Pending<V>& pending, const Input<V>& input, Sums<V>& sums) {
    apply(unit, pending);
    const Hidden<V> hidden = activate(argument(unit, input));
    accumulate(unit, hidden, sums);
    remember(unit, hidden);
}

// What a frozen unit hands to the output, or to the memory.
template <class V> KERNEL V read(const Unit<V>& unit, const Input<V>& input, bool output) {
    const V part = output ? unit.c_start + unit.c_drift : unit.b_start + unit.b_drift;
    return part * weighed(unit, activate(argument(unit, input)).value);
}

// Its mean over units.
template <class V> struct Answer { V mean; };

KERNEL void move(Answer<Uniform>& mean, const Answer<AtEnds>& own, Along root, int group) {
    move(mean.mean, own.mean, root, group);
}

// Mean squares of drifts.
template <class V> struct Squares { V w, b, c; };

template <class V> KERNEL void square(const Unit<V>& unit, Squares<V>& sums) {
    for (int j = 0; j < DIMENSION; ++j) sums.w += weighed(unit, V(unit.w_drift[j] * unit.w_drift[j]));
    sums.b += weighed(unit, V(unit.b_drift * unit.b_drift));
    sums.c += weighed(unit, V(unit.c_drift * unit.c_drift));
}

KERNEL void move(Squares<Uniform>& mean, const Squares<AtEnds>& own, Along root, int group) {
    move(mean.w, own.w, root, group);
    move(mean.b, own.b, root, group);
    move(mean.c, own.c, root, group);
}
