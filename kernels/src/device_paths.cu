// Random numbers, chains and the infinite-width memory on a device: all in double.
//
// Compile-time parameters of chain_path: INPUTS and HIDDEN components, NONLINEAR; of memory_path: COORDINATES
// (how many numbers of the input the rule needs) and those of sigma.h.
#include "chain.h"
#include "machine.h"

typedef double Real;

KERNEL long thread_in_grid() { return block_in_grid() * threads_per_block() + thread_in_block(); }
KERNEL long threads_in_grid() { return blocks_in_grid() * threads_per_block(); }

// The bare generator: `count` counters of four words each, answers in place.
DEVICE_PROGRAM philox_words(u32* words, long count, u32 key0, u32 key1) {
    for (long i = thread_in_grid(); i < count; i += threads_in_grid()) {
        u64 counter[4];
        for (int j = 0; j < 4; ++j) counter[j] = words[4 * i + j];
        philox4x32(counter, u64(key0), u64(key1));
        for (int j = 0; j < 4; ++j) words[4 * i + j] = u32(counter[j]);
    }
}

// out (replicas, count); uniforms, or normals.
DEVICE_PROGRAM fill(int normal, u32 seed, u32 stream, const u32* replica, long replicas, long count, u64 step,
                    u64 component, double* out) {
    const long pairs = (count + 1) / 2;
    for (long i = thread_in_grid(); i < replicas * pairs; i += threads_in_grid()) {
        const long r = i / pairs, lane = i % pairs;
        const u64 who = replica[r];
        const Pair<double> pair = normal ? normal_pair<double>(u64(lane), step, who, component, seed, stream)
                                         : uniform_pair<double>(u64(lane), step, who, component, seed, stream);
        out[r * count + 2 * lane] = pair.first;
        if (2 * lane + 1 < count) out[r * count + 2 * lane + 1] = pair.second;
    }
}

#if defined(INPUTS)
#define SIZE (INPUTS + HIDDEN)

// As chain_path of host_paths.cpp, a thread for each replica. The noise of the next step is drawn beside the present
// step: a thread then waits for one of the two chains of operations, not for both.
DEVICE_PROGRAM chain_path(const double* linear, const double* coupling, const double* noise, const double* target,
                          u32 seed, u32 stream, const u32* replica, long replicas, u64 first_step, long steps,
                          double* state, double* history, double* y, int keep) {
    const long r = thread_in_grid();
    if (r >= replicas) return;
    const Chain chain = {INPUTS, HIDDEN, NONLINEAR, linear, coupling, noise, target, seed, stream};
    double h[SIZE], curved[SIZE], next[SIZE], xi[SIZE], coming[SIZE];
    for (int i = 0; i < SIZE; ++i) h[i] = state[r * SIZE + i];
    observe(chain, h, curved);
    draw_noise(chain, u64(replica[r]), first_step, xi);
    for (long k = 0; k < steps; ++k) {
        draw_noise(chain, u64(replica[r]), first_step + u64(k + 1), coming);
        advance(chain, h, curved, xi, next);
        const double aim = observe(chain, h, curved);
        for (int i = 0; i < SIZE; ++i) xi[i] = coming[i];
        if (!keep) continue;
        y[r * steps + k] = aim;
        for (int i = 0; i < SIZE; ++i) history[(r * steps + k) * SIZE + i] = h[i];
    }
    for (int i = 0; i < SIZE; ++i) state[r * SIZE + i] = h[i];
}
#endif

// A finite chain by inversion: cumulative (states, states) rows of the transition matrix summed up.
DEVICE_PROGRAM finite_path(const double* cumulative, int states, u32 seed, u32 stream, const u32* replica,
                           long replicas, u64 first_step, long steps, int* state, int* history) {
    const long r = thread_in_grid();
    if (r >= replicas) return;
    int now = state[r];
    for (long k = 0; k < steps; ++k) {
        const Pair<double> u = uniform_pair<double>(u64(0), first_step + u64(k), u64(replica[r]), u64(0), seed, stream);
        const double* row = cumulative + long(now) * states;
        int next = 0;
        while (next < states - 1 && u.first >= row[next]) ++next;
        now = next;
        history[r * steps + k] = now;
    }
    state[r] = now;
}

#if defined(COORDINATES)
#include "sigma.h"

// Sum over the threads of a block, the same bits for all: lanes, then warps in order. `rows` has two halves of 32.
KERNEL double block_sum(double value, double* rows) {
    for (int distance = 16; distance >= 1; distance /= 2) value += exchanged(value, distance);
    if (lane_in_warp() == 0) rows[warp_in_block()] = value;
    wait_for_block();
    double sum = 0;
    for (int w = 0; w < threads_per_block() / 32; ++w) sum += rows[w];
    return sum;
}

// memory (replicas, steps + 1) with memory[:, 0] the start; a block for each replica, its threads share the nodes
// (COORDINATES, nodes).
DEVICE_PROGRAM memory_path(const double* node, const double* weight0, const double* weight1, long nodes,
                           const double* location, const double* coordinates, const double* slope, long replicas,
                           long steps, const double* start, double* memory) {
    double* rows = shared_doubles<64>();
    int half = 0;
    for (long r = block_in_grid(); r < replicas; r += blocks_in_grid()) {
        double m = start[r];
        if (thread_in_block() == 0) memory[r * (steps + 1)] = m;
        for (long k = 0; k < steps; ++k) {
            const long at = r * steps + k;
            double sum = 0;
            for (long q = thread_in_block(); q < nodes; q += threads_per_block()) {
                double a = location[at] + m;
                for (int j = 0; j < COORDINATES; ++j) a += node[j * nodes + q] * coordinates[at * COORDINATES + j];
                sum += (weight0[q] + slope[at] * weight1[q]) * activate(a).value;
            }
            m = block_sum(sum, rows + 32 * half);
            half ^= 1;
            if (thread_in_block() == 0) memory[r * (steps + 1) + k + 1] = m;
        }
    }
}
#endif
