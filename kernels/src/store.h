// The units of an ensemble in device memory: (replicas, fields, width), so that neighbouring threads read neighbouring
// numbers. The fields are those of struct Unit, in its order.
#pragma once
#include "unit.h"

typedef REAL Real;
static const int fields = int(fields_of<Real>());

// Fields that training never changes: w_start, c_start, b_start, weight.
KERNEL constexpr bool is_start(int f) {
    const bool of_w = f >= FIELD(Real, w_start) && f < FIELD(Real, w_start) + DIMENSION;
#if WEIGHTED
    if (f == FIELD(Real, weight)) return true;
#endif
    return of_w || f == FIELD(Real, c_start) || f == FIELD(Real, b_start);
}

struct Store {
    Real* unit;
    long width;

    KERNEL Unit<Real> load(long i) const {
        Real field[fields];
#pragma unroll
        for (int f = 0; f < fields; ++f) field[f] = unit[f * width + i];
        return same_bits<Unit<Real>>(field);
    }

    KERNEL void save(long i, const Unit<Real>& what) const {
        struct Fields { Real at[fields]; };
        const Fields field = same_bits<Fields>(what);
#pragma unroll
        for (int f = 0; f < fields; ++f)
            if (!is_start(f)) unit[f * width + i] = field.at[f];
    }
};

KERNEL Store store_of(Real* units, long width, long replica) { return {units + replica * fields * width, width}; }
