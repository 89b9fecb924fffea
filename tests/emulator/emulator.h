// The machine of the device programs (kernels/src/machine.h) on a host: every thread is a fiber, all in one process.
//
// A fiber runs until it has to wait, then the next one of its warp has its turn; a warp goes on until it waits for
// others, then the next one of its block, and so with blocks. An exchange between lanes is complete when the whole warp
// has come to it. When a round of turns has brought no fiber forward the program is stuck: that aborts.
#pragma once
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <ucontext.h>
#include <utility>
#include <vector>

#define DEVICE_PROGRAM static void
#define AT_MOST_THREADS(n)
#define BLOCKS_PER_CLUSTER(n)

namespace emulator {

struct Meeting {  // of all members of a warp, a block or a cluster
    int expected = 0, arrived = 0;
    long generation = 0;
};

struct Warp {
    Meeting meeting;
    double box[32];  // what the lanes give; every type that is exchanged fits
};

struct Block {
    Meeting meeting;
    std::vector<Warp> warps;
    std::vector<double> shared[2];
    int begun = 0, ended = 0;  // of its threads
};

struct Fiber {
    ucontext_t start;
    jmp_buf here;
    std::unique_ptr<char[]> stack;
    int thread, block;
    bool begun = false, done = false;
};

struct Machine {
    int threads, blocks, cluster;
    std::vector<Block> block;
    std::vector<Meeting> clusters;
    std::vector<Fiber> fibers;
    Fiber* now = nullptr;
    jmp_buf scheduler;
    long progress = 0;  // anything that a waiting fiber could be waiting for
    void (*body)(void*) = nullptr;
    void* argument = nullptr;
};

inline Machine* machine = nullptr;

inline void yield() {
    if (!_setjmp(machine->now->here)) _longjmp(machine->scheduler, 1);
}

inline void meet(Meeting& meeting) {
    const long generation = meeting.generation;
    ++machine->progress;
    if (++meeting.arrived == meeting.expected) {
        meeting.arrived = 0;
        ++meeting.generation;
        return;
    }
    while (meeting.generation == generation) yield();
}

inline Block& own_block() { return machine->block[machine->now->block]; }
inline Warp& own_warp() { return own_block().warps[machine->now->thread / 32]; }

template <class T> T through_box(T value, int source) {
    Warp& warp = own_warp();
    std::memcpy(&warp.box[machine->now->thread % 32], &value, sizeof value);
    meet(warp.meeting);
    T result;
    std::memcpy(&result, &warp.box[source], sizeof result);
    meet(warp.meeting);  // nobody gives again before all have taken
    return result;
}

inline void enter() {
    machine->body(machine->argument);
    machine->now->done = true;
    ++machine->block[machine->now->block].ended;
    ++machine->progress;
    _longjmp(machine->scheduler, 1);
}

inline void turn(Fiber& fiber) {
    machine->now = &fiber;
    if (_setjmp(machine->scheduler)) return;
    if (fiber.begun) _longjmp(fiber.here, 1);
    fiber.begun = true;
    ++machine->block[fiber.block].begun;
    setcontext(&fiber.start);
}

inline void prepare(Machine& m) {
    const int warps = (m.threads + 31) / 32;
    m.block.resize(m.blocks);
    m.clusters.resize((m.blocks + m.cluster - 1) / m.cluster);
    for (Meeting& meeting : m.clusters) meeting.expected = m.cluster * m.threads;
    for (Block& block : m.block) {
        block.meeting.expected = m.threads;
        block.warps.resize(warps);
        for (int w = 0; w < warps; ++w) block.warps[w].meeting.expected = m.threads - 32 * w < 32 ? m.threads - 32 * w : 32;
    }
    m.fibers.resize(size_t(m.blocks) * m.threads);
    const size_t stack = 128 * 1024;
    for (size_t i = 0; i < m.fibers.size(); ++i) {
        Fiber& fiber = m.fibers[i];
        fiber.block = int(i / m.threads);
        fiber.thread = int(i % m.threads);
        fiber.stack.reset(new char[stack]);
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.get();
        fiber.start.uc_stack.ss_size = stack;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, enter, 0);
    }
}

// A warp as far as it comes without the others; returns how many of its fibers ended.
inline size_t advance_warp(Machine& m, int block, int warp, bool backwards) {
    const int first = 32 * warp, count = m.threads - first < 32 ? m.threads - first : 32;
    size_t ended = 0;
    for (long before = -1; before != m.progress;) {
        before = m.progress;
        for (int i = 0; i < count; ++i) {
            const int thread = first + (backwards ? count - 1 - i : i);
            Fiber& fiber = m.fibers[size_t(block) * m.threads + thread];
            if (fiber.done) continue;
            turn(fiber);
            ended += fiber.done;
        }
    }
    return ended;
}

