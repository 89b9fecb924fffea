// A lane type that carries a number with its first and second derivative along one direction.
//
// The formulas of this folder, instantiated with it, differentiate themselves: the tangents of a training are the training's
// own source (docs/model.md, "Finite width"). Only the elementary functions need their derivatives written out.
#pragma once
#include "functions.h"

template <class V> struct Jet {
    V value, first, second;
};

template <class V> struct Lane<Jet<V>> {
    typedef typename Lane<V>::Scalar Scalar;
    typedef typename Lane<V>::Int Int;
    static const int count = Lane<V>::count;
};
#if !defined(__CUDACC__)
template <> struct LanesOf<Jet<double>> { typedef Jet<DoubleLanes> Type; };
#endif

// Uniform numbers are Jet<double>, those of units Jet<V>; a product of the two is one of units. V * double is a V.
template <class A, class B> struct Wider { typedef A Type; };
template <class B> struct Wider<double, B> { typedef B Type; };
template <class A, class B> using JetOf = Jet<typename Wider<A, B>::Type>;

template <class A, class B> KERNEL JetOf<A, B> operator+(const Jet<A>& a, const Jet<B>& b) {
    return {a.value + b.value, a.first + b.first, a.second + b.second};
}
template <class A, class B> KERNEL JetOf<A, B> operator-(const Jet<A>& a, const Jet<B>& b) {
    return {a.value - b.value, a.first - b.first, a.second - b.second};
}
template <class A, class B> KERNEL JetOf<A, B> operator*(const Jet<A>& a, const Jet<B>& b) {
    typedef typename Wider<A, B>::Type V;
    const V crossed = a.first * b.first;
    return {a.value * b.value, a.first * b.value + a.value * b.first,
            a.second * b.value + a.value * b.second + (crossed + crossed)};
}
template <class V> KERNEL Jet<V> operator-(const Jet<V>& a) { return {-a.value, -a.first, -a.second}; }

// With numbers that do not move.
template <class V> KERNEL Jet<V> operator+(const Jet<V>& a, typename Lane<V>::Scalar b) {
    return {a.value + b, a.first, a.second};
}
template <class V> KERNEL Jet<V> operator+(typename Lane<V>::Scalar a, const Jet<V>& b) { return b + a; }
template <class V> KERNEL Jet<V> operator-(const Jet<V>& a, typename Lane<V>::Scalar b) {
    return {a.value - b, a.first, a.second};
}
template <class V> KERNEL Jet<V> operator-(typename Lane<V>::Scalar a, const Jet<V>& b) { return -b + a; }
template <class V> KERNEL Jet<V> operator*(const Jet<V>& a, typename Lane<V>::Scalar b) {
    return {a.value * b, a.first * b, a.second * b};
}
template <class V> KERNEL Jet<V> operator*(typename Lane<V>::Scalar a, const Jet<V>& b) { return b * a; }
template <class V> KERNEL Jet<V> operator/(const Jet<V>& a, typename Lane<V>::Scalar b) {
    return {a.value / b, a.first / b, a.second / b};
}

// Where a lane stands for no unit.
template <class V> KERNEL Jet<V>& operator*=(Jet<V>& a, const V& mask) {
    return a = {a.value * mask, a.first * mask, a.second * mask};
}

template <class V> KERNEL Jet<V>& operator*=(Jet<V>& a, const Jet<V>& b) { return a = a * b; }
template <class V, class B> KERNEL Jet<V>& operator+=(Jet<V>& a, const B& b) { return a = a + b; }
template <class V, class B> KERNEL Jet<V>& operator-=(Jet<V>& a, const B& b) { return a = a - b; }

template <class V> struct Lift<Jet<V>, Jet<double>> {
    KERNEL static Jet<V> of(const Jet<double>& a) { return {splat<V>(a.value), splat<V>(a.first), splat<V>(a.second)}; }
};

// f(x) for a function with these value and derivatives at x.
template <class V> KERNEL Jet<V> composed(const Jet<V>& x, V value, V slope, V curvature) {
    return {value, slope * x.first, slope * x.second + curvature * (x.first * x.first)};
}

template <class V> KERNEL Jet<V> tanh_lanes(Jet<V> x) {
    typedef typename Lane<V>::Scalar Scalar;
    const V value = tanh_lanes(x.value), slope = Scalar(1) - value * value;
    return composed(x, value, slope, V(Scalar(-2) * value * slope));
}

template <class V> KERNEL Jet<V> exp_negative(Jet<V> x) {
    const V value = exp_negative(x.value);
    return composed(x, value, value, value);
}

template <class V> KERNEL void erf_lanes(Jet<V> x, Jet<V>& value, Jet<V>& slope) {
    typedef typename Lane<V>::Scalar Scalar;
    V at, rise;
    erf_lanes(x.value, at, rise);
    const V curvature = Scalar(-2) * x.value * rise;
    value = composed(x, at, rise, curvature);
    slope = composed(x, rise, curvature, V((Scalar(4) * x.value * x.value - Scalar(2)) * rise));
}

template <class V> KERNEL Jet<V> ratio(Jet<V> a, Jet<V> b) {
    typedef typename Lane<V>::Scalar Scalar;
    const V inverse = ratio(splat<V>(Scalar(1)), b.value), square = inverse * inverse;
    return a * composed(b, inverse, V(-square), V(Scalar(2) * square * inverse));
}

// Where the smaller of two changes over, the derivatives are those of the side that is taken.
template <class V> KERNEL Jet<V> smaller(Jet<V> a, Jet<V> b) {
    return {smaller(a.value, b.value), a.value < b.value ? a.first : b.first, a.value < b.value ? a.second : b.second};
}
template <class V> KERNEL Jet<V> larger(Jet<V> a, Jet<V> b) {
    return {larger(a.value, b.value), a.value > b.value ? a.first : b.first, a.value > b.value ? a.second : b.second};
}
template <class V> KERNEL Jet<V> magnitude(Jet<V> a) {
    return {magnitude(a.value), a.value < V{} ? V(-a.first) : a.first, a.value < V{} ? V(-a.second) : a.second};
}
