// How the members of a team add up: a warp, a block, a cluster of blocks, or blocks that meet in device memory.
//
// A Group offers   total(sums) -> Sums<double>   the sum over all members, the same bits for each of them
//                  member(), members()           this thread's place in the team
// Every sum has one fixed order. Buffers alternate between two halves from one step to the next: whoever writes a half
// again has passed the barrier of the step between, and so has everyone who read it.
#pragma once
#include "machine.h"
#include "store.h"

#define MOST_WARPS 32

static const int sum_count = 3 + UPDATE_B * DEPTH + BACK;  // of struct Sums, without its unused places
KERNEL constexpr int power_of_two_from(int n) { return n <= 1 ? 1 : 2 * power_of_two_from((n + 1) / 2); }
static const int padded_sums = power_of_two_from(sum_count);
static const int lanes_per_sum = 32 / padded_sums;

KERNEL void add(Sums<double>& sums, const Sums<Real>& part) {
    sums.output += part.output;
    sums.memory += part.memory;
    sums.gain += part.gain;
    if (UPDATE_B)
        for (int l = 0; l < DEPTH; ++l) sums.overlap[l] += part.overlap[l];
    for (int l = 0; l < BACK; ++l) sums.back[l] += part.back[l];
}

template <class V> KERNEL void pack(const Sums<V>& sums, V (&value)[padded_sums]) {
    int n = 0;
    value[n++] = sums.output;
    value[n++] = sums.memory;
    value[n++] = sums.gain;
    if (UPDATE_B)
        for (int l = 0; l < DEPTH; ++l) value[n++] = sums.overlap[l];
    for (int l = 0; l < BACK; ++l) value[n++] = sums.back[l];
    while (n < padded_sums) value[n++] = 0;
}

// Sum number q as lane q * lanes_per_sum of this warp holds it.
KERNEL Sums<double> unpacked(double value) {
    Sums<double> sums = {};
    int n = 0;
    sums.output = taken_from(value, lanes_per_sum * n++);
    sums.memory = taken_from(value, lanes_per_sum * n++);
    sums.gain = taken_from(value, lanes_per_sum * n++);
    if (UPDATE_B)
        for (int l = 0; l < DEPTH; ++l) sums.overlap[l] = taken_from(value, lanes_per_sum * n++);
    for (int l = 0; l < BACK; ++l) sums.back[l] = taken_from(value, lanes_per_sum * n++);
    return sums;
}

// All sums of a warp at once: each exchange halves the number of sums that a lane still works on, until lanes
// q * lanes_per_sum and following hold sum q. Ten exchanges for four sums, where one by one would take twenty.
template <class V> KERNEL V warp_sum(const Sums<V>& sums) {
    V value[padded_sums];
    pack(sums, value);
    int distance = 16;
    for (int half = padded_sums / 2; half >= 1; half /= 2, distance /= 2) {
        const bool upper = lane_in_warp() & distance;
        for (int i = 0; i < half; ++i) {
            const V given = upper ? value[i] : value[i + half], kept = upper ? value[i + half] : value[i];
            value[i] = kept + exchanged(given, distance);
        }
    }
    for (; distance >= 1; distance /= 2) value[0] += exchanged(value[0], distance);
    return value[0];
}

KERNEL bool holds_a_sum() { return lane_in_warp() % lanes_per_sum == 0; }
KERNEL int own_sum() { return lane_in_warp() / lanes_per_sum; }

// The sum over rows (count, padded_sums), a warp's lanes taking rows side by side; the result lies as warp_sum's does.
template <class Read> KERNEL double sum_of_rows(int count, Read read) {
    double value = 0;
    for (int row = lane_in_warp() % lanes_per_sum; row < count; row += lanes_per_sum)
        value += read(row * padded_sums + own_sum());
    for (int distance = 1; distance < lanes_per_sum && distance < count; distance *= 2)
        value += exchanged(value, distance);
    return value;
}

struct WarpGroup {
    KERNEL int member() const { return lane_in_warp(); }
    KERNEL int members() const { return 32; }
    template <class V> KERNEL Sums<double> total(const Sums<V>& part) { return unpacked(double(warp_sum(part))); }
};

// Rows of a block: what each of its warps has summed up.
struct BlockRows {
    int half = 0;

    // This half's rows, after every warp has written its own.
    template <class V> KERNEL const double* filled(const Sums<V>& part) {
        double* rows = shared_doubles<2 * MOST_WARPS * padded_sums>() + half * MOST_WARPS * padded_sums;
        const V sum = warp_sum(part);
        if (holds_a_sum()) rows[warp_in_block() * padded_sums + own_sum()] = double(sum);
        wait_for_block();
        half ^= 1;
        return rows;
    }

    KERNEL static double sum(const double* rows) {
        return sum_of_rows(threads_per_block() / 32, [rows](int i) { return rows[i]; });
    }
};

struct BlockGroup {
    BlockRows block;

    KERNEL int member() const { return thread_in_block(); }
    KERNEL int members() const { return threads_per_block(); }
    template <class V> KERNEL Sums<double> total(const Sums<V>& part) {
        return unpacked(BlockRows::sum(block.filled(part)));
    }
};

#if defined(CLUSTER)
#define MOST_BLOCKS 16

// Blocks of one cluster: each sends its sum into the shared memory of all.
struct ClusterGroup {
    BlockRows block;

    KERNEL int member() const { return block_in_cluster() * threads_per_block() + thread_in_block(); }
    KERNEL int members() const { return CLUSTER * threads_per_block(); }
    template <class V> KERNEL Sums<double> total(const Sums<V>& part) {
        double* rows = shared_doubles<2 * MOST_BLOCKS * padded_sums, 1>() + block.half * MOST_BLOCKS * padded_sums;
        const double* own = block.filled(part);
        if (warp_in_block() == 0) {
            const double sum = taken_from(BlockRows::sum(own), own_sum() * lanes_per_sum);
            for (int peer = lane_in_warp() % lanes_per_sum; peer < CLUSTER; peer += lanes_per_sum)
                send_to_block(rows + block_in_cluster() * padded_sums + own_sum(), peer, sum);
        }
        wait_for_cluster();
        return unpacked(sum_of_rows(CLUSTER, [rows](int i) { return rows[i]; }));
    }
};
#endif

// Blocks anywhere on the device: sums and a counter in device memory. The blocks of a launch must all be running.
struct GridGroup {
    BlockRows block;
    int first_block, blocks;  // of this team, in the grid
    double* rows;             // (2, blocks, padded_sums)
    unsigned* count;          // announcements so far
    unsigned reached;

    KERNEL int member() const { return int(block_in_grid() - first_block) * threads_per_block() + thread_in_block(); }
    KERNEL int members() const { return blocks * threads_per_block(); }
    template <class V> KERNEL Sums<double> total(const Sums<V>& part) {
        double* here = rows + block.half * blocks * padded_sums;
        double* result = shared_doubles<2 * padded_sums, 1>() + block.half * padded_sums;
        const double* own = block.filled(part);
        reached += unsigned(blocks);
        if (warp_in_block() == 0) {
            const double sum = BlockRows::sum(own);
            if (holds_a_sum()) here[(block_in_grid() - first_block) * padded_sums + own_sum()] = sum;
            wait_for_warp();
            if (lane_in_warp() == 0) {
                announce(count);
                wait_until(count, reached);
            }
            wait_for_warp();
            const double all = sum_of_rows(blocks, [here](int i) { return read_fresh(here + i); });
            if (holds_a_sum()) result[own_sum()] = all;
        }
        wait_for_block();
        return unpacked(result[own_sum()]);
    }
};
