import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from ebgan_mdn_jax import plotting


def curve_arrays(num_components=2, num_members=2):
    """A mixture around +-obs, its exact density, and an energy of the same shape with an offset per observation."""
    rng = np.random.default_rng(0)
    obs = np.linspace(-1, 1, 9)[:, None]
    actions = np.linspace(-1.3, 1.3, 41)[:, None]
    means = np.stack([obs, -obs][:num_components], axis=1)
    density = np.exp(-0.5 * ((actions[:, :, None] - means[None, :, :, 0]) / 0.2) ** 2).mean(-1)
    with np.errstate(divide="ignore"):
        log_prob = np.log(density * (density > 1e-12))
    return {
        "train_obs": rng.uniform(-1, 1, (30, 1)),
        "train_action": rng.uniform(-1, 1, (30, 1)),
        "obs": obs,
        "samples": rng.uniform(-1, 1, (num_members, 5, 9, 1)),
        "actions": actions,
        "energy": -np.log(density + 1e-9) + 100 * obs[:, 0],
        "log_prob": log_prob,
        "log_weights": np.full((9, num_components), -np.log(num_components)),
        "means": means,
        "scales": np.full((9, num_components, 1), 0.2),
    }


def plane_arrays():
    rng = np.random.default_rng(1)
    side = np.linspace(-2, 2, 11)
    actions = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    return {
        "train_obs": np.zeros((40, 2)),
        "train_action": rng.normal(size=(40, 2)),
        "obs": np.zeros((1, 2)),
        "samples": rng.normal(size=(1, 50, 1, 2)),
        "actions": actions,
        "energy": 3 * actions[:, :1] + 0 * actions[:, 1:],
        "log_weights": np.log([[0.7, 0.3]]),
        "means": np.array([[[0.0, 1.0], [1.0, -1.0]]]),
        "scale_trils": np.array([[[[2.0, 0.0], [1.0, 0.5]], [[1.0, 0.0], [0.0, 1.0]]]]),
    }


AXES = ("observation (m)", "action (m)")


def test_needs_neither_jax_nor_pyplot():
    code = "import sys, ebgan_mdn_jax.plotting as p, numpy as np; assert not {'jax', 'matplotlib'} & set(sys.modules);"
    code += "p.png(p.curves_figure(np.arange(3), {'nll': np.ones((3, 2))}, {'': [0, 1]}));"
    code += "assert not {'jax', 'matplotlib.pyplot'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_geometry():
    assert plotting.geometry(curve_arrays()) == "curve"
    assert plotting.geometry(plane_arrays()) == "plane"
    assert plotting.geometry({"obs": np.zeros((5, 2)), "train_action": np.zeros((3, 2))}) is None


def test_samples_have_a_row_per_run_and_a_panel_per_member():
    arrays = curve_arrays()
    arrays["samples"][1, 0, :, 0] = np.nan
    arrays["samples"][1, 1, :, 0] = 50.0
    alone = curve_arrays(num_members=1)
    figure = plotting.samples_figure(
        [plotting.Samples("mdn", arrays, ["seed 0", "seed 1"]), plotting.Samples("bc", alone, ["seed 0"])], AXES
    )
    first, second = figure.subfigs
    assert first.get_suptitle() == "mdn" and second.get_suptitle() == "bc"
    assert [ax.get_title() for ax in first.axes] == ["seed 0", "seed 1"]
    assert second.axes[0].get_xlabel() == AXES[0] and first.axes[0].get_ylabel() == AXES[1]
    assert not second.axes[1].axison
    demonstrations, samples = first.axes[0].collections
    np.testing.assert_array_equal(np.sort(demonstrations.get_offsets()[:, 1]), np.sort(arrays["train_action"][:, 0]))
    # Every sample lies at its own observation.
    expected = np.stack([np.broadcast_to(arrays["obs"], (5, 9, 1)), arrays["samples"][0]], -1).reshape(-1, 2)
    np.testing.assert_array_equal(samples.get_offsets(), expected)
    assert not first.axes[0].texts
    assert first.axes[1].texts[0].get_text() == "40 % of samples outside"  # 2 of 5: one diverged, one is not finite
    assert plotting.png(figure).startswith(b"\x89PNG")


