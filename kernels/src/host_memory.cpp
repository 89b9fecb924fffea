// Host entry point of the infinite-width memory: in double. Compile-time parameters: those of sigma.h.
#include "sigma.h"

typedef DoubleLanes V;
static const int lanes = Lane<V>::count;
static const int together = 4;  // paths followed side by side: a step of one waits for the step before

struct MemoryMap {  // F(x, m) = sum_q (weight0_q + slope weight1_q) sigma(location + nodes_q . coordinates + m)
    long nodes, dimension;
    const double *node, *weight0, *weight1;  // node (dimension, nodes), padded with zero weights to whole vectors
};

struct Paths {  // of one replica or of several: (replicas, steps), coordinates (replicas, steps, dimension)
    const double *location, *coordinates, *slope;
    long steps;
};

static V loaded(const double* from) {
    V values;
    __builtin_memcpy(&values, from, sizeof values);
    return values;
}

// F at step k of `count` paths, whose memories m are replaced.
template <int count> static void memory_map(const MemoryMap& map, const Paths& paths, long k, double* m) {
    V sum[count] = {}, start[count], slope[count];
    const double* x[count];
    for (int r = 0; r < count; ++r) {
        const long at = r * paths.steps + k;
        start[r] = splat<V>(paths.location[at] + m[r]);
        slope[r] = splat<V>(paths.slope[at]);
        x[r] = paths.coordinates + at * map.dimension;
    }
    for (long q = 0; q < map.nodes; q += lanes) {
        const V weight0 = loaded(map.weight0 + q), weight1 = loaded(map.weight1 + q);
        for (int r = 0; r < count; ++r) {
            V a = start[r];
            for (long j = 0; j < map.dimension; ++j) a += loaded(map.node + j * map.nodes + q) * x[r][j];
            sum[r] += (weight0 + weight1 * slope[r]) * activate(a).value;
        }
    }
    for (int r = 0; r < count; ++r) {
        double value = 0;
        for (int i = 0; i < lanes; ++i) value += sum[r][i];
        m[r] = value;
    }
}

template <int count>
static void memory_along(const MemoryMap& map, const Paths& paths, const double* start, double* memory) {
    double m[count];
    for (int r = 0; r < count; ++r) memory[r * (paths.steps + 1)] = m[r] = start[r];
    for (long k = 0; k < paths.steps; ++k) {
        memory_map<count>(map, paths, k, m);
        for (int r = 0; r < count; ++r) memory[r * (paths.steps + 1) + k + 1] = m[r];
    }
}

// memory (replicas, steps + 1) with memory[:, 0] the start.
extern "C" void memory_path(const MemoryMap* map, const double* location, const double* coordinates, const double* slope,
                            long replicas, long steps, const double* start, double* memory) {
    for (long r = 0; r < replicas;) {
        const long at = r * steps;
        const Paths paths = {location + at, coordinates + at * map->dimension, slope + at, steps};
        const bool several = replicas - r >= together;
        if (several) memory_along<together>(*map, paths, start + r, memory + r * (steps + 1));
        else memory_along<1>(*map, paths, start + r, memory + r * (steps + 1));
        r += several ? together : 1;
    }
}
