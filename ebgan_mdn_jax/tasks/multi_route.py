"""Routes from (0, 0) to (20, 20): where to step next, given the position alone? Judged by acting in `envs.multi_route`.

EBGAN-MDN's third example, from Behavior Transformers (Shafiullah et al. 2022). Three routes lead by (10, 0), along the diagonal and by
(0, 10), all through (10, 10). A route is a row of waypoints about 1 apart; a demonstration adds independent noise ``N(0, 0.25^2)`` to
every one of them, and each row of data is a position and the step to the next. So the conditional is known exactly: position p belongs to
the pair of waypoints (w, w') with a probability proportional to ``prior N(p; w, 0.25^2)``, and the action is then ``N(w' - p, 0.25^2)``.

Having no memory, an exact policy chooses anew at (10, 10): of the two outer routes it makes four ways, not two.

Differs from the authors' code: the probabilities of `multi_route` are (0.5, 0, 0.5), theirs (0.5, 0, 5) by a slip; routes are drawn, not
apportioned; networks see the boxes as [-1, 1], where theirs see positions up to 20; theirs has no metric and never rolls out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.envs import multi_route as env
from ebgan_mdn_jax.evaluation import divergences
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec, require

NOISE = 0.25
NUM_PATHS = 200
MODE_SHARE = 0.05  # a route this probable at a position is a mode there
SIDE = 5.0  # further than this from the diagonal, in y - x, is an outer leg (whose corner is at 10)
_NUM_KL = 100  # held-out positions that the divergence is averaged over
_LEGS = (
    ((0, 0), (10, 0), (10, 10), (10, 20), (20, 20)),
    ((0, 0), (5, 5), (10, 10), (15, 15), (20, 20)),
    ((0, 0), (0, 10), (10, 10), (20, 10), (20, 20)),
)


def waypoints(route: int) -> np.ndarray:
    """Waypoints ``[W, 2]`` of a route: ``int(length)`` per leg, without the leg's end; the last leg has it and is spread accordingly."""
    corners = np.asarray(_LEGS[route], float)
    parts = []
    for leg, (start, end) in enumerate(zip(corners[:-1], corners[1:], strict=True)):
        num = int(np.linalg.norm(end - start))
        parts.append(np.linspace(start, end, num, endpoint=leg == len(corners) - 2))
    return np.concatenate(parts)


_WAYPOINTS = tuple(waypoints(route) for route in range(3))
_LENGTHS = np.asarray([len(w) for w in _WAYPOINTS])


def mixture(obs: Array, probabilities: tuple[float, ...]) -> mixtures.Mixture:
    """The exact conditional at positions ``obs [B, 2]``; a component per pair of waypoints, route by route."""
    used = [route for route in range(3) if probabilities[route] > 0]
    starts = jnp.asarray(np.concatenate([_WAYPOINTS[r][:-1] for r in used]), obs.dtype)
    ends = jnp.asarray(np.concatenate([_WAYPOINTS[r][1:] for r in used]), obs.dtype)
    prior = np.concatenate([np.full(_LENGTHS[r] - 1, probabilities[r]) for r in used])
    to_start, means = (points[None] - obs[:, None] for points in (starts, ends))
    log_joint = jnp.log(jnp.asarray(prior, obs.dtype))[None] - 0.5 * jnp.sum((to_start / NOISE) ** 2, -1)
    return mixtures.Mixture(jax.nn.log_softmax(log_joint), means, jnp.full_like(means, NOISE))


def modes(obs: Array, probabilities: tuple[float, ...]) -> tuple[Array, Array]:
    """Per route, the step ``[3, B, 2]`` to the end of its likeliest pair; it exists where the route has a share above `MODE_SHARE`."""
    exact = mixture(obs, probabilities)
    actions, mask, first = [], [], 0
    for route in range(3):
        if probabilities[route] == 0:
            actions.append(jnp.zeros_like(obs))
            mask.append(jnp.zeros(obs.shape[0], bool))
            continue
        pairs = slice(first, first + _LENGTHS[route] - 1)
        first = pairs.stop
        best = jnp.argmax(exact.log_weights[:, pairs], axis=1)
        actions.append(jnp.take_along_axis(exact.means[:, pairs], best[:, None, None], axis=1)[:, 0])
        mask.append(jnp.sum(jnp.exp(exact.log_weights[:, pairs]), axis=1) > MODE_SHARE)
    return jnp.stack(actions), jnp.stack(mask)


