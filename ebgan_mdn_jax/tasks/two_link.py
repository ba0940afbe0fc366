"""Inverse kinematics of a planar arm with two links: which joint angles reach a target? Two answers, elbow up or down.

The task of EBGAN-MDN (Li et al. 2025, arXiv 2510.07562): both links have length 3, the observation is the target (x, y), the action the
angles (theta_1, theta_2) in radians, the second relative to the first. The paper does not say how its demonstrations were labelled and
what counts as success; the authors' code has three ways to label, and `make` builds a task for each:

* "analytic": both closed-form solutions of each target; targets out of reach give none.
* "gradient": one solution per target by Adam (rate 0.1, gradient norm at most 1) on the mean squared error of the tip, from angles uniform
  in [-pi, pi]^2, until a step changes the loss by less than 1e-6, at most 1,000 steps. Angles are as many turns off as the descent took
  them; a target out of reach is pointed at.
* "incremental": the targets are a rapidly exploring random tree of step 0.3, and each descent starts at its parent's solution. Nearly
  single-valued: the control. The root is the same in every data set, so that all of them show the same elbow.

Raw angles are as the labels come and may leave the box [-pi, pi]^2 of negatives, the authors' choice: theta_1 of one analytic row in eight
does, and more of the gradient's. "wrapped" puts them into the box; "sincos" gives ``(sin theta_1, cos theta_1, sin theta_2, cos theta_2)``.
"""

import functools
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax.evaluation import reaching
from ebgan_mdn_jax.kinematics import planar
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

Labels = Literal["analytic", "gradient", "incremental"]
Angles = Literal["raw", "wrapped", "sincos"]
Targets = Literal["square", "reach"]

LENGTHS = (3.0, 3.0)
REACH = sum(LENGTHS)
STEP = 0.3  # of the tree
ROOT = (0.0, math.pi / 2)  # angles at the root of the tree
_TARGET_SEED = 7  # of the targets that policies are judged at
_ADAM = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))


def reachable_targets(key: PRNGKey, num: int) -> Array:
    """Targets ``[num, 2]`` uniform on the disc that the arm reaches."""
    return planar.uniform_disc(key, num, REACH)


def square_targets(key: PRNGKey, num: int) -> Array:
    """Targets ``[num, 2]`` uniform on the square around that disc, of which 21.5 % are out of reach."""
    return jax.random.uniform(key, (num, 2), minval=-REACH, maxval=REACH)


def descend(start: Array, target: Array) -> Array:
    """Angles ``[2]`` near ``target [2]`` by gradient descent from the angles ``start [2]``, see the module's docstring."""

    def loss_fn(angles):
        return jnp.mean((planar.tip(angles, LENGTHS) - target) ** 2)

    def step(carry):
        angles, opt_state, before, _, count = carry
        loss, gradient = jax.value_and_grad(loss_fn)(angles)
        updates, opt_state = _ADAM.update(gradient, opt_state)
        return angles + updates, opt_state, loss, jnp.abs(before - loss), count + 1

    def unfinished(carry):
        return (carry[-2] >= 1e-6) & (carry[-1] < 1000)

    return jax.lax.while_loop(unfinished, step, (start, _ADAM.init(start), jnp.inf, jnp.inf, 0))[0]


