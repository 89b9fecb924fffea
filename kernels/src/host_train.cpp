// The host team: one member owns all N units of a replica, a vector of units (a tile) at a time.
//
// A replica is an array of tiles, each one Unit of vector lanes: all that a unit needs lies side by side, so a sweep
// is a single forward stream through memory. Units past N in the last tile have zero weights, and a zero mask keeps
// their hidden value at zero: they add nothing to any sum.
#include "team.h"

typedef REAL Real;
typedef LanesOf<Real>::Type V;

static const int lanes = Lane<V>::count;
static const long tiles_per_sum = 64;  // floats are added at most this often before the sum goes on in double
static const long tiles_ahead = 6;

template <int n> struct Part { typedef Real Type __attribute__((vector_size(n * sizeof(Real)))); };

// The sum of the lanes, halves added to halves: a chain of log2(n) additions that never leaves the registers.
template <int n> KERNEL Real folded(typename Part<n>::Type v) {
    if constexpr (n == 2) {
        return v[0] + v[1];
    } else {
        typename Part<n / 2>::Type half[2];
        __builtin_memcpy(half, &v, sizeof v);
        return folded<n / 2>(half[0] + half[1]);
    }
}

KERNEL double total(const V& v) { return double(folded<lanes>(v)); }

KERNEL void add(Sums<double>& sums, const Sums<V>& part) {
    sums.output += total(part.output);
    sums.memory += total(part.memory);
    sums.gain += total(part.gain);
    if (UPDATE_B)
        for (int l = 0; l < DEPTH; ++l) sums.overlap[l] += total(part.overlap[l]);
    for (int l = 0; l < BACK; ++l) sums.back[l] += total(part.back[l]);
}

struct HostTeam {
    Unit<V>* units;
    long tiles;
    V mask;  // of the last tile: 1 where there is a unit, 0 where there is none

    static bool leads() { return true; }

    // Asks for a tile before it is needed: a wide network comes out of the far caches as a stream. Larger units (d > 2)
    // are found ahead by the processor itself, and asking would only cost (measured).
    KERNEL void fetch(long i) const {
        const char* tile = reinterpret_cast<const char*>(units + i);
        if (sizeof *units <= 640)
            for (unsigned line = 0; line < sizeof *units; line += 64) __builtin_prefetch(tile + line, 1);
    }

    // The first third of a tile's step; past the end there is nothing to do.
    KERNEL V begin(long i, const Pending<Real>& pending, const Input<Real>& input) {
        if (i >= tiles) return V{};
        apply(units[i], pending);
        return argument(units[i], input);
    }

    // Three tiles are under way at a time, each in another third of its long chain of operations: a processor looks
    // ahead too few operations to overlap whole chains.
    KERNEL Sums<double> pass(const Pending<Real>& pending, const Input<Real>& input) {
        Sums<double> sums = {};
        V ahead = begin(1, pending, input);
        Hidden<V> hidden = activate(begin(0, pending, input));
        for (long first = 0; first < tiles; first += tiles_per_sum) {
            const long end = smaller(first + tiles_per_sum, tiles);
            Sums<V> part = {};
            for (long i = first; i < end; ++i) {
                fetch(i + tiles_ahead);
                const V next = begin(i + 2, pending, input);
                const Hidden<V> following = activate(ahead);
                if (i == tiles - 1) hidden.value *= mask;
                accumulate(units[i], hidden, part);
                remember(units[i], hidden);
                hidden = following;
                ahead = next;
            }
            add(sums, part);
        }
        return sums;
    }
};

KERNEL long tiles_of(long width) { return (width + lanes - 1) / lanes; }

static V last_mask(long width) {
    V mask = {};
    for (long i = 0; i < width - (tiles_of(width) - 1) * lanes; ++i) mask[i] = 1;
    return mask;
}

static HostTeam team_of(Unit<V>* units, long width) { return {units, tiles_of(width), last_mask(width)}; }

