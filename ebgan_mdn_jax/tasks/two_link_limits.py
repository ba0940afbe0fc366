"""The two-link arm with joint limits: a target has two right answers, one or none, by where it lies.

``theta_1`` lies in [0, pi], ``theta_2`` in [-3 pi / 4, 3 pi / 4]; links and actions are those of `two_link`, raw, and the box of actions
is the limits. With r, psi the polar coordinates of the target and ``h = acos(r / 6)``, the elbow of positive sign needs
``0 <= psi - h <= pi``, the other ``0 <= psi + h <= pi`` (modulo 2 pi), and both need ``h <= 3 pi / 8``. So, for ``2.30 <= r <= 6``,
there are

* two answers where ``h <= psi <= pi - h``: the upper half of the ring, less and less of it towards the middle;
* one where psi is within h of 0 or pi: at its sides, also below the base line;
* none elsewhere, and none for ``r < 2.30``, where the elbow would have to bend too far.

A policy must know how many answers there are: an average of one answer with another that does not exist breaks a limit.
"""

import math

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.evaluation import reaching
from ebgan_mdn_jax.kinematics import planar
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.tasks.two_link import LENGTHS, REACH
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

LOW = (0.0, -0.75 * math.pi)
HIGH = (math.pi, 0.75 * math.pi)
_TARGET_SEED = 8
_SLACK = 1e-4  # radians by which rounding may take an exact solution over a limit


def within_limits(angles: Array) -> Array:
    """Are ``angles [..., 2]`` within the joint limits? ``[...]``."""
    low, high = (jnp.broadcast_to(jnp.asarray(limit), angles.shape) for limit in (LOW, HIGH))
    return jnp.all((angles >= low - _SLACK) & (angles <= high + _SLACK), axis=-1)


def solutions(obs: Array) -> tuple[Array, Array]:
    """Both elbows' angles ``[2, B, 2]`` and which of them are valid ``[2, B]``."""
    angles, reachable = planar.inverse(obs, LENGTHS)
    angles = planar.wrap(angles)
    return angles, within_limits(angles) & jnp.broadcast_to(reachable, angles.shape[:2])


def demonstrations(key: PRNGKey, num: int) -> Batch:
    """Rows independent and uniform over all pairs of a target and a valid answer to it.

    That is all valid answers of uniform targets. Drawn from the angles: the area of targets per angle is ``9 |sin(theta_2)|``, so that
    theta_1 is uniform, and the inverse of the distribution function of theta_2 is a cosine's.
    """
    key_shoulder, key_bend, key_sign = jax.random.split(key, 3)
    shoulder = jax.random.uniform(key_shoulder, (num,), minval=LOW[0], maxval=HIGH[0])
    bend = jnp.arccos(1 - (1 - math.cos(HIGH[1])) * jax.random.uniform(key_bend, (num,)))
    action = jnp.stack([shoulder, bend * jax.random.rademacher(key_sign, (num,), bend.dtype)], axis=-1)
    return Batch(planar.tip(action, LENGTHS), action)


def sample(key: PRNGKey, obs: Array, num_samples: int) -> Array:
    """Exact draws ``[N, B, 2]``: a fair coin where two answers are valid, the one where one is; any where there is none."""
    angles, valid = solutions(obs)
    shape = (num_samples, obs.shape[0])
    coin = jax.random.bernoulli(key, 0.5, shape)
    first = jnp.broadcast_to(valid[0], shape) & (coin | ~jnp.broadcast_to(valid[1], shape))
    draws = [jnp.broadcast_to(solution, (*shape, 2)) for solution in angles]
    return jnp.where(jnp.broadcast_to(first[..., None], draws[0].shape), *draws)


def targets(key: PRNGKey, num: int) -> Array:
    """Targets ``[num, 2]`` uniform where there is an answer: the first ones that have one of many in the box of observations."""
    low, high = (jnp.broadcast_to(jnp.asarray(bound), (4 * num + 64, 2)) for bound in (SPEC.obs_low, SPEC.obs_high))
    proposals = low + (high - low) * jax.random.uniform(key, low.shape)
    found = jnp.any(solutions(proposals)[1], axis=0)
    return proposals[jnp.argsort(~found, stable=True)[:num]]  # 64 % of the box has one: the list does not run out


def evaluate(key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics at ``num_inputs`` targets, the same for every policy, uniform where there is an answer.

    Of ``num_draws`` draws at each: ``success@tau`` and the tip's distances as for `two_link`, whatever the limits; ``valid@0.3``:
    percentage within the limits and within 0.3 of the target. ``all_solutions``: percentage of targets at which ``num_samples`` draws have
    every elbow that exists, each by a valid draw; ``all_solutions_of_2`` where two exist. ``heldout_nll`` in nats per row.
    """
    key_draws, key_solutions = jax.random.split(key)
    obs = targets(jax.random.key(_TARGET_SEED), config.num_inputs)

    def tries(key, num, tolerance):
        angles = policy.sample(key, obs, num)
        error = jnp.linalg.norm(planar.tip(angles, LENGTHS) - jnp.broadcast_to(obs, angles.shape), axis=-1)
        return angles, error, within_limits(angles) & (error <= tolerance)

    _, error, valid = tries(key_draws, config.num_draws, 0.3)
    metrics = reaching.tip_metrics(error) | {"valid@0.3": 100.0 * jnp.mean(valid)}
    angles, _, valid = tries(key_solutions, config.num_samples, config.tolerance)
    hit = jnp.stack([angles[..., 1] >= 0, angles[..., 1] < 0], axis=1) & valid[:, None]
    exists = solutions(obs)[1]
    two = exists & jnp.broadcast_to(jnp.all(exists, axis=0), exists.shape)
    setting = f"S={config.num_samples},tau={config.tolerance:g}"
    metrics[f"all_solutions@{setting}"] = reaching.all_reached(hit, exists)
    metrics[f"all_solutions_of_2@{setting}"] = reaching.all_reached(hit, two)
    return metrics | heldout_nll(policy, data)


# No answer's tip is lower than theta = (0, -pi / 2) brings it.
SPEC = Spec((-REACH, -LENGTHS[1]), (REACH, REACH), LOW, HIGH)
TWO_LINK_LIMITS = Task(
    spec=SPEC,
    num_demonstrations=2_000,
    evaluation=EvaluationConfig(num_inputs=1_000, num_samples=100, tolerance=0.3, num_draws=20),
    evaluate=evaluate,
    demonstrations=demonstrations,
    conditional=Conditional(sample, None),
    modes=solutions,
    primary="valid@0.3",
    joints=lambda action: planar.joints(action, LENGTHS),
)
