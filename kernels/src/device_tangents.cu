// Tangents of rich twins on a device: a block for each path and group of DIRECTIONS ends.
//
// The last warp of a block follows the ends and the others share the nodes, all of them in device memory. A jet has the
// numbers (value, derivative along each direction, sum of second ones), each summed over the block by itself.
// Compile-time parameters: those of unit.h but for REAL, and DIRECTIONS, at most 32.
#define REAL double
#define ALONG double
#include "tangent.h"
#include "layout.h"

static const int jet_numbers = DIRECTIONS + 2;
static_assert(DIRECTIONS <= 32, "a lane of the last warp has one end");
static_assert(sizeof(Uniform) == jet_numbers * sizeof(double), "results are arrays of these numbers");

// Where the units of a path and group lie.
struct Row {
    StoreOf<Uniform> node;
    StoreOf<AtEnds> end;
    const double* root;  // of each end
};

// All rows: nodes (rows, words, count), ends (rows, words, DIRECTIONS), roots (rows, DIRECTIONS).
struct Rows {
    double *nodes, *ends;
    const double* roots;
    long count;

    KERNEL Row at(long row) const {
        return {store_of<Uniform>(nodes, count, row), store_of<AtEnds>(ends, DIRECTIONS, row), roots + row * DIRECTIONS};
    }
};

// Number i of every jet of S, as the first of struct Sums.
template <template <class> class S> KERNEL Sums<double> numbers_of(const S<Uniform>& sums, int i) {
    const int jets = sizeof(S<double>) / sizeof(double);
    static_assert(sizeof(S<double>) <= sizeof(Sums<double>), "a group adds up Sums");
    struct Words { double at[jets][jet_numbers]; };
    struct Taken { double at[sizeof(Sums<double>) / sizeof(double)]; } taken = {};
    const Words words = same_bits<Words>(sums);
    UNROLLED for (int j = 0; j < jets; ++j) taken.at[j] = words.at[j][i];
    return same_bits<Sums<double>>(taken);
}

template <template <class> class S> KERNEL void set_numbers(S<Uniform>& sums, int i, const Sums<double>& numbers) {
    const int jets = sizeof(S<double>) / sizeof(double);
    struct Words { double at[jets][jet_numbers]; };
    struct Taken { double at[sizeof(Sums<double>) / sizeof(double)]; };
    const Taken taken = same_bits<Taken>(numbers);
    Words words = same_bits<Words>(sums);
    UNROLLED for (int j = 0; j < jets; ++j) words.at[j][i] = taken.at[j];
    sums = same_bits<S<Uniform>>(words);
}

struct TangentTeam {
    Row row;
    BlockGroup group;
    int half;  // of the shared sums of ends, which alternate like the rows of a group

    KERNEL static bool leads() { return thread_in_block() == 0; }

    // Every thread visits its own units.
    template <bool saves, class OfNode, class OfEnd> KERNEL void each(OfNode of_node, OfEnd of_end) const {
        const int stride = threads_per_block() - 32;
        if (thread_in_block() < stride) {
            for (long i = thread_in_block(); i < row.node.width; i += stride) {
                Unit<Uniform> unit = row.node.load(i);
                of_node(unit);
                if (saves) row.node.save(i, unit);
            }
        } else if (lane_in_warp() < DIRECTIONS) {
            Unit<AtEnds> unit = row.end.load(lane_in_warp());
            of_end(unit, lane_in_warp());
            if (saves) row.end.save(lane_in_warp(), unit);
        }
    }

    template <template <class> class S> KERNEL S<AtEnds>* sums_of_ends() const {
        const int all = DIRECTIONS * sizeof(Sums<AtEnds>) / sizeof(double);
        return reinterpret_cast<S<AtEnds>*>(shared_doubles<2 * all, 1>() + half * all);
    }

    // From the sums of this thread over nodes, and those that ends have put in their places.
    template <template <class> class S> KERNEL S<Uniform> total(const S<Uniform>& part) {
        S<Uniform> sums = {};
        UNROLLED for (int i = 0; i < jet_numbers; ++i) set_numbers<S>(sums, i, group.total(numbers_of<S>(part, i)));
        UNROLLED for (int e = 0; e < DIRECTIONS; ++e) move(sums, sums_of_ends<S>()[e], row.root[e], e);
        half ^= 1;
        return sums;
    }

    KERNEL Sums<Uniform> pass(const Pending<Uniform>& pending, const Input<Uniform>& input) {
        Sums<Uniform> part = {};
        each<true>([&](Unit<Uniform>& unit) { step(unit, pending, input, part); },
                   [&](Unit<AtEnds>& unit, int e) {
                       Sums<AtEnds> own = {};
                       step(unit, at_ends(pending, e), at_ends(input, e), own);
                       sums_of_ends<Sums>()[e] = own;
                   });
        return total<Sums>(part);
    }