def test_energy_is_drawn_above_its_minimum_and_clipped():
    figure = plotting.landscape_figure(curve_arrays(), AXES)
    energy, density, *bars = figure.axes
    mesh = energy.collections[0].get_array()
    np.testing.assert_allclose(mesh.min(axis=0), 0, atol=1e-9)  # the offset per observation is gone
    assert mesh.max() == plotting.NATS_SHOWN
    assert bars[0].get_yticklabels()[-1].get_text() == "\u226510"
    values = density.collections[0].get_array()
    assert np.isfinite(values).all() and values.min() == np.floor(values.max()) - plotting.NATS_SHOWN
    assert bars[1].get_yticklabels()[0].get_text().startswith("\u2264\u2212")
    assert all("nats" in bar.get_ylabel() for bar in bars)
    assert (
        len(density.collections) == 1 and len(energy.collections) == 1 + 2 * 4
    )  # a band and three lines per component
    assert plotting.png(figure) == plotting.png(plotting.landscape_figure(curve_arrays(), AXES))


def test_methods_with_less_show_what_they_have():
    arrays = curve_arrays()
    only_density = {name: value for name, value in arrays.items() if name != "energy"}
    titles = [ax.get_title() for ax in plotting.landscape_figure(only_density, AXES).axes[:2]]
    assert titles == ["demonstrations and mixture components", "log density of the policy"]
    bare = {name: arrays[name] for name in ("train_obs", "train_action", "obs", "samples")}
    assert plotting.landscape_figure(bare, AXES) is None


def test_plane_is_not_transposed_and_ellipses_follow_the_covariance():
    arrays = plane_arrays()
    (ax, _) = plotting.landscape_figure(arrays, AXES).axes
    mesh = ax.collections[0].get_array().reshape(11, 11)
    assert (
        np.all(np.diff(mesh[0]) >= 0) and mesh[0, 0] < mesh[0, -1]
    )  # energy grows with the first action: to the right
    np.testing.assert_array_equal(mesh[0], mesh[-1])
    ellipse = ax.lines[0].get_xydata() - arrays["means"][0, 0]
    covariance = arrays["scale_trils"][0, 0] @ arrays["scale_trils"][0, 0].T
    distance = np.einsum("ni,ij,nj->n", ellipse, np.linalg.inv(covariance), ellipse)
    np.testing.assert_allclose(distance, 1, rtol=1e-9)


def test_figures_survive_a_diverged_member():
    for arrays in (curve_arrays(), plane_arrays()):
        broken = {
            name: np.full_like(value, np.nan) if name not in ("train_obs", "train_action", "obs", "actions") else value
            for name, value in arrays.items()
        }
        assert plotting.png(plotting.landscape_figure(broken, AXES)).startswith(b"\x89PNG")


