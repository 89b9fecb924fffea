// Elementary functions, written once for host lanes and device scalars so that both sides agree.
//
// Largest absolute errors (tests measure them): tanh 1.5e-7 float, 3e-16 double; erf 1.5e-7 float, 4e-16 double;
// exp, log, sin, cos (double only in use) below 3e-16 relative to max(1, |value|).
// The coefficients interpolate the functions at Chebyshev nodes in 50-digit arithmetic.
#pragma once
#include "lanes.h"

// Adding this constant rounds to the nearest integer and leaves it in the low bits of the mantissa.
template <class Scalar> struct Round;
template <> struct Round<float> {
    static constexpr float magic = 12582912.0f;  // 1.5 * 2^23
    static constexpr int mantissa = 23, one = 0x3f800000;
};
template <> struct Round<double> {
    static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr int mantissa = 52;
    static constexpr i64 one = 0x3ff0000000000000;
};

// 2^n for the integer n that `rounded` = n + magic holds.
template <class V> KERNEL V power_of_two(V rounded) {
    typedef typename Lane<V>::Int Int;
    typedef Round<typename Lane<V>::Scalar> R;
    return same_bits<V>((same_bits<Int>(rounded) << R::mantissa) + R::one);
}

// (p, q) with tanh(r) = q / p for |r| <= log(2)/4.
template <class V> KERNEL void tanh_fraction(V r, V& p, V& q, float) {
    const V y = r * r;
    q = r * (y * 0.066579213994724257f + 0.99999999943088011f);
    p = y * 0.39991221264715528f + 1.0f;
}
template <class V> KERNEL void tanh_fraction(V r, V& p, V& q, double) {
    const V y = r * r;
    q = r * ((y * 0.0010573828535606421 + 0.11109882863794937) * y + 1.0);
    p = (y * 0.015868103512938893 + 0.44443216197127395) * y + 1.0;
}

// tanh(n log(2)/2 + r) = (2^n (p + q) - (p - q)) / (2^n (p + q) + (p - q)): one division, no cancellation in the large.
template <class V> KERNEL V tanh_lanes(V x) {
    typedef typename Lane<V>::Scalar Scalar;
    const Scalar limit = sizeof(Scalar) == 4 ? Scalar(10) : Scalar(20);  // tanh rounds to 1 there
    x = smaller(splat<V>(limit), larger(splat<V>(-limit), x));  // in this order not-a-number stays what it is
    const V rounded = x * Scalar(2.8853900817779268) + Round<Scalar>::magic;
    const V n = rounded - Round<Scalar>::magic;
    V p, q;
    tanh_fraction(V(x - n * Scalar(0.34657359027997264)), p, q, Scalar());
    const V scale = power_of_two(rounded), plus = p + q, minus = p - q;
    return ratio(V(scale * plus - minus), V(scale * plus + minus));
}

// exp(x) for x <= 0; below the limit the result is cut off at exp(limit), which is nothing beside 1.
template <class V> KERNEL V exp_negative(V x) {
    typedef typename Lane<V>::Scalar Scalar;
    const bool single = sizeof(Scalar) == 4;
    x = larger(splat<V>(single ? Scalar(-80) : Scalar(-700)), x);
    const V rounded = x * Scalar(1.4426950408889634) + Round<Scalar>::magic;
    const V n = rounded - Round<Scalar>::magic;
    const V r = x - n * Scalar(0.69314718055994531);
    const double coarse[] = {1.0, 1.0000000377162138, 0.50000000471177577, 0.16666415514653276,
                             0.041666352896775157, 0.0083751263981533357, 0.0013941108433972675};
    const double fine[] = {1.0, 1.0, 0.50000000000000184, 0.16666666666666681, 0.041666666666488095,
                           0.0083333333333196006, 0.0013888888952314775, 0.00019841269890047114,
                           2.4801485482328492e-05, 2.7557240918578970e-06, 2.7632639639041030e-07,
                           2.5110037605963777e-08};
    return power_of_two(rounded) * (single ? polynomial(coarse, r) : polynomial(fine, r));
}

