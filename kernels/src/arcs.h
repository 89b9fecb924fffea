// Square roots and arcs of correlations, written once for host lanes and device scalars.
//
// The polynomials are off by at most 2e-8 in float and 4e-17 in double, relative, before rounding: they interpolate at
// Chebyshev nodes in 60-digit arithmetic.
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

// For a correlation c: sine = sqrt(1 - c^2), and (pi - arccos c) / (2 pi), which is 0 at c = -1, 1/4 at 0, 1/2 at 1.
//
// arccos |c| = sine G(1 - |c|): one square root gives both, and G is smooth on all of [0, 1] (its nearest singularity
// is at 2), so that nothing is lost near |c| = 1 beyond what c itself has lost. |c| > 1, which only rounding brings, is 1.
template <class V> KERNEL V quarter_arc(V c, V& sine) {
    typedef typename Lane<V>::Scalar Scalar;
    const double coarse[] = {0.15915494145812009,   0.053051973662629341, 0.021210033723297892, 0.0092274537005180697,
                             0.0032091190724753477, 0.0047840664410532263, -0.005340125454041217,
                             0.0081130439392783915, -0.0051871283657280941, 0.0017766186544654959};
    const double fine[] = {0.15915494309189534,    0.053051647697294645,  0.021220659079475134,   0.0090945681444621088,
                           0.0040420312874795902,  0.0018372680480370635, 0.00084820803820029101, 0.00039371124520918612,
                           0.0001991161821124795,  2.6134909461786415e-5, 0.00027074060488948953, -0.00063286804842140437,
                           0.0014634821727008833,  -0.0025244688268472788, 0.0034272430913764936, -0.0035737059074878825,
                           0.0028231406686182533,  -0.0016328142715922413, 0.00065491312378588467,
                           -0.00016323562184961581, 1.928529119978444e-5};
    const V size = smaller(splat<V>(Scalar(1)), magnitude(c));
    sine = root(V(Scalar(1) - size * size));
    const V below = Scalar(1) - size;
    const V arc = sine * (sizeof(Scalar) == 4 ? series<9>(coarse, below) : series<20>(fine, below));
    return c < V{} ? arc : V(Scalar(0.5) - arc);
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
