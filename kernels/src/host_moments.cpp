// Host entry point of the second moments of the limit's features (docs/model.md, eq. (28)): in double, one core.
// Compile-time parameters: DIMENSION and those of sigma.h.
#include "sigma.h"
#include <vector>

typedef DoubleLanes V;
static const int lanes = Lane<V>::count;
static const int across = 2 * lanes;           // columns of a tile of sums: two vectors
static const int down = VECTOR_BYTES == 64 ? 8 : 4;  // and its rows: as many as registers hold
static const long at_once = 64;                // draws whose features are held

struct Features {  // value_scale sigma(w.x + m), then for each component j of x  slope_scale sigma'(w.x + m) x_j
    long nodes;    // w (DIMENSION, nodes) and scales, padded with zeros to whole vectors
    const double *w, *value_scale, *slope_scale;
};

static V loaded(const double* from) {
    V values;
    __builtin_memcpy(&values, from, sizeof values);
    return values;
}

static void stored(double* to, V values) { __builtin_memcpy(to, &values, sizeof values); }

// The features of one draw: `nodes` values, then `nodes` for each component.
static void features_of(const Features& f, const double* x, double memory, double* phi) {
    for (long q = 0; q < f.nodes; q += lanes) {
        V a = splat<V>(memory);
        for (int j = 0; j < DIMENSION; ++j) a += loaded(f.w + j * f.nodes + q) * x[j];
        const Hidden<V> hidden = activate(a);
        stored(phi + q, loaded(f.value_scale + q) * hidden.value);
        const V slope = loaded(f.slope_scale + q) * hidden.slope;
        for (int j = 0; j < DIMENSION; ++j) stored(phi + (1 + j) * f.nodes + q, slope * x[j]);
    }
}

// sum (down, across) of a tile of phi^T phi over some draws, added to a.
static void add_tile(const double* left, const double* right, long stride, long draws, double* a, long width) {
    V sum[down][2];
    for (int i = 0; i < down; ++i) sum[i][0] = sum[i][1] = V{};
    for (long t = 0; t < draws; ++t) {
        const V first = loaded(right + t * stride), second = loaded(right + t * stride + lanes);
        for (int i = 0; i < down; ++i) {
            const double value = left[t * stride + i];
            sum[i][0] += first * value;
            sum[i][1] += second * value;
        }
    }
    for (int i = 0; i < down; ++i)
        for (int v = 0; v < 2; ++v) stored(a + i * width + v * lanes, loaded(a + i * width + v * lanes) + sum[i][v]);
}

// Adds to a (width, width), whose entries left of the tiles on the diagonal stay as they are, and to b (width), for
// x (draws, DIMENSION), memory and y (draws). width: (1 + DIMENSION) nodes, a multiple of two vectors.
extern "C" void add_moments(const Features* features, const double* x, const double* memory, const double* y,
                            long draws, double* a, double* b) {
    const long width = (1 + DIMENSION) * features->nodes, stride = width + lanes;  // not a power of 2: cache lines
    std::vector<double> phi(at_once * stride + lanes);
    for (long first = 0; first < draws; first += at_once) {
        const long count = draws - first < at_once ? draws - first : at_once;
        for (long t = 0; t < count; ++t) {
            double* own = phi.data() + t * stride;
            features_of(*features, x + (first + t) * DIMENSION, memory[first + t], own);
            for (long q = 0; q < width; q += lanes) stored(b + q, loaded(b + q) + loaded(own + q) * y[first + t]);
        }
        for (long i = 0; i < width; i += down)
            for (long j = i / across * across; j < width; j += across)
                add_tile(phi.data() + i, phi.data() + j, stride, count, a + i * width + j, width);
    }
}

extern "C" int columns() { return across; }
