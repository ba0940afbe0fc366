r"""What smoothness costs: bridge mass of maps of noise, their steepness certified or measured, beside a lower bound and what is achievable.

    python -m experiments.lipschitz

13 to 20 minutes of one CPU core, beside other work.

Demonstrations are chunks of 16 positions along K = 2, 8 or 32 spokes (`tasks.planar`), in units of the spokes' length for both
coordinates, so that a Euclidean distance is one in the policy's output space. Their noise is such that the tube around a mode
(`envs.planar.Layout.tube`) has a radius of a quarter of the distance of two neighbours' ends, at most 0.02 of the square. The gap of a K
is the least Euclidean distance of two tubes there (`chunks.tube_gaps`). The observation is always the same.

Maps of noise ``z ~ N(0, I)`` to chunks (`methods.base.Transport`), with networks of 2 x 64, after 2,000 steps:

* ``lipschitz``: `methods.energy_score` with ``network="lipschitz"``, 2 dimensions of noise and a limit of 1 to 64 gaps; all members are one
  program. Limits that training never reaches give the same network, bit by bit, so a seed's rows are equal from there on;
* ``unconstrained``: the same with an MLP;
* ``flow`` and ``diffusion``: 32 dimensions of noise, in 20 Euler and 100 DDIM steps;
* ``cgan`` and ``ebgan``: 2 dimensions, 2 updates of the adversary a step, for the EBGAN with 16 negatives;
* ``cvae``: 4 dimensions, absolute error, a beta of 0.03, drawn by its prior.

Two others are for comparison:

* ``mdn``: a mixture of 2 K Gaussians, which start at clusters of a minibatch, with a learning rate of 0.0005 (of 0.002, 0.0005 and
  0.0002 the best with 32 modes, on these seeds). It draws one of them first, and so is no smooth map of noise;
* ``clipped_linear``: for K = 2 the map of one coordinate of z to the segment between the nearest points of the tubes.

A row is a member, and with ``seed=all`` their mean. ``limit``, ``steepness`` and the percentiles ``local_50`` and ``local_99`` of the local
constant at 500 draws (`theory.local_lipschitz`) are in gaps; ``steepness`` is the product of the kernels' spectral norms in float64, or
without a certificate the largest of the local constants, which bounds nothing: a map may be steeper between draws. Of 40,000 draws, in %:
``bridge``, those on no mode; ``coverage``, modes with at least half their share; ``share_error``, the total variation distance of shares on
support to equal ones. ``equal`` is 1 where that is below 5. Only there is a ``bound``, the least bridge mass that this steepness allows K
equal masses (`theory.bridge_mass_bound`), and ``achievable``, that of the map to the corners of the smallest regular K-gon in the tubes
(`theory.sector_bridge_mass`). With any masses ``sum`` (`theory.isoperimetric_sum` of those measured) is at most 1 for every map of that
steepness; ``excess`` is how many standard errors it is above 1. With a measured steepness, more than 3 only says that this is too small.
``distinct`` is 0 where a smaller limit has the same network, else 1. The row of all seeds has the largest ``sum`` and ``excess``, how many
are ``equal`` and ``distinct``, and the mean ``bound`` and ``achievable`` of those that are equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ebgan_mdn_jax import orthonormal, plotting, theory
from ebgan_mdn_jax.denoisers import DenoiserConfig
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.evaluation import chunks
from ebgan_mdn_jax.methods import cgan, cvae, diffusion, ebgan, energy_score, flow, mdn
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
EQUAL = 5.0  # percentage points of share_error below which masses count as equal
_CERTIFIED = ("lipschitz", "clipped_linear")
_LABELS = (
    "certified, equal masses",
    "certified, unequal masses",
    "one-shot, measured",
    "flow and diffusion, measured",
    "mdn",
)
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


class Policy(NamedTuple):
    """A policy, and how it is trained: on minibatches of ``size`` rows, "lipschitz" with ``limits`` in gaps."""

    name: str
    method: Method
    size: int
    limits: Sequence[int] = ()


def transports(num_steps: int, limits: Sequence[int]) -> list[Policy]:
    """All maps of noise: generators with the energy score, then others with their defaults but for sizes."""

    def make(name, module, config, size=64, limits=(), **hyper):
        method = module.make(config, _SPEC, Horizon.of(num_steps, _NUM_ROWS, size))
        return Policy(name, method._replace(hyper=method.hyper._replace(**hyper)), size, limits)

    certified, free = (energy_score.Config(network, _HIDDEN, _LATENT) for network in ("lipschitz", "mlp"))
    denoiser = DenoiserConfig(hidden=_HIDDEN)
    of_cgan = cgan.Config(_HIDDEN, _LATENT, _HIDDEN, discriminator_steps=2)
    of_ebgan = ebgan.Config(_HIDDEN, _LATENT, _HIDDEN, num_negatives=16, energy_steps=2)
    return [
        make("lipschitz", energy_score, certified, 32, limits, learning_rate=0.01),
        make("unconstrained", energy_score, free, 32, learning_rate=0.005),
        make("flow", flow, flow.Config(denoiser)),
        make("diffusion", diffusion, diffusion.Config(denoiser)),
        make("cgan", cgan, of_cgan),
        make("ebgan", ebgan, of_ebgan),
        make("cvae", cvae, cvae.Config(_HIDDEN, _HIDDEN, latent_dim=4, reconstruction="l1"), beta=0.03),
    ]


def train(policy: Policy, worlds: Sequence[World], num_steps: int) -> list[PyTree]:
    """Parameters ``[S, ...]`` after training, world by world: limits in gaps, seeds fastest.

    All are members of one program, the worlds its folds.
    """
    _, method, size, limits = policy
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


def local_constants(method: Method, params: PyTree) -> np.ndarray:
    """Local Lipschitz constants ``[S, P]`` of actions in the noise, at draws of it."""
    points = jax.random.normal(jax.random.key(2), (_NUM_POINTS, method.transport.noise_dim))
    obs = jnp.zeros((1, _SPEC.obs_dim))

    @jax.jit
    def of_members(params):
        def of_member(params):
            action = lambda noise: method.transport.apply(params, obs, noise[None, None])[0, 0]  # noqa: E731
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

    To first order, with multinomial counts. The sum is concave in the masses, so that it comes out too small on average, if at all. Where
    all draws are on one mode it is 1, with no error.
    """
    total = float(theory.isoperimetric_sum(mass, 1.0, steepness))
    seen = mass[mass > 0]
    if seen.size == 0:
        return total, -np.inf
    if seen[0] == 1:
        return total, 0.0
    at = stats.norm.ppf(seen)
    slope = np.exp(stats.norm.logpdf(at + 0.5 / steepness) - stats.norm.logpdf(at))
    variance = np.sum(slope**2 * seen) - np.sum(slope * seen) ** 2
    return total, float((total - 1) / np.sqrt(variance / NUM_DRAWS))


