// A trained ensemble on a device, looked at: pending updates applied, frozen networks probed, drifts measured.
#include "layout.h"

DEVICE_PROGRAM layout(i64* out) { write_layout<Real>(out); }

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

// The settled, frozen networks along histories (count, length, DIMENSION), each from zero memory: output
// (replicas, count) at the last step, memory (replicas, count, length) at all. A block for each replica and history.
DEVICE_PROGRAM probe(Real* units, long width, long replicas, double output_scale, const Real* histories, long count,
                     long length, double* output, double* memory) {
    BlockGroup group;
    for (long task = block_in_grid(); task < replicas * count; task += blocks_in_grid()) {
        const Store store = store_of(units, width, task / count);
        const Real* x = histories + task % count * length * DIMENSION;
        double now = 0;
        for (long k = 0; k < length; ++k, x += DIMENSION) {
            Input<Real> input;
            for (int j = 0; j < DIMENSION; ++j) input.x[j] = x[j];
            input.memory = Real(now);
            Sums<double> part = {};
            for (long i = group.member(); i < width; i += group.members()) {
                const Unit<Real> unit = store.load(i);
                const Real value = weighed(unit, activate(argument(unit, input)).value);
                part.output += (unit.c_start + unit.c_drift) * value;
                part.memory += (unit.b_start + unit.b_drift) * value;
            }
            const Sums<double> sums = group.total(part);
            if (thread_in_block() == 0) {
                memory[task * length + k] = now;
                output[task] = output_scale * sums.output;
            }
            now = sums.memory / (WEIGHTED ? 1.0 : double(width));
        }
    }
}
