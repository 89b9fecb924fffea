// The recurrent NTK on a device: a thread for each pair, the lanes of a warp are neighbouring sequences j.
//
// Compile-time parameters besides those of rntk.h: LAYERS.
#include "rntk.h"
#include "machine.h"

static const int width = 32;  // of a group of sequences

struct Sequence {  // its record of step k, counted from the end, begins at last - k * record * width
    const Real* last;
    i64 length;
};

// `table` holds for each group where it is in data and its longest length, then the length of each sequence.
KERNEL Sequence sequence_of(const Network& net, const Real* data, const i64* table, i64 groups, i64 index) {
    const i64 group = index / width, top = table[groups + group];
    return {data + table[group] + (top - 1) * net.record() * width + index % width, table[2 * groups + index]};
}

// Adds what two sequences have along k' = k + shift: `last` keeps only the step k = 0.
KERNEL void follow(const Network& net, Sequence row, Sequence column, i64 shift, bool last, Real& nngp, Real& ntk) {
    Real link[LAYERS], tangent[LAYERS];
#pragma unroll
    for (int l = 0; l < LAYERS; ++l) link[l] = NO_LINK, tangent[l] = 0;
    const i64 stride = net.record() * width, end = shift < 0 ? -shift : 0;
    i64 k = column.length - shift;
    if (k > row.length) k = row.length;
    for (--k; k >= end; --k) {
        const Real *own = row.last - k * stride, *others = column.last - (k + shift) * stride;
        auto one = [&](int field) { return own[field * width]; };
        auto other = [&](int field) { return others[field * width]; };
        pair_step<Real>(net, one, other, link, tangent, LAYERS);
        if (last && k > 0) continue;
        const Kernels<Real> now = kernels_of(net, one, other, link, tangent, LAYERS);
        nngp = now.nngp + (last ? Real(0) : nngp);
        ntk = now.ntk + (last ? Real(0) : ntk);
    }
}

KERNEL Network network_of(const double* square, int inputs, int terms) {
    return {Real(square[0]), Real(square[1]), Real(square[2]), Real(square[3]), Real(square[4]), LAYERS, inputs, terms};
}

// As gram_rows of host_rntk.cpp; output: 0 last, 1 average, 2 mean. want: 1 nngp, 2 ntk, 3 both.
DEVICE_PROGRAM AT_MOST_THREADS(256)
pair_rows(const double* square, int inputs, int terms, const Real* left, const i64* left_table, i64 left_groups,
          const Real* right, const i64* right_table, i64 right_groups, i64 first, i64 last, i64 columns, int triangle,
          int output, int want, Real* nngp, Real* ntk) {
    const Network net = network_of(square, inputs, terms);
    const i64 warps = threads_per_block() / 32, tasks = (last - first) * right_groups;
    for (i64 task = block_in_grid() * warps + warp_in_block(); task < tasks; task += blocks_in_grid() * warps) {
        const i64 i = first + task / right_groups, j = task % right_groups * width + lane_in_warp();
        if (j >= (triangle ? i : columns)) continue;
        const Sequence row = sequence_of(net, left, left_table, left_groups, i);
        const Sequence column = sequence_of(net, right, right_table, right_groups, j);
        Real value = 0, both = 0;
        const i64 least = output == 2 ? 1 - row.length : 0, most = output == 2 ? column.length - 1 : 0;
        for (i64 shift = least; shift <= most; ++shift) follow(net, row, column, shift, output == 0, value, both);
        if (want & 1) nngp[(i - first) * columns + j] = value;
        if (want & 2) ntk[(i - first) * columns + j] = both;
    }
}

// As diagonal_rest of host_rntk.cpp.
DEVICE_PROGRAM AT_MOST_THREADS(256)
own_rest(const double* square, int inputs, int terms, const Real* data, const i64* table, i64 groups, i64 count,
         Real* nngp, Real* ntk) {
    const Network net = network_of(square, inputs, terms);
    for (i64 i = block_in_grid() * threads_per_block() + thread_in_block(); i < count;
         i += blocks_in_grid() * threads_per_block()) {
        const Sequence own = sequence_of(net, data, table, groups, i);
        Real value = 0, both = 0;
        for (i64 shift = 1; shift < own.length; ++shift) follow(net, own, own, shift, false, value, both);
        nngp[i] = value;
        ntk[i] = both;
    }
}

#if ACTIVATION != 2
// As fill_fields of host_rntk.cpp.
DEVICE_PROGRAM AT_MOST_THREADS(256)
own_fields(const double* square, int inputs, int terms, Real* data, const i64* table, i64 groups, i64 count, int summed,
           Real* nngp, Real* ntk) {
    const Network net = network_of(square, inputs, terms);
    for (i64 i = block_in_grid() * threads_per_block() + thread_in_block(); i < count;
         i += blocks_in_grid() * threads_per_block()) {
        const Sequence sequence = sequence_of(net, data, table, groups, i);
        Real value[LAYERS], tangent[LAYERS], total = 0, both = 0;
#pragma unroll
        for (int l = 0; l < LAYERS; ++l) value[l] = net.start, tangent[l] = 0;
        for (i64 k = sequence.length - 1; k >= 0; --k) {
            Real* place = data + (sequence.last - data) - k * net.record() * width;
            auto own = [&](int field) { return place[field * width]; };
            auto keep = [&](int field, Real x) { place[field * width] = x; };
            own_step<Real>(net, own, keep, value, tangent, LAYERS);
            total = value[LAYERS - 1] + (summed ? total : Real(0));
            both = fused(tangent[LAYERS - 1], own_share(), value[LAYERS - 1]) + (summed ? both : Real(0));
        }
        nngp[i] = total;
        ntk[i] = both;
    }
}
#endif
