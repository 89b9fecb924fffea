// Host entry point of the twin: one core, a vector of nodes at a time.
#include "twin.h"
#include <vector>

typedef DoubleLanes V;
static const int lanes = Lane<V>::count;

struct HostTwin {
    std::vector<Node<V>>& nodes;

    static bool leads() { return true; }
    KERNEL void begin(const Input<double>& first) {
        for (Node<V>& node : nodes) {
            node.now = features_of(node, first);
            node.before = Hidden<V>{};
        }
    }
    KERNEL double sweep(double push, const Input<double>& before, const Input<double>& now, const Input<double>& next) {
        V answer = {};
        for (Node<V>& node : nodes) answer += advance_node(node, push, before, now, next);
        double sum = 0;
        for (int i = 0; i < lanes; ++i) sum += answer[i];
        return sum;
    }
    KERNEL void finish(double push, const Input<double>& last) {
        for (Node<V>& node : nodes) settle_node(node, push, last);
    }
};

// Lane i of tile q stands for node q * lanes + i; nodes past the last one have no scale, and so no features.
static std::vector<Node<V>> tiles_of(const double* w, const double* value_scale, const double* slope_scale, long count) {
    std::vector<Node<V>> nodes((count + lanes - 1) / lanes);
    std::memset(static_cast<void*>(nodes.data()), 0, nodes.size() * sizeof nodes[0]);
    for (long q = 0; q < count; ++q) {
        Node<V>& node = nodes[q / lanes];
        for (int j = 0; j < DIMENSION; ++j) node.w[j][q % lanes] = w[q * DIMENSION + j];
        node.value_scale[q % lanes] = value_scale[q];
        node.slope_scale[q % lanes] = slope_scale[q];
    }
    return nodes;
}

// theta (count (1 + DIMENSION)): the weights of all values, then for each component those of all slopes.
template <class Move> static void each_weight(std::vector<Node<V>>& nodes, double* theta, long count, Move move) {
    for (long q = 0; q < count; ++q) {
        Node<V>& node = nodes[q / lanes];
        move(node.value_weight, q % lanes, theta[q]);
        for (int j = 0; j < DIMENSION; ++j) move(node.slope_weight[j], q % lanes, theta[(1 + j) * count + q]);
    }
}

// theta (replicas, count (1 + DIMENSION)) in place; x (replicas, steps, DIMENSION), the others (replicas, steps).
extern "C" void twin_path(const double* w, const double* value_scale, const double* slope_scale, long count,
                          double rate, const double* x, const double* memory, const double* y, long replicas,
                          long steps, double* theta, double* squared_error) {
    std::vector<Node<V>> nodes = tiles_of(w, value_scale, slope_scale, count);
    HostTwin twin = {nodes};
    for (long r = 0; r < replicas; ++r) {
        double* own = theta + r * count * (1 + DIMENSION);
        each_weight(nodes, own, count, [](V& weight, long lane, double& value) { weight[lane] = value; });
        follow(twin, rate, x + r * steps * DIMENSION, memory + r * steps, y + r * steps, steps,
               squared_error + r * steps);
        each_weight(nodes, own, count, [](V& weight, long lane, double& value) { value = weight[lane]; });
    }
}