// erf(x) and its derivative 2/sqrt(pi) exp(-x^2) share the exponential: erf = 1 - exp(-x^2) erfcx(|x|).
template <class V> KERNEL void erf_lanes(V x, V& value, V& slope) {
    typedef typename Lane<V>::Scalar Scalar;
    const bool single = sizeof(Scalar) == 4;
    const double top4[] = {0.999999996892374947, 0.902645023412981447, 0.385651720499881364, 0.0672906060584077676};
    const double low4[] = {1.0, 2.03102371135073192, 1.677427264674932, 0.681208746325812668, 0.119408974302362762};
    const double top8[] = {1.0, 1.8419424781690877, 1.69589213786561382, 0.980119657139840468, 0.383459063568873949,
                           0.103325709190006264, 0.0187005495260603619, 0.00208380041662218627, 0.000110219361104994672};
    const double low8[] = {1.0, 2.97032164526460039, 4.0475412019550482, 3.32921196018592627, 1.82696398972312363,
                           0.696136256153424934, 0.184986970523049345, 0.0332435289022622828, 0.00369344049594978064,
                           0.000195358723574024904};
    const V size = smaller(splat<V>(single ? Scalar(4) : Scalar(6)), magnitude(x));
    const V decay = exp_negative(V(-(x * x)));
    const V scaled = single ? ratio(polynomial(top4, size), polynomial(low4, size))
                            : ratio(polynomial(top8, size), polynomial(low8, size));
#if defined(__x86_64__) && !defined(__FMA__) && !defined(__CUDACC__)
    const V upper = (Scalar(1) - decay) + decay * (Scalar(1) - scaled);  // what fusing a product with 1 saves of rounding
#else
    const V upper = Scalar(1) - decay * scaled;
#endif
    value = x < V{} ? -upper : upper;
    slope = decay * Scalar(1.1283791670955126);
}

// log(u) for normal u > 0, double lanes only (random numbers).
template <class V> KERNEL V log_lanes(V u) {
    typedef typename Lane<V>::Int Int;
    const Int bits = same_bits<Int>(u);
    // Subtracting the bits of sqrt(1/2) puts the mantissa into [sqrt(1/2), sqrt(2)).
    const Int shifted = bits - i64(0x3fe6a09e667f3bcd);
    const Int exponent = shifted >> 52;
    const V m = same_bits<V>(bits - (exponent << 52));
    const V f = (m - 1.0) / (m + 1.0);
    const V n = same_bits<V>(exponent + same_bits<i64>(6755399441055744.0)) - 6755399441055744.0;
    const double series[] = {2.0, 0.66666666666666658, 0.40000000000007494, 0.28571428568819127, 0.22222222676929540,
                             0.18181773738016306, 0.15387160926134080, 0.13248763083460116, 0.13262103674021810};
    return n * 0.69314718055994531 + f * polynomial(series, V(f * f));
}

// Sine and cosine of r + quadrant * pi/2 for |r| <= pi/4; the quadrant sits in the low bits of `rounded`.
template <class V> KERNEL void quadrant_sin_cos(V r, V rounded, V& sine, V& cosine) {
    typedef typename Lane<V>::Int Int;
    const double s[] = {1.0, -0.16666666666666617, 0.0083333333333203625, -0.00019841269828650300,
                        2.7557313376400129e-06, -2.5050716974102745e-08, 1.5894736651849095e-10};
    const double c[] = {1.0, -0.5, 0.041666666666666452, -0.0013888888888861095, 2.4801587283881153e-05,
                        -2.7557313097790086e-07, 2.0875582380663953e-09, -1.1353379638297574e-11};
    const V y = r * r, sin_r = r * polynomial(s, y), cos_r = polynomial(c, y);
    const Int quadrant = same_bits<Int>(rounded);
    const Int zero = Int{};
    const V first = (quadrant & 1) != zero ? cos_r : sin_r;
    const V second = (quadrant & 1) != zero ? sin_r : cos_r;
    sine = (quadrant & 2) != zero ? -first : first;
    cosine = ((quadrant + 1) & 2) != zero ? -second : second;
}

// sin(x) for |x| < 1e5, where three parts of pi/2 still leave r exact to rounding.
template <class V> KERNEL V sin_lanes(V x) {
    const V rounded = x * 0.63661977236758134 + 6755399441055744.0;
    const V n = rounded - 6755399441055744.0;
    const V r = ((x - n * 1.5707963267341256) - n * 6.077100506303966e-11) - n * 2.0222662487959506e-21;
    V sine, cosine;
    quadrant_sin_cos(r, rounded, sine, cosine);
    return sine;
}

// sin and cos of 2 pi u for u in (0, 1): the reduction is exact.
template <class V> KERNEL void sin_cos_turns(V u, V& sine, V& cosine) {
    const V rounded = u * 4.0 + 6755399441055744.0;
    const V turn = u * 4.0 - (rounded - 6755399441055744.0);
    quadrant_sin_cos(V(turn * 1.5707963267948966), rounded, sine, cosine);
}
