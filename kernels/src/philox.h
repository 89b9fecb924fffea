// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// A draw is a function of what is drawn: key = (seed, stream), counter = (lane, step, replica, component).
// Words are 32 bits held in 64-bit lanes, so that the 32 x 32 -> 64 product is one multiplication.
#pragma once
#include "functions.h"

template <class V> struct WordsOf;
template <> struct WordsOf<double> { typedef u64 Type; };
#if !defined(__CUDACC__)
template <> struct WordsOf<DoubleLanes> { typedef Word64Lanes Type; };
#endif

template <class W> KERNEL void philox4x32(W counter[4], u64 key0, u64 key1) {
    const u64 low = 0xffffffffu;
    for (int round = 0; round < 10; ++round) {
        const W product0 = counter[0] * u64(0xD2511F53u), product1 = counter[2] * u64(0xCD9E8D57u);
        counter[0] = (product1 >> 32) ^ counter[1] ^ key0;
        counter[1] = product1 & low;
        counter[2] = (product0 >> 32) ^ counter[3] ^ key1;
        counter[3] = product0 & low;
        key0 = (key0 + 0x9E3779B9u) & low;
        key1 = (key1 + 0xBB67AE85u) & low;
    }
}

// A uniform in (0, 1) from 52 bits: the midpoints of 2^52 equal cells, never 0 or 1.
template <class V, class W> KERNEL V unit_interval(W high, W low) {
    const W mantissa = (high << 20) | (low >> 12);
    const V one_to_two = same_bits<V>(mantissa | u64(0x3ff0000000000000));
    return one_to_two - (1.0 - 1.1102230246251565e-16);
}

template <class V> struct Pair { V first, second; };

template <class V, class W> KERNEL Pair<V> uniform_pair(W lane, W step, W replica, W component, u32 seed, u32 stream) {
    W counter[4] = {lane, step, replica, component};
    philox4x32(counter, u64(seed), u64(stream));
    return {unit_interval<V>(counter[0], counter[1]), unit_interval<V>(counter[2], counter[3])};
}

#if defined(__CUDACC__)
KERNEL double square_root(double x) { return sqrt(x); }
#else
KERNEL double square_root(double x) { return __builtin_sqrt(x); }
KERNEL DoubleLanes square_root(DoubleLanes x) {
    for (int i = 0; i < Lane<DoubleLanes>::count; ++i) x[i] = __builtin_sqrt(x[i]);
    return x;
}
#endif

// Two independent standard normals (Box and Muller).
template <class V, class W> KERNEL Pair<V> normal_pair(W lane, W step, W replica, W component, u32 seed, u32 stream) {
    const Pair<V> u = uniform_pair<V>(lane, step, replica, component, seed, stream);
    const V radius = square_root(V(log_lanes(u.first) * -2.0));
    V sine, cosine;
    sin_cos_turns(u.second, sine, cosine);
    return {radius * cosine, radius * sine};
}
