"""Inverse kinematics of a planar arm with three links: a continuum of right answers, in one piece or several.

Links of length 2, observation the target (x, y), action the angles (theta_1, theta_2, theta_3), relative, in [-pi, pi). The orientation of
the hand, ``phi = theta_1 + theta_2 + theta_3``, may be anything that leaves the wrist within reach of the first two links: with the target
at distance r in direction psi, all of it for ``r <= 2``, and ``|phi - psi| <= acos((r^2 - 12) / (4 r))`` beyond. Then the elbow has either
sign. Of these answers, those where the hand crosses the first link are left out, so no demonstration collides with itself.

Demonstrations are uniform over what remains of (phi, elbow). A mixture must tile a curve in a space of three dimensions; a policy that
bridges two of its pieces misses the target or collides.
"""

import math

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.evaluation import reaching
from ebgan_mdn_jax.kinematics import planar
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

LENGTHS = (2.0, 2.0, 2.0)
REACH = sum(LENGTHS)
NUM_BINS = 16  # of the hand's orientation, for coverage
_TARGET_SEED = 9
_NUM_PROPOSALS = 16


def feasible_half_width(obs: Array) -> Array:
    """Largest ``|phi - psi|`` ``[B]`` that leaves the wrist within reach, for targets ``obs [B, 2]``; 0 out of reach."""
    distance = jnp.linalg.norm(obs, axis=-1)
    inner, hand = LENGTHS[0] + LENGTHS[1], LENGTHS[2]
    cosine = (distance**2 + hand**2 - inner**2) / (2 * hand * jnp.maximum(distance, 1e-6))
    return jnp.arccos(jnp.clip(cosine, -1.0, 1.0))


def solve(obs: Array, phi: Array) -> tuple[Array, Array]:
    """Both elbows' angles ``[2, ..., 3]`` at targets ``obs [..., 2]`` for the hand's orientation ``phi [...]``; is the wrist in reach?"""
    wrist = obs - LENGTHS[2] * jnp.stack([jnp.cos(phi), jnp.sin(phi)], axis=-1)
    arm, reachable = planar.inverse(wrist, LENGTHS[:2])
    hand = jnp.broadcast_to(phi, arm.shape[:-1]) - jnp.sum(arm, axis=-1)
    return planar.wrap(jnp.concatenate([arm, hand[..., None]], axis=-1)), reachable


def collides(angles: Array) -> Array:
    """Does the hand cross the first link? ``[...]`` for ``angles [..., 3]``."""
    positions = planar.joints(angles, LENGTHS)
    return planar.segments_cross(positions[..., :2, :], positions[..., 2:, :])


def sample(key: PRNGKey, obs: Array, num_samples: int) -> Array:
    """Exact draws ``[N, B, 3]``: the first of 16 proposals that does not collide; at most a third do, at any target."""
    key_phi, key_elbow = jax.random.split(key)
    shape = (_NUM_PROPOSALS, num_samples, obs.shape[0])
    psi = jnp.broadcast_to(jnp.arctan2(obs[:, 1], obs[:, 0]), shape)
    spread = jax.random.uniform(key_phi, shape, minval=-1.0, maxval=1.0)
    phi = psi + spread * jnp.broadcast_to(feasible_half_width(obs), shape)
    either, _ = solve(jnp.broadcast_to(obs, (*shape, 2)), phi)
    up = jax.random.bernoulli(key_elbow, 0.5, (*shape, 1))
    proposals = jnp.where(jnp.broadcast_to(up, either.shape[1:]), *either)
    first = jnp.argmin(collides(proposals), axis=0)
    return jnp.take_along_axis(proposals, first[None, ..., None], axis=0)[0]


def targets(key: PRNGKey, num: int) -> Array:
    """Targets ``[num, 2]`` uniform on the disc within reach."""
    return planar.uniform_disc(key, num, REACH)


