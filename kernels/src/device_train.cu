// Training on a device: a whole segment of steps of every replica in one launch.
//
// Compile-time parameters besides those of unit.h: TEAM (which group of threads owns a replica), SLOTS (units that a
// member keeps in registers; 0: units stay in device memory and are streamed through), THREADS (most of a block), and
// for TEAM_CLUSTER alone CLUSTER (its blocks). Which are taken for which network: launch.py.
#define TEAM_WARP 0
#define TEAM_BLOCK 1
#define TEAM_CLUSTER 2
#define TEAM_GRID 3
#include "groups.h"
#include "store.h"
#include "team.h"

#if TEAM == TEAM_WARP
typedef WarpGroup Group;
#elif TEAM == TEAM_BLOCK
typedef BlockGroup Group;
#elif TEAM == TEAM_CLUSTER
typedef ClusterGroup Group;
#else
typedef GridGroup Group;
#endif

// One step of units side by side, so that their long chains of operations overlap. Slots from `live` on are empty: their
// weights are zero, and their hidden value is held at zero.
template <int slots>
KERNEL void sweep(Unit<Real> (&unit)[slots], int live, const Pending<Real>& pending, const Input<Real>& input,
                  Sums<Real>& part) {
#pragma unroll
    for (int s = 0; s < slots; ++s) {
        apply(unit[s], pending);
        Hidden<Real> now = activate(argument(unit[s], input));
        if (s >= live) now.value = 0;
        accumulate(unit[s], now, part);
        remember(unit[s], now);
    }
}

// Units first, first + stride, first + 2 stride, ...; returns how many of them there are.
template <int slots> KERNEL int load(Unit<Real> (&unit)[slots], const Store& store, long first, long stride) {
    int live = 0;
#pragma unroll
    for (int s = 0; s < slots; ++s) {
        const long i = first + s * stride;
        unit[s] = i < store.width ? store.load(i) : Unit<Real>{};
        live += i < store.width;
    }
    return live;
}

template <int slots>
KERNEL void save(const Unit<Real> (&unit)[slots], int live, const Store& store, long first, long stride) {
#pragma unroll
    for (int s = 0; s < slots; ++s)
        if (s < live) store.save(first + s * stride, unit[s]);
}

#if SLOTS > 0
struct DeviceTeam {
    Group& group;
    Unit<Real> unit[SLOTS];
    int live;

    KERNEL DeviceTeam(Group& group, Store store) : group(group) {
        live = load(unit, store, group.member(), group.members());
    }
    KERNEL bool leads() const { return group.member() == 0; }
    KERNEL Sums<double> pass(const Pending<Real>& pending, const Input<Real>& input) {
        Sums<Real> part = {};
        sweep(unit, live, pending, input, part);
        return group.total(part);
    }
    KERNEL void finish(Store store) const { save(unit, live, store, group.member(), group.members()); }
};
#else
static const int streamed_slots = sizeof(Unit<Real>) <= 64 ? 4 : 1;  // loads under way at a time

struct DeviceTeam {
    Group& group;
    Store store;

    KERNEL DeviceTeam(Group& group, Store store) : group(group), store(store) {}
    KERNEL bool leads() const { return group.member() == 0; }
    KERNEL Sums<double> pass(const Pending<Real>& pending, const Input<Real>& input) {
        const long stride = group.members();
        Sums<double> sums = {};
        for (long first = group.member(); first < store.width; first += stride * streamed_slots) {
            Unit<Real> unit[streamed_slots];
            Sums<Real> part = {};
            const int live = load(unit, store, first, stride);
            sweep(unit, live, pending, input, part);
            save(unit, live, store, first, stride);
            add(sums, part);
        }
        return group.total(sums);
    }
    KERNEL void finish(Store) const {}
};
#endif

// x (replicas, steps, DIMENSION), y and squared_error (replicas, steps)
struct Segment {
    const Real *x, *y;
    double* squared_error;
    long steps;
};

KERNEL void train_replica(Group& group, Store store, ReplicaState* saved, const Training& training, Segment segment) {
    ReplicaState state = *saved;
    DeviceTeam team(group, store);
    train<Real>(team, training, state, segment.x, segment.y, segment.steps, segment.squared_error);
    team.finish(store);
    if (team.leads()) *saved = state;
}

DEVICE_PROGRAM AT_MOST_THREADS(THREADS)
#if TEAM == TEAM_CLUSTER
BLOCKS_PER_CLUSTER(CLUSTER)
#endif
train_segment(Real* units, ReplicaState* states, long width, long replicas, double output_scale, double rate,
              double clip, const Real* x, const Real* y, double* squared_error, long steps, double* rows,
              unsigned* counts, int blocks_per_team) {
    const Training training = {double(width), output_scale, rate, clip};
#if TEAM == TEAM_WARP
    Group group;
    const long teams = blocks_in_grid() * (threads_per_block() / 32);
    const long team = block_in_grid() * (threads_per_block() / 32) + warp_in_block();
#elif TEAM == TEAM_GRID
    const long teams = blocks_in_grid() / blocks_per_team, team = block_in_grid() / blocks_per_team;
    Group group = {{}, int(team) * blocks_per_team, blocks_per_team, rows + team * 2 * blocks_per_team * padded_sums,
                   counts + team, 0};
#else
    Group group;
    const long teams = blocks_in_grid() / blocks_per_team, team = block_in_grid() / blocks_per_team;
#endif
#if TEAM == TEAM_CLUSTER
    wait_for_cluster();  // a block must be there before another writes into its shared memory
#endif
    for (long r = team; r < replicas; r += teams) {
        const Segment segment = {x + r * steps * DIMENSION, y + r * steps, squared_error + r * steps, steps};
        train_replica(group, store_of(units, width, r), states + r, training, segment);
    }
#if TEAM == TEAM_CLUSTER
    wait_for_cluster();  // no block may leave while another still writes into its shared memory
#endif
}
