// A trained ensemble on a device, looked at: pending updates applied, frozen networks probed, drifts measured.
#include "groups.h"
#include "team.h"

// The pending update of the last step, for every unit of every replica.
DEVICE_PROGRAM settle_units(Real* units, const ReplicaState* states, long width, long replicas) {
    const long count = width * replicas, stride = blocks_in_grid() * threads_per_block();
    for (long i = block_in_grid() * threads_per_block() + thread_in_block(); i < count; i += stride) {
        const Store store = store_of(units, width, i / width);
        Unit<Real> unit = store.load(i % width);
        apply(unit, rounded<Real>(states[i / width]));
        store.save(i % width, unit);
    }
}

DEVICE_PROGRAM settle_states(ReplicaState* states, long replicas) {
    const long r = block_in_grid() * threads_per_block() + thread_in_block();
    if (r >= replicas) return;
    ReplicaState settled = {};
    settled.memory = states[r].memory;
    for (int l = 0; l < AT_LEAST_ONE(BACK); ++l)
        for (int j = 0; j < DIMENSION; ++j) settled.x[l][j] = states[r].x[l][j];
    states[r] = settled;
}

// Output and memory (replicas, count) of the settled, frozen networks at the last step of histories
// (count, length, DIMENSION), each from zero memory: a block for each replica and history.
DEVICE_PROGRAM probe(Real* units, long width, long replicas, double output_scale, const Real* histories, long count,
                     long length, double* output, double* memory) {
    BlockGroup group;
    for (long task = block_in_grid(); task < replicas * count; task += blocks_in_grid()) {
        const Store store = store_of(units, width, task / count);
        const Real* x = histories + task % count * length * DIMENSION;
        double last_output = 0, last_memory = 0, next_memory = 0;
        for (long k = 0; k < length; ++k, x += DIMENSION) {
            last_memory = next_memory;
            Input<Real> input;
            for (int j = 0; j < DIMENSION; ++j) input.x[j] = x[j];
            input.memory = Real(last_memory);
            Sums<double> part = {};
            for (long i = group.member(); i < width; i += group.members()) {
                const Unit<Real> unit = store.load(i);
                const Real value = activate(argument(unit, input)).value;
                part.output += (unit.c_start + unit.c_drift) * value;
                part.memory += (unit.b_start + unit.b_drift) * value;
            }
            const Sums<double> sums = group.total(part);
            last_output = output_scale * sums.output;
            next_memory = sums.memory / double(width);
        }
        if (thread_in_block() == 0) {
            output[task] = last_output;
            memory[task] = last_memory;
        }
    }
}
