// Host entry point of the infinite-width memory: in double. Compile-time parameters: those of sigma.h.
#include "sigma.h"

typedef DoubleLanes V;
static const int lanes = Lane<V>::count;

struct MemoryMap {  // F(x, m) = sum_q (weight0_q + slope weight1_q) sigma(location + nodes_q . coordinates + m)
    long nodes, dimension;
    const double *node, *weight0, *weight1;  // node (dimension, nodes), padded with zero weights to whole vectors
};

static double memory_map(const MemoryMap& map, double location, const double* coordinates, double slope, double m) {
    V sum = {};
    for (long q = 0; q < map.nodes; q += lanes) {
        V a = splat<V>(location + m), node, weight0, weight1;
        for (long j = 0; j < map.dimension; ++j) {
            __builtin_memcpy(&node, map.node + j * map.nodes + q, sizeof node);
            a += node * coordinates[j];
        }
        __builtin_memcpy(&weight0, map.weight0 + q, sizeof weight0);
        __builtin_memcpy(&weight1, map.weight1 + q, sizeof weight1);
        sum += (weight0 + weight1 * slope) * activate(a).value;
    }
    double value = 0;
    for (int i = 0; i < lanes; ++i) value += sum[i];
    return value;
}

static void memory_along(const MemoryMap& map, const double* location, const double* coordinates, const double* slope,
                         long steps, double start, double* memory) {
    memory[0] = start;
    for (long k = 0; k < steps; ++k)
        memory[k + 1] = memory_map(map, location[k], coordinates + k * map.dimension, slope[k], memory[k]);
}

// memory (replicas, steps + 1) with memory[:, 0] the start.
extern "C" void memory_path(const MemoryMap* map, const double* location, const double* coordinates, const double* slope,
                            long replicas, long steps, const double* start, double* memory) {
    for (long r = 0; r < replicas; ++r) {
        const double *at = location + r * steps, *x = coordinates + r * steps * map->dimension, *s = slope + r * steps;
        double* m = memory + r * (steps + 1);
        memory_along(*map, at, x, s, steps, start[r], m);
    }
}
