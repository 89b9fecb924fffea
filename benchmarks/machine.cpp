// What this core can do, measured with loops that do one thing each: the terms of the limit in train_cpu.py.
#include "lanes.h"

typedef FloatLanes V;
static const int chains = 16;  // independent, so that throughput shows and not latency

extern "C" {

int float_lanes() { return Lane<V>::count; }

// rounds * chains vector multiply-adds.
float multiply_adds(long rounds, float factor, float addend) {
    V chain[chains];
    for (int j = 0; j < chains; ++j) chain[j] = splat<V>(float(j));  // unlike, or the compiler keeps only one
    for (long i = 0; i < rounds; ++i)
        for (int j = 0; j < chains; ++j) chain[j] = chain[j] * factor + addend;
    V sum = {};
    for (int j = 0; j < chains; ++j) sum += chain[j];
    return sum[0];
}

// rounds * chains vector divisions.
float divisions(long rounds, float numerator) {
    V chain[chains], sum = {};
    for (int j = 0; j < chains; ++j) chain[j] = splat<V>(numerator + float(j));
    for (long i = 0; i < rounds; ++i)
        for (int j = 0; j < chains; ++j) chain[j] = numerator / chain[j];
    for (int j = 0; j < chains; ++j) sum += chain[j];
    return sum[0];
}

// The memory traffic of `rounds` training steps without their arithmetic: of every tile eight vectors are read and
// five written, as unit.h lays them out for d = 1, tau = 1.
void sweeps(V* tile, long tiles, long rounds, float value) {
    for (long i = 0; i < rounds; ++i)
        for (long k = 0; k < tiles; ++k) {
            V* v = tile + 8 * k;
            v[1] += v[0];
            v[3] += v[2];
            v[5] += v[4];
            v[7] = v[6];
            v[6] = splat<V>(value);
        }
}
}
