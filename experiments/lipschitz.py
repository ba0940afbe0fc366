r"""What smoothness costs: bridge mass of generators with a certified Lipschitz constant, against the isoperimetric bound and what is achievable.

    python -m experiments.lipschitz

Demonstrations are chunks of 16 positions along K = 2, 8 or 32 spokes (`tasks.planar`, noise 0.003), in units of the spokes' length for
both coordinates, so that a Euclidean distance is one in the generator's output space. The gap of a row is the least Euclidean distance
between two tubes there (`chunks.tube_gaps`), the noise ``z ~ N(0, I_4)``, the observation always the same.

* ``lipschitz``: ``energy_score`` with ``network="lipschitz"``, whose constant L is 1 to 64 gaps, 8 seeds each, all members of one program;
* ``unconstrained``: the same with an MLP; ``cgan`` and ``ebgan``: others with such a generator;
* ``mdn``: a mixture with 2 K components, which draws one of them first: no smooth map of noise;
* ``clipped_linear``: for K = 2 the map from one coordinate of the noise to the segment between the tubes' nearest points.

Of 40,000 draws each: ``bridge``, the share on no mode, in %; ``bound``, the least that isoperimetry allows equal masses
(`theory.bridge_mass_bound`), and ``achievable``, what a map to the corners of the largest regular K-gon in the tubes would have
(`theory.sector_bridge_mass`); ``coverage``, % of modes with at least half their share; ``share_error``, the total variation distance of shares
on support to equal ones, in percentage points. Where it is 5 or more the equal-mass bound does not apply, but ``sum``, with the measured
masses, is at most 1 for every map with that constant; ``excess`` is by how many standard errors it is above 1 (rows of all seeds: the
largest). ``steepness`` is L over the gap: certified in float64, of the others the 99th percentile of the local constant at 500 draws,
which is no upper bound. ``local_50``, ``local_99``: percentiles of the local constant, over the gap.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from ebgan_mdn_jax import networks, orthonormal, plotting, theory
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.evaluation import chunks
from ebgan_mdn_jax.methods import cgan, ebgan, energy_score, mdn
from ebgan_mdn_jax.methods.base import Method
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.tasks import planar
from ebgan_mdn_jax.training import loop, members
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec
from experiments.benchmarks import measure

MODES = (2, 8, 32)
STEEPNESS = (1, 2, 4, 8, 16, 32, 64)
NUM_SEEDS = 8
NUM_STEPS = 3_000
NUM_DRAWS = 40_000
EQUAL = 5.0  # percentage points of share_error below which masses count as equal
_CHUNK, _NOISE = 16, 0.003
_NUM_ROWS, _BATCH = 1_000, 128
_LATENT, _HIDDEN = 4, (64, 64)
_SCALE = env.RADIUS
_OBS = np.zeros((1, 2), np.float32)


class World(NamedTuple):
    """One K in network units: demonstrations ``[rows, ...]``, modes ``[K, H, 2]``, the tubes' radius, their gap, the K-gon's side."""

    obs: Array
    action: Array
    modes: np.ndarray
    tube: float
    gap: float
    side: float


def make_world(num_modes: int) -> World:
    """The task of ``num_modes`` spokes, in units in which spokes have length 1 and begin at 0.

    The corners of a K-gon can be moved inwards by the tubes' radius, at each step: the sides of the smallest K-gon, which are the gap where
    K = 2 and longer else.
    """
    task = planar.make("radial", num_modes, _CHUNK, noise=_NOISE)
    layout = env.make_layout("radial", num_modes, _CHUNK, noise=_NOISE)
    dims = 2 * _CHUNK
    units = Normalization((0.5,) * 2, (1.0,) * 2, (0.5,) * dims, (_SCALE,) * dims)
    batch = units.batch(task.demonstrations(jax.random.key(0), _NUM_ROWS))
    modes, tube = (layout.chunks - 0.5) / _SCALE, layout.tube / _SCALE
    gaps = np.asarray(chunks.tube_gaps(jnp.asarray(modes, float), tube), float)
    length = np.linalg.norm(modes[0], axis=-1)
    side = 2 * np.sin(np.pi / num_modes) * np.linalg.norm(np.maximum(length - tube, 0.0))
    return World(*batch, modes, tube, float(np.min(gaps[~np.eye(num_modes, dtype=bool)])), float(side))


def train(method: Method, worlds: Sequence[World], grids: Sequence[Mapping[str, Sequence[float]]], num_steps: int):
    """Parameters of all members and their steps' last Info, world by world, each with its grid of hyperparameters; one program."""
    groups = [members.make_members(method, range(NUM_SEEDS), grid) for grid in grids]
    hyper = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(group.hyper for group in groups))
    seeds = np.concatenate([group.seed for group in groups])
    folds = np.repeat(np.arange(len(groups), dtype=np.int32), [group.size for group in groups])
    data = loop.Batch(*(jnp.stack(rows) for rows in zip(*((w.obs, w.action) for w in worlds), strict=True)))
    chunk = loop.make_chunk(method, _BATCH)
    states, _ = chunk(members.init_states(method, seeds), hyper, folds, data, np.int32(num_steps))
    assert np.all(np.asarray(states.failed_at) < 0)
    return [jax.tree.map(lambda leaf, f=f: leaf[folds == f], states.train.params) for f in range(len(groups))]