    KERNEL void settle(const Pending<Uniform>& pending) {
        each<true>([&](Unit<Uniform>& unit) { apply(unit, pending); },
                   [&](Unit<AtEnds>& unit, int e) { apply(unit, at_ends(pending, e)); });
    }

    KERNEL Uniform answer(const Input<Uniform>& input, bool output) {
        Answer<Uniform> part = {};
        each<false>([&](Unit<Uniform>& unit) { part.mean += read(unit, input, output); },
                    [&](Unit<AtEnds>& unit, int e) {
                        sums_of_ends<Answer>()[e] = {read(unit, at_ends(input, e), output)};
                    });
        return total<Answer>(part).mean;
    }

    KERNEL Squares<Uniform> squares() {
        Squares<Uniform> part = {};
        each<false>([&](Unit<Uniform>& unit) { square(unit, part); },
                    [&](Unit<AtEnds>& unit, int e) {
                        Squares<AtEnds> own = {};
                        square(unit, own);
                        sums_of_ends<Squares>()[e] = own;
                    });
        return total<Squares>(part);
    }
};

// Layouts of the units of nodes and of ends.
DEVICE_PROGRAM tangent_layouts(i64* out) {
    write_layout<Uniform>(out);
    write_layout<AtEnds>(out + layout_numbers);
}

// x (paths, steps, DIMENSION), y (paths, steps), squared_error (rows, steps); rows: `groups_of_path` of each path.
DEVICE_PROGRAM AT_MOST_THREADS(256)
train_tangents(double* nodes, double* ends, const double* roots, ReplicaState* states, long count, long rows,
               long groups_of_path, double output_scale, double rate, double clip, const double* x, const double* y,
               Uniform* squared_error, long steps) {
    const Rows all = {nodes, ends, roots, count};
    const Training training = {double(count), output_scale, rate, clip};
    TangentTeam team = {};
    for (long r = block_in_grid(); r < rows; r += blocks_in_grid()) {
        const long path = r / groups_of_path;
        team.row = all.at(r);
        ReplicaState state = states[r];
        train<Uniform>(team, training, state, x + path * steps * DIMENSION, y + path * steps, steps,
                       squared_error + r * steps);
        if (team.leads()) states[r] = state;
    }
}

// The pending update of the last step.
DEVICE_PROGRAM AT_MOST_THREADS(256)
settle_tangents(double* nodes, double* ends, const double* roots, ReplicaState* states, long count, long rows) {
    const Rows all = {nodes, ends, roots, count};
    TangentTeam team = {};
    for (long r = block_in_grid(); r < rows; r += blocks_in_grid()) {
        team.row = all.at(r);
        team.settle(rounded<Uniform>(states[r]));
        wait_for_block();  // until all have read the state
        if (team.leads()) settled(states[r]);
    }
}

// The settled twins, frozen, along histories (probes, length, DIMENSION), each from zero memory: output (rows, probes) at
// the last step, memory (rows, probes, length) at all.
DEVICE_PROGRAM AT_MOST_THREADS(256)
probe_tangents(double* nodes, double* ends, const double* roots, long count, long rows, double output_scale,
               const double* histories, long probes, long length, Uniform* output, Uniform* memory) {
    const Rows all = {nodes, ends, roots, count};
    TangentTeam team = {};
    for (long task = block_in_grid(); task < rows * probes; task += blocks_in_grid()) {
        const double* x = histories + task % probes * length * DIMENSION;
        team.row = all.at(task / probes);
        Input<Uniform> input;
        input.memory = Uniform{};
        for (long k = 0; k < length; ++k, x += DIMENSION) {
            for (int j = 0; j < DIMENSION; ++j) input.x[j] = x[j];
            const bool last = k + 1 == length;
            const Uniform mean = team.answer(input, last);
            if (team.leads()) memory[task * length + k] = input.memory;
            if (team.leads() && last) output[task] = output_scale * mean;
            input.memory = mean;
        }
    }
}

// Mean squares of the settled drifts of W, B and C: (rows, 3).
DEVICE_PROGRAM AT_MOST_THREADS(256)
square_tangents(double* nodes, double* ends, const double* roots, long count, long rows, Squares<Uniform>* out) {
    const Rows all = {nodes, ends, roots, count};
    TangentTeam team = {};
    for (long r = block_in_grid(); r < rows; r += blocks_in_grid()) {
        team.row = all.at(r);
        const Squares<Uniform> squares = team.squares();
        if (team.leads()) out[r] = squares;
    }
}
