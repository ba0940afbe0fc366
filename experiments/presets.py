"""Named settings of a method on a task: its Config's defaults ("default"), the paper's ("paper"), "small" ones, IBC's ("d4rl", "pixels").

"default" is one configuration for all tasks, of the MDN and of EBGAN-MDN, whose generators are the same: wide, with many components, so
that none has to serve two modes; 5,000 steps with the learning rate halved four times; and for EBGAN-MDN an energy that hardly pulls the
generator (``w = 0.03``) but takes weight from its bad components (``reweight``).

"paper" is what the EBGAN-MDN authors' code sets (arXiv 2510.07562; scripts and notebooks of its repository, which differ here and there:
the final benchmark where it survives). Where they give none for a task, the nearest one they have stands in: the hyperbola's for the other
functions, the two-link arm's for other arms, the multi-route EBGAN's for EBGAN-MDN there. Energies on arms see 64 negatives (their
scripts: 256), and the UR arms and the routes, with more rows, have a quarter of the epochs, about the steps of the planar arm.
The baselines that the paper lacks train as long as its others, the nearest neighbours for one epoch, which reads all rows. On particles
and in pushing "paper" is IBC's own code for the policies that it has there (arXiv 2109.00137; its best configurations, of 100,000 steps):
``explicit_bc``, ``ibc``, by Langevin dynamics on particles and without derivatives in pushing, and there ``mdn``, whose network has no
residual blocks and no dropout here.

"d4rl" is what that code sets on D4RL, best configurations again, for demonstrations of your own in place of a task (D4RL's in `.tfrecord`,
say) and the policies that it has there: ``ibc``, by Langevin dynamics with a second pass, whose observations are divided by the root of
their deviation; ``explicit_bc``; and ``mdn``. The box of actions is 5 % wider than their range on each side, for all of them, since scores
are in its half extents. So are the chains' step sizes, in IBC in those of the range; regression and the MDN see actions in it, too, not in
deviations; and the MDN's logits are not divided by 2.5 in training and in use, which is the same mixture. What their paper calls RWR is
`data.top_return_share=0.5`.

"pixels" is what that code sets for pushing from images, best configurations again, on the tasks of images here: ``ibc``, searched without
derivatives, ``explicit_bc`` and ``mdn``. Images keep their size and values, where theirs are resized to 180 x 240 (MDN: 90 x 120) and
standardised; actions are in half extents of the box and not in deviations, and so are the search's noise and what the power of the MDN's
scales is taken of; and the MDN has no residual blocks and no dropout.

In IBC's settings the learning rate falls by 1 % every 100 steps (regression on D4RL: 200), there continuously.

"small" trains in seconds on a CPU: the authors' networks and rates, 1,600 steps (100 epochs of 500 rows), three components; alpha falls.
"""

from collections.abc import Callable
from typing import Literal, get_args

from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import require, steps_per_epoch

Preset = Literal["default", "paper", "small", "d4rl", "pixels"]

# Modes of a task, which the authors take as the number of components.
_MODES = {"hyperbola": 2, "lines": 3, "circle": 2, "parabola": 2, "inverse_sine": 3}
_MODES |= {
    "planar_circle": 2,
    "planar_circle_context": 2,
    "planar_circle_image": 2,
    "planar_sequential": 4,
    "planar_avoiding": 24,
}
_MODES |= {f"planar_fading_{percent}": 2 for percent in (0, 10, 25, 50)}
_MODES |= {f"radial_{modes}_short": modes for modes in (2, 4, 8, 16, 32, 64)}
_MODES |= {f"radial_{modes}_short_displacement": modes for modes in (2, 8, 32)}
_MODES |= {f"radial_8_short_{kind}": 8 for kind in ("imbalanced", "rare", "noisy_2", "noisy_4")}
_MODES |= {f"radial_{modes}": modes for modes in (8, 16, 32)} | {f"corridor_{modes}": modes for modes in (8, 16)}


def preset(name: Preset, task: str, method: str) -> tuple[str, ...]:
    """Overrides "path=value" of a method on a task; none for "default".

    Raises:
      InputError: if there is no such preset, or it has no settings for the task or the method.
    """
    require(name in get_args(Preset), f"unknown preset {name!r}: expected one of {', '.join(get_args(Preset))}")
    if name == "d4rl":
        return _d4rl(task, method)
    if name == "pixels":
        return _pixels(task, method)
    if method == "nearest_neighbour":
        return _nearest_neighbour(task) if task in TASKS else ()
    if name == "default":
        return ()
    if name == "small":
        return _small(method)
    require(task in TASKS, f"--preset=paper: no paper has settings for {task}; take another preset")
    return _PAPER[method](task)


