// Host entry points of the recurrent NTK: lanes are sequences j, for a few sequences i at a time.
#include "rntk.h"
#include <algorithm>
#include <vector>

typedef LanesOf<Real>::Type V;
typedef Lane<V>::Int Int;
typedef decltype(Int{}[0] + 0) Whole;
static const int lanes = Lane<V>::count, vectors = 2, rows = 4, most_layers = 32;
static const int width = lanes * vectors;  // of a group: sequences whose records lie side by side

// Sequences sorted by length, in groups; a record has `width` values of each of its entries, the first step comes first.
struct Table {
    Real* data;
    const i64 *start, *top, *length;  // of a group: where it is in data, its longest length; of each sequence, and zeros
    i64 count;
};

struct Result {  // sums over steps of V_phi and of V_phi + V_phi' Theta of the last layer
    Real *nngp, *ntk;
};

static V loaded(const Real* place) {
    V v;
    __builtin_memcpy(&v, place, sizeof v);
    return v;
}
static void put(Real* place, V v) { __builtin_memcpy(place, &v, sizeof v); }

// The lanes of a group that have a step `step`, counted from the end.
static Int lengths_of(const Table& table, i64 sequence) {
    Int n;
    for (int i = 0; i < lanes; ++i) n[i] = table.length[sequence + i];
    return n;
}
KERNEL V where(Int condition, V v, Real otherwise = 0) { return condition != Int{} ? v : splat<V>(otherwise); }

struct Row {  // one sequence, its record of step k at first + k * record
    const Real* first;
    i64 length;
};

// Rows against the lanes of one group, along the diagonal k' = k + shift of their steps. layers, inputs: 0 where they are
// not known when this is compiled.
template <int layers, int inputs> struct Sweep {
    static const int states = layers ? layers : most_layers;
    const Network& given;
    const Table& table;
    const Row* row;
    i64 group;
    int depth;
    V link[rows][vectors][states], tangent[rows][vectors][states], nngp[rows][vectors], ntk[rows][vectors];
    Int length[vectors];

    KERNEL Sweep(const Network& net, const Table& table, const Row* row, i64 group)
        : given(net), table(table), row(row), group(group), depth(layers ? layers : net.layers) {
        for (int v = 0; v < vectors; ++v) length[v] = lengths_of(table, group * width + v * lanes);
        for (int r = 0; r < rows; ++r)
            for (int v = 0; v < vectors; ++v) nngp[r][v] = ntk[r][v] = V{};
    }

    template <bool masked, bool summed> KERNEL void step(i64 k, i64 shift) {
        Network net = given;
        if (inputs) net.inputs = inputs;
        const i64 record = net.record();
        const Real* column = table.data + table.start[group] + (table.top[group] - 1 - k - shift) * record * width;
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
            if (masked && k >= row[r].length) continue;
            const Real* own = row[r].first + k * record;
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                V *state = link[r][v], *tan = tangent[r][v];
                auto one = [&](int field) { return own[field]; };
                auto other = [&](int field) { return loaded(column + field * width + v * lanes); };
                pair_step<V>(net, one, other, state, tan, depth);
                if (masked) {
                    const Int live = length[v] > Whole(k + shift);
                    for (int l = 0; l < depth; ++l) state[l] = where(live, state[l], NO_LINK), tan[l] = where(live, tan[l]);
                }
                if (summed || k == 0) {
                    const Kernels<V> now = kernels_of(net, one, other, state, tan, depth);
                    nngp[r][v] = now.nngp + (summed ? nngp[r][v] : V{});
                    ntk[r][v] = now.ntk + (summed ? ntk[r][v] : V{});
                }
            }
        }
    }

    template <bool summed> KERNEL void run(i64 shift) {
        for (int r = 0; r < rows; ++r)
            for (int v = 0; v < vectors; ++v)
                for (int l = 0; l < depth; ++l) link[r][v][l] = splat<V>(NO_LINK), tangent[r][v][l] = V{};
        i64 longest = 0, shortest = row[0].length;
        for (int r = 0; r < rows; ++r) {
            longest = larger(longest, row[r].length);
            shortest = smaller(shortest, row[r].length);
        }
        i64 least = table.top[group];
        for (i64 j = group * width; j < (group + 1) * width; ++j) least = smaller(least, table.length[j]);
        const i64 last = larger(i64(0), -shift), free = larger(last, smaller(shortest, least - shift));
        i64 k = smaller(longest, table.top[group] - shift) - 1;
        for (; k >= free; --k) step<true, summed>(k, shift);
        for (; k >= last; --k) step<false, summed>(k, shift);
    }
};

enum { LAST = 0, AVERAGE = 1, MEAN = 2 };

template <int layers, int inputs> static void sweep(const Network& net, const Table& table, const Row* row, i64 group,
                                                    int output, Real* nngp, Real* ntk) {
    Sweep<layers, inputs> pairs(net, table, row, group);
    if (output == LAST) {
        pairs.template run<false>(0);
    } else if (output == AVERAGE) {
        pairs.template run<true>(0);
    } else {
        i64 longest = 0;
        for (int r = 0; r < rows; ++r) longest = larger(longest, row[r].length);
        for (i64 shift = 1 - longest; shift < table.top[group]; ++shift) pairs.template run<true>(shift);
    }
    for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v) {
            put(nngp + r * width + v * lanes, pairs.nngp[r][v]);
            put(ntk + r * width + v * lanes, pairs.ntk[r][v]);
        }
}

