// The host team of tangents: one member owns the nodes of a rich twin and those that mass moves to, a group of directions
// at a time (tangent.h).
#include "tangent.h"

static const int lanes = Lane<DoubleLanes>::count;

// Where the nodes of one twin lie: `count` nodes, then the ends of all directions, a vector of them at a time.
struct Nodes {
    Unit<Uniform>* node;
    long count;
    Unit<AtEnds>* end;
    DoubleLanes* root;
};

KERNEL constexpr long bytes_of(long count) {
    return count * long(sizeof(Unit<Uniform>)) + groups * long(sizeof(Unit<AtEnds>) + sizeof(DoubleLanes));
}

static Nodes nodes_at(char* memory, long count) {
    Unit<AtEnds>* end = reinterpret_cast<Unit<AtEnds>*>(memory + count * sizeof(Unit<Uniform>));
    return {reinterpret_cast<Unit<Uniform>*>(memory), count, end, reinterpret_cast<DoubleLanes*>(end + groups)};
}

struct TangentTeam {
    Nodes nodes;

    static bool leads() { return true; }

    Sums<Uniform> pass(const Pending<Uniform>& pending, const Input<Uniform>& input) {
        Sums<Uniform> sums = {};
        for (long i = 0; i < nodes.count; ++i) step(nodes.node[i], pending, input, sums);
        for (int g = 0; g < groups; ++g) {
            Sums<AtEnds> own = {};
            step(nodes.end[g], at_ends(pending, g), at_ends(input, g), own);
            move(sums, own, nodes.root[g], g);
        }
        return sums;
    }
};

// The activation at the values of `lanes` arguments at a time, with its derivatives: those of a jet along its argument.
KERNEL AtEnds activated(const DoubleLanes& values) {
    AtEnds argument = {};
    argument.value = values;
    argument.first[0] = splat<DoubleLanes>(1.0);
    return activate(argument).value;
}

// A frozen unit: what it hands to the memory, or to the output, of networks that feel these arguments.
struct Frozen {
    Uniform w[DIMENSION], part;
};

KERNEL Frozen frozen(const Unit<Uniform>& unit, bool output) {
    Frozen now;
    for (int j = 0; j < DIMENSION; ++j) now.w[j] = unit.w_start[j] + unit.w_drift[j];
    now.part = weighed(unit, Uniform(output ? unit.c_start + unit.c_drift : unit.b_start + unit.b_drift));
    return now;
}

KERNEL Uniform argument(const Frozen& unit, const Input<Uniform>& input) {
    Uniform a = input.memory;
    for (int j = 0; j < DIMENSION; ++j) a += unit.w[j] * input.x[j];
    return a;
}

KERNEL void read(const Frozen& unit, const Input<Uniform>* input, long count, Uniform* sums) {
    DoubleLanes values = {};
    for (long p = 0; p < count; ++p) {
        double a = input[p].memory.value;
        for (int j = 0; j < DIMENSION; ++j) a += unit.w[j].value * input[p].x[j];
        values[p] = a;
    }
    const AtEnds hidden = activated(values);
    for (long p = 0; p < count; ++p) {
        const double value = hidden.value[p], slope = hidden.first[0][p], curvature = hidden.second[p];
        sums[p] += unit.part * composed(argument(unit, input[p]), value, slope, curvature);
    }
}

// One number as DIRECTIONS + 2 doubles: value, first derivatives, the sum of the second ones.
static void write(const Uniform& a, double* out) {
    out[0] = a.value;
    std::memcpy(out + 1, a.first, sizeof a.first);
    double second = 0;
    for (int i = 0; i < lanes; ++i) second += a.second[i];
    out[1 + DIRECTIONS] = second;
}

static void write_end(const AtEnds& a, int lane, double* out) {
    out[0] = a.value[lane];
    out[1] = a.first[0][lane];
}

static const long written = DIRECTIONS + 2;
static const long steps_at_once = 16;