def _is_arm(task: str) -> bool:
    return task.startswith(("two_link", "three_link", "ur5", "ur10"))


def _is_route(task: str) -> bool:
    return task.startswith("multi_route")


def _is_long(task: str) -> bool:
    return _is_route(task) or task.startswith(("ur5", "ur10"))


def _steps(task: str, epochs: int, batch_size: int = 32) -> str:
    rows, folds = TASKS[task].num_demonstrations, TASKS[task].num_folds
    rows -= rows // folds + 1 if folds > 1 else 0  # the held-out fold
    return f"train.steps={epochs * steps_per_epoch(rows, batch_size)}"


def _epochs(task: str, of_100: int = 100) -> int:
    """Epochs on ``task`` of what the authors give as ``of_100`` on a task with 100 epochs."""
    share = 0.5 if task == "gaussian_grid" else 0.25 if _is_long(task) else 1
    return max(1, round(share * of_100))


def _decay_every(task: str, epochs: int = 20) -> str:
    return f"method.decay_every={_epochs(task, epochs) if _is_long(task) else epochs}"


def _components(task: str) -> int:
    """Modes, of chunks too; 8 solutions of a UR arm; 2 elbows of a planar one, the K of the authors' checkpoints (their script: 10)."""
    if task.startswith("ur"):
        return 8
    return _MODES.get(task, 2 if _is_arm(task) else 10)


def _mixture(task: str) -> tuple[str, ...]:
    settings = (f"method.generator.num_components={_components(task)}", "method.generator.hidden=(64,64)")
    # On the grid the authors' "isotropic" is a scale per dimension, by a slip.
    grid = ("method.generator.covariance=diagonal", "method.generator.latent_dim=1")
    return settings + (grid if task == "gaussian_grid" else ("method.generator.covariance=isotropic",))


def _ibcs(prefix: str, width: int, depth: int) -> tuple[str, ...]:
    """What IBC's policies share, the network in fields named with ``prefix``."""
    return (
        "train.batch_size=512",
        "train.steps=100000",
        "train.epoch_steps=100",
        f"method.{prefix}hidden=({','.join([str(width)] * depth)})",
        "method.decay_every=1",
        "hyper.learning_rate_decay=0.99",
    )


def _residual(prefix: str) -> tuple[str, ...]:
    return (f"method.{prefix}residual=preactivation", f"method.{prefix}init=normal_0.05")


# Of IBC's energies that are descended by chains, on all its tasks.
IBC_CHAINS = (
    "method.num_negatives=8",
    "method.langevin_share=1",
    "method.langevin.num_steps=100",
    "method.gradient_penalty=inf",
    "method.search=langevin",
    "method.num_candidates=512",
)
_MARGIN = "data.action_margin=0.05"
_D4RL = {
    "nearest_neighbour": (_MARGIN,),
    "explicit_bc": (
        _MARGIN,
        *_ibcs("", 2048, 8),
        *_residual(""),
        "method.dropout=0.1",
        "train.epoch_steps=200",
        "data.obs_units=std",
    ),
    "mdn": (
        _MARGIN,
        *_ibcs("generator.", 128, 2),
        "method.generator.num_components=26",
        "hyper.learning_rate=0.0001",
        "data.obs_units=std",
    ),
    "ibc": (
        _MARGIN,
        *_ibcs("energy_", 512, 8),
        *_residual("energy_"),
        *IBC_CHAINS,
        "method.energy_spectral=True",
        "method.second_pass=True",
        "data.obs_units=sqrt_std",
        "hyper.learning_rate=0.0005",
        "hyper.step_size=0.5",
        "hyper.noise_scale=0.5",
        "hyper.delta_clip=0.5",
    ),
}


def _d4rl(task: str, method: str) -> tuple[str, ...]:
    own = "is for demonstrations of your own, --data=door-human-v0_0.tfrecord, say"
    require(task not in TASKS, f"--preset=d4rl {own}; for the task {task} take another preset")
    require(method in _D4RL, f"--preset=d4rl has no settings for {method}: expected one of {', '.join(_D4RL)}")
    return _D4RL[method]