static void copy_row(const Network& net, const Table& table, i64 sequence, Real* to) {
    const i64 group = sequence / width, lane = sequence % width, record = net.record(), top = table.top[group];
    for (i64 k = 0; k < table.length[sequence]; ++k)
        for (i64 f = 0; f < record; ++f)
            to[k * record + f] = table.data[table.start[group] + ((top - 1 - k) * record + f) * width + lane];
}

extern "C" {

int group_width() { return width; }
int rows_at_once() { return rows; }

// Sums of pairs (i, j), i = first .. last - 1 of `left`, j all of `right`, or where `triangle` (one table) all below
// i; [i - first, j] of arrays with `stride` columns.
void gram_rows(const Network* net, const Table* left, const Table* right, i64 first, i64 last, int triangle, int output,
               Result out, i64 stride) {
    i64 longest = 0;
    for (i64 i = first; i < last; ++i) longest = larger(longest, left->length[i]);
    std::vector<Real> copies(rows * longest * net->record());
    Real nngp[rows * width], ntk[rows * width];
    for (i64 i = first; i < last; i += rows) {
        Row row[rows];
        const int here = int(smaller(i64(rows), last - i));
        for (int r = 0; r < rows; ++r) {
            Real* copy = copies.data() + r * longest * net->record();
            const i64 sequence = i + smaller(r, here - 1);
            copy_row(*net, *left, sequence, copy);
            row[r] = {copy, left->length[sequence]};
        }
        const i64 end = triangle ? i + here - 1 : right->count;
        for (i64 group = 0; group * width < end; ++group) {
            const auto run = net->layers > 1 ? sweep<0, 0> : net->inputs > 1 ? sweep<1, 0> : sweep<1, 1>;
            run(*net, *right, row, group, output, nngp, ntk);
            for (int r = 0; r < here; ++r) {
                const i64 columns = smaller(i64(width), (triangle ? i + r : end) - group * width);
                const i64 place = (i - first + r) * stride + group * width;
                for (i64 j = 0; j < columns; ++j) {
                    if (out.nngp) out.nngp[place + j] = nngp[r * width + j];
                    if (out.ntk) out.ntk[place + j] = ntk[r * width + j];
                }
            }
        }
    }
}
// For the mean output: the pairs (t, t') with t' > t of every sequence with itself.
void diagonal_rest(const Network* net, const Table* table, Result out) {
    for (i64 i = 0; i < table->count; i += rows) {
        std::vector<Real> copies[rows];
        Row row[rows];
        i64 longest = 0;
        for (int r = 0; r < rows; ++r) {
            const i64 sequence = smaller(i + r, table->count - 1);
            copies[r].resize(table->length[sequence] * net->record());
            copy_row(*net, *table, sequence, copies[r].data());
            row[r] = {copies[r].data(), table->length[sequence]};
            longest = larger(longest, row[r].length);
        }
        Sweep<0, 0> pairs(*net, *table, row, i / width);
        for (i64 shift = 1; shift < longest; ++shift) pairs.run<true>(shift);
        for (i64 r = 0; r < rows && i + r < table->count; ++r) {
            const i64 lane = (i + r) % width;
            out.nngp[i + r] = pairs.nngp[r][lane / lanes][lane % lanes];
            out.ntk[i + r] = pairs.ntk[r][lane / lanes][lane % lanes];
        }
    }
}

// The lower triangle of a symmetric matrix, copied to the upper one, a square at a time.
void mirror(Real* matrix, i64 count) {
    const i64 square = 32;
    for (i64 row = 0; row < count; row += square)
        for (i64 column = 0; column <= row; column += square)
            for (i64 i = row; i < smaller(row + square, count); ++i)
                for (i64 j = column; j < smaller(column + square, i); ++j) matrix[j * count + i] = matrix[i * count + j];
}

#if ACTIVATION != 2
// Every sequence with itself, c = 1: fills the fields of its records; sums as above over its steps, or the last one.
void fill_fields(const Network* net, const Table* table, int summed, Result out) {
    const i64 record = net->record();
    for (i64 j = 0; j < table->count; j += lanes) {
        const i64 group = j / width, lane = j % width, top = table->top[group];
        const Int length = lengths_of(*table, j);
        V value[most_layers], tangent[most_layers], nngp = {}, ntk = {};
        for (int l = 0; l < net->layers; ++l) value[l] = splat<V>(net->start), tangent[l] = V{};
        for (i64 k = top - 1; k >= 0; --k) {
            Real* place = table->data + table->start[group] + (top - 1 - k) * record * width + lane;
            const Int live = length > Whole(k);
            auto own = [&](int field) { return loaded(place + field * width); };
            auto keep = [&](int field, V x) { put(place + field * width, where(live, x)); };
            V before[most_layers];
            std::copy(value, value + net->layers, before);
            own_step<V>(*net, own, keep, value, tangent, net->layers);
            for (int l = 0; l < net->layers; ++l) {
                value[l] = live != Int{} ? value[l] : before[l];
                tangent[l] = where(live, tangent[l]);
            }
            const V top_value = value[net->layers - 1], both = fused(tangent[net->layers - 1], own_share(), top_value);
            nngp = where(live, top_value) + (summed ? nngp : V{});
            ntk = where(live, both) + (summed ? ntk : V{});
        }
        for (int i = 0; i < lanes && j + i < table->count; ++i) out.nngp[j + i] = nngp[i], out.ntk[j + i] = ntk[i];
    }
}
#endif
}
