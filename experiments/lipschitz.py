r"""What smoothness costs: bridge mass of generators with a certified Lipschitz constant, beside its lower bound and what is achievable.

    python -m experiments.lipschitz

Demonstrations are chunks of 16 positions along K = 2, 8 or 32 spokes (`tasks.planar`), in units of the spokes' length for both
coordinates, so that a Euclidean distance is one in the generator's output space. Their noise is such that the tube around a mode
(`envs.planar.Layout.tube`) has a radius of a quarter of the distance of two neighbours' ends, at most 0.02 of the square. The gap of a K
is the least Euclidean distance of two tubes there (`chunks.tube_gaps`). Noise is ``z ~ N(0, I_2)``, the observation always the same.

* ``lipschitz``: `methods.energy_score` with ``network="lipschitz"`` and a limit of 1 to 64 gaps; all members are one program;
* ``unconstrained``: the same with an MLP;
* ``mdn``: a mixture of 2 K Gaussians, which start at demonstrations. It draws one of them first, and so is no smooth map of noise;
* ``clipped_linear``: for K = 2 the map of one coordinate of z to the segment between the nearest points of the tubes.

A row is a member, and with ``seed=all`` their mean. ``limit``, ``steepness`` and the percentiles ``local_50`` and ``local_99`` of the local
constant at 500 draws are in gaps; ``steepness`` is the product of the kernels' spectral norms in float64, or without a certificate the
largest of the local constants, which bounds nothing. Of 40,000 draws, in %: ``bridge``, those on no mode; ``bound``, the least that this
steepness allows K equal masses (`theory.bridge_mass_bound`), and ``achievable``, what the map to the corners of the smallest regular
K-gon in the tubes has (`theory.sector_bridge_mass`); ``coverage``, modes with at least half their share; ``share_error``, the total
variation distance of shares on support to equal ones. Where that is 5 or more ``bound`` does not apply, but with the measured masses
``sum`` (`theory.isoperimetric_sum`) is at most 1 for every map of that steepness; ``excess`` is how many standard errors it is above 1.
Of these two, the row of all seeds has the largest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ebgan_mdn_jax import networks, orthonormal, plotting, theory
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.evaluation import chunks
from ebgan_mdn_jax.methods import energy_score, mdn
from ebgan_mdn_jax.methods.base import Method
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.tasks import planar
from ebgan_mdn_jax.training import loop, members
from ebgan_mdn_jax.types import Array, Batch, Horizon, PyTree, Spec, require
from experiments.benchmarks import measure

MODES = (2, 8, 32)
LIMITS = (1, 2, 4, 8, 16, 32, 64)  # in gaps
NUM_SEEDS, NUM_STEPS, NUM_DRAWS = 8, 2_000, 40_000
_POLICIES = (
    "lipschitz",
    "",
    "unconstrained",
    "mdn",
    "clipped_linear",
)  # and how a figure calls them, lipschitz by masses
_LABELS = (
    "certified, equal masses",
    "certified, unequal masses",
    "unconstrained, measured",
    "mdn",
    "clipped linear map",
)
EQUAL = 5.0  # percentage points of share_error below which masses count as equal
_CHUNK, _MOST_NOISE = 16, 0.02
_NUM_ROWS, _NUM_POINTS = 1_000, 500
_HIDDEN, _LATENT = (64, 64), 2
_BOX = (1.0,) * 2 * _CHUNK
_SPEC = Spec((-1.0,) * 2, (1.0,) * 2, tuple(-bound for bound in _BOX), _BOX)


class World(NamedTuple):
    """The task with K modes in network units: demonstrations, ``modes [K, H, 2]``, their tubes' radius, the gap, sides of the K-gon."""

    batch: Batch
    modes: np.ndarray
    tube: float
    gap: float
    side: float


def make_world(num_modes: int) -> World:
    """K spokes from 0, of length 1.

    Each step's K-gon has its corners moved inwards by the tubes' radius. For K = 2 its side is the gap; for more it is longer, since two
    tubes are nearest beside the corners.
    """
    ratio = env.make_layout("radial", num_modes, _CHUNK, noise=1e-3).tube / 1e-3
    noise = min(_MOST_NOISE, env.RADIUS * np.sin(np.pi / num_modes) / 2 / ratio)
    layout = env.make_layout("radial", num_modes, _CHUNK, noise=noise)
    units = Normalization((0.5,) * 2, (1.0,) * 2, (0.5,) * len(_BOX), (env.RADIUS,) * len(_BOX))
    task = planar.make("radial", num_modes, _CHUNK, noise=noise)
    batch = units.batch(task.demonstrations(jax.random.key(num_modes), _NUM_ROWS))
    modes, tube = (layout.chunks - 0.5) / env.RADIUS, layout.tube / env.RADIUS
    gaps = np.asarray(chunks.tube_gaps(jnp.asarray(modes, float), tube), float)
    reach = np.maximum(np.linalg.norm(modes[0], axis=-1) - tube, 0.0)
    side = 2 * np.sin(np.pi / num_modes) * np.linalg.norm(reach)
    return World(batch, modes, tube, float(np.min(gaps[~np.eye(num_modes, dtype=bool)])), float(side))