def demonstrations(key: PRNGKey, num: int) -> Batch:
    """One exact draw at each of ``num`` targets."""
    key_target, key_action = jax.random.split(key)
    obs = targets(key_target, num)
    return Batch(obs, sample(key_action, obs, 1)[0])


def cells(angles: Array) -> Array:
    """Which of the 32 cells (bin of phi, elbow) angles ``[..., 3]`` fall into: ``[...]``; even numbers have ``theta_2 >= 0``."""
    phi = planar.wrap(jnp.sum(angles, axis=-1))
    index = jnp.clip(jnp.floor((phi + math.pi) * (NUM_BINS / (2 * math.pi))), 0, NUM_BINS - 1)
    return 2 * index.astype(jnp.int32) + (jnp.sin(angles[..., 1]) < 0)


def feasible_cells(obs: Array) -> Array:
    """Cells ``[32, B]`` in whose middle the wrist is within reach and the arm does not collide."""
    shape = (NUM_BINS, obs.shape[0])
    middle = -math.pi + (jnp.arange(NUM_BINS) + 0.5) * (2 * math.pi / NUM_BINS)
    phi = jnp.broadcast_to(middle[:, None], shape)
    angles, reachable = solve(jnp.broadcast_to(obs, (*shape, 2)), phi)
    free = ~collides(angles) & jnp.broadcast_to(reachable, angles.shape[:-1])
    return jnp.moveaxis(free, 0, 1).reshape(2 * NUM_BINS, obs.shape[0])


def evaluate(key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics at ``num_inputs`` targets, the same for every policy, uniform on the disc within reach.

    Of ``num_draws`` draws at each: ``success@tau`` and the tip's distances as for `two_link`; ``self_collision``: percentage whose hand
    crosses the first link. ``manifold_coverage``: percentage of the feasible cells (16 bins of phi, either elbow), averaged over targets,
    that ``num_samples`` draws hit, counting those within ``tolerance`` of the target that do not collide. The exact sampler hits 99.5 %
    with 100 draws. ``heldout_nll`` in nats per row.
    """
    key_draws, key_cells = jax.random.split(key)
    obs = targets(jax.random.key(_TARGET_SEED), config.num_inputs)

    def tries(key, num):
        angles = policy.sample(key, obs, num)
        error = jnp.linalg.norm(planar.tip(angles, LENGTHS) - jnp.broadcast_to(obs, (num, *obs.shape)), axis=-1)
        return angles, error, collides(angles)

    _, error, collision = tries(key_draws, config.num_draws)
    metrics = reaching.tip_metrics(error) | {"self_collision": 100.0 * jnp.mean(collision)}
    angles, error, collision = tries(key_cells, config.num_samples)
    valid = (error <= config.tolerance) & ~collision
    column = jnp.broadcast_to(jnp.arange(obs.shape[0]), valid.shape)
    hit = jnp.zeros((2 * NUM_BINS, obs.shape[0]), bool).at[cells(angles), column].max(valid)
    feasible = feasible_cells(obs)
    count = jnp.sum(feasible, axis=0)
    share = jnp.sum(hit & feasible, axis=0) / jnp.where(count > 0, count, jnp.nan)
    coverage = 100.0 * jnp.nanmean(share)
    metrics[f"manifold_coverage@S={config.num_samples},tau={config.tolerance:g}"] = coverage
    return metrics | heldout_nll(policy, data)


THREE_LINK = Task(
    spec=Spec((-REACH,) * 2, (REACH,) * 2, (-math.pi,) * 3, (math.pi,) * 3),
    num_demonstrations=5_000,
    evaluation=EvaluationConfig(num_inputs=1_000, num_samples=100, tolerance=0.3, num_draws=20),
    evaluate=evaluate,
    demonstrations=demonstrations,
    conditional=Conditional(sample, None),
    modes=None,
    primary="success@0.1",
    joints=lambda action: planar.joints(action, LENGTHS),
)