_SMALL_BATCH = "train.batch_size=128"
_PIXELS = {
    "explicit_bc": (
        *_ibcs("", 512, 4),
        *_residual(""),
        _SMALL_BATCH,
        "method.encoder.kind=average",
        "method.encoder.coordinates=True",
        "method.dropout=0.1",
        "hyper.learning_rate=0.001",
    ),
    "mdn": (
        *_ibcs("generator.", 512, 8),
        _SMALL_BATCH,
        "method.generator.encoder.kind=average",
        "method.generator.encoder.coordinates=True",
        "method.generator.num_components=26",
        "method.scale_exponent=4",
        "hyper.learning_rate=0.001",
    ),
    "ibc": (
        *_ibcs("energy_", 1024, 1),
        _SMALL_BATCH,
        "method.encoder.kind=average",
        "method.energy_residual=bottleneck",
        "method.energy_init=normal_0.05",
        "method.num_negatives=256",
        "method.num_iterations=3",
        "method.num_candidates=2048",
        "hyper.learning_rate=0.001",
        "hyper.sigma=0.33",
    ),
}


def _pixels(task: str, method: str) -> tuple[str, ...]:
    seen = [name for name, known in TASKS.items() if len(known.spec.obs_shape) == 3]
    require(task in seen, f"--preset=pixels is for tasks of images, {', '.join(seen)}; for {task} take another preset")
    require(method in _PIXELS, f"--preset=pixels has no settings for {method}: expected one of {', '.join(_PIXELS)}")
    return _PIXELS[method]


def _explicit_bc(task: str) -> tuple[str, ...]:
    if task.startswith(("particle", "push")):
        push = task.startswith("push")
        size, rate = ((1024, 8), ("hyper.learning_rate=0.0005",)) if push else ((2048, 2), ())
        return (*_ibcs("", *size), *_residual(""), "method.dropout=0.1", *rate)
    arm = (_decay_every(task, 30), "hyper.learning_rate_decay=0.1")
    return (_steps(task, _epochs(task)), *(arm if _is_arm(task) else (_decay_every(task),)))


def _mdn(task: str) -> tuple[str, ...]:
    if task.startswith("push"):
        return (*_ibcs("generator.", 512, 8), "method.generator.num_components=26", "hyper.learning_rate=0.001")
    arm = ("hyper.learning_rate=0.001", _decay_every(task, 30), "hyper.learning_rate_decay=0.1")
    other = ("hyper.learning_rate=0.0005", _decay_every(task))
    return (_steps(task, _epochs(task)), *_mixture(task), *(arm if _is_arm(task) else other))


def _adversarial(task: str) -> tuple[str, ...]:
    """What EBGAN and EBGAN-MDN share; the routes have no schedule."""
    route = _is_route(task)
    return (
        _steps(task, _epochs(task)),
        f"method.energy_steps={2 if route else 5}",
        _decay_every(task),
        f"hyper.learning_rate_decay={1 if route else 0.5}",
        "hyper.energy_learning_rate=0.001",
    )


def _ebgan(task: str) -> tuple[str, ...]:
    arm = _is_arm(task)
    return (
        *_adversarial(task),
        f"method.num_negatives={64 if arm else 32}",
        f"method.latent_dim={2 if arm else 1 if task == 'gaussian_grid' else 0}",
        "method.alpha_schedule=constant",
        "hyper.generator_learning_rate=0.0005",
    )


def _ebgan_mdn(task: str) -> tuple[str, ...]:
    """Alpha is 1, and on the grid it falls, in logit form."""
    arm, grid = _is_arm(task), task == "gaussian_grid"
    return (
        *_adversarial(task),
        *_mixture(task),
        "method.energy_hidden=(64,64)",
        f"method.num_negatives={64 if arm else 32}",
        "method.num_generated=1",
        *(("method.alpha_schedule=linear", "method.alpha_form=logit") if grid else ("method.alpha_schedule=constant",)),
        "method.energy_term=sampled",
        "hyper.energy_weight=1",
        "hyper.entropy_weight=0",
        "hyper.warm_up=0",
        f"hyper.generator_learning_rate={0.001 if arm else 0.0005}",
        "method.sample_by=sample",
        "method.act_by=sample",
        "method.reweight=False",
    )


