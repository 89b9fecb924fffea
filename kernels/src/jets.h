// A number with its derivatives along several directions at a time.
//
// The formulas of this folder, instantiated with it, differentiate themselves: the tangents of a training are the training's
// own source (docs/model.md, "Finite width"). Only the elementary functions need their derivatives written out. The value is
// computed once for all directions, and of second derivatives only the sum over directions is kept: they obey one linear
// equation, whatever the direction, so that their sum is carried forward without its terms.
//
// Compile-time parameters: DIRECTIONS of one jet, which train together, and ALONG, a lane type: the directions of a group.
#pragma once
#include "functions.h"

#ifndef DIRECTIONS
#define DIRECTIONS 32
#endif
#ifndef ALONG
#define ALONG DoubleLanes
#endif
typedef ALONG Along;
static const int groups = DIRECTIONS / Lane<Along>::count;

// first: a lane for each direction. second: sums over the directions of one lane.
// V is double, or Along of the nodes at the ends of a group of directions, each of which has its own one direction.
template <class V, int n> struct Jet {
    V value;
    Along first[n], second;
};
typedef Jet<double, groups> Uniform;    // of a sum over units, and of a unit
typedef Jet<Along, 1> AtEnds;

template <class V, int n> struct Lane<Jet<V, n>> {
    typedef double Scalar;
    typedef typename Lane<V>::Int Int;
    static const int count = Lane<V>::count;
};
template <class V, int n> struct Fixed<Jet<V, n>> { typedef V Type; };
template <class V, int n> struct Lift<Jet<V, n>, Jet<V, n>> {
    KERNEL static Jet<V, n> of(const Jet<V, n>& a) { return a; }
};

#if defined(__CUDACC__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

// The part of a jet that concerns the ends of a group of directions. Their own second derivatives play no part.
KERNEL AtEnds at_ends(const Uniform& a, int group) {
    AtEnds own = {};
    own.value = splat<Along>(a.value);
    if (Lane<Along>::count > 1) {
        own.first[0] = a.first[group];
    } else {
        UNROLLED for (int g = 0; g < groups; ++g)  // the registers of a thread have no index
            if (g == group) own.first[0] = a.first[g];
    }
    return own;
}

// Defined for numbers that carry no derivatives.
template <class S> struct Plain;
template <> struct Plain<double> { typedef void Type; };
#if !defined(__CUDACC__)
template <> struct Plain<DoubleLanes> { typedef void Type; };
#endif
template <class S> using IfNumber = typename Plain<S>::Type;
#define EACH_GROUP UNROLLED for (int g = 0; g < n; ++g)
#define JET template <class V, int n> KERNEL
#define WITH_NUMBER template <class V, int n, class S, class = IfNumber<S>> KERNEL

JET Jet<V, n> operator+(const Jet<V, n>& a, const Jet<V, n>& b) {
    Jet<V, n> sum;
    sum.value = a.value + b.value;
    EACH_GROUP sum.first[g] = a.first[g] + b.first[g];
    sum.second = a.second + b.second;
    return sum;
}
JET Jet<V, n> operator-(const Jet<V, n>& a) {
    Jet<V, n> negative;
    negative.value = -a.value;
    EACH_GROUP negative.first[g] = -a.first[g];
    negative.second = -a.second;
    return negative;
}
JET Jet<V, n> operator-(const Jet<V, n>& a, const Jet<V, n>& b) {
    Jet<V, n> difference;
    difference.value = a.value - b.value;
    EACH_GROUP difference.first[g] = a.first[g] - b.first[g];
    difference.second = a.second - b.second;
    return difference;
}
JET Jet<V, n> operator*(const Jet<V, n>& a, const Jet<V, n>& b) {
    Jet<V, n> product;
    Along crossed = a.first[0] * b.first[0];
    for (int g = 1; g < n; ++g) crossed += a.first[g] * b.first[g];
    product.value = a.value * b.value;
    EACH_GROUP product.first[g] = a.first[g] * b.value + b.first[g] * a.value;
    product.second = a.second * b.value + b.second * a.value + (crossed + crossed);
    return product;
}

