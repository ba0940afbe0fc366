"""Metrics of chunks against plain NumPy, one chunk after another, and against what they must be by construction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import theory
from ebgan_mdn_jax.evaluation import chunks

N, B, T, K = 40, 2, 7, 5
RADIUS = 1.2


def setting(seed=0):
    """Modes, and chunks around them, between them and anywhere; the second observation lacks the last mode."""
    rng = np.random.default_rng(seed)
    modes = 2.0 * rng.standard_normal((K, T, 2))
    pair = rng.integers(0, K, (2, N, B))
    share = rng.choice([0.0, 0.0, 0.3, 0.5, 1.0], (N, B))[..., None, None]
    points = (1 - share) * modes[pair[0]] + share * modes[pair[1]]
    points = points + rng.choice([0.1, 0.4, 3.0], (N, B))[..., None, None] * rng.standard_normal((N, B, T, 2))
    weights = rng.dirichlet(np.ones(K), B).T
    weights[-1, 1] = 0.0
    weights /= weights.sum(0)
    valid = rng.random((N, B)) < 0.7
    return tuple(jnp.asarray(x, jnp.float32) for x in (points, modes, weights)) + (jnp.asarray(valid),)


def everything(points, modes, weights, valid):
    """All metrics, as a dictionary of arrays that end in B."""
    exists, distance = weights > 0, chunks.distances(points, modes)
    ends = chunks.outcomes(points, ~valid, modes[:, -1], 1.5, 14.0)
    member = chunks.on_mode(distance, RADIUS)
    share = chunks.mode_shares(member & exists[None])
    return {
        **ends._asdict(),
        "mode_hits": chunks.mode_hits(distance, valid, exists),
        "hit_entropy": chunks.hit_entropy(distance, valid, exists),
        "corrected": chunks.hit_entropy(distance, valid, exists, corrected=True),
        "member": member,
        "share": share,
        "coverage": chunks.share_coverage(share, weights, 0.5),
        "error": chunks.share_error(share, weights),
        "between": chunks.between_modes(points, modes, distance, weights),
    }


def by_hand(points, modes, weights, valid):
    """The same with loops."""
    points, modes, weights, valid = (np.asarray(x, np.float64) for x in (points, modes, weights, valid))
    result = {name: np.zeros((N, B), bool) for name in ("collision", "reach", "long_enough", "success", "between")}
    result["member"] = np.zeros((N, K, B), bool)
    result |= {name: np.zeros(B) for name in ("mode_hits", "hit_entropy", "corrected", "coverage", "error")} | {
        "share": np.zeros((K, B))
    }
    for b in range(B):
        hits, share, total = np.zeros(K), np.zeros(K), int(np.sum(weights[:, b] > 0))
        for n in range(N):
            x = points[n, b]
            apart = np.sqrt(((x - modes) ** 2).sum(-1))
            mean, farthest = apart.mean(1), apart.max(1)
            result["collision"][n, b] = not valid[n, b]
            result["reach"][n, b] = min(np.hypot(*(x[-1] - m[-1])) for m in modes) < 1.5
            result["long_enough"][n, b] = sum(np.hypot(*(x[t + 1] - x[t])) for t in range(T - 1)) >= 14.0
            result["success"][n, b] = result["reach"][n, b] and result["long_enough"][n, b] and valid[n, b]
            if valid[n, b]:
                hits[mean.argmin()] += 1
            if farthest.min() <= RADIUS:
                result["member"][n, farthest.argmin(), b] = True
                share[farthest.argmin()] += (weights[farthest.argmin(), b] > 0) / N
            first, second = np.argsort(mean)[:2]
            for target in (modes[second], np.tensordot(weights[:, b], modes, 1)):
                parts = np.linspace(0, 1, 4_001)[:, None]
                left = sum(
                    ((x[t] - (1 - parts) * modes[first, t] - parts * target[t]) ** 2).sum(1).min() for t in range(T)
                )
                result["between"][n, b] |= left <= 0.5 * ((x - modes[first]) ** 2).sum()
        exists = weights[:, b] > 0
        result["mode_hits"][b] = 100 * np.sum(hits[exists] > 0) / total
        p = hits[exists] / hits[exists].sum()
        result["hit_entropy"][b] = 100 * -np.sum(p[p > 0] * np.log(p[p > 0])) / np.log(total)
        bias = 100 * (np.sum(hits[exists] > 0) - 1) / (2 * hits[exists].sum()) / np.log(total)
        result["corrected"][b] = min(result["hit_entropy"][b] + bias, 100)
        result["share"][:, b] = share
        result["coverage"][b] = 100 * np.sum(share[exists] >= 0.5 * weights[exists, b]) / total
        result["error"][b] = 50 * np.abs(share / share.sum() - weights[:, b]).sum()
    return result


def test_the_correction_takes_the_bias_off_entropy():
    """Of 60 draws of 24 equal modes the plain estimate misses (24 - 1) / 120 nats or 6 %; corrected, and cut at 100, under 2 %."""
    modes = jnp.arange(24.0)[:, None, None] * jnp.ones((1, 1, 2))
    points = modes[jax.random.randint(jax.random.key(0), (60, 400), 0, 24)]
    distance, of = chunks.distances(points, modes), (jnp.ones((60, 400), bool), jnp.ones((24, 400), bool))
    plain, corrected = (100 - float(jnp.mean(chunks.hit_entropy(distance, *of, fix))) for fix in (False, True))
    assert 5.5 < plain < 7.5 and 0 < corrected < 2


def test_metrics_are_those_of_plain_loops():
    run = jax.jit(everything)
    for seed in range(3):
        ours, expected = run(*setting(seed)), by_hand(*setting(seed))
        assert expected["between"].any() and not expected["between"].all() and expected["member"].any()
        for name, values in expected.items():
            np.testing.assert_allclose(ours[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_vmapped_is_one_by_one():
    settings = [setting(seed) for seed in range(3)]
    together = jax.jit(jax.vmap(everything))(*(jnp.stack(x) for x in zip(*settings, strict=True)))
    run = jax.jit(everything)
    for index, one in enumerate(settings):
        jax.tree.map(lambda a, b, i=index: np.testing.assert_allclose(a[i], b, rtol=1e-6), together, run(*one))


def far_apart():
    """Three modes that start together, NumPy, and even weights."""
    time = np.linspace(0, 1, T)[:, None]
    ends = np.array([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0]])
    return (ends[:, None] * time[None]).astype(np.float32), jnp.full((3, 1), 1 / 3)


@jax.jit
def is_between(points, modes, weights):
    return chunks.between_modes(points, modes, chunks.distances(points, modes), weights)


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_blends_lie_between_and_noise_and_far_chunks_do_not(share):
    modes, weights = far_apart()
    noise = np.random.default_rng(0).standard_normal((200, 1, T, 2))
    cases = {
        "blend": ((1 - share) * modes[0] + share * modes[1] + 0.05 * noise, True),
        "mean of all": (np.mean(modes, 0) + 0.05 * noise, True),
        "wide noise": (modes[1] + 0.7 * noise, False),
        "far away": (np.array([3.0, 40.0]) + noise, False),
    }
    for name, (points, expected) in cases.items():
        between = is_between(jnp.asarray(points, jnp.float32), modes, weights)
        assert np.mean(between) == pytest.approx(float(expected), abs=0.2), name


def test_a_chunk_that_changes_from_one_mode_to_another_on_the_way_is_a_bridge():
    modes, weights = far_apart()
    for switch in (2, 4, 6):
        points = np.concatenate([modes[0, :switch], modes[1, switch:]])[None, None]
        assert not np.any(chunks.on_mode(chunks.distances(jnp.asarray(points), jnp.asarray(modes)), 0.5))
        assert bool(is_between(points, modes, weights)[0, 0])


def test_tubes_that_meet_give_a_chunk_to_one_mode():
    modes = jnp.asarray([[[0.0, 0.0]], [[1.0, 0.0]]])
    points = jnp.asarray([[[[0.4, 0.0]]], [[[0.6, 0.0]]], [[[1.3, 0.1]]]])
    member = chunks.on_mode(chunks.distances(points, modes), 0.9)
    np.testing.assert_array_equal(member[..., 0], [[True, False], [False, True], [False, True]])


def test_shares_and_their_error():
    member = jnp.asarray([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], bool)[..., None]
    exists, weights = jnp.asarray([[True], [True], [False]]), jnp.asarray([[0.5], [0.5], [0.0]])
    share = chunks.mode_shares(member & exists[None])
    np.testing.assert_allclose(share[:, 0], [1 / 2, 1 / 6, 0.0])
    np.testing.assert_allclose(chunks.share_error(share, weights), [25.0], rtol=1e-6)  # 3 : 1 for 1 : 1
    for tau, expected in ((0.1, 100.0), (0.33, 100.0), (0.5, 50.0), (1.01, 0.0)):
        assert float(chunks.share_coverage(share, weights, tau)[0]) == expected
    np.testing.assert_array_equal(chunks.share_error(0 * share, weights), [100.0])
    # Nothing valid: no hits, no entropy.
    distance = chunks.Distances(*(jnp.ones((4, 3, 1)),) * 2)
    none = jnp.zeros((4, 1), bool)
    assert chunks.mode_hits(distance, none, exists)[0] == chunks.hit_entropy(distance, none, exists)[0] == 0.0


def test_the_gap_of_tubes_is_the_least_distance_of_their_chunks():
    """By alternating projections onto two tubes, which are convex."""
    modes, radius = np.random.default_rng(1).standard_normal((2, T, 2)), 0.4
    gaps = np.asarray(chunks.tube_gaps(jnp.asarray(modes, jnp.float32), radius))
    x = y = modes.mean(0)
    for _ in range(500):
        x = modes[0] + (y - modes[0]) * np.minimum(1, radius / np.linalg.norm(y - modes[0], axis=-1))[:, None]
        y = modes[1] + (x - modes[1]) * np.minimum(1, radius / np.linalg.norm(x - modes[1], axis=-1))[:, None]
    np.testing.assert_allclose(gaps, np.linalg.norm(x - y) * (1 - np.eye(2)), rtol=1e-4, atol=1e-6)


def test_a_smooth_map_to_two_modes_has_the_bridge_that_theory_says():
    """Noise, clipped along the line between two chunks: shares on support are those of the bound on two modes, met exactly."""
    rng = np.random.default_rng(2)
    modes = rng.standard_normal((2, T, 2)).astype(np.float32)
    gap = float(np.linalg.norm(modes[0] - modes[1]))
    lipschitz, num = 2.0 * gap, 40_000
    place = np.clip(0.5 + lipschitz / gap * rng.standard_normal((num, 1, 1, 1)), 0, 1)
    points = jnp.asarray(modes[0] + place * (modes[1] - modes[0]), jnp.float32)
    member = chunks.on_mode(chunks.distances(points, jnp.asarray(modes)), 1e-4 * gap)
    share = chunks.mode_shares(member)
    bridge = float(theory.bridge_mass_bound(2, gap, lipschitz))
    assert 1 - float(jnp.sum(share)) == pytest.approx(bridge, abs=5 * np.sqrt(bridge * (1 - bridge) / num) + 2e-4)
    between, off = is_between(points, modes, jnp.full((2, 1), 0.5)), ~np.any(member, axis=1)
    assert np.all(np.asarray(between)[off])