def train(method: Method, worlds: Sequence[World], limits: Sequence[float], num_steps: int, size: int) -> list[PyTree]:
    """Parameters ``[S, ...]`` after training on minibatches of ``size`` rows, world by world: limits in gaps, seeds fastest.

    All are members of one program, the worlds its folds.
    """
    grids = [{"lipschitz": [limit * world.gap for limit in limits]} if limits else {} for world in worlds]
    groups = [members.make_members(method, range(NUM_SEEDS), grid) for grid in grids]
    seeds, hyper = jax.tree.map(lambda *leaves: np.concatenate(leaves), *groups)
    folds = np.repeat(np.arange(len(groups), dtype=np.int32), [group.size for group in groups])
    data = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(world.batch for world in worlds))
    states = loop.make_chunk(method, size)(members.init_states(method, seeds), hyper, folds, data, np.int32(num_steps))
    require(bool(np.all(states[0].failed_at < 0)), "a member diverged: lower the learning rate")
    params = states[0].train.params
    return [jax.tree.map(lambda leaf, fold=fold: leaf[folds == fold], params) for fold in range(len(worlds))]


def shares(draws: Array, world: World) -> Array:
    """Shares ``[K]`` of ``draws [N, 2 H]`` in each mode's tube."""
    points = draws.reshape(draws.shape[0], 1, _CHUNK, 2)
    distance = chunks.distances(points, jnp.asarray(world.modes, draws.dtype))
    return chunks.mode_shares(chunks.on_mode(distance, world.tube))[:, 0]


def masses(method: Method, params: PyTree, world: World) -> np.ndarray:
    """Shares ``[S, K]`` of draws of each member."""

    @jax.jit
    def of_members(params):
        obs = jnp.zeros((1, _SPEC.obs_dim))
        draw = lambda params: method.sample(jax.random.key(1), params, obs, NUM_DRAWS)[:, 0]  # noqa: E731
        return jax.lax.map(lambda params: shares(draw(params), world), params)

    return np.asarray(of_members(params), np.float64)


def local_constants(params: PyTree, certified: bool) -> np.ndarray:
    """Local Lipschitz constants ``[S, P]`` of an `energy_score` generator in the noise, at draws of it."""
    network = (orthonormal.LipschitzMLP if certified else networks.MLP)(_HIDDEN, _SPEC.action_dim)
    points = jax.random.normal(jax.random.key(2), (_NUM_POINTS, _LATENT))

    @jax.jit
    def of_members(params):
        def of_member(params):
            def action(noise):
                inputs = jnp.concatenate([noise, jnp.zeros(_SPEC.obs_dim)])
                return network.apply(params.generator, inputs, *([params.lipschitz] if certified else []))

            return theory.local_lipschitz(jax.random.key(3), action, points)

        return jax.lax.map(of_member, params)

    return np.asarray(of_members(params), np.float64)


def certified_constants(params: PyTree) -> np.ndarray:
    """Bounds ``[S]`` on the Lipschitz constants of networks."""
    kernels = jax.jit(jax.vmap(orthonormal.effective_kernels))(params.generator, params.lipschitz)
    return np.array([theory.certified_lipschitz(layers) for layers in zip(*kernels, strict=True)])


def clipped_linear(world: World, lipschitz: float) -> np.ndarray:
    """Shares ``[2]`` of the map with this constant from one coordinate to the segment between the nearest points of two tubes.

    It is clipped a thousandth of the gap behind these points, inside the tubes, so that rounding decides nothing.
    """
    first, second = world.modes
    apart = np.linalg.norm(second - first, axis=-1, keepdims=True)
    way = (second - first) * np.maximum(1 - 2 * world.tube / apart, 0.0)
    noise = np.asarray(jax.random.normal(jax.random.key(1), (NUM_DRAWS, 1, 1)), np.float64)
    along = np.clip(lipschitz * noise / world.gap, -0.501, 0.501)
    draws = (first + second) / 2 + along * way
    return np.asarray(shares(jnp.asarray(draws.reshape(NUM_DRAWS, -1), jnp.float32), world), np.float64)


def excess(mass: np.ndarray, steepness: float) -> tuple[float, float]:
    """The isoperimetric sum of measured masses ``[K]``, and by how many standard errors it is above 1.

    To first order, with multinomial counts. The sum is concave in the masses, so that it comes out too small on average, if at all.
    """
    total = float(theory.isoperimetric_sum(mass, 1.0, steepness))
    seen = mass[mass > 0]
    if seen.size == 0:
        return total, -np.inf
    at = stats.norm.ppf(seen)
    slope = np.exp(stats.norm.logpdf(at + 0.5 / steepness) - stats.norm.logpdf(at))
    variance = np.sum(slope**2 * seen) - np.sum(slope * seen) ** 2
    return total, float((total - 1) / np.sqrt(variance / NUM_DRAWS))


