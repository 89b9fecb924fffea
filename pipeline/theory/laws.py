"""The law of one unit's parameters (W, B, C): draws, expectations over it, the memory map, features.

Source: docs/model.md sections 2, 4 and 5. Everything here is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.arrays import special, square_root
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Backend, FeatureMap, MemoryInputs, MemoryMap, Replicas
from rnnlimits.study import Study

Array = NDArray[np.float64]

PROJECTION_NODES = 64  # of the trapezoidal rule for normal W: error 1e-15 at s = 1, 1e-8 at s = 2 (tanh)
PRODUCT_NODES = {1: 48, 2: 24, 3: 12}  # per axis, Gauss-Legendre, for uniform W; more axes take Sobol points
SOBOL_NODES = 2048
SAME = 1e-9  # relative difference of weights that rounding may make
CHUNK_VALUES = 1 << 20  # activations evaluated at a time, so that memory does not grow with the number of points


@dataclass(frozen=True, eq=False)
class Nodes:
    """Points for the law of W: E h(W) ~ sum_q weight_q h(w_q).

    w (Q, d); weight (Q,), positive, sum 1; b (Q,) = E[B | W = w_q]; b_squared (Q,) = E[B^2 | W = w_q].
    """

    w: Array
    weight: Array
    b: Array
    b_squared: Array

    @property
    def features(self) -> int:
        """Number of features, Q (1 + d)."""
        return int(self.w.size + len(self.w))

    def without(self, mass: float) -> Self:
        """All but the lightest nodes, which have at most this mass together, with weights of sum 1.

        Of nodes of equal weight all are kept or none, so that a symmetric set stays symmetric.
        """
        ascending = np.sort(self.weight)
        lightest = ascending[np.searchsorted(np.cumsum(ascending), mass, side="right")]
        kept = self.weight > (1 - SAME) * lightest
        weight = self.weight[kept]
        return type(self)(self.w[kept], weight / weight.sum(), self.b[kept], self.b_squared[kept])

    def on(self, be: Backend) -> Self:
        """The same nodes as arrays of the back end."""
        return type(self)(*(be.array(a) for a in (self.w, self.weight, self.b, self.b_squared)))


@dataclass(frozen=True, eq=False)
class MemoryRule:
    """F(x, m) = sum_q (weight0_q + slope weight1_q) sigma(location + nodes_q . coordinates + m).

    nodes (Q, p), weight0 (Q,), weight1 (Q,); location, coordinates (p) and slope depend on x.
    """

    nodes: Array
    weight0: Array
    weight1: Array


@dataclass(frozen=True, eq=False)
class ParameterLaw:
    """Law of (W, B, C): W = mean + factor zeta, B = offset + slope direction.(W - mean) + noise zeta', C independent.

    mean (d,), factor (d, d), direction (d,); zeta has independent components of variance 1, normal or uniform
    (`w_kind`). Source: docs/model.md, eq. (10).
    """

    activation: str
    seed: int
    w_kind: str
    mean: Array
    factor: Array
    offset: float
    slope: float
    direction: Array
    noise: float
    c_kind: str
    c_std: float
    c_probability: float = 0.5

    @classmethod
    def of(cls, study: Study) -> Self:
        """The law that a study describes. Raises StudyError for a covariance with a negative eigenvalue."""
        w, b, c = study.network.w, study.network.b, study.network.c
        size = study.dimension
        return cls(
            activation=study.activation,
            seed=study.seed,
            w_kind=w.kind,
            mean=w.mean_vector(size),
            factor=square_root(w.covariance_matrix(size), f"{study.source}: network.w.covariance"),
            offset=b.offset,
            slope=b.slope,
            direction=b.unit(size),
            noise=b.noise,
            c_kind=c.kind,
            c_std=c.std,
            c_probability=getattr(c, "probability", 0.5),
        )

    def on(self, be: Backend) -> Self:
        """The same law with arrays of the back end, for `draw`, `memory_path` and `features`."""
        mean, factor, direction = (be.array(a) for a in (self.mean, self.factor, self.direction))
        moved = replace(self, mean=mean, factor=factor, direction=direction)
        moved._rules.update({1: self.memory_rule()})  # its nodes are NumPy arrays, as the back end expects
        return moved

    # --- moments -------------------------------------------------------------------------------------------

    @property
    def dimension(self) -> int:
        """Number of components of W."""
        return len(self.mean)

    @cached_property
    def covariance(self) -> Array:
        """Cov W (d, d)."""
        return self.factor @ self.factor.T

    @cached_property
    def mean_abs_b(self) -> float:
        """E|B|: closed form for normal W; for uniform W a mean over Sobol points, accurate to about 1e-4."""
        if self.w_kind == "gaussian":
            spread = self.slope * self.direction @ self.factor
            return float(mean_abs_normal(self.offset, float(np.sqrt(spread @ spread + self.noise**2))))
        nodes = self.nodes(SOBOL_NODES, "quasi-random")
        return float(nodes.weight @ mean_abs_normal(nodes.b, self.noise))

    @property
    def contraction(self) -> float:
        """E|B| sup|sigma'|, a bound on |dF/dm|; below 1 the memory map contracts. Source: eq. (19)."""
        return self.mean_abs_b * float(ACTIVATIONS[self.activation].slope_bound)

    @property
    def memory_bound(self) -> float:
        """E|B|, a bound on every limit memory, as |sigma| <= 1."""
        return self.mean_abs_b

    @property
    def variance_c(self) -> float:
        """E C^2."""
        return self.c_std**2

    @property
    def third_moment_c(self) -> float:
        """E C^3; 0 for the symmetric laws."""
        if self.c_kind != "two-point":
            return 0.0
        p = self.c_probability
        return self.c_std**3 * (1 - 2 * p) / float(np.sqrt(p * (1 - p)))

    @property
    def symmetric_c(self) -> bool:
        """Whether C and -C have one law, which makes the mean of an antithetic pair unbiased."""
        return self.third_moment_c == 0.0

    @property
    def degenerate(self) -> bool:
        """Whether W lies in fewer dimensions than it has components."""
        return bool(np.linalg.matrix_rank(self.factor) < self.dimension)

    def standardised(self, w: Array) -> Array:
        """The independent components zeta (..., d) of w (..., d) = mean + factor zeta, unless the law is degenerate."""
        return np.asarray((w - self.mean) @ np.linalg.inv(self.factor).T)

    # --- draws ---------------------------------------------------------------------------------------------

    def draw(
        self, be: Backend, seed: int, replicas: Replicas, width: int, antithetic: bool = False
    ) -> tuple[Array, Array, Array]:
        """Initial parameters w (R, N, d), b (R, N), c (R, N) of the given replicas.

        Unit i of a replica is the same at every width. With `antithetic`, replicas 2p and 2p + 1 share w and b
        and have opposite c. `be` is a back end (uniforms, normals).
        """
        index = np.asarray(replicas, dtype=np.uint32)
        sign = np.where(index % 2 == 1, -1.0, 1.0) if antithetic else np.ones(len(index))
        unique, inverse = np.unique(index // 2 if antithetic else index, return_inverse=True)
        w = self._draw_w(be, seed, unique, width)
        b = self.b_given(w)
        if self.noise:
            b = b + self.noise * be.normals(seed, Stream.INITIAL_B, unique, width)
        c = self._draw_c(be, seed, unique, width)
        rows = be.array(inverse)
        return w[rows], b[rows], be.array(sign)[:, None] * c[rows]

    def _draw_w(self, be: Backend, seed: int, index: Replicas, width: int) -> Array:
        draw = be.normals if self.w_kind == "gaussian" else be.uniforms
        axes = [draw(seed, Stream.INITIAL_W, index, width, component=j) for j in range(self.dimension)]
        raw = np.stack(axes, axis=-1)
        return self.mean + (raw if self.w_kind == "gaussian" else centred(raw)) @ self.factor.T

    def _draw_c(self, be: Backend, seed: int, index: Replicas, width: int) -> Array:
        if self.c_kind == "gaussian":
            return self.c_std * be.normals(seed, Stream.INITIAL_C, index, width)
        uniform = be.uniforms(seed, Stream.INITIAL_C, index, width)
        if self.c_kind == "uniform":
            return self.c_std * centred(uniform)
        odds = np.sqrt((1 - self.c_probability) / self.c_probability)
        return self.c_std * np.where(uniform < self.c_probability, odds, -1 / odds)  # type: ignore[no-any-return]

    def b_given(self, w: Array) -> Array:
        """E[B | W = w]; w (..., d) gives (...)."""
        return self.offset + self.slope * ((w - self.mean) @ self.direction)

    # --- expectations over the law -------------------------------------------------------------------------

    def nodes(self, count: int, kind: str, shift: int = 0) -> Nodes:
        """About `count` points for expectations over W (and B given W).

        kind "quasi-random": `count` scrambled Sobol points (a power of two is best), `shift` choosing an independent
        scramble. Otherwise a product with round(count^(1/d)) points along each axis: "grid", the trapezoidal rule for
        normal W and Gauss-Legendre for uniform W; "gauss-hermite", for normal W only (StudyError otherwise).
        """
        if kind == "quasi-random":
            return self._nodes_at(self._sobol(count, shift), np.full(count, 1 / count))
        return self._product(self._per_axis(count), kind)

    def node_sets(self, count: int, kind: str) -> tuple[Nodes, ...]:
        """The nodes to use and, for a product, a second set to check them with.

        The second has one point fewer along each axis. Its points lie between those of the first, so that the leading
        error changes sign. Quasi-random nodes are checked by leaving out some of them. Source: docs/model.md section 5.
        """
        if kind == "quasi-random":
            return (self.nodes(count, kind),)
        per_axis = self._per_axis(count)
        return self.nodes(count, kind), self._product(per_axis - 1 if per_axis > 1 else 2, kind)

    def _per_axis(self, count: int) -> int:
        return max(1, round(float(count ** (1 / self.dimension))))

    def _product(self, per_axis: int, kind: str) -> Nodes:
        if kind == "gauss-hermite" and self.w_kind != "gaussian":
            raise StudyError(
                f"limit.features: gauss-hermite needs network.w.kind gaussian, found {self.w_kind}; use quasi-random"
            )
        if kind == "gauss-hermite":
            points, weight = special().roots_hermitenorm(per_axis)
        elif self.w_kind == "gaussian":
            points, weight = normal_grid(per_axis)
        else:
            points, weight = special().roots_legendre(per_axis)
            points = np.sqrt(3.0) * points
        return self._nodes_at(*product_rule(points, weight, self.dimension))

    def _sobol(self, count: int, shift: int) -> Array:
        """Standardised points (count, d)."""
        from scipy.stats import qmc  # imported here, as it takes a second and few studies need it

        rng = np.random.default_rng([self.seed, int(Stream.SCRAMBLE), shift])
        sampler = qmc.Sobol(self.dimension, scramble=True, rng=rng)
        unit = sampler.random_base2(int(np.ceil(np.log2(count))))[:count]
        unit = np.clip(unit, 1e-15, 1 - 1e-15)  # a scrambled point can be 0, whose normal quantile is not finite
        return np.asarray(special().ndtri(unit) if self.w_kind == "gaussian" else centred(unit))

    def _nodes_at(self, standard: Array, weight: Array) -> Nodes:
        w = self.mean + standard @ self.factor.T
        b = self.b_given(w)
        return Nodes(w, weight, b, b**2 + self.noise**2)

    def feature_map(self, nodes: Nodes) -> FeatureMap:
        """The features in the form that the kernels take."""
        root = np.sqrt(nodes.weight)
        return FeatureMap(self.activation, nodes.w, root, self.c_std * root)

    def features(self, nodes: Nodes, x: Array, m: Array) -> Array:
        """phi (..., Q (1 + d)), with phi . phi' the kernel summed over the nodes. Source: eq. (27).

        x (..., d); m (...). First the Q columns sqrt(weight) sigma(w.x + m), then for each component j of x the
        Q columns sqrt(weight) std_c sigma'(w.x + m) x_j.
        """
        sigma = ACTIVATIONS[self.activation]
        argument = x @ nodes.w.T
        argument += m[..., None]
        root, count = np.sqrt(nodes.weight), len(nodes.weight)
        phi = np.empty_like(argument, shape=(*argument.shape[:-1], nodes.features))
        value = sigma.value(argument)
        np.multiply(value, root, out=phi[..., :count])
        slope = sigma.slope(argument) if sigma.slope_of_value is None else sigma.slope_of_value(value)
        slope *= self.c_std * root
        for j in range(self.dimension):
            np.multiply(slope, x[..., j, None], out=phi[..., (1 + j) * count : (2 + j) * count])
        return phi

    # --- memory --------------------------------------------------------------------------------------------

    def memory_rule(self, refine: int = 1) -> MemoryRule:
        """The quadrature of the memory map; refine = 2 doubles its points (along each axis, for products)."""
        if refine not in self._rules:
            self._rules[refine] = self._memory_rule(refine)
        return self._rules[refine]

    @cached_property
    def _rules(self) -> dict[int, MemoryRule]:
        return {}

    def _memory_rule(self, refine: int) -> MemoryRule:
        if self.w_kind == "gaussian":
            xi, weight = normal_grid(refine * PROJECTION_NODES)
            return MemoryRule(xi[:, None], self.offset * weight, xi * weight)
        if self.dimension in PRODUCT_NODES:
            nodes = self._product(refine * PRODUCT_NODES[self.dimension], "grid")
        else:
            nodes = self.nodes(refine * SOBOL_NODES, "quasi-random", shift=refine - 1)
        return MemoryRule(nodes.w, nodes.weight * nodes.b, np.zeros(len(nodes.weight)))

    def memory_inputs(self, x: Array) -> tuple[Array, Array, Array]:
        """location (...), coordinates (..., p) and slope (...) of the memory rule at x (..., d).

        Normal W: W.x is normal, so p = 1 for every d; at s = 0 the slope is 0. Source: eq. (23).
        """
        if self.w_kind != "gaussian":
            return np.zeros_like(x[..., 0]), x, np.zeros_like(x[..., 0])
        spread = x @ self.factor
        scale = np.sqrt(np.sum(spread**2, axis=-1))
        along = spread @ (self.factor.T @ self.direction)
        slope = self.slope * (along / np.where(scale > 0, scale, 1.0))
        return x @ self.mean, scale[..., None], slope

    def memory_map(self, x: Array, m: Array | float, refine: int = 1) -> Array:
        """F(x, m) = E[B sigma(W.x + m)]; x (..., d), m (...), broadcast; returns (...). Source: eq. (18)."""
        return self._integrate(ACTIVATIONS[self.activation].value, x, m, refine)

    def memory_slope(self, x: Array, m: Array | float, refine: int = 1) -> Array:
        """dF/dm (x, m) = E[B sigma'(W.x + m)]; shapes as memory_map. Source: eq. (19)."""
        return self._integrate(ACTIVATIONS[self.activation].slope, x, m, refine)

    def _integrate(self, function: Callable[[Array], Array], x: Array, m: Array | float, refine: int) -> Array:
        rule = self.memory_rule(refine)
        points = np.asarray(x, dtype=np.float64)
        shape = np.broadcast_shapes(points.shape[:-1], np.shape(m))
        flat_x = np.broadcast_to(points, (*shape, self.dimension)).reshape(-1, self.dimension)
        flat_m = np.broadcast_to(np.asarray(m, dtype=np.float64), shape).reshape(-1)
        rows = max(1, CHUNK_VALUES // len(rule.weight0))
        result = np.empty(len(flat_m))
        for first in range(0, len(flat_m), rows):
            part = slice(first, first + rows)
            location, coordinates, slope = self.memory_inputs(flat_x[part])
            value = function((location + flat_m[part])[:, None] + coordinates @ rule.nodes.T)
            result[part] = value @ rule.weight0 + slope * (value @ rule.weight1)
        return result.reshape(shape)

    def memory_path(self, be: Backend, x: Array, start: Array, refine: int = 1) -> Array:
        """Memories (R, L + 1) along inputs x (R, L, d): M_0 = start (R,), M_{k+1} = F(x_k, M_k). Source: eq. (20).

        Column k is the memory that goes with x_k; the last column goes with the input after the path, and is
        the start of its continuation.
        """
        rule = self.memory_rule(refine)
        location, coordinates, slope = self.memory_inputs(x)
        nodes = MemoryMap(self.activation, rule.nodes, rule.weight0, rule.weight1)
        return be.memory_path(nodes, MemoryInputs(location, coordinates, slope), start)


def centred(uniform: Array) -> Array:
    """Uniforms on (0, 1) transformed to mean 0 and variance 1."""
    return np.sqrt(3.0) * (2 * uniform - 1)  # type: ignore[no-any-return]


def mean_abs_normal(mean: Array | float, std: Array | float) -> Array:
    """E|mean + std xi| for a standard normal xi; arrays broadcast, std >= 0."""
    mean, std = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64))
    ratio = np.divide(mean, std, out=np.zeros(mean.shape), where=std > 0)
    spread = np.sqrt(2 / np.pi) * std * np.exp(-(ratio**2) / 2)
    return np.asarray(np.where(std > 0, spread + mean * (1 - 2 * special().ndtr(-ratio)), np.abs(mean)))


def normal_grid(count: int) -> tuple[Array, Array]:
    """Trapezoidal rule for the standard normal law: points (count,), weights (count,) that sum to 1.

    The range grows such that truncation and step errors fall together, like exp(-c count^(2/3)).
    Source: docs/model.md section 5.
    """
    reach = min(8.6, (np.pi**2 * count) ** (1 / 3))  # beyond 8.6 the weights are below rounding
    points = (np.arange(count) - (count - 1) / 2) * (2 * reach / count)
    weight = np.exp(-(points**2) / 2)
    return points, weight / weight.sum()


def product_rule(points: Array, weight: Array, dimension: int) -> tuple[Array, Array]:
    """The d-fold product of a rule in one dimension: points (n^d, d), weights (n^d,) that sum to 1."""
    axes = np.meshgrid(*[points] * dimension, indexing="ij")
    weights = np.meshgrid(*[weight / weight.sum()] * dimension, indexing="ij")
    total = np.prod(np.stack(weights), axis=0).reshape(-1)
    return np.stack(axes, axis=-1).reshape(-1, dimension), total / total.sum()
