// Lane types: what one member of a team computes with at a time.
//
// The formulas of this folder are templates over a lane type V. On a GPU V is a plain float or double: one thread,
// one unit. On the host V is a SIMD vector of the compiler (g++ and clang agree on this extension): one core, one
// vector of units. So the same line of source is a scalar instruction there and a vector instruction here.
#pragma once

#if defined(__CUDACC__)
#define KERNEL __device__ __forceinline__
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
#define COPY_BITS memcpy
#else
#include <cstdint>
#include <cstring>
#define KERNEL inline __attribute__((always_inline))
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
#define COPY_BITS __builtin_memcpy
#endif

template <class V> struct Lane;  // scalar type, integer lanes of the same width, number of lanes

template <> struct Lane<float> {
    typedef float Scalar;
    typedef int Int;
    static const int count = 1;
};
template <> struct Lane<double> {
    typedef double Scalar;
    typedef i64 Int;
    static const int count = 1;
};

#if !defined(__CUDACC__)
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
typedef float FloatLanes __attribute__((vector_size(VECTOR_BYTES)));
typedef double DoubleLanes __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t Int32Lanes __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t Int64Lanes __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t Word64Lanes __attribute__((vector_size(VECTOR_BYTES)));

template <> struct Lane<FloatLanes> {
    typedef float Scalar;
    typedef Int32Lanes Int;
    static const int count = VECTOR_BYTES / 4;
};
template <> struct Lane<DoubleLanes> {
    typedef double Scalar;
    typedef Int64Lanes Int;
    static const int count = VECTOR_BYTES / 8;
};
template <class V> struct LanesOf;
template <> struct LanesOf<float> { typedef FloatLanes Type; };
template <> struct LanesOf<double> { typedef DoubleLanes Type; };
#endif

// Every lane the same value. The sum with zero lanes is how a vector extension broadcasts.
template <class V> KERNEL V splat(typename Lane<V>::Scalar value) { return value - V{}; }
template <> KERNEL float splat<float>(float value) { return value; }
template <> KERNEL double splat<double>(double value) { return value; }

// The type of what is never trained, beside a V: jets.h has its own, as such numbers have no derivatives.
template <class V> struct Fixed { typedef V Type; };

// A number that all units share, in every lane; jets.h has its own for numbers that carry derivatives.
template <class V, class Real> struct Lift {
    KERNEL static V of(const Real& a) { return splat<V>(a); }
};

template <class To, class From> KERNEL To same_bits(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "bits are reinterpreted, never resized");
    To to;
    COPY_BITS(&to, &from, sizeof to);
    return to;
}

template <class V> KERNEL V ratio(V a, V b) { return a / b; }
#if defined(__CUDACC__)
// One reciprocal and one product, at most 2 units in the last place off, where the exact quotient takes ten operations.
template <> KERNEL float ratio<float>(float a, float b) { return __fdividef(a, b); }
#endif

template <class V> KERNEL V smaller(V a, V b) { return a < b ? a : b; }
template <class V> KERNEL V larger(V a, V b) { return a > b ? a : b; }
#if !defined(__CUDACC__) && defined(__AVX__)
// The same bits from one instruction, where g++ makes a comparison and a blend of the lines above.
#define LANE_INSTRUCTION(function, V, instruction)                              \
    KERNEL V function(V a, V b) {                                               \
        __asm__(instruction " %2, %1, %0" : "=v"(a) : "v"(a), "vm"(b));         \
        return a;                                                               \
    }
LANE_INSTRUCTION(smaller, FloatLanes, "vminps")
LANE_INSTRUCTION(smaller, DoubleLanes, "vminpd")
LANE_INSTRUCTION(larger, FloatLanes, "vmaxps")
LANE_INSTRUCTION(larger, DoubleLanes, "vmaxpd")
#endif
template <class V> KERNEL V magnitude(V a) { return a < V{} ? -a : a; }

// Horner's rule, lowest coefficient first.
template <class V, int n> KERNEL V polynomial(const double (&coefficient)[n], V x) {
    typedef typename Lane<V>::Scalar Scalar;
    V value = splat<V>(Scalar(coefficient[n - 1]));
    for (int i = n - 2; i >= 0; --i) value = value * x + Scalar(coefficient[i]);
    return value;
}
