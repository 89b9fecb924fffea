// What a device program asks of its machine: who am I, give this value to another lane, wait for the others.
//
// The bodies of the device programs use these words and no others, so that a host can execute them too: a build without
// CUDA takes the same words from `emulator.h` (the tests have one), where every thread is a fiber.
#pragma once
#include "lanes.h"

#if defined(__CUDACC__)
#define DEVICE_PROGRAM extern "C" __global__ void
#define AT_MOST_THREADS(n) __launch_bounds__(n, 1)
#define BLOCKS_PER_CLUSTER(n) __cluster_dims__(n, 1, 1)

KERNEL int thread_in_block() { return threadIdx.x; }
KERNEL int threads_per_block() { return blockDim.x; }
KERNEL long block_in_grid() { return blockIdx.x; }
KERNEL long blocks_in_grid() { return gridDim.x; }

// The value of the lane whose number differs in the bits of `mask`, and the value of lane `source`. Whole warps only.
template <class T> KERNEL T exchanged(T value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
template <class T> KERNEL T taken_from(T value, int source) { return __shfl_sync(0xffffffffu, value, source); }

KERNEL void wait_for_block() { __syncthreads(); }
KERNEL void wait_for_warp() { __syncwarp(); }

// `n` doubles that the threads of a block share; the same place at every call with one `use`.
template <int n, int use = 0> KERNEL double* shared_doubles() {
    __shared__ double values[n];
    return values;
}

#if __CUDA_ARCH__ >= 900
KERNEL int block_in_cluster() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return int(rank);
}

// Write to the place that `own` has in the shared memory of another block of the cluster.
KERNEL void send_to_block(double* own, int block, double value) {
    const unsigned here = unsigned(__cvta_generic_to_shared(own));
    asm volatile("{ .reg .u32 there;\n"
                 "mapa.shared::cluster.u32 there, %0, %1;\n"
                 "st.shared::cluster.f64 [there], %2; }" ::"r"(here), "r"(block), "d"(value)
                 : "memory");
}

// All that was written before is visible to every thread of the cluster after.
KERNEL void wait_for_cluster() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
#endif

// One word in device memory as a barrier for blocks that run at the same time (a cooperative launch makes sure).
KERNEL void announce(unsigned* count) {
    __threadfence();
    atomicAdd(count, 1u);
}
KERNEL void wait_until(const unsigned* count, unsigned reached) {
    while (int(*(const volatile unsigned*)count - reached) < 0) {}
    __threadfence();
}

// Device memory past the first-level cache, which other blocks' writes do not reach.
KERNEL double read_fresh(const double* place) { return __ldcg(place); }

#else
#include "emulator.h"
#endif

KERNEL int lane_in_warp() { return thread_in_block() & 31; }
KERNEL int warp_in_block() { return thread_in_block() >> 5; }
