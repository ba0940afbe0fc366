"""Metrics of policies of planar chunks: the published ones (Mazza et al. 2026, arXiv 2605.22493) and stricter ones."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.evaluation import chunks, latents, support
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, heldout_nll
from ebgan_mdn_jax.tasks.planar_law import World, action_box, context_of, is_clipped, sample
from ebgan_mdn_jax.types import Array, Batch, Latents, PRNGKey

TAUS = (0.5, 0.1)
_NEIGHBOURS = 500  # chunks, whose distances to each other are held in memory


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, world: World
) -> dict[str, Array]:
    """All metrics, averaged over contexts as they occur; in %, but for the density's.

    Of S = ``num_samples`` draws, as published: ``collision``; ``reach``, ending near the end of a mode; ``long_enough``, half as long as
    demonstrations; ``success``, both without a collision; ``mode_hits`` and ``hit_entropy`` of those that hit nothing (``valid_``: that
    succeed), and ``behaviour_entropy``, ``valid_hit_entropy`` without its bias. Of ``num_draws`` draws, or S if that is more:
    ``on_support``, in the tube of a mode; ``bridge`` and ``astray``, the rest, by `chunks.between_modes`; ``share_coverage``, modes with at
    least tau times their share; ``share_error``. Of 500 draws and as many fresh demonstrations ``knn_precision`` and ``knn_recall``
    (`support.precision_recall`), which ask for no modes. ``heldout_nll`` in nats. Where each context has one mode there is no entropy, and
    no error of shares.

    With a context, ``success`` and what else is as published do not ask whether it allows the way that was taken, nor which one a bridge
    leads to; ``on_support``, shares and neighbours do.
    """
    layout, obs = world.layout, jnp.asarray(world.inputs, float)
    paths, weights = (jnp.asarray(values, float) for values in (layout.paths, world.weights))
    exists, obstacles = weights > 0, jnp.asarray(layout.obstacles, float)

    draws = policy.sample(key, obs, max(config.num_draws, config.num_samples))
    points = env.positions(paths[0, 0], draws, world.actions)
    distance = chunks.distances(points[..., 1:, :], paths[:, 1:])

    few, few_distance = jax.tree.map(lambda x: x[: config.num_samples], (points, distance))
    ends = chunks.outcomes(
        few, env.collides(few, obstacles), paths[:, -1], *leniency(layout, world.weights @ world.occurrence)
    )
    metrics = {name: 100.0 * jnp.mean(values, axis=0) for name, values in ends._asdict().items()}
    several = np.all(np.sum(world.weights > 0, axis=0) > 1)
    for prefix, valid in (("", ~ends.collision), ("valid_", ends.success)):
        metrics[f"{prefix}mode_hits@S={config.num_samples}"] = chunks.mode_hits(few_distance, valid, exists)
        if several:
            metrics[f"{prefix}hit_entropy@S={config.num_samples}"] = chunks.hit_entropy(few_distance, valid, exists)
    if several:
        entropy = chunks.hit_entropy(few_distance, ends.success, exists, corrected=True)
        metrics[f"behaviour_entropy@S={config.num_samples}"] = entropy

    member = chunks.on_mode(distance, layout.tube) & exists[None]
    share = chunks.mode_shares(member)
    between = chunks.between_modes(points[..., 1:, :], paths[:, 1:], distance, weights)
    off = ~jnp.any(member, axis=1)
    metrics["on_support"] = 100.0 * jnp.sum(share, axis=0)
    metrics["bridge"] = 100.0 * jnp.mean(off & between, axis=0)
    metrics["astray"] = 100.0 * jnp.mean(off & ~between, axis=0)
    metrics |= {f"share_coverage@tau={tau:g}": chunks.share_coverage(share, weights, tau) for tau in TAUS}
    if several:
        metrics["share_error"] = chunks.share_error(share, weights)
    fresh = sample(jax.random.fold_in(key, 2), obs, _NEIGHBOURS, world)
    pairs = draws[:_NEIGHBOURS].swapaxes(0, 1), fresh.swapaxes(0, 1)
    near = jax.lax.map(lambda pair: support.precision_recall(*pair), pairs)
    metrics |= dict(zip(("knn_precision", "knn_recall"), near, strict=True))
    metrics = {name: jnp.sum(values * jnp.asarray(world.occurrence, float)) for name, values in metrics.items()}
    if policy.latents is not None:
        metrics |= latent_metrics(jax.random.fold_in(key, 1), policy.latents, data.train, points, world)
    return metrics if is_clipped(layout) else metrics | heldout_nll(policy, data)


def latent_metrics(key: PRNGKey, codes: Latents, batch: Batch, points: Array, world: World) -> dict[str, Array]:
    """Of a policy's codes of its demonstrations: what `latents.measure` has, in half extents of the action box, and four more, in %.

    ``decoding_error``: of what posterior draws decode to, how much is nearest to another mode than the demonstration is;
    ``reconstructed``: how much is in the tube of the demonstration's mode. ``zero_on_support``: how often the action at z = 0 is in a
    tube. ``draw_variance``: the variance of the policy's own draws, ``points [N, C, H + 1, 2]`` in the C contexts, relative to that of
    demonstrations.
    """
    paths, contexts = jnp.asarray(world.layout.paths, float), len(world.inputs)
    group = context_of(batch.obs, world)
    low, high = jnp.asarray(action_box(world), float)
    unit = (high - low) / 2
    metrics, decoded, at_zero = latents.measure(key, codes, batch, group, contexts, unit)

    def distances(action):
        return chunks.distances(env.positions(paths[0, 0], action, world.actions)[..., 1:, :], paths[:, 1:])

    mode = jnp.argmin(distances(batch.action[None]).mean, axis=1)  # [1, B]
    of_own, exists = jnp.arange(paths.shape[0])[:, None] == mode, (jnp.asarray(world.weights) > 0)[:, group]
    distance, of_zero = distances(decoded), distances(at_zero[None])
    wrong = jnp.argmin(distance.mean, axis=1) != jnp.broadcast_to(mode, decoded.shape[:2])
    metrics["decoding_error"] = 100.0 * jnp.mean(wrong)
    for name, at, allowed in (("reconstructed", distance, of_own), ("zero_on_support", of_zero, exists)):
        inside = chunks.on_mode(at, world.layout.tube) & allowed[None]
        metrics[name] = 100.0 * jnp.mean(jnp.any(inside, axis=1))

    draws = env.to_actions(points, world.actions)
    variance = jnp.mean(jnp.var(draws / jnp.broadcast_to(unit, draws.shape), axis=0), axis=-1)
    metrics["draw_variance"] = 100.0 * jnp.sum(variance * jnp.asarray(world.occurrence, float))
    metrics["draw_variance"] /= metrics["spread@squared"]
    return metrics


def leniency(layout: env.Layout, weights: np.ndarray) -> tuple[float, float]:
    """Distance within which an end is reached, and least length of a way, as published, from the law of demonstrations before clipping.

    The larger of 0.1 and mean plus 5 deviations of how far they end from a mode's end (Rayleigh); half of their mean length (Rice). Noise
    lengthens a way of many short steps so much that half of it can be longer than the mode itself, which then fails without noise.
    """
    off = layout.noise * (np.sqrt(np.pi / 2) + 5 * np.sqrt(2 - np.pi / 2))
    steps = np.linalg.norm(np.diff(layout.paths, axis=1), axis=-1)
    scale = np.full(steps.shape[1], np.sqrt(2) * layout.noise)
    scale[0] = layout.noise  # the start has none
    lengths = np.sum(scipy.stats.rice.mean(steps / scale, scale=scale), axis=1)
    return float(max(0.1, off)), float(0.5 * lengths @ weights)