@pytest.mark.parametrize("num_groups", [1, 3, 9])
def test_curves_show_members_and_medians(num_groups):
    values = np.arange(4.0)[:, None] + np.arange(2.0 * num_groups) ** 2
    values[1, 0] = np.nan
    values[3] = np.nan
    groups = {f"w={i}": [2 * i, 2 * i + 1] for i in range(num_groups)}
    figure = plotting.curves_figure(np.arange(4), {"nll": values, "mse": values}, groups)
    assert [ax.get_title() for ax in figure.axes] == ["nll", "mse"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["nats", "network units squared"]
    lines = figure.axes[0].lines
    assert len(lines) == 3 * num_groups
    np.testing.assert_allclose(lines[2].get_ydata(), [0.5, 2, 2.5, np.nan])
    assert len(figure.legends) == (num_groups > 1)
    plotting.png(figure, dpi=50)


def test_bands_have_ticks_at_their_points_and_levels_span_the_panel():
    x = np.array([0.0, 0.1, 1.0, 10.0])
    nothing = np.full(4, np.nan)
    swept = plotting.Band(x, np.array([1.0, 2.0, np.nan, 3.0]), np.full(4, 0.5), np.full(4, 3.5))
    level = plotting.Band(None, *np.array([[2.0], [1.5], [2.5]]))
    panels = [
        plotting.Panel("lines", "energy_weight", "kl", {"ebgan_mdn": swept, "mdn": level}, log_x=True, ticks=True),
        plotting.Panel(
            *("lines", "step", "nll"),
            {"ebgan_mdn": plotting.Band(x, nothing, nothing, nothing)},
            theory={"ebgan_mdn": swept._replace(value=x)},
            bounds={"ebgan_mdn": swept._replace(value=2 * x)},
        ),
        plotting.Panel("lines", "N", "s", {"mdn": swept._replace(x=x + 1, value=x + 0.1)}, log_x=True, ticks=True),
    ]
    figure = plotting.bands_figure(panels)
    weight, curves, count = figure.axes[:3]
    assert [text.get_text() for text in weight.get_xticklabels()] == ["0", "0.1", "1", "10"]
    assert (weight.get_xscale(), curves.get_xscale(), count.get_xscale()) == ("symlog", "linear", "log")
    np.testing.assert_array_equal(weight.lines[0].get_ydata(), swept.value)
    np.testing.assert_array_equal(weight.lines[1].get_ydata(), [2, 2])
    np.testing.assert_array_equal(curves.lines[1].get_ydata(), x)
    assert (curves.lines[1].get_color(), curves.lines[1].get_linestyle()) == (curves.lines[0].get_color(), "--")
    np.testing.assert_array_equal(curves.lines[2].get_ydata(), 2 * x)
    assert (curves.lines[2].get_color(), curves.lines[2].get_linestyle()) == (curves.lines[0].get_color(), ":")
    assert weight.lines[0].get_color() == curves.lines[0].get_color() != count.lines[0].get_color()
    assert weight.lines[1].get_color() == count.lines[0].get_color()
    assert (weight.get_yscale(), count.get_yscale()) == ("linear", "log")  # 1 to 3, and 0.1 to 10.1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ebgan_mdn", "mdn"]
    small = plotting.png(figure, 90, palette=True)
    assert small == plotting.png(plotting.bands_figure(panels), 90, palette=True)
    assert small.startswith(b"\x89PNG") and len(small) < 0.6 * len(plotting.png(figure, 90))


def test_scatters_have_a_point_per_member():
    lines = {"mdn": (np.array([0.1, 0.2]), np.array([5.0, 6.0])), "bc": (np.array([0.3]), np.array([np.nan]))}
    figure = plotting.scatter_figure([plotting.Panel("lines", "cosine", "kl", lines)])
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_offsets(), [[0.1, 5], [0.2, 6]])
    assert figure.axes[0].get_xlabel() == "cosine" and plotting.png(figure).startswith(b"\x89PNG")


def test_profiles_are_steps_that_hold_between_thresholds():
    nothing = np.full(3, np.nan)
    lines = {"mdn": (np.array([1.0, 0.5, 0.25]), nothing, nothing)}
    banded = {"mdn": (np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.3, 1.0]), np.array([0.0, 0.8, 1.0]))}
    thresholds = np.array([0.01, 0.5, 2.0])
    figure = plotting.profiles_figure(
        [
            plotting.Profile("tmc", 1, thresholds, lines),
            plotting.Profile("kl", -1, thresholds, banded | {"bc": banded["mdn"]}),
            plotting.Profile("w1", -1, np.array([-1.0, 0.0, 1.0]), banded),
            plotting.Profile("nll", -1, np.array([-1.0, 0.0, 1.0]), banded),
        ]
    )
    tmc, kl, w1, *rest = figure.axes
    assert [ax.get_title() for ax in figure.axes[:4]] == ["tmc", "kl", "w1", "nll"] and not rest[-1].axison
    # As many reach 0.3 as reach 0.5 where higher is better, as reach 0.01 where lower is.
    assert tmc.lines[0].get_drawstyle() == "steps-pre" and kl.lines[0].get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(kl.lines[0].get_ydata(), [0, 0.5, 1])
    assert (kl.get_xscale(), w1.get_xscale()) == ("log", "linear")
    assert kl.lines[0].get_color() == w1.lines[0].get_color() != kl.lines[1].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mdn", "bc"]
    top = kl.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == 1.0 and plotting.png(figure).startswith(b"\x89PNG")


