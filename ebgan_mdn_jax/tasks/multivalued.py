"""Multi-valued functions: several right actions for one observation, with the exact conditional density.

The tasks of EBGAN-MDN's "2D geometric" benchmark and its 49-Gaussian grid (Li et al. 2025, arXiv 2510.07562), but for the inverse sine
(`inverse_sine`), and function fits as in Florence et al. (2021, arXiv 2109.00137, figures 2c and 3), who give no formulas: those are ours.
Where nothing else is said, ``c ~ U(-1, 1)`` and ``a = mode(c) + N(0, 0.02^2)`` with the mode drawn uniformly.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.evaluation import coverage, divergences
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

NOISE = 0.02
GRID_NOISE = 0.03**0.5
LABEL_NOISE = 0.25
SET_HALF_WIDTH = 0.25
UNIT_SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


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


def _mixture_task(modes: Callable, spec: Spec = UNIT_SPEC, noise: float = NOISE, **fields) -> Task:
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
        evaluate, spec=UNIT_SPEC, truth=truth, modes=modes, valid=inside, input_range=1.0, noise=SET_HALF_WIDTH / 3
    )
    return Task(UNIT_SPEC, 500, EvaluationConfig(), judge, demonstrations, truth, modes)


HYPERBOLA = _mixture_task(_always(hyperbola))
LINES = _mixture_task(_always(lines))
CIRCLE = _mixture_task(_always(circle))
PARABOLA = _mixture_task(_always(parabola))
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