extern "C" {

long directions() { return DIRECTIONS; }
long nodes_bytes(long count) { return bytes_of(count); }
long state_bytes() { return sizeof(ReplicaState); }

// The nodes: w (count, DIMENSION), b, c, weight (count).
void fill_nodes(char* memory, long count, const double* w, const double* b, const double* c, const double* weight) {
    std::memset(memory, 0, bytes_of(count));
    const Nodes nodes = nodes_at(memory, count);
    for (long i = 0; i < count; ++i) {
        Unit<Uniform>& unit = nodes.node[i];
        for (int j = 0; j < DIMENSION; ++j) unit.w_start[j] = w[i * DIMENSION + j];
        unit.b_start = b[i];
        unit.c_start = c[i];
        unit.weight = weight[i];
    }
}

// The ends of DIRECTIONS directions, after fill_nodes: w (DIRECTIONS, DIMENSION), b, c, root (DIRECTIONS).
void fill_ends(char* memory, long count, const double* w, const double* b, const double* c, const double* root) {
    const Nodes nodes = nodes_at(memory, count);
    for (int i = 0; i < DIRECTIONS; ++i) {
        Unit<AtEnds>& unit = nodes.end[i / lanes];
        for (int j = 0; j < DIMENSION; ++j) unit.w_start[j][i % lanes] = w[i * DIMENSION + j];
        unit.b_start[i % lanes] = b[i];
        unit.c_start[i % lanes] = c[i];
        unit.weight[i % lanes] = 1;
        nodes.root[i / lanes][i % lanes] = root[i];
    }
}

// `steps` training steps: x (steps, DIMENSION), y (steps), squared_error (steps, DIRECTIONS + 2).
void train_nodes(char* memory, long count, ReplicaState* state, const Training* training, const double* x,
                 const double* y, long steps, double* squared_error) {
    TangentTeam team = {nodes_at(memory, count)};
    for (long k = 0; k < steps; k += steps_at_once) {
        Uniform errors[steps_at_once];
        const long here = steps - k < steps_at_once ? steps - k : steps_at_once;
        train<Uniform>(team, *training, *state, x + k * DIMENSION, y + k, here, errors);
        for (long i = 0; i < here; ++i) write(errors[i], squared_error + (k + i) * written);
    }
}

// Applies the update that the last step left pending, so that the weights are those of the current time.
void settle_nodes(char* memory, long count, ReplicaState* state) {
    const Nodes nodes = nodes_at(memory, count);
    const Pending<Uniform> pending = rounded<Uniform>(*state);
    for (long i = 0; i < count; ++i) apply(nodes.node[i], pending);
    for (int g = 0; g < groups; ++g) apply(nodes.end[g], at_ends(pending, g));
    settled(*state);
}

// The settled weights of all units, w then b and c: of nodes (count, DIMENSION + 2, DIRECTIONS + 2); of ends (DIRECTIONS,
// DIMENSION + 2, 2), with the derivative along their own direction.
void read_tangent_weights(char* memory, long count, double* of_nodes, double* of_ends) {
    const Nodes nodes = nodes_at(memory, count);
    for (long i = 0; i < count; ++i) {
        const Unit<Uniform>& unit = nodes.node[i];
        double* out = of_nodes + i * (DIMENSION + 2) * written;
        for (int j = 0; j < DIMENSION; ++j) write(unit.w_start[j] + unit.w_drift[j], out + j * written);
        write(unit.b_start + unit.b_drift, out + DIMENSION * written);
        write(unit.c_start + unit.c_drift, out + (DIMENSION + 1) * written);
    }
    for (int i = 0; i < DIRECTIONS; ++i) {
        const Unit<AtEnds>& unit = nodes.end[i / lanes];
        double* out = of_ends + i * (DIMENSION + 2) * 2;
        for (int j = 0; j < DIMENSION; ++j) write_end(unit.w_start[j] + unit.w_drift[j], i % lanes, out + 2 * j);
        write_end(unit.b_start + unit.b_drift, i % lanes, out + 2 * DIMENSION);
        write_end(unit.c_start + unit.c_drift, i % lanes, out + 2 * (DIMENSION + 1));
    }
}

// Mean squares of the settled drifts: (3, DIRECTIONS + 2), of W, B and C.
void square_drifts(char* memory, long count, double* out) {
    const Nodes nodes = nodes_at(memory, count);
    Squares<Uniform> sums = {};
    for (long i = 0; i < count; ++i) square(nodes.node[i], sums);
    for (int g = 0; g < groups; ++g) {
        Squares<AtEnds> own = {};
        square(nodes.end[g], own);
        move(sums, own, nodes.root[g], g);
    }
    write(sums.w, out);
    write(sums.b, out + written);
    write(sums.c, out + 2 * written);
}

// The settled network, frozen, run over `probes` histories (probes, length, DIMENSION) from zero memory: its output at the
// last step of each, (probes, DIRECTIONS + 2), and its memory at every step, (probes, length, DIRECTIONS + 2). All histories
// advance together, so nodes are read once a step.
void probe_nodes(char* memory, long count, const Training* training, const double* histories, long probes, long length,
                 double* output, double* memories) {
    const Nodes nodes = nodes_at(memory, count);
    Input<Uniform> input[probes];
    Uniform sums[probes];
    for (long p = 0; p < probes; ++p) input[p].memory = Uniform{};
    for (long k = 0; k < length; ++k) {
        const bool last = k + 1 == length;
        for (long p = 0; p < probes; ++p) {
            for (int j = 0; j < DIMENSION; ++j) input[p].x[j] = histories[(p * length + k) * DIMENSION + j];
            sums[p] = Uniform{};
            write(input[p].memory, memories + (p * length + k) * written);
        }
        for (long i = 0; i < count; ++i) {
            const Frozen unit = frozen(nodes.node[i], last);
            for (long p = 0; p < probes; p += lanes)
                read(unit, input + p, probes - p < lanes ? probes - p : lanes, sums + p);
        }
        for (long p = 0; p < probes; ++p) {
            for (int g = 0; g < groups; ++g)
                move(sums[p], read(nodes.end[g], at_ends(input[p], g), last), nodes.root[g], g);
            if (!last) input[p].memory = sums[p];
        }
    }
    for (long p = 0; p < probes; ++p) write(training->output_scale * sums[p], output + p * written);
}
}
