// What the host must know of the structs in device memory.
#pragma once
#include "groups.h"
#include "team.h"

static const int layout_numbers = 10;

// In the order of Layout of device_memory.py: numbers of words, and where in a unit its weights lie.
template <class V> KERNEL void write_layout(i64* out) {
    const long all[layout_numbers] = {words_of<V>(), long(sizeof(ReplicaState) / sizeof(double)), padded_sums,
                                      WORD(V, w_start), WORD(V, w_drift), WORD(V, c_start), WORD(V, c_drift),
                                      WORD(V, b_start), WORD(V, b_drift),
#if WEIGHTED
                                      WORD(V, weight)};
#else
                                      -1};
#endif
    for (int i = 0; i < layout_numbers; ++i) out[i] = all[i];
}