def _cgan(task: str) -> tuple[str, ...]:
    arm, route = _is_arm(task), _is_route(task)
    rate = 0.0002 if arm else 0.001
    return (
        _steps(task, _epochs(task, 300 if arm else 200), batch_size=100),
        "train.batch_size=100",
        f"method.discriminator_steps={20 if arm else 10 if route else 30}",
        "method.penalty=none",
        f"method.latent_dim={2 if arm else 1 if task == 'gaussian_grid' else 0}",
        f"hyper.generator_learning_rate={rate}",
        f"hyper.discriminator_learning_rate={rate}",
        "hyper.learning_rate_decay=1",
    )


def _ibc(task: str) -> tuple[str, ...]:
    """The first noise of the search is 0.33 in units of the action; `ibc.Hyper.sigma` is in half extents of the box.

    In pushing the unit is half the range of demonstrations, of which the half extent is 1.1.
    """
    if task.startswith("push"):
        return (
            *_ibcs("energy_", 128, 8),
            *_residual("energy_"),
            "method.num_negatives=256",
            "method.num_iterations=3",
            f"hyper.sigma={0.33 / 1.1:.4g}",
        )
    if task.startswith("particle"):
        return (
            *_ibcs("energy_", 2048, 2),
            *_residual("energy_"),
            *IBC_CHAINS,
        )
    spec = TASKS[task].spec
    half = 1.0 if TASKS[task].normalize else (spec.action_high[0] - spec.action_low[0]) / 2
    return (
        _steps(task, _epochs(task)),
        "method.num_negatives=64",
        f"method.num_iterations={4 if spec.action_dim == 1 else 3}",
        _decay_every(task),
        "hyper.learning_rate=0.001",
        f"hyper.sigma={0.33 / half:.4g}",
    )


def _cvae(task: str) -> tuple[str, ...]:
    return (_steps(task, _epochs(task)), "method.latent_dim=2", _decay_every(task))


def _flow(task: str) -> tuple[str, ...]:
    """As in the code of Mazza et al. (2026, arXiv 2605.22493), but for the network, which is the default's, and its training."""
    published = ("method.predict=velocity", "method.time=beta", "method.num_steps=10")
    return (_steps(task, _epochs(task)), _decay_every(task), *published)


def _diffusion(task: str) -> tuple[str, ...]:
    """Likewise; predicted actions are kept in the box, as Diffusion Policy does."""
    return (_steps(task, _epochs(task)), _decay_every(task), "method.predict=noise", "method.clip=1")


def _vq(task: str) -> tuple[str, ...]:
    """VQ-BeT's two levels of 16 codes, focal loss and heavy offsets (arXiv 2403.03181), with a latent as small as the others'."""
    codes = ("method.num_codes=16", "method.num_levels=2", "method.latent_dim=2")
    published = (*codes, "hyper.focal_gamma=2", "hyper.offset_weight=100")
    return (_steps(task, _epochs(task)), _decay_every(task), *published)


def _bayesian_mdn(task: str) -> tuple[str, ...]:
    return (*_mdn(task), "method.posterior=ensemble", "method.num_networks=8")


def _nearest_neighbour(task: str) -> tuple[str, ...]:
    return (_steps(task, 1),)


_PAPER: dict[str, Callable[[str], tuple[str, ...]]] = {
    "explicit_bc": _explicit_bc,
    "cgan": _cgan,
    "ibc": _ibc,
    "ebgan": _ebgan,
    "mdn": _mdn,
    "ebgan_mdn": _ebgan_mdn,
    "cvae": _cvae,
    "vq": _vq,
    "flow": _flow,
    "diffusion": _diffusion,
    "energy_score": _cvae,
    "bayesian_mdn": _bayesian_mdn,
    "nearest_neighbour": _nearest_neighbour,
}


def _small(method: str) -> tuple[str, ...]:
    """The same on every task."""
    settings = ["train.steps=1600", "method.decay_every=20"]
    if method in ("mdn", "bayesian_mdn", "ebgan_mdn"):
        settings += [
            "method.generator.num_components=3",
            "method.generator.hidden=(64,64)",
            "method.generator.covariance=isotropic",
        ]
    if method == "mdn":
        settings.append("hyper.learning_rate=0.0005")
    if method == "ebgan_mdn":
        settings += [
            "method.energy_steps=5",
            "method.alpha_schedule=linear",
            "method.reweight=False",
            "hyper.generator_learning_rate=0.0005",
            "hyper.energy_weight=1",
        ]
    return tuple(settings)
