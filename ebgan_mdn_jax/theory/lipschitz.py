"""How steep is a map of noise to actions? Measured from below, along directions or segments, or bounded from above by its layers.

Only the bound from above makes `transport.isoperimetric_sum` strict; with what is measured it is a diagnosis. ``fn`` maps one input
``[d]`` to ``[Da]``; all but `certified_lipschitz` and `langevin_lipschitz` can be jitted and vmapped.
"""

from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ebgan_mdn_jax.types import Array, PRNGKey, require


def local_lipschitz(key: PRNGKey, fn: Callable, points: Array, num_iterations: int = 30) -> Array:
    """Largest singular value ``[N]`` of the Jacobian of ``fn`` at ``points [N, d]``, from below, by power iteration on ``J^T J``.

    Each step costs one forward and one backward derivative, through a solver as well, and J is never formed. The error falls as the
    ratio of the two largest singular values to the power of ``4 num_iterations``.
    """
    chex.assert_rank(points, 2)

    def at(key, point):
        _, pull_back = jax.vjp(fn, point)

        def advance(direction, _):
            image = jax.jvp(fn, (point,), (direction,))[1]
            return _unit(pull_back(image)[0]), jnp.linalg.norm(image)

        start = _unit(jax.random.normal(key, point.shape, point.dtype))
        return jax.lax.scan(advance, start, None, num_iterations + 1)[1][-1]

    return jax.vmap(at)(jax.random.split(key, points.shape[0]), points)


def secant_lipschitz(fn: Callable, mode_of: Callable, start: Array, end: Array, num_halvings: int = 12) -> Array:
    """Steepest secant ``[N]`` met while each segment from ``start`` to ``end``, both ``[N, d]``, is halved towards a change of mode.

    ``mode_of`` maps ``[Da]`` to an integer; ends should be of different modes, and stay so. A true lower bound on the constant of ``fn``.
    """
    chex.assert_rank([start, end], 2)
    chex.assert_equal_shape([start, end])

    def along(start, end):
        mode = mode_of(fn(start))

        def halve(ends, _):
            low, high = ends
            slope = jnp.linalg.norm(fn(high) - fn(low)) / jnp.maximum(jnp.linalg.norm(high - low), 1e-12)
            middle = (low + high) / 2
            same = mode_of(fn(middle)) == mode
            return (jnp.where(same, middle, low), jnp.where(same, high, middle)), slope

        return jnp.max(jax.lax.scan(halve, (start, end), None, num_halvings + 1)[1])

    return jax.vmap(along)(start, end)


def certified_lipschitz(kernels: Sequence[ArrayLike]) -> float:
    """Product of the spectral norms of the ``kernels [in, out]`` of a stack of dense layers: an upper bound on its constant.

    Holds if activations between them have slopes of at most 1, as ReLU has; usually far above the constant itself.

    Raises:
      InputError: if there is no kernel, or two do not fit.
    """
    kernels = [np.asarray(kernel, np.float64) for kernel in kernels]
    shapes = [kernel.shape for kernel in kernels]
    fit = all(before[-1] == after[0] for before, after in zip(shapes[:-1], shapes[1:], strict=True))
    require(bool(shapes) and all(len(shape) == 2 for shape in shapes) and fit, f"kernels {shapes}: expected a stack")
    return float(np.prod([np.linalg.norm(kernel, 2) for kernel in kernels]))


def langevin_lipschitz(step_size: float, smoothness: float, num_steps: int) -> float:
    """Upper bound for n steps ``a - tau grad E(a) + sqrt(2 tau) noise`` as a map of start and all noises together.

    With ``G = 1 + tau smoothness``, where the gradient of E changes by at most ``smoothness`` per unit, a step stretches differences by at
    most G, and Cauchy and Schwarz give ``sqrt(G^(2n) + 2 tau sum_{k<n} G^(2k))``. Metropolis steps are no such map.

    Raises:
      InputError: if a number is negative.
    """
    require(min(step_size, smoothness, num_steps) >= 0, "step_size, smoothness and num_steps must not be negative")
    growth = (1 + step_size * smoothness) ** (2 * np.arange(num_steps + 1))
    return float(np.sqrt(growth[-1] + 2 * step_size * growth[:-1].sum()))


def _unit(vector: Array) -> Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-30)