extern "C" {

long unit_bytes(long width) { return tiles_of(width) * long(sizeof(Unit<V>)); }
long state_bytes() { return sizeof(ReplicaState); }
long sums_bytes() { return sizeof(Sums<V>); }

// Initial weights of one replica: w (width, DIMENSION), b (width), c (width).
void fill_units(Unit<V>* units, long width, const double* w, const double* b, const double* c) {
    std::memset(static_cast<void*>(units), 0, unit_bytes(width));
    for (long i = 0; i < width; ++i) {
        Unit<V>& unit = units[i / lanes];
        for (int j = 0; j < DIMENSION; ++j) unit.w_start[j][i % lanes] = Real(w[i * DIMENSION + j]);
        unit.b_start[i % lanes] = Real(b[i]);
        unit.c_start[i % lanes] = Real(c[i]);
    }
}

#if WEIGHTED
// The weights of a rich twin's nodes (width).
void weigh_units(Unit<V>* units, long width, const Real* weight) {
    for (long i = 0; i < width; ++i) units[i / lanes].weight[i % lanes] = weight[i];
}
#endif

// Drift since initialisation, same shapes as the weights.
void read_drift(const Unit<V>* units, long width, double* w, double* b, double* c) {
    for (long i = 0; i < width; ++i) {
        const Unit<V>& unit = units[i / lanes];
        for (int j = 0; j < DIMENSION; ++j) w[i * DIMENSION + j] = unit.w_drift[j][i % lanes];
        b[i] = unit.b_drift[i % lanes];
        c[i] = unit.c_drift[i % lanes];
    }
}

// Weights now of a settled replica, same shapes as the initial ones.
void read_weights(const Unit<V>* units, long width, Real* w, Real* b, Real* c) {
    for (long i = 0; i < width; ++i) {
        const Unit<V>& unit = units[i / lanes];
        const long lane = i % lanes;
        for (int j = 0; j < DIMENSION; ++j)
            w[i * DIMENSION + j] = unit.w_start[j][lane] + unit.w_drift[j][lane];
        b[i] = unit.b_start[lane] + unit.b_drift[lane];
        c[i] = unit.c_start[lane] + unit.c_drift[lane];
    }
}

// All of a replica's units as (fields, width), the fields those of struct Unit in its order, as on a device (store.h).
long unit_fields() { return fields_of<V>(); }

void read_units(const Unit<V>* units, long width, Real* out) {
    for (long t = 0; t < tiles_of(width); ++t) {
        const long first = t * lanes, here = smaller(long(lanes), width - first);
        const Real* tile = reinterpret_cast<const Real*>(units + t);
        for (long f = 0; f < unit_fields(); ++f)
            std::memcpy(out + f * width + first, tile + f * lanes, here * sizeof(Real));
    }
}

void write_units(Unit<V>* units, long width, const Real* in) {
    std::memset(static_cast<void*>(units), 0, unit_bytes(width));
    for (long t = 0; t < tiles_of(width); ++t) {
        const long first = t * lanes, here = smaller(long(lanes), width - first);
        Real* tile = reinterpret_cast<Real*>(units + t);
        for (long f = 0; f < unit_fields(); ++f)
            std::memcpy(tile + f * lanes, in + f * width + first, here * sizeof(Real));
    }
}

// `steps` training steps of one replica: x (steps, DIMENSION), y (steps), squared_error (steps).
void train_replica(Unit<V>* units, ReplicaState* state, const Training* training, const Real* x, const Real* y,
                   long steps, double* squared_error) {
    HostTeam team = team_of(units, long(training->width));
    train<Real>(team, *training, *state, x, y, steps, squared_error);
}

// Applies the update that the last step left pending, so that the weights are those of the current time.
void settle(Unit<V>* units, ReplicaState* state, const Training* training) {
    const Pending<Real> pending = rounded<Real>(*state);
    for (long i = 0; i < tiles_of(long(training->width)); ++i) apply(units[i], pending);
    settled(*state);
}

// The settled network, frozen, run over `count` histories (count, length, DIMENSION) from zero memory: its output at the
// last step of each, and its memory (count, length). All histories advance together, so weights are read once a step.
void probe_replica(const Unit<V>* units, const Training* training, const Real* histories, long count, long length,
                   Sums<V>* scratch, double* output, double* memory) {
    const long width = long(training->width), tiles = tiles_of(width);
    const V mask = last_mask(width);
    for (long p = 0; p < count; ++p) memory[p * length] = 0;
    for (long k = 0; k < length; ++k) {
        double next_output[count], next_memory[count];
        for (long p = 0; p < count; ++p) next_output[p] = next_memory[p] = 0;
        for (long first = 0; first < tiles; first += tiles_per_sum) {
            const long end = smaller(first + tiles_per_sum, tiles);
            std::memset(static_cast<void*>(scratch), 0, count * sizeof *scratch);
            for (long i = first; i < end; ++i)
                for (long p = 0; p < count; ++p) {
                    Input<Real> input;
                    for (int j = 0; j < DIMENSION; ++j) input.x[j] = histories[(p * length + k) * DIMENSION + j];
                    input.memory = Real(memory[p * length + k]);
                    V value = activate(argument(units[i], input)).value;
                    if (i == tiles - 1) value *= mask;
                    value = weighed(units[i], value);
                    scratch[p].output += (units[i].c_start + units[i].c_drift) * value;
                    scratch[p].memory += (units[i].b_start + units[i].b_drift) * value;
                }
            for (long p = 0; p < count; ++p) {
                next_output[p] += total(scratch[p].output);
                next_memory[p] += total(scratch[p].memory);
            }
        }
        for (long p = 0; p < count; ++p) {
            output[p] = training->output_scale * next_output[p];
            if (k + 1 < length) memory[p * length + k + 1] = next_memory[p] / (WEIGHTED ? 1.0 : training->width);
        }
    }
}
}