def arm_arrays(num_targets=3):
    rng = np.random.default_rng(2)
    links = rng.normal(size=(2, 5, num_targets, 2, 2))
    joints = np.concatenate([0 * links[..., :1, :], np.cumsum(links, axis=-2)], axis=-2)  # [S, N, T, n + 1, 2]
    return {"arm_targets": joints[0, 0, :, -1], "arm_samples": joints, "arm_demonstrations": joints[0, :2]}


def test_chunks_are_drawn_as_ways():
    rng = np.random.default_rng(0)
    rows = [
        plotting.Samples(name, {"train_action": rng.random((5, 6)), "samples": rng.random((2, 50, 1, 6))}, ["seed 0"])
        for name in "abcde"
    ]
    rows[1].arrays["samples"][0, 2, 0, 3] = np.nan
    figure = plotting.chunks_figure(rows)
    assert [ax.get_title() for ax in figure.axes] == [*"abcde", "", "", ""]
    assert [ax.axison for ax in figure.axes] == [True] * 5 + [False] * 3
    demonstrated, _, drawn, ends = figure.axes[1].collections
    np.testing.assert_array_equal(demonstrated.get_segments(), rows[1].arrays["train_action"].reshape(5, 3, 2))
    kept = [n for n in range(40) if n != 2]  # one is not finite
    ways = rows[1].arrays["samples"][0, kept, 0].reshape(39, 3, 2)
    np.testing.assert_array_equal(drawn.get_segments(), ways)
    np.testing.assert_array_equal(ends.get_offsets(), ways[:, -1])


def test_drawings_have_a_panel_per_shape():
    rng = np.random.default_rng(0)
    shapes = {"rollouts": (8, 3, 5, 2), "demonstrations": (8, 6, 4, 2), "heldout": (8, 5, 2)}
    arrays = {f"drawing_{name}": rng.normal(size=shape) for name, shape in shapes.items()}
    figure = plotting.drawings_figure(arrays, [f"shape {i}" for i in range(8)])
    assert len(figure.axes) == 12 and [ax.get_title() for ax in figure.axes[6:9]] == ["shape 6", "shape 7", ""]
    lines = [line.get_xydata() for line in figure.axes[7].lines]
    expected = [*arrays["drawing_demonstrations"][7], arrays["drawing_heldout"][7], *arrays["drawing_rollouts"][7]]
    for line, way in zip(lines, expected, strict=False):
        np.testing.assert_array_equal(line, way)
    assert len(lines) == 11 and plotting.png(figure).startswith(b"\x89PNG")


def test_arms_are_drawn_at_their_targets():
    arrays = arm_arrays()
    arrays["arm_samples"][0, 3, 1, 1, 0] = np.nan
    rows = [plotting.Samples("mdn", arrays, ["seed 0", "seed 1"]), plotting.Samples("bc", arm_arrays(2), ["seed 4"])]
    figure = plotting.arms_figure(rows)
    first, second = figure.subfigs
    assert first.get_suptitle() == "mdn, seed 0" and second.get_suptitle() == "bc, seed 4"
    assert [ax.axison for ax in second.axes] == [True, True, False]
    ax = first.axes[1]
    demonstrated, _, drawn, _ = ax.collections
    np.testing.assert_array_equal(demonstrated.get_segments(), arrays["arm_demonstrations"][:, 1])
    kept = [0, 1, 2, 4]  # one is not finite
    np.testing.assert_array_equal(drawn.get_segments(), arrays["arm_samples"][0, kept, 1])
    np.testing.assert_array_equal(ax.lines[0].get_xydata()[0], arrays["arm_targets"][1])
    longest = np.linalg.norm(np.diff(arrays["arm_demonstrations"], axis=-2), axis=-1).sum(-1).max()
    np.testing.assert_allclose(ax.get_xlim(), [-1.05 * longest, 1.05 * longest])
    assert plotting.png(figure).startswith(b"\x89PNG")