// A block as far as it comes without the others.
inline size_t advance_block(Machine& m, int block, bool backwards) {
    const int warps = (m.threads + 31) / 32;
    size_t ended = 0;
    for (long before = -1; before != m.progress;) {
        before = m.progress;
        for (int w = 0; w < warps; ++w) ended += advance_warp(m, block, backwards ? warps - 1 - w : w, backwards);
    }
    return ended;
}

// Every fiber to its end. Whoever passes a barrier runs ahead of the others as far as the program lets it, so that a
// barrier too few shows; turns go backwards when `backwards`: no result may depend on who comes first.
inline void run(Machine& m, bool backwards) {
    machine = &m;
    prepare(m);
    for (size_t left = m.fibers.size(); left > 0;) {
        const long before = m.progress;
        for (int b = 0; b < m.blocks; ++b) left -= advance_block(m, backwards ? m.blocks - 1 - b : b, backwards);
        if (m.progress == before) {
            std::fprintf(stderr, "emulator: no thread can go on\n");
            std::abort();
        }
    }
    machine = nullptr;
}

// A program with its arguments, one pointer for each as cuLaunchKernel takes them.
template <class... A, size_t... i>
void call(void (*program)(A...), void** arguments, std::index_sequence<i...>) {
    program(*static_cast<A*>(arguments[i])...);
}

template <class... A>
void launch(void (*program)(A...), int blocks, int threads, int cluster, bool backwards, void** arguments) {
    struct Call {
        void (*program)(A...);
        void** arguments;
    } what = {program, arguments};
    Machine m;
    m.threads = threads;
    m.blocks = blocks;
    m.cluster = cluster;
    m.argument = &what;
    m.body = [](void* raw) {
        Call* what = static_cast<Call*>(raw);
        call(what->program, what->arguments, std::index_sequence_for<A...>());
    };
    run(m, backwards);
}

}  // namespace emulator

// How a host enters a device program, and how many arguments it must bring.
#define EMULATED(program)                                                                                        \
    extern "C" void launch_##program(int blocks, int threads, int cluster, int backwards, void** arguments) {    \
        emulator::launch(program, blocks, threads, cluster, backwards, arguments);                               \
    }

KERNEL int thread_in_block() { return emulator::machine->now->thread; }
KERNEL int threads_per_block() { return emulator::machine->threads; }
KERNEL long block_in_grid() { return emulator::machine->now->block; }
KERNEL long blocks_in_grid() { return emulator::machine->blocks; }

template <class T> KERNEL T exchanged(T value, int mask) {
    return emulator::through_box(value, (thread_in_block() % 32) ^ mask);
}
template <class T> KERNEL T taken_from(T value, int source) { return emulator::through_box(value, source); }

KERNEL void wait_for_block() { emulator::meet(emulator::own_block().meeting); }
KERNEL void wait_for_warp() { emulator::meet(emulator::own_warp().meeting); }

template <int n, int use = 0> KERNEL double* shared_doubles() {
    std::vector<double>& values = emulator::own_block().shared[use];
    if (values.empty()) values.assign(n, 0.0 / 0.0);  // poison: what was never written must not be read
    return values.data();
}

KERNEL int block_in_cluster() { return int(block_in_grid() % emulator::machine->cluster); }
KERNEL void wait_for_cluster() {
    emulator::meet(emulator::machine->clusters[block_in_grid() / emulator::machine->cluster]);
}

// The place that `own` has in this block's shared memory, in the memory of another block of the cluster, which a block
// has only while it runs.
KERNEL void send_to_block(double* own, int block, double value) {
    const long first = block_in_grid() - block_in_cluster();
    const emulator::Block& target = emulator::machine->block[first + block];
    if (target.begun == 0 || target.ended == threads_per_block()) {
        std::fprintf(stderr, "emulator: a block that does not run is written to\n");
        std::abort();
    }
    for (int use = 0; use < 2; ++use) {
        std::vector<double>& mine = emulator::own_block().shared[use];
        if (own < mine.data() || own >= mine.data() + mine.size()) continue;
        std::vector<double>& theirs = emulator::machine->block[first + block].shared[use];
        if (theirs.empty()) theirs.assign(mine.size(), 0.0 / 0.0);  // that block has not come to it yet
        theirs[own - mine.data()] = value;
    }
}

KERNEL void announce(unsigned* count) {
    ++*count;
    ++emulator::machine->progress;
}
KERNEL void wait_until(const unsigned* count, unsigned reached) {
    while (int(*count - reached) < 0) emulator::yield();
}
KERNEL double read_fresh(const double* place) { return *place; }