def _analytic(key: PRNGKey, num: int, draw_targets) -> tuple[Array, Array]:
    """Both solutions of each target in turn; targets out of reach give no rows, so all are drawn within reach."""
    del draw_targets
    target = reachable_targets(key, -(-num // 2))
    angles, _ = planar.inverse(target, LENGTHS)
    return jnp.repeat(target, 2, axis=0)[:num], jnp.moveaxis(angles, 0, 1).reshape(-1, 2)[:num]


def _gradient(key: PRNGKey, num: int, draw_targets) -> tuple[Array, Array]:
    key_target, key_start = jax.random.split(key)
    target = draw_targets(key_target, num)
    start = jax.random.uniform(key_start, (num, 2), minval=-math.pi, maxval=math.pi)
    return target, jax.vmap(descend)(start, target)


def _incremental(key: PRNGKey, num: int, draw_targets) -> tuple[Array, Array]:
    """Rows are the nodes of the tree in the order they grew; new ones go from the nearest node at most `STEP` towards a random target."""
    root = jnp.asarray(ROOT)
    first = planar.tip(root, LENGTHS)
    targets = jnp.full((num, 2), jnp.inf).at[0].set(first)
    angles = jnp.zeros((num, 2)).at[0].set(root)

    def grow(carry, item):
        targets, angles = carry
        index, towards = item
        nearest = jnp.argmin(jnp.sum((targets - jnp.broadcast_to(towards, targets.shape)) ** 2, axis=1))
        way = towards - targets[nearest]
        target = targets[nearest] + way * jnp.minimum(1.0, STEP / jnp.maximum(jnp.linalg.norm(way), 1e-12))
        label = descend(angles[nearest], target)
        return (targets.at[index].set(target), angles.at[index].set(label)), None

    items = (jnp.arange(1, num), draw_targets(key, num)[1:])
    return jax.lax.scan(grow, (targets, angles), items)[0]


_LABELS = {"analytic": _analytic, "gradient": _gradient, "incremental": _incremental}
_ENCODE = {"raw": lambda angles: angles, "wrapped": planar.wrap, "sincos": planar.to_sincos}
_DECODE = {"raw": lambda action: action, "wrapped": lambda action: action, "sincos": planar.from_sincos}
_TARGETS = {"square": square_targets, "reach": reachable_targets}


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, angles: Angles
) -> dict[str, Array]:
    """Metrics at ``num_inputs`` targets, the same for every policy, uniform on the disc within reach.

    Of ``num_draws`` draws at each: ``success@tau``, the percentage whose tip is within tau of the target; ``tip_error`` and its median, in
    units of length; ``success_square@0.3`` is the same on the whole square, out of reach included. ``both_elbows``: percentage of targets
    at which ``num_samples`` draws have each elbow within ``tolerance``. ``heldout_nll`` in nats per row.
    """
    key_draws, key_elbows, key_square = jax.random.split(key, 3)
    target_key = jax.random.key(_TARGET_SEED)
    obs = reachable_targets(target_key, config.num_inputs)

    def tries(key, obs, num):
        theta = _DECODE[angles](policy.sample(key, obs, num))
        miss = planar.tip(theta, LENGTHS) - jnp.broadcast_to(obs, (num, *obs.shape))
        return jnp.linalg.norm(miss, axis=-1), jnp.sin(theta[..., 1])

    metrics = reaching.tip_metrics(tries(key_draws, obs, config.num_draws)[0])
    error, bend = tries(key_elbows, obs, config.num_samples)
    hit = jnp.stack([bend > 0, bend < 0], axis=1) & (error <= config.tolerance)[:, None]
    both = reaching.all_reached(hit, jnp.ones(hit.shape[1:], bool))
    metrics[f"both_elbows@S={config.num_samples},tau={config.tolerance:g}"] = both
    square = square_targets(target_key, config.num_inputs)
    metrics["success_square@0.3"] = reaching.success(tries(key_square, square, config.num_draws)[0], 0.3)
    return metrics | heldout_nll(policy, data)


def make(labels: Labels = "analytic", angles: Angles = "raw", targets: Targets = "square") -> Task:
    """The task with these labels, this encoding of angles, and training targets on the square or within reach only.

    2,000 targets on the square, of which the analytic labels keep those within reach (of two rows each, 3,142 are expected). The exact
    conditional, the fair coin between two elbows, is known for them only; it has no density.
    """
    encode, decode, draw_targets = _ENCODE[angles], _DECODE[angles], _TARGETS[targets]

    def demonstrations(key, num):
        obs, theta = _LABELS[labels](key, num, draw_targets)
        return Batch(obs, encode(theta))

    def modes(obs):
        theta, reachable = planar.inverse(obs, LENGTHS)
        return encode(theta), jnp.broadcast_to(reachable, theta.shape[:2])

    def sample(key, obs, num):
        theta, _ = planar.inverse(obs, LENGTHS)
        up = jax.random.bernoulli(key, 0.5, (num, obs.shape[0], 1))
        either = [jnp.broadcast_to(solution, (num, *solution.shape)) for solution in theta]
        return encode(jnp.where(jnp.broadcast_to(up, either[0].shape), *either))

    high = (1.0,) * 4 if angles == "sincos" else (math.pi,) * 2
    analytic = labels == "analytic"
    return Task(
        spec=Spec((-REACH,) * 2, (REACH,) * 2, tuple(-h for h in high), high),
        num_demonstrations=round(1_000 * math.pi) if analytic else 2_000,
        evaluation=EvaluationConfig(num_inputs=1_000, num_samples=100, tolerance=0.3, num_draws=20),
        evaluate=functools.partial(evaluate, angles=angles),
        demonstrations=demonstrations,
        conditional=Conditional(sample, None) if analytic else None,
        modes=modes if analytic else None,
        primary="success@0.1",
        joints=lambda action: planar.joints(decode(action), LENGTHS),
    )


def _name(labels: Labels, angles: Angles, targets: Targets) -> str:
    parts = zip((labels, angles, targets), ("analytic", "raw", "square"), strict=True)
    return "_".join(["two_link", *(part for part, default in parts if part != default)])


# two_link, two_link_wrapped, ..., two_link_incremental_sincos_reach
VARIANTS: dict[str, Task] = {
    _name(labels, angles, targets): make(labels, angles, targets)
    for labels in get_args(Labels)
    for angles in get_args(Angles)
    for targets in (get_args(Targets) if labels != "analytic" else ("square",))
}
