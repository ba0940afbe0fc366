"""Old Faithful: how long is an eruption (minutes), given the wait before it (minutes)? Real, and bimodal where the wait was long.

299 successive eruptions recorded in August 1985 (Azzalini & Bowman 1990, "A look at some data on the Old Faithful geyser"; `data.geyser`
reads them). Durations observed at night are rounded to 2, 3 or 4 minutes: 53 rows read exactly 4, 23 exactly 2, so a mixture may put a
spike there, and its log-likelihood then measures the scale floor. Compare methods at the same floor.
"""

import jax.numpy as jnp

from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, PRNGKey, Spec

SHORT_BELOW = 3.0  # minutes: the gap between the two kinds of eruption
WAITING_BINS = (40.0, 60.0, 70.0, 80.0, 110.0)  # minutes


def short_share(obs: Array, share: Array, mask: Array) -> Array:
    """Mean of ``share [rows]`` by bin of waiting time ``obs [rows, 1]``, over rows in ``mask``: ``[bins]``, NaN where a bin is empty."""
    edges = jnp.asarray(WAITING_BINS)
    low, high = edges[:-1, None], edges[1:, None]
    waiting = jnp.broadcast_to(obs[:, 0], (edges.size - 1, obs.shape[0]))
    inside = (waiting >= low) & (waiting < high) & jnp.broadcast_to(mask, waiting.shape)
    count = jnp.sum(inside, axis=1)
    total = jnp.sum(jnp.where(inside, jnp.broadcast_to(share, inside.shape), 0.0), axis=1)
    return total / jnp.where(count > 0, count, jnp.nan)


def evaluate(key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics on the held-out fold.

    ``heldout_nll`` in nats per eruption (density per minute); ``short_share[low,high)``: percentage of eruptions shorter than 3 minutes
    after a wait in that bin; ``short_share_error``: its mean absolute difference to the held-out rows' own, in percentage points.
    """
    obs, action = data.heldout
    draws = policy.sample(key, obs, config.num_draws)
    model = 100.0 * short_share(obs, jnp.mean(draws[..., 0] < SHORT_BELOW, axis=0), data.mask)
    recorded = 100.0 * short_share(obs, jnp.where(action[:, 0] < SHORT_BELOW, 1.0, 0.0), data.mask)
    bins = zip(WAITING_BINS[:-1], WAITING_BINS[1:], strict=True)
    metrics = {f"short_share[{low:g},{high:g})": model[i] for i, (low, high) in enumerate(bins)}
    metrics["short_share_error"] = jnp.nanmean(jnp.abs(model - recorded))
    return metrics | heldout_nll(policy, data)


GEYSER = Task(
    # Boxes set from what is known of the geyser, not from the rows, so nothing of a held-out row enters training.
    spec=Spec((40.0,), (110.0,), (0.0,), (6.0,)),
    num_demonstrations=299,
    evaluation=EvaluationConfig(),
    evaluate=evaluate,
    demonstrations=None,
    conditional=None,
    modes=None,
    normalize=True,
    num_folds=5,
    primary="heldout_nll",
)
