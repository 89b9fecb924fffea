// Host entry points for random numbers and chains: all in double.
#include "chain.h"
#include <vector>

typedef DoubleLanes V;
typedef Word64Lanes W;
static const int lanes = Lane<V>::count;

static W counting_from(u64 first) {
    W w = {};
    for (int i = 0; i < lanes; ++i) w[i] = first + u64(i);
    return w;
}

template <class Draw> static void fill(const u32* replica, long replicas, long count, double* out, Draw draw) {
    const long pairs = (count + 1) / 2;
    for (long r = 0; r < replicas; ++r, out += count)
        for (long first = 0; first < pairs; first += lanes) {
            const Pair<V> pair = draw(counting_from(u64(first)), W{} + u64(replica[r]));
            for (int i = 0; i < lanes && first + i < pairs; ++i) {
                out[2 * (first + i)] = pair.first[i];
                if (2 * (first + i) + 1 < count) out[2 * (first + i) + 1] = pair.second[i];
            }
        }
}

// The lanes of replicas first .. first + lanes - 1; past the end they repeat the last one and are never written.
static W replica_lanes(const u32* replica, long replicas, long first) {
    W w = {};
    for (int i = 0; i < lanes; ++i) w[i] = replica[smaller(first + i, replicas - 1)];
    return w;
}

extern "C" {

int vector_lanes() { return lanes; }

// What of this build decides how sums are rounded.
const char* rounding() {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FUSED "fused multiply-add"
#else
#define FUSED "no fused multiply-add"
#endif
#if defined(__clang__)
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif
#define TEXT(n) #n
#define WRITTEN(n) TEXT(n)
    return COMPILER ", vectors of " WRITTEN(VECTOR_BYTES) " bytes, " FUSED;
}

// The bare generator, for known-answer tests: `count` counters of four words each, answers in place.
void philox_words(u32* words, long count, u32 key0, u32 key1) {
    for (long i = 0; i < count; ++i, words += 4) {
        W counter[4];
        for (int j = 0; j < 4; ++j) counter[j] = W{} + u64(words[j]);
        philox4x32(counter, u64(key0), u64(key1));
        for (int j = 0; j < 4; ++j) words[j] = u32(counter[j][0]);
    }
}

// out (replicas, count)
void fill_uniforms(u32 seed, u32 stream, const u32* replica, long replicas, long count, u64 step, u64 component, double* out) {
    fill(replica, replicas, count, out, [=](W lane, W r) {
        return uniform_pair<V>(lane, W{} + step, r, W{} + component, seed, stream);
    });
}

void fill_normals(u32 seed, u32 stream, const u32* replica, long replicas, long count, u64 step, u64 component, double* out) {
    fill(replica, replicas, count, out, [=](W lane, W r) {
        return normal_pair<V>(lane, W{} + step, r, W{} + component, seed, stream);
    });
}

// Steps first_step .. first_step + steps - 1 of every replica: state (replicas, size) in place; history
// (replicas, steps, size) and y (replicas, steps), or null to pass over them.
void chain_path(const Chain* chain, const u32* replica, long replicas, u64 first_step, long steps, double* state,
                double* history, double* y) {
    const int size = chain->inputs + chain->hidden;
    std::vector<V> work(4 * size);
    V *h = work.data(), *curved = h + size, *next = curved + size, *xi = next + size;
    for (long first = 0; first < replicas; first += lanes) {
        const W r = replica_lanes(replica, replicas, first);
        const int used = int(smaller(long(lanes), replicas - first));
        for (int i = 0; i < size; ++i)
            for (int n = 0; n < lanes; ++n) h[i][n] = state[smaller(first + n, replicas - 1) * size + i];
        observe(*chain, h, curved);
        for (long k = 0; k < steps; ++k) {
            draw_noise(*chain, r, first_step + u64(k), xi);
            advance(*chain, h, curved, xi, next);
            const V target = observe(*chain, h, curved);
            if (!history) continue;
            for (int n = 0; n < used; ++n) {
                const long row = (first + n) * steps + k;
                y[row] = target[n];
                for (int i = 0; i < size; ++i) history[row * size + i] = h[i][n];
            }
        }
        for (int n = 0; n < used; ++n)
            for (int i = 0; i < size; ++i) state[(first + n) * size + i] = h[i][n];
    }
}

// A finite chain by inversion: cumulative (states, states) rows of the transition matrix summed up.
void finite_path(const double* cumulative, int states, u32 seed, u32 stream, const u32* replica, long replicas,
                 u64 first_step, long steps, int32_t* state, int32_t* history) {
    for (long r = 0; r < replicas; ++r)
        for (long k = 0; k < steps; ++k) {
            const Pair<double> u = uniform_pair<double>(u64(0), first_step + u64(k), u64(replica[r]), u64(0), seed, stream);
            const double* row = cumulative + long(state[r]) * states;
            int next = 0;
            while (next < states - 1 && u.first >= row[next]) ++next;
            state[r] = next;
            history[r * steps + k] = next;
        }
}

// Values of the elementary functions, so that their stated errors can be measured.
void evaluate_function(int which, const double* x, long count, double* out) {
    for (long first = 0; first < count; first += lanes) {
        V v = splat<V>(1.0), value = V{}, other = V{};
        for (int i = 0; i < lanes && first + i < count; ++i) v[i] = x[first + i];
        if (which == 0) value = tanh_lanes(v);
        if (which == 1) erf_lanes(v, value, other);
        if (which == 2) value = exp_negative(v);
        if (which == 3) value = log_lanes(v);
        if (which == 4) value = sin_lanes(v);
        if (which == 5) sin_cos_turns(v, value, other);
        if (which == 6) sin_cos_turns(v, other, value);
        if (which == 7) erf_lanes(v, other, value);
        for (int i = 0; i < lanes && first + i < count; ++i) out[first + i] = value[i];
    }
}
}
