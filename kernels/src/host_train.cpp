// The host team: one member owns all N units of a replica, a vector of units (a tile) at a time.
//
// A replica is an array of tiles, each one Unit of vector lanes: all that a unit needs lies side by side, so a sweep
// is a single forward stream through memory. Units past N in the last tile have zero weights, and a zero mask keeps
// their hidden value at zero: they add nothing to any sum.
#include "team.h"

typedef REAL Real;
typedef LanesOf<Real>::Type V;
typedef Lane<Real>::Scalar Scalar;
typedef LanesOf<Scalar>::Type Vector;  // V itself, or one of the numbers that a jet is made of
static const int parts = sizeof(V) / sizeof(Vector);

static const int lanes = Lane<V>::count;
static const long tiles_per_sum = 64;  // floats are added at most this often before the sum goes on in double
static const long tiles_ahead = 6;

template <int n> struct Part { typedef Scalar Type __attribute__((vector_size(n * sizeof(Scalar)))); };

// The sum of the lanes, halves added to halves: a chain of log2(n) additions that never leaves the registers.
template <int n> KERNEL Scalar folded(typename Part<n>::Type v) {
    if constexpr (n == 2) {
        return v[0] + v[1];
    } else {
        typename Part<n / 2>::Type half[2];
        __builtin_memcpy(half, &v, sizeof v);
        return folded<n / 2>(half[0] + half[1]);
    }
}

KERNEL double total(const Vector& v) { return double(folded<lanes>(v)); }
KERNEL Scalar lane_of(const Vector& v, long i) { return v[i]; }
KERNEL void set_lane(Vector& v, long i, double value) { v[i] = Scalar(value); }
#if TANGENTS
KERNEL Number total(const V& v) { return {total(v.value), total(v.first), total(v.second)}; }
KERNEL Real lane_of(const V& v, long i) { return {v.value[i], v.first[i], v.second[i]}; }
KERNEL void set_lane(V& v, long i, double value) { v.value[i] = value; }
#endif

KERNEL void add(Sums<Number>& sums, const Sums<V>& part) {
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
    Vector mask;  // of the last tile: 1 where there is a unit, 0 where there is none

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
    KERNEL Sums<Number> pass(const Pending<Real>& pending, const Input<Real>& input) {
        Sums<Number> sums = {};
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

static Vector last_mask(long width) {
    Vector mask = {};
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
        for (int j = 0; j < DIMENSION; ++j) set_lane(unit.w_start[j], i % lanes, w[i * DIMENSION + j]);
        set_lane(unit.b_start, i % lanes, b[i]);
        set_lane(unit.c_start, i % lanes, c[i]);
    }
}

#if WEIGHTED
// The weights of a rich twin's nodes, each with its derivatives: (width, parts).
void weigh_units(Unit<V>* units, long width, const Real* weight) {
    for (long i = 0; i < width; ++i) {
        V& own = units[i / lanes].weight;
        for (int part = 0; part < parts; ++part)
            reinterpret_cast<Vector*>(&own)[part][i % lanes] = reinterpret_cast<const Scalar*>(weight + i)[part];
    }
}
#endif

// Drift since initialisation, same shapes as the weights.
void read_drift(const Unit<V>* units, long width, Number* w, Number* b, Number* c) {
    for (long i = 0; i < width; ++i) {
        const Unit<V>& unit = units[i / lanes];
        for (int j = 0; j < DIMENSION; ++j) w[i * DIMENSION + j] = lane_of(unit.w_drift[j], i % lanes);
        b[i] = lane_of(unit.b_drift, i % lanes);
        c[i] = lane_of(unit.c_drift, i % lanes);
    }
}

// Weights now of a settled replica, same shapes as the initial ones.
void read_weights(const Unit<V>* units, long width, Real* w, Real* b, Real* c) {
    for (long i = 0; i < width; ++i) {
        const Unit<V>& unit = units[i / lanes];
        const long lane = i % lanes;
        for (int j = 0; j < DIMENSION; ++j)
            w[i * DIMENSION + j] = lane_of(unit.w_start[j], lane) + lane_of(unit.w_drift[j], lane);
        b[i] = lane_of(unit.b_start, lane) + lane_of(unit.b_drift, lane);
        c[i] = lane_of(unit.c_start, lane) + lane_of(unit.c_drift, lane);
    }
}

// All of a replica's units as (fields, width), the fields those of struct Unit in its order, as on a device (store.h). Of jets
// each part is a field.
long unit_fields() { return fields_of<V>() * parts; }

void read_units(const Unit<V>* units, long width, Scalar* out) {
    for (long t = 0; t < tiles_of(width); ++t) {
        const long first = t * lanes, here = smaller(long(lanes), width - first);
        const Scalar* tile = reinterpret_cast<const Scalar*>(units + t);
        for (long f = 0; f < unit_fields(); ++f)
            std::memcpy(out + f * width + first, tile + f * lanes, here * sizeof(Scalar));
    }
}

void write_units(Unit<V>* units, long width, const Scalar* in) {
    std::memset(static_cast<void*>(units), 0, unit_bytes(width));
    for (long t = 0; t < tiles_of(width); ++t) {
        const long first = t * lanes, here = smaller(long(lanes), width - first);
        Scalar* tile = reinterpret_cast<Scalar*>(units + t);
        for (long f = 0; f < unit_fields(); ++f)
            std::memcpy(tile + f * lanes, in + f * width + first, here * sizeof(Scalar));
    }
}

// `steps` training steps of one replica: x (steps, DIMENSION), y (steps), squared_error (steps).
void train_replica(Unit<V>* units, ReplicaState* state, const Training* training, const Scalar* x, const Scalar* y,
                   long steps, Number* squared_error) {
    HostTeam team = team_of(units, long(training->width));
    train<Real>(team, *training, *state, x, y, steps, squared_error);
}

// Applies the update that the last step left pending, so that the weights are those of the current time.
void settle(Unit<V>* units, ReplicaState* state, const Training* training) {
    const Pending<Real> pending = rounded<Real>(*state);
    for (long i = 0; i < tiles_of(long(training->width)); ++i) apply(units[i], pending);
    const ReplicaState kept = *state;
    *state = ReplicaState{};
    state->memory = kept.memory;
    __builtin_memcpy(state->x, kept.x, sizeof kept.x);
}

// The settled network, frozen, run over `count` histories (count, length, DIMENSION) from zero memory: its output at the
// last step of each, and its memory (count, length). All histories advance together, so weights are read once a step.
void probe_replica(const Unit<V>* units, const Training* training, const Scalar* histories, long count, long length,
                   Sums<V>* scratch, Number* output, Number* memory) {
    const long width = long(training->width), tiles = tiles_of(width);
    const Vector mask = last_mask(width);
    for (long p = 0; p < count; ++p) memory[p * length] = Number{};
    for (long k = 0; k < length; ++k) {
        Number next_output[count], next_memory[count];
        for (long p = 0; p < count; ++p) next_output[p] = next_memory[p] = Number{};
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
