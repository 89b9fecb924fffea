// The twin on a device: a block for each replica, its threads share the nodes.
//
// Compile-time parameters besides those of twin.h: SLOTS, nodes that a thread keeps in registers.
#include "twin.h"
#include "machine.h"

struct DeviceTwin {
    Node<double> node[SLOTS];
    double* rows;  // (2, 32): a sum for each warp
    int half;

    KERNEL static bool leads() { return thread_in_block() == 0; }
    KERNEL void begin(const Input<double>& first) {
#pragma unroll
        for (int s = 0; s < SLOTS; ++s) {
            node[s].now = features_of(node[s], first);
            node[s].before = Hidden<double>{};
        }
    }
    KERNEL double sweep(double push, const Input<double>& before, const Input<double>& now, const Input<double>& next) {
        double answer = 0;
#pragma unroll
        for (int s = 0; s < SLOTS; ++s) answer += advance_node(node[s], push, before, now, next);
        const double* sums = write(answer);
        answer = 0;
        for (int w = 0; w < threads_per_block() / 32; ++w) answer += sums[w];
        return answer;
    }
    KERNEL void finish(double push, const Input<double>& last) {
#pragma unroll
        for (int s = 0; s < SLOTS; ++s) settle_node(node[s], push, last);
    }

    // The sums of all warps, each in its place. The next step has the other half.
    KERNEL const double* write(double value) {
        double* sums = rows + 32 * half;
        for (int distance = 16; distance >= 1; distance /= 2) value += exchanged(value, distance);
        if (lane_in_warp() == 0) sums[warp_in_block()] = value;
        wait_for_block();
        half ^= 1;
        return sums;
    }
};

// As twin_path of host_twin.cpp.
DEVICE_PROGRAM AT_MOST_THREADS(256)
twin_path(const double* w, const double* value_scale, const double* slope_scale, long count, double rate,
                         const double* x, const double* memory, const double* y, long replicas, long steps,
                         double* theta, double* squared_error) {
    DeviceTwin twin = {};
    twin.rows = shared_doubles<64>();
    for (long r = block_in_grid(); r < replicas; r += blocks_in_grid()) {
        double* own = theta + r * count * (1 + DIMENSION);
#pragma unroll
        for (int s = 0; s < SLOTS; ++s) {
            const long q = thread_in_block() + long(s) * threads_per_block();
            Node<double>& node = twin.node[s];
            const bool here = q < count;
            node.value_scale = here ? value_scale[q] : 0;
            node.slope_scale = here ? slope_scale[q] : 0;
            node.value_weight = here ? own[q] : 0;
            for (int j = 0; j < DIMENSION; ++j) {
                node.w[j] = here ? w[q * DIMENSION + j] : 0;
                node.slope_weight[j] = here ? own[(1 + j) * count + q] : 0;
            }
        }
        follow(twin, rate, x + r * steps * DIMENSION, memory + r * steps, y + r * steps, steps,
               squared_error + r * steps);
#pragma unroll
        for (int s = 0; s < SLOTS; ++s) {
            const long q = thread_in_block() + long(s) * threads_per_block();
            if (q >= count) continue;
            own[q] = twin.node[s].value_weight;
            for (int j = 0; j < DIMENSION; ++j) own[(1 + j) * count + q] = twin.node[s].slope_weight[j];
        }
    }
}
