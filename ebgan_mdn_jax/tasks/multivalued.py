"""Multi-valued functions: several right actions for one observation, with the exact conditional density.

The tasks of EBGAN-MDN's "2D geometric" benchmark and its 49-Gaussian grid (Li et al. 2025, arXiv 2510.07562), and the inverse sine of
Bishop (1994); and function fits as in Florence et al. (2021, arXiv 2109.00137, figures 2c and 3), who give no formulas: those are ours.
Where nothing else is said, ``c ~ U(-1, 1)`` and ``a = mode(c) + N(0, 0.02^2)`` with the mode drawn uniformly.

The inverse sine differs from the authors' code in one point: its condition is rescaled by the exact range of the forward function, not by
the smallest and largest of the 500 drawn, so that the conditional is known exactly. It is judged where a noise-free solution exists.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.evaluation import coverage, divergences
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

NOISE = 0.02
GRID_NOISE = 0.03**0.5
SINE_NOISE = 0.1
LABEL_NOISE = 0.25
SET_HALF_WIDTH = 0.25
# The forward function y + sin(2 pi y) / 2 of y in [-1, 1] turns where 1 + pi cos(2 pi y) = 0, and its noisy range is [-1.1, 1.1].
_TURN = math.acos(-1 / math.pi) / (2 * math.pi)
SINE_TURNS = (_TURN - 1, -_TURN, _TURN, 1 - _TURN)
SINE_RANGE = 1.0 + SINE_NOISE

_UNIT_SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


def hyperbola(obs: Array, a: float = 0.1, b: float = 1.0) -> Array:
    """Modes ``[2, B, 1]``: ``+-sqrt(a^2 + b^2 c^2)``; 2a apart at c = 0."""
    branch = jnp.sqrt(a**2 + (b * obs) ** 2)
    return jnp.stack([-branch, branch])


def lines(obs: Array, slope: float = 1.0) -> Array:
    """Modes ``[3, B, 1]``: ``slope * c``, 0 and ``-slope * c``, which all cross at c = 0."""
    return jnp.stack([-slope * obs, jnp.zeros_like(obs), slope * obs])


def circle(obs: Array, r: float = 1.0) -> Array:
    """Modes ``[2, B, 1]``: ``+-sqrt(r - c^2)``, with r and not r^2 as in the authors' code."""
    branch = jnp.sqrt(jnp.maximum(r - obs**2, 0.0))
    return jnp.stack([-branch, branch])


def parabola(obs: Array, a: float = 1.0) -> Array:
    """Modes ``[2, B, 1]``: ``+-a c^2``."""
    return jnp.stack([-a * obs**2, a * obs**2])