def row(
    policy: str, world: World, seed: Any, limit: Any, steepness: float, mass: np.ndarray, local: Any = None
) -> dict:
    """One member."""
    count, on_support = len(mass), mass.sum()
    values = {"policy": policy, "modes": count, "seed": seed, "limit": limit, "steepness": steepness}
    values |= dict(
        zip(("local_50", "local_99"), ("", "") if local is None else np.quantile(local, (0.5, 0.99)), strict=True)
    )
    values["bridge"] = 100 * (1 - on_support)
    if np.isfinite(steepness):
        values["bound"] = 100 * float(theory.bridge_mass_bound(count, 1.0, steepness))
        values["achievable"] = 100 * float(theory.sector_bridge_mass(count, world.side / world.gap, steepness))
    else:
        values |= {"steepness": "", "bound": "", "achievable": ""}
    values["coverage"] = 100 * np.mean(mass >= 0.5 / count)
    values["share_error"] = 50 * np.abs(mass / on_support - 1 / count).sum() if on_support > 0 else 100.0
    values |= dict(
        zip(("sum", "excess"), excess(mass, steepness) if values["steepness"] != "" else ("", ""), strict=True)
    )
    return values


def mean_row(of_seeds: Sequence[Mapping[str, Any]]) -> dict:
    """All seeds together."""
    first = of_seeds[0] | {"seed": "all"}
    for name in list(first)[4:]:
        if first[name] != "":
            first[name] = (np.max if name in ("sum", "excess") else np.mean)([row[name] for row in of_seeds])
    return first


def rows(num_steps: int = NUM_STEPS, modes: Sequence[int] = MODES, limits: Sequence[int] = LIMITS) -> list[dict]:
    """Train and judge all members; those of a policy, K and limit follow on their mean."""
    worlds = [make_world(num_modes) for num_modes in modes]
    table = []

    def add(of_seeds):
        table.extend([mean_row(of_seeds), *of_seeds])

    for network, of_limits in (("lipschitz", limits), ("mlp", ())):
        certified = network == "lipschitz"
        config = energy_score.Config(network=network, hidden=_HIDDEN, latent_dim=_LATENT)
        method = energy_score.make(config, _SPEC, Horizon.of(num_steps, _NUM_ROWS, 32))
        method = method._replace(hyper=method.hyper._replace(learning_rate=0.01 if certified else 0.005))
        for world, params in zip(worlds, train(method, worlds, of_limits, num_steps, 32), strict=True):
            local = local_constants(params, certified) / world.gap
            steepness = certified_constants(params) / world.gap if certified else local.max(axis=1)
            mass = masses(method, params, world)
            for place, limit in enumerate(of_limits or ("",)):
                of_limit = range(NUM_SEEDS * place, NUM_SEEDS * (place + 1))
                name = "lipschitz" if certified else "unconstrained"
                add([row(name, world, i % NUM_SEEDS, limit, steepness[i], mass[i], local[i]) for i in of_limit])
    for world in worlds:
        config = mdn.Config(
            GeneratorConfig(2 * len(world.modes), "isotropic", hidden=(32,), start="data", start_scale=0.1)
        )
        method = mdn.make(config, _SPEC, Horizon.of(num_steps, _NUM_ROWS, 256))
        method = method._replace(hyper=method.hyper._replace(learning_rate=0.002))
        mass = masses(method, train(method, [world], (), num_steps, 256)[0], world)
        add([row("mdn", world, seed, "", np.inf, mass[seed]) for seed in range(NUM_SEEDS)])
        if len(world.modes) == 2:
            for limit in limits:
                add([row("clipped_linear", world, 0, limit, limit, clipped_linear(world, limit * world.gap))])
    return table


def figure(table: Sequence[Mapping[str, str]]):
    """Bridge mass of every member by gap over steepness, a panel per K; at the left those of mixtures, which have no steepness."""
    panels, smallest = [], 1 / max(LIMITS)
    for num_modes in dict.fromkeys(row["modes"] for row in table):
        lines = {label: ([], []) for label in _LABELS}
        for row in table:
            if row["modes"] == num_modes and row["seed"] != "all":
                label = _LABELS[
                    _POLICIES.index(row["policy"])
                    + (row["policy"] == "lipschitz" and float(row["share_error"]) >= EQUAL)
                ]
                lines[label][0].append(1 / float(row["steepness"]) if row["steepness"] else 0.7 * smallest)
                lines[label][1].append(float(row["bridge"]))
        delta, world = np.geomspace(smallest, 1, 60), make_world(int(num_modes))
        bound = 100 * theory.bridge_mass_bound(int(num_modes), delta, 1.0)
        corners = 100 * theory.sector_bridge_mass(int(num_modes), world.side / world.gap * delta, 1.0)
        curves = {"achievable": plotting.Band(delta, *[corners] * 3), "bound": plotting.Band(delta, *[bound] * 3)}
        points = {label: tuple(map(np.array, values)) for label, values in lines.items()}
        title = f"{num_modes} modes"
        panels.append(plotting.Panel(title, "gap / steepness", "bridge, %", points, log_x=True, theory=curves))
    return plotting.scatter_figure(panels)


if __name__ == "__main__":
    measure.command("lipschitz", rows, figure)
