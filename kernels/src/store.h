// The units of an ensemble in device memory: (replicas, words, width), so that neighbouring threads read neighbouring
// numbers. The words are the numbers of struct Unit, in its order.
#pragma once
#include "unit.h"

typedef REAL Real;

template <class V> KERNEL constexpr int words_of() { return int(sizeof(Unit<V>) / sizeof(typename Lane<V>::Scalar)); }
// The index among them of the first of a name.
#define WORD(V, name) long(__builtin_offsetof(Unit<V>, name) / sizeof(typename Lane<V>::Scalar))

// Words that training never changes: w_start, c_start, b_start, weight.
template <class V> KERNEL constexpr bool is_start(int f) {
    const bool of_w = f >= WORD(V, w_start) && f < WORD(V, w_start) + DIMENSION;
#if WEIGHTED
    if (f == WORD(V, weight)) return true;
#endif
    return of_w || f == WORD(V, c_start) || f == WORD(V, b_start);
}

template <class V> struct StoreOf {
    typedef typename Lane<V>::Scalar Word;
    static const int words = words_of<V>();
    Word* unit;
    long width;

    KERNEL Unit<V> load(long i) const {
        Word word[words];
#pragma unroll
        for (int f = 0; f < words; ++f) word[f] = unit[f * width + i];
        return same_bits<Unit<V>>(word);
    }

    KERNEL void save(long i, const Unit<V>& what) const {
        struct Words { Word at[words]; };
        const Words word = same_bits<Words>(what);
#pragma unroll
        for (int f = 0; f < words; ++f)
            if (!is_start<V>(f)) unit[f * width + i] = word.at[f];
    }
};

template <class V> KERNEL StoreOf<V> store_of(typename Lane<V>::Scalar* units, long width, long replica) {
    return {units + replica * words_of<V>() * width, width};
}

typedef StoreOf<Real> Store;
KERNEL Store store_of(Real* units, long width, long replica) { return store_of<Real>(units, width, replica); }