// With numbers that do not move.
WITH_NUMBER Jet<V, n> operator+(const Jet<V, n>& a, S b) {
    Jet<V, n> sum = a;
    sum.value = a.value + b;
    return sum;
}
WITH_NUMBER Jet<V, n> operator+(S a, const Jet<V, n>& b) { return b + a; }
WITH_NUMBER Jet<V, n> operator-(const Jet<V, n>& a, S b) { return a + -b; }
WITH_NUMBER Jet<V, n> operator-(S a, const Jet<V, n>& b) { return -b + a; }
WITH_NUMBER Jet<V, n> operator*(const Jet<V, n>& a, S b) {
    Jet<V, n> product;
    product.value = a.value * b;
    EACH_GROUP product.first[g] = a.first[g] * b;
    product.second = a.second * b;
    return product;
}
WITH_NUMBER Jet<V, n> operator*(S a, const Jet<V, n>& b) { return b * a; }
WITH_NUMBER Jet<V, n> operator/(const Jet<V, n>& a, S b) { return a * (1.0 / b); }

template <class V, int n, class B> KERNEL Jet<V, n>& operator*=(Jet<V, n>& a, const B& b) { return a = a * b; }
template <class V, int n, class B> KERNEL Jet<V, n>& operator+=(Jet<V, n>& a, const B& b) { return a = a + b; }
template <class V, int n, class B> KERNEL Jet<V, n>& operator-=(Jet<V, n>& a, const B& b) { return a = a - b; }

// f(x) for a function with these value and derivatives at x.
JET Jet<V, n> composed(const Jet<V, n>& x, V value, V slope, V curvature) {
    Jet<V, n> result;
    Along square = x.first[0] * x.first[0];
    for (int g = 1; g < n; ++g) square += x.first[g] * x.first[g];
    result.value = value;
    EACH_GROUP result.first[g] = x.first[g] * slope;
    result.second = x.second * slope + square * curvature;
    return result;
}

JET Jet<V, n> tanh_lanes(Jet<V, n> x) {
    const V value = tanh_lanes(x.value), slope = 1.0 - value * value;
    return composed(x, value, slope, V(-2.0 * value * slope));
}

JET Jet<V, n> exp_negative(Jet<V, n> x) {
    const V value = exp_negative(x.value);
    return composed(x, value, value, value);
}

JET void erf_lanes(Jet<V, n> x, Jet<V, n>& value, Jet<V, n>& slope) {
    V at, rise;
    erf_lanes(x.value, at, rise);
    const V curvature = -2.0 * x.value * rise;
    value = composed(x, at, rise, curvature);
    slope = composed(x, rise, curvature, V((4.0 * x.value * x.value - 2.0) * rise));
}

JET Jet<V, n> ratio(Jet<V, n> a, Jet<V, n> b) {
    const V inverse = ratio(splat<V>(1.0), b.value), square = inverse * inverse;
    return a * composed(b, inverse, V(-square), V(2.0 * square * inverse));
}

// Where one of two takes over from the other, the derivatives are those of the side that is taken.
template <int n> KERNEL Jet<double, n> smaller(Jet<double, n> a, Jet<double, n> b) { return a.value < b.value ? a : b; }
template <int n> KERNEL Jet<double, n> larger(Jet<double, n> a, Jet<double, n> b) { return a.value > b.value ? a : b; }
template <int n> KERNEL Jet<double, n> magnitude(Jet<double, n> a) { return a.value < 0 ? -a : a; }

template <class Choice> KERNEL AtEnds chosen(Choice where, const AtEnds& a, const AtEnds& b) {
    AtEnds taken = {};
    taken.value = where ? a.value : b.value;
    taken.first[0] = where ? a.first[0] : b.first[0];
    return taken;
}
KERNEL AtEnds smaller(AtEnds a, AtEnds b) { return chosen(a.value < b.value, a, b); }
KERNEL AtEnds larger(AtEnds a, AtEnds b) { return chosen(a.value > b.value, a, b); }
KERNEL AtEnds magnitude(AtEnds a) { return chosen(a.value < Along{}, AtEnds(-a), a); }
