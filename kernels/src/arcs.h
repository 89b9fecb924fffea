// Square roots and arcs of correlations, written once for host lanes and device scalars.
//
// The polynomials are off by at most 2e-8 in float and 4e-17 in double, relative, before rounding: made in arithmetic of
// 50 digits, of the arc by Remez exchange, of the arctangent by interpolation at Chebyshev nodes.
#pragma once
#include "lanes.h"

#if defined(__CUDACC__)
KERNEL float root(float a) { return sqrtf(a); }
KERNEL double root(double a) { return sqrt(a); }
#else
KERNEL float root(float a) { return __builtin_sqrtf(a); }
KERNEL double root(double a) { return __builtin_sqrt(a); }
#if defined(__AVX__)
#define ROOT_INSTRUCTION(V, instruction)                        \
    KERNEL V root(V a) {                                        \
        __asm__(instruction " %1, %0" : "=v"(a) : "v"(a));      \
        return a;                                               \
    }
ROOT_INSTRUCTION(FloatLanes, "vsqrtps")
ROOT_INSTRUCTION(DoubleLanes, "vsqrtpd")
#else
template <class V> KERNEL V root(V a) {
    for (int i = 0; i < Lane<V>::count; ++i) a[i] = root(a[i]);
    return a;
}
#endif
#endif

// Horner's rule without a loop: longer ones than about sixteen terms compilers do not unroll by themselves.
template <int last, class V> KERNEL V series(const double* coefficient, V x) {
    typedef typename Lane<V>::Scalar Scalar;
    if constexpr (last == 0) return splat<V>(Scalar(coefficient[0]));
    else return series<last - 1>(coefficient + 1, x) * x + Scalar(coefficient[0]);
}

// What a correlation c and its angle w = arccos c give, from y = 2 (1 - c): a pair carries y, not c, because 1 - c has
// lost half of its digits, and w all of what is below their root, where c is near 1.
template <class V> struct Arc {
    V twice_slope;  // (pi - w) / pi: 0 at c = -1, 1/2 at 0, 1 at 1
    V shortfall;    // 2 (1 - k), k the correlation of two ReLUs: (sin w + (pi - w) c) / pi
};

// With b = smaller(y, 4 - y), which is 2 (1 - |c|): arccos |c| / pi = 2 sin w (1 / (2 pi) + b K(b)), K smooth on all of
// [0, 2], so that one root gives everything. shortfall = smaller(y, 2) - 2 sin w / pi + 2 |c| arccos |c| / pi, whose terms
// of lower order cancel; what is left has no difference of large numbers, and is 0 at y = 0 exactly.
// 4 is taken too small by what rounding makes of it where c = -1, one sequence a negative multiple of the other: four
// units of c, the root of which would enter the arc.
template <class V> KERNEL Arc<V> arc_of(V y) {
    typedef typename Lane<V>::Scalar Scalar;
    const double coarse[] = {0.026525943284394244,   0.0053028323857265889, 0.0011523665496280416,
                             0.00020241430875282698, 0.00014769401990604608, -8.242643503240208e-05,
                             6.307732354185376e-05,  -2.0221623665992885e-05, 3.4691365313770834e-06};
    const double fine[] = {0.02652582384864784,     0.005305164769851749,    0.0011368210183000493,   0.0002526269537615797,
                           5.741463160903068e-05,   1.325326002643811e-05,   3.075714905420506e-06,   7.785173162397082e-07,
                           4.8984241491981364e-08,  2.6852588153479534e-07,  -3.15122658482591e-07,   3.6411266281061023e-07,
                           -3.139772395110982e-07,  2.1297582934008542e-07,  -1.1094036607096511e-07, 4.377273214161565e-08,
                           -1.2643199611555674e-08, 2.532224474399167e-09,   -3.1513315512113023e-10, 1.8586609456210058e-11};
    const Scalar rounding = sizeof(Scalar) == 4 ? Scalar(9.5367432e-7) : Scalar(1.7763568394002505e-15);
    const Scalar first = Scalar(0.15915494309189534);
    const V above = larger(V{}, V(Scalar(4) - rounding - y));
    const V b = smaller(y, above), size = Scalar(2) - b, sine = root(V(y * above));  // size: 2 |c|, sine: 2 sin w
    const V k = sizeof(Scalar) == 4 ? series<8>(coarse, b) : series<19>(fine, b);
    const V arc = sine * (b * k + first), left = sine * b * (first - size * k);
    return {y > Scalar(2) ? arc : V(Scalar(1) - arc), V(smaller(y, splat<V>(Scalar(2))) - left)};
}

// (4/pi) arctan w for |w| <= 1: accurate relative to its value.
template <class V> KERNEL V scaled_arctan(V w) {
    typedef typename Lane<V>::Scalar Scalar;
    const double coarse[] = {1.273239521547759,     -0.42440940484372123,  0.25454442040746468,
                             -0.18077197599582839,  0.13519729395624338,   -0.094943624438182307,
                             0.053651288674925799,  -0.020029648470444542, 0.0035221415463918735};
    const double fine[] = {1.2732395447351627,    -0.42441318157838151,  0.2546479089461406,    -0.18189136348111691,
                           0.14147105888334478,   -0.11574901787816473,  0.097941094258874371,  -0.084878874160896167,
                           0.074870839740247957,  -0.066879778972241488, 0.060093392272585575,  -0.053636137601378286,
                           0.046487011593295726,  -0.037816128328790445, 0.027680499960319573,  -0.017410454882206953,
                           0.0089618826870466312, -0.0035711384160072049, 0.0010228702530796021,
                           -0.00018611054678807646, 1.6082515874289684e-5};
    const V square = w * w;
    return w * (sizeof(Scalar) == 4 ? series<8>(coarse, square) : series<20>(fine, square));
}
