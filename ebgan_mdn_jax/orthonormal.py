r"""A network whose Lipschitz constant is set, not measured: orthonormal layers and sorted units (Anil et al. 2019, arXiv 1811.05381).

.. math:: f(x) = V\, \mathrm{sort}\big(W_n \cdots \mathrm{sort}(W_1 x + b_1) \cdots + b_n\big) + c, \qquad \|W_i\|_2 \le 1, \; \|V\|_2 \le L

Sorting pairs of units ("MaxMin", GroupSort of groups of two) and orthonormal kernels keep the norm of gradients, so that L can be
attained; with ReLU it hardly can. The last layer is free but for its norm: orthonormal times L, as in the paper, a network can hardly be
less steep than L. Inside, activations are features-major as in `networks`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey, PyTree, require

NUM_ITERATIONS = 4
# More than float32 can add to a norm; taken off every kernel.
MARGIN = 1e-5


def norm_bound(kernel: Array) -> Array:
    """A bound from above on the largest singular value of ``kernel [in, out]``: the Schatten norm ``(sum_i s_i^16)^(1/16)``.

    It is at most ``r^(1/16)`` times the largest for rank r: 1.04 for 2, 1.3 for 64. A kernel of 0 has a tiny bound.
    """
    tiny = jnp.finfo(kernel.dtype).tiny
    size = jnp.sqrt(jnp.maximum(jnp.sum(kernel**2), tiny))  # divided by, so that powers neither overflow nor vanish
    kernel = kernel / size
    power = _matmul(kernel, kernel.T) if kernel.shape[0] < kernel.shape[1] else _matmul(kernel.T, kernel)
    for _ in range(2):
        power = _matmul(power, power)
    return size * jnp.maximum(jnp.sum(power**2), tiny) ** (1 / 16)


def orthonormal(kernel: Array, num_iterations: int = NUM_ITERATIONS) -> Array:
    r"""The ``kernel [in, out]`` with its singular values moved to 1, so with orthonormal rows or columns; its norm is never above 1.

    Each iteration ``W (3 I - W^T W) / 2`` (Björck & Bowie 1971) takes a singular value s to ``s (3 - s^2) / 2``, nearer to 1, and no
    value of [0, 1] above 1. They begin there, since W is divided by its `norm_bound`; so the bound holds after any number of them.
    """
    w = kernel / norm_bound(kernel)
    wide = w.shape[0] < w.shape[1]
    w = w.T if wide else w
    for _ in range(num_iterations):
        w = 1.5 * w - 0.5 * _matmul(w, _matmul(w.T, w))
    return (1 - MARGIN) * (w.T if wide else w)


def capped(kernel: Array, norm: Array | float) -> Array:
    """The ``kernel [in, out]``, made smaller where its `norm_bound` is above ``norm``."""
    return (1 - MARGIN) * kernel * jnp.minimum(1.0, norm / norm_bound(kernel))


def max_min(x: Array) -> Array:
    """Unit i and unit i + F/2 of ``[F, rows]``, sorted: a permutation at every point, so it keeps distances or makes them smaller."""
    first, second = jnp.split(x, 2)
    return jnp.concatenate([jnp.maximum(first, second), jnp.minimum(first, second)])


class LipschitzMLP(nn.Module):
    """``[..., in] -> [..., out]`` with ``|f(x) - f(y)| <= lipschitz |x - y|`` (Euclidean norms) for any weights.

    ``lipschitz`` is an argument: networks of all constants are one program.
    """

    hidden: tuple[int, ...]
    out: int

    @nn.compact
    def __call__(self, x: Array, lipschitz: Array | float) -> Array:
        """Apply the network."""
        lead, dtype = x.shape[:-1], jax.dtypes.canonicalize_dtype(float)
        x = x.reshape(-1, x.shape[-1]).T
        for index, width in enumerate((*self.hidden, self.out)):
            kernel = self.param(f"kernel_{index}", _initial, (x.shape[0], width), dtype)
            bias = self.param(f"bias_{index}", nn.initializers.zeros, (width,), dtype)[:, None]
            if index < len(self.hidden):
                x = max_min(orthonormal(kernel).T @ x + bias)
            else:
                x = capped(kernel, lipschitz).T @ x + bias
        return x.T.reshape(*lead, self.out)


def effective_kernels(weights: PyTree, lipschitz: Array | float) -> list[Array]:
    """Kernels ``[in, out]`` that a `LipschitzMLP` multiplies with; the product of their norms is at most ``lipschitz``."""
    *hidden, last = (weights["params"][f"kernel_{index}"] for index in range(len(weights["params"]) // 2))
    return [*map(orthonormal, hidden), capped(last, lipschitz)]


def require_even(name: str, hidden: tuple[int, ...]) -> None:
    """Raise `InputError` unless units of these hidden layers can be sorted in pairs."""
    require(
        all(width % 2 == 0 for width in hidden), f"{name}={hidden}: units are sorted in pairs, so widths must be even"
    )


def _initial(key: PRNGKey, shape: tuple[int, int], dtype: jnp.dtype) -> Array:
    """Uniform among orthonormal kernels.

    Flax's initialiser would do, but its QR factorisations, of more than a hundred members at once, wait for each other for ever on a CPU.
    """
    return orthonormal(jax.random.normal(key, shape, dtype), 24)


def _matmul(a: Array, b: Array) -> Array:
    """In full float32, where an accelerator would round its inputs."""
    return jnp.matmul(a, b, precision="highest")