def row(
    policy: str,
    world: World,
    seed: Any,
    limit: Any,
    steepness: float,
    mass: np.ndarray,
    local: Any = None,
    distinct: bool = True,
) -> dict:
    """One member; a mixture has no ``steepness``, infinity."""
    count, on_support, steep = len(mass), mass.sum(), np.isfinite(steepness)
    share_error = 50 * np.abs(mass / on_support - 1 / count).sum() if on_support > 0 else 100.0
    equal = share_error < EQUAL
    total, above = excess(mass, steepness) if steep else ("", "")
    return {
        "policy": policy,
        "modes": count,
        "seed": seed,
        "limit": limit,
        "steepness": steepness if steep else "",
        "local_50": "" if local is None else np.quantile(local, 0.5),
        "local_99": "" if local is None else np.quantile(local, 0.99),
        "bridge": 100 * (1 - on_support),
        "bound": 100 * float(theory.bridge_mass_bound(count, 1.0, steepness)) if steep and equal else "",
        "achievable": (
            100 * float(theory.sector_bridge_mass(count, world.side / world.gap, steepness)) if steep and equal else ""
        ),
        "coverage": 100 * np.mean(mass >= 0.5 / count),
        "share_error": share_error,
        "equal": int(equal),
        "sum": total,
        "excess": above,
        "distinct": int(distinct),
    }