def gaussian_grid(obs: Array) -> Array:
    """Modes ``[49, B, 2]``: the 7 x 7 centres ``(1.2 (i - 3), 1.2 (j - 3))``, whatever the observation."""
    ticks = 1.2 * (jnp.arange(7.0) - 3.0)
    centres = jnp.stack(jnp.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(49, 1, 2)
    return jnp.broadcast_to(centres, (49, obs.shape[0], 2))


def split_circle(obs: Array, gap: float = 0.2) -> Array:
    """Modes ``[2, B, 1]``: ``+-(gap + (1 - gap) sqrt(1 - c^2))``; halves of a circle, pulled apart, so that they never meet."""
    return gap * jnp.array([-1.0, 1.0])[:, None, None] + (1 - gap) * circle(obs)


def label_noise(obs: Array) -> Array:
    """One mode ``[1, B, 1]``, 0: labels have nothing to do with the observation."""
    return jnp.zeros_like(obs)[None]


def hysteresis(obs: Array) -> tuple[Array, Array]:
    """Modes ``[2, B, 1]`` and their mask ``[2, B]``: ``0.2 c - 0.6`` up to c = 0.4, ``0.2 c + 0.6`` from c = -0.4 on."""
    mask = jnp.stack([obs[:, 0] <= 0.4, obs[:, 0] >= -0.4])
    return jnp.stack([0.2 * obs - 0.6, 0.2 * obs + 0.6]), mask


def set_centres(obs: Array) -> Array:
    """Centres ``[2, B, 1]``, ``0.2 c -+ 0.5``, of two disjoint intervals of half width 0.25."""
    return jnp.stack([0.2 * obs - 0.5, 0.2 * obs + 0.5])


def inverse_sine_modes(obs: Array) -> tuple[Array, Array]:
    """Noise-free solutions ``[5, B, 1]`` of ``y + sin(2 pi y) / 2 = u``, one slot per monotone piece, and their mask ``[5, B]``."""
    u = SINE_RANGE * obs[None, :, 0]
    edges = jnp.asarray((-1.0, *SINE_TURNS, 1.0))
    left = jnp.broadcast_to(edges[:-1, None], (5, obs.shape[0]))
    right = jnp.broadcast_to(edges[1:, None], (5, obs.shape[0]))
    u = jnp.broadcast_to(u, left.shape)
    at_left, at_right = _sine(left), _sine(right)
    mask = (jnp.minimum(at_left, at_right) <= u) & (u < jnp.maximum(at_left, at_right))
    rising = at_left < at_right

    def halve(_, interval):
        left, right = interval
        middle = (left + right) / 2
        go_right = (_sine(middle) < u) == rising
        return jnp.where(go_right, middle, left), jnp.where(go_right, right, middle)

    left, right = jax.lax.fori_loop(0, 40, halve, (left, right))
    return ((left + right) / 2)[..., None], mask


def inverse_sine_log_prob(obs: Array, action: Array, num_quadrature: int = 20_000) -> Array:
    """Exact ``log p(y | c)``, ``[..., B]``: uniform on the y whose ``|y + sin(2 pi y) / 2 - u| <= 0.1``; the length by quadrature."""
    inside = _sine_inside(obs, action)
    width = 2.0 / num_quadrature
    grid = -1.0 + width * (jnp.arange(num_quadrature) + 0.5)
    grid = jnp.broadcast_to(grid[:, None, None], (num_quadrature, obs.shape[0], 1))
    length = width * jnp.sum(_sine_inside(obs, grid), axis=0)
    return jnp.where(inside, -jnp.broadcast_to(jnp.log(length), inside.shape), -jnp.inf)


def inverse_sine_sample(key: PRNGKey, obs: Array, num_samples: int, num_cells: int = 20_000) -> Array:
    """Exact draws ``[N, B, 1]``, up to the width of a cell."""
    width = 2.0 / num_cells
    grid = -1.0 + width * (jnp.arange(num_cells) + 0.5)
    inside = _sine_inside(obs, jnp.broadcast_to(grid[:, None, None], (num_cells, obs.shape[0], 1)))
    key_cell, key_place = jax.random.split(key)
    cumulative = jnp.cumsum(inside, axis=0)
    # Draw the rank of a cell among those of the support, then find it: exact and far cheaper than a categorical over all cells.
    shape = (num_samples, obs.shape[0])
    total = jnp.broadcast_to(cumulative[-1], shape)
    rank = jnp.minimum(jnp.floor(jax.random.uniform(key_cell, shape) * total) + 1, total)
    cell = jax.vmap(jnp.searchsorted, in_axes=1, out_axes=1)(cumulative, rank)
    place = jax.random.uniform(key_place, shape, minval=-0.5, maxval=0.5)
    return (grid[cell] + width * place)[..., None]


def _inverse_sine_demonstrations(key: PRNGKey, num: int) -> Batch:
    key_action, key_noise = jax.random.split(key)
    action = jax.random.uniform(key_action, (num, 1), minval=-1.0, maxval=1.0)
    noise = jax.random.uniform(key_noise, (num, 1), minval=-SINE_NOISE, maxval=SINE_NOISE)
    # Rescaled by the exact range of u, not by the sample's own min and max: the conditional density is then known exactly.
    return Batch((_sine(action) + noise) / SINE_RANGE, action)


def _sine(y: Array) -> Array:
    return y + 0.5 * jnp.sin(2 * jnp.pi * y)


def _sine_inside(obs: Array, action: Array) -> Array:
    """Is ``action [..., B, 1]`` in the support of the conditional at ``obs [B, 1]``? ``[..., B]``."""
    u = jnp.broadcast_to(SINE_RANGE * obs[:, 0], action.shape[:-1])
    action = action[..., 0]
    return (jnp.abs(_sine(action) - u) <= SINE_NOISE) & (jnp.abs(action) <= 1.0)


def evaluate(
    key: PRNGKey,
    policy: Conditional,
    data: Data,
    config: EvaluationConfig,
    *,
    spec: Spec,
    truth: Conditional,
    modes: Callable,
    valid: Callable,
    input_range: float,
    noise: float,
) -> dict[str, Array]:
    """All metrics of one policy, scalars; densities only where the policy has one.

    Inputs are equally spaced over ``input_range`` times the observation box. ``precision`` is the percentage of draws for which ``valid``
    holds, ``kl`` the exact KL(truth || policy) in nats, ``w1`` the Wasserstein-1 distance per observation, both averaged over inputs;
    ``heldout_nll`` is the mean over held-out rows in nats. Of a policy with an energy, ``downhill`` is the percentage of actions at least
    3 ``noise`` off all modes where the energy's descent leads towards the nearest one. ``balanced``, of scalar actions that may have
    several modes, is the percentage of inputs with several where each gets its share of the draws to within 40 % (of two equal modes: 30
    to 70 %). A mode's share, of draws and of the truth, is what lies nearest to it.
    """
    low, high = (jnp.asarray(bound) * input_range for bound in (spec.obs_low, spec.obs_high))
    obs = jnp.linspace(low, high, config.num_inputs)
    key_coverage, key_draws = jax.random.split(key)
    mode_actions, mode_mask = modes(obs)

    few = coverage.distances(policy.sample(key_coverage, obs, config.num_samples), mode_actions, mode_mask)
    draws = policy.sample(key_draws, obs, config.num_draws)
    setting = f"@S={config.num_samples},tau={config.tolerance:g}"
    metrics = {
        f"tmc{setting}": coverage.total_mode_coverage(few, mode_mask, config.tolerance),
        f"amc{setting}": coverage.average_modes_captured(few, config.tolerance),
        f"coverage{setting}": coverage.mode_coverage(few, mode_mask, config.tolerance),
        "precision": 100.0 * jnp.mean(valid(obs, draws)),
        "mode_distance": coverage.nearest_mode_distance(coverage.distances(draws, mode_actions, mode_mask)),
    }
    grid, volume = divergences.action_grid(spec, config.num_quadrature)
    actions = jnp.broadcast_to(grid[:, None], (grid.shape[0], obs.shape[0], spec.action_dim))
    log_true = truth.log_prob(obs, actions)
    if spec.action_dim == 1:
        metrics["w1"] = divergences.wasserstein_1d(draws[..., 0], grid[:, 0], log_true)
        if mode_actions.shape[0] > 1:
            of_grid, of_draws = (coverage.distances(points, mode_actions, mode_mask) for points in (actions, draws))
            shares = coverage.mode_shares(of_grid, jax.nn.softmax(log_true, axis=0))
            metrics["balanced"] = coverage.balanced(coverage.mode_shares(of_draws), shares, mode_mask)
    if policy.log_prob is not None:
        metrics["kl"] = divergences.conditional_kl(log_true, policy.log_prob(obs, actions), volume)
        metrics |= heldout_nll(policy, data)
    if policy.energy is not None:
        slope = jax.grad(lambda actions: jnp.sum(policy.energy(obs, actions)))(actions)
        off = 3 * noise
        metrics["downhill"] = coverage.downhill_to_mode(slope, actions, mode_actions, mode_mask, off)
    return metrics


def _always(mode_fn: Callable) -> Callable:
    """``mode_fn``, of modes alone, with the mask of modes that exist everywhere."""

    def modes(obs):
        actions = mode_fn(obs)
        return actions, jnp.ones(actions.shape[:2], bool)

    return modes


def _mixture_task(modes: Callable, spec: Spec = _UNIT_SPEC, noise: float = NOISE, **fields) -> Task:
    """A task whose conditional is an equal mixture of Gaussians of deviation ``noise`` around those ``modes(obs)`` that exist."""

    def mixture(obs):
        actions, mask = modes(obs)
        means = jnp.moveaxis(actions, 0, -2)
        log_weights = jnp.where(mask, -jnp.log(jnp.sum(mask, axis=0))[None], -jnp.inf).T
        return mixtures.Mixture(log_weights, means, jnp.full_like(means, noise))

    def log_prob(obs, action):
        return mixtures.log_prob(mixture(obs), action)

    def demonstrations(key, num):
        key_obs, key_action = jax.random.split(key)
        low, high = (jnp.broadcast_to(jnp.asarray(b), (num, spec.obs_dim)) for b in (spec.obs_low, spec.obs_high))
        obs = low + (high - low) * jax.random.uniform(key_obs, (num, spec.obs_dim))
        # Not by `mixture.sample`: the published data must stay the same however that draws.
        key_mode, key_noise = jax.random.split(key_action)
        rows = mixture(obs)
        index = jax.random.categorical(key_mode, rows.log_weights, shape=(1, num))[0]
        mode = jnp.take_along_axis(rows.means, index[:, None, None], axis=1)[:, 0]
        return Batch(obs, mode + noise * jax.random.normal(key_noise, mode.shape))

    def valid(obs, draws):
        return jnp.min(coverage.distances(draws, *modes(obs)), axis=1) <= 3 * noise

    truth = Conditional(lambda key, obs, num: mixtures.sample(key, mixture(obs), num), log_prob)
    judge = functools.partial(evaluate, spec=spec, truth=truth, modes=modes, valid=valid, input_range=1.0, noise=noise)
    task = Task(spec, 500, EvaluationConfig(), judge, demonstrations, truth, modes)
    return task._replace(**fields)


def _gaussian_grid_demonstrations(key: PRNGKey, num: int) -> Batch:
    """As many rows at each of the 49 centres (to within one), in random order."""
    key_order, key_noise = jax.random.split(key)
    obs = jnp.zeros((num, 2))
    index = jax.random.permutation(key_order, jnp.arange(num) % 49)
    noise = GRID_NOISE * jax.random.normal(key_noise, (num, 2))
    return Batch(obs, gaussian_grid(obs[:1])[index, 0] + noise)


def _inverse_sine_task() -> Task:
    truth = Conditional(inverse_sine_sample, inverse_sine_log_prob)
    judge = functools.partial(
        evaluate,
        spec=_UNIT_SPEC,
        truth=truth,
        modes=inverse_sine_modes,
        valid=_sine_inside,
        input_range=0.999 / SINE_RANGE,  # where a noise-free solution exists
        noise=SINE_NOISE / 3,
    )
    return Task(_UNIT_SPEC, 500, EvaluationConfig(), judge, _inverse_sine_demonstrations, truth, inverse_sine_modes)


def _disjoint_sets_task() -> Task:
    modes = _always(set_centres)

    def inside(obs, action):  # [..., B] of [B, 1] and [..., B, 1]
        lower, upper = (jnp.broadcast_to(centre, action.shape) for centre in set_centres(obs))
        return jnp.minimum(jnp.abs(action - lower), jnp.abs(action - upper))[..., 0] <= SET_HALF_WIDTH

    def log_prob(obs, action):
        return jnp.where(inside(obs, action), -jnp.log(4 * SET_HALF_WIDTH), -jnp.inf)

    def sample(key, obs, num_samples):
        key_set, key_place = jax.random.split(key)
        upper = jax.random.bernoulli(key_set, shape=(num_samples, *obs.shape))
        lower_centre, upper_centre = (centre[None] for centre in set_centres(obs))
        place = jax.random.uniform(key_place, upper.shape, minval=-SET_HALF_WIDTH, maxval=SET_HALF_WIDTH)
        return jnp.where(upper, upper_centre, lower_centre) + place

    def demonstrations(key, num):
        key_obs, key_action = jax.random.split(key)
        obs = jax.random.uniform(key_obs, (num, 1), minval=-1.0, maxval=1.0)
        return Batch(obs, sample(key_action, obs, 1)[0])

    truth = Conditional(sample, log_prob)
    judge = functools.partial(
        evaluate, spec=_UNIT_SPEC, truth=truth, modes=modes, valid=inside, input_range=1.0, noise=SET_HALF_WIDTH / 3
    )
    return Task(_UNIT_SPEC, 500, EvaluationConfig(), judge, demonstrations, truth, modes)


HYPERBOLA = _mixture_task(_always(hyperbola))
LINES = _mixture_task(_always(lines))
CIRCLE = _mixture_task(_always(circle))
PARABOLA = _mixture_task(_always(parabola))
INVERSE_SINE = _inverse_sine_task()
SPLIT_CIRCLE = _mixture_task(_always(split_circle))
HYSTERESIS = _mixture_task(hysteresis)
DISJOINT_SETS = _disjoint_sets_task()
NOISE_LABELS = _mixture_task(_always(label_noise), noise=LABEL_NOISE)
GAUSSIAN_GRID = _mixture_task(
    _always(gaussian_grid),
    Spec((0.0, 0.0), (0.0, 0.0), (-5.0, -5.0), (5.0, 5.0)),
    GRID_NOISE,
    demonstrations=_gaussian_grid_demonstrations,
    num_demonstrations=9_800,
    primary="coverage",
    # One observation; the paper's 3,000 draws and tolerance.
    evaluation=EvaluationConfig(num_inputs=1, num_samples=3_000, tolerance=0.075, num_draws=1_000, num_quadrature=200),
)