def demonstrations(key: PRNGKey, num: int, probabilities: tuple[float, ...]) -> Batch:
    """The first ``num`` rows of as many paths as it takes, one path after another."""
    key_route, key_noise = jax.random.split(key)
    longest, shortest = _LENGTHS.max(), min(_LENGTHS[r] for r in range(3) if probabilities[r] > 0)
    num_paths = -(-num // int(shortest - 1))
    padded = jnp.asarray(np.stack([np.pad(w, ((0, longest - len(w)), (0, 0))) for w in _WAYPOINTS]), float)
    route = jax.random.choice(key_route, 3, (num_paths,), p=jnp.asarray(probabilities))
    path = padded[route] + NOISE * jax.random.normal(key_noise, (num_paths, longest, 2))
    last = jnp.asarray(_LENGTHS - 1)[route]
    exists = jnp.broadcast_to(jnp.arange(longest - 1), (num_paths, longest - 1)) < last[:, None]
    rows = jnp.flatnonzero(exists, size=num)
    return Batch(path[:, :-1].reshape(-1, 2)[rows], jnp.diff(path, axis=1).reshape(-1, 2)[rows])


def rollouts(key: PRNGKey, policy: Conditional, num: int) -> tuple[env.State, Array]:
    """Act ``num`` times, one draw per step: the final state, and all positions ``[50, num, 2]`` that were acted from."""
    key_start, key_steps = jax.random.split(key)

    def advance(state, key):
        return env.step(state, policy.sample(key, state.position, 1)[0]), state.position

    return jax.lax.scan(advance, env.reset(key_start, (num,)), jax.random.split(key_steps, env.NUM_STEPS))


def way(positions: Array) -> Array:
    """Which of the 9 ways ``[R]`` rollouts took, from ``positions [T, R, 2]``: 3 x (route before (10, 10)) + (route after).

    Before is where x + y < 20. The farthest deviations from the diagonal to both sides, added, say which route: by (10, 0) and (10, 20),
    along the diagonal, or by (0, 10) and (20, 10).
    """
    offset = positions[..., 1] - positions[..., 0]
    before = jnp.sum(positions, axis=-1) < 20.0

    def side(offset, part):
        offset = jnp.where(part, offset, 0.0)
        return jnp.max(offset, axis=0) + jnp.min(offset, axis=0)

    def route(side):
        return jnp.where(side < -SIDE, 0, jnp.where(side > SIDE, 2, 1))

    # Past (10, 10), route 0 continues on the other side.
    return 3 * route(side(offset, before)) + route(side(-offset, ~before))


def evaluate(
    key: PRNGKey,
    policy: Conditional,
    data: Data,
    config: EvaluationConfig,
    *,
    spec: Spec,
    probabilities: tuple[float, ...],
) -> dict[str, Array]:
    """Metrics of ``num_inputs`` rollouts, and densities where the policy has one.

    ``success`` and ``fail`` (outside the arena) in % of rollouts; ``route_entropy`` in bits, of the `way` that successful rollouts took;
    ``route_share_error``: total variation distance of the ways' shares to those of the exact conditional, in percentage points. If
    nothing succeeds these are 0 and 100. ``kl`` (truth || policy, nats) is averaged over 100 held-out positions; ``heldout_nll`` in nats.
    """
    final, positions = rollouts(key, policy, config.num_inputs)
    count = jnp.sum(jax.nn.one_hot(way(positions), 9) * final.success[:, None], axis=0)
    total = jnp.sum(count)
    share = count / jnp.maximum(total, 1.0)
    expected = jnp.asarray(np.outer(probabilities, probabilities).ravel(), share.dtype)
    metrics = {
        "success": 100.0 * jnp.mean(final.success),
        "fail": 100.0 * jnp.mean(final.fail),
        "route_entropy": -jnp.sum(jax.scipy.special.xlogy(share, share)) / jnp.log(2.0),
        "route_share_error": jnp.where(total > 0, 50.0 * jnp.sum(jnp.abs(share - expected)), 100.0),
    }
    if policy.log_prob is not None:
        grid, volume = divergences.action_grid(spec, config.num_quadrature)
        obs = data.heldout.obs
        obs = obs[:: max(1, len(obs) // _NUM_KL)][:_NUM_KL]  # rows of a path follow each other
        actions = jnp.broadcast_to(grid[:, None], (grid.shape[0], *obs.shape))
        log_true = mixtures.log_prob(mixture(obs, probabilities), actions)
        metrics["kl"] = divergences.conditional_kl(log_true, policy.log_prob(obs, actions), volume)
        metrics |= heldout_nll(policy, data)
    return metrics


def make(probabilities: tuple[float, float, float]) -> Task:
    """The task whose demonstrations take the routes by (10, 0), the diagonal and by (0, 10) with these probabilities.

    Raises:
      InputError: if they are not three, negative, or do not add up to 1.
    """
    sound = len(probabilities) == 3 and min(probabilities) >= 0 and abs(sum(probabilities) - 1) < 1e-6
    require(sound, f"probabilities={probabilities}: expected 3 that add up to 1, such as (0.5, 0, 0.5)")
    spec = Spec((env.LOW,) * 2, (env.HIGH,) * 2, (-env.ACTION_LIMIT,) * 2, (env.ACTION_LIMIT,) * 2)
    exact = functools.partial(mixture, probabilities=probabilities)
    return Task(
        spec=spec,
        num_demonstrations=round(NUM_PATHS * float(np.dot(probabilities, _LENGTHS - 1))),
        evaluation=EvaluationConfig(num_inputs=500, num_quadrature=50),
        evaluate=functools.partial(evaluate, spec=spec, probabilities=probabilities),
        demonstrations=functools.partial(demonstrations, probabilities=probabilities),
        conditional=Conditional(
            lambda key, obs, num: mixtures.sample(key, exact(obs), num),
            lambda obs, action: mixtures.log_prob(exact(obs), action),
        ),
        modes=functools.partial(modes, probabilities=probabilities),
        normalize=True,
        primary="success",
    )


MULTI_ROUTE = make((0.5, 0.0, 0.5))
MULTI_ROUTE_THREE = make((1 / 3, 1 / 3, 1 / 3))