def mean_row(of_seeds: Sequence[Mapping[str, Any]]) -> dict:
    """All seeds together; the mean of what only some have is theirs."""
    together = {"sum": max, "excess": max, "equal": sum, "distinct": sum}
    first = of_seeds[0] | {"seed": "all"}
    for name in list(first)[4:]:
        values = [row[name] for row in of_seeds if row[name] != ""]
        first[name] = together.get(name, np.mean)(values) if values else ""
    return first


def rows(num_steps: int = NUM_STEPS, modes: Sequence[int] = MODES, limits: Sequence[int] = LIMITS) -> list[dict]:
    """Train and judge all members; those of a policy, K and limit follow on their mean."""
    worlds = [make_world(num_modes) for num_modes in modes]
    table = []

    def add(of_seeds):
        table.extend([mean_row(of_seeds), *of_seeds])

    for policy in transports(num_steps, limits):
        for world, params in zip(worlds, train(policy, worlds, num_steps), strict=True):
            local = local_constants(policy.method, params) / world.gap
            steepness = certified_constants(params) / world.gap if policy.limits else local.max(axis=1)
            mass = masses(policy.method, params, world)
            distinct = [value not in steepness[i % NUM_SEEDS : i : NUM_SEEDS] for i, value in enumerate(steepness)]
            of_each = list(zip(steepness, mass, local, distinct, strict=True))
            for place, limit in enumerate(policy.limits or ("",)):
                of_limit = of_each[NUM_SEEDS * place : NUM_SEEDS * (place + 1)]
                add([row(policy.name, world, seed, limit, *judged) for seed, judged in enumerate(of_limit)])
    for world in worlds:
        config = mdn.Config(GeneratorConfig(2 * len(world.modes), "isotropic", hidden=(32,), start="clusters"))
        method = mdn.make(config, _SPEC, Horizon.of(num_steps, _NUM_ROWS, 256))
        method = method._replace(hyper=method.hyper._replace(learning_rate=0.0005))
        mass = masses(method, train(Policy("mdn", method, 256), [world], num_steps)[0], world)
        add([row("mdn", world, seed, "", np.inf, mass[seed]) for seed in range(NUM_SEEDS)])
        if len(world.modes) == 2:
            for limit in limits:
                add([row("clipped_linear", world, 0, limit, limit, clipped_linear(world, limit * world.gap))])
    return table


def label_of(row: Mapping[str, str]) -> str:
    """What a figure calls a member."""
    if row["policy"] in _CERTIFIED:
        return _LABELS[0 if row["equal"] == "1" else 1]
    return _LABELS[{"flow": 3, "diffusion": 3, "mdn": 4}.get(row["policy"], 2)]


def figure(table: Sequence[Mapping[str, str]]):
    """Bridge mass of every distinct member by gap over steepness, a panel per K; at the left end mixtures, which have no steepness.

    The clipped linear map counts as certified. The curves are those of equal masses, where a member has them.
    """
    table = [row for row in table if row["seed"] != "all" and row["distinct"] == "1"]
    smallest = 1 / max([max(LIMITS), *(float(row["steepness"]) for row in table if row["steepness"])])
    panels = []
    for num_modes in dict.fromkeys(row["modes"] for row in table):
        of_modes = [row for row in table if row["modes"] == num_modes]
        points = {label: ([], []) for label in _LABELS}
        for row in of_modes:
            x, y = points[label_of(row)]
            x.append(1 / float(row["steepness"]) if row["steepness"] else 0.7 * smallest)
            y.append(float(row["bridge"]))
        curves = {}
        if any(row["bound"] for row in of_modes):
            delta, world = np.geomspace(smallest, 1, 60), make_world(int(num_modes))
            corners = 100 * theory.sector_bridge_mass(int(num_modes), world.side / world.gap * delta, 1.0)
            bound = 100 * theory.bridge_mass_bound(int(num_modes), delta, 1.0)
            curves = {"achievable": corners, "bound": bound}
            curves = {f"{name}, equal masses": plotting.Band(delta, *[y] * 3) for name, y in curves.items()}
        points = {label: tuple(map(np.array, values)) for label, values in points.items()}
        title = f"{num_modes} modes"
        panels.append(plotting.Panel(title, "gap / steepness", "bridge, %", points, log_x=True, theory=curves))
    return plotting.scatter_figure(panels)


if __name__ == "__main__":
    measure.command("lipschitz", rows, figure)
