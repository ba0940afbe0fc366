"""The audit tells demonstrations with two ways from those with one, and says what it lacks."""

import numpy as np
import pytest

from ebgan_mdn_jax.types import Batch, InputError
from experiments import audit

H = 8


def episodes(gap, num=40, steps=30, seed=0):
    """Along x, all alike but for noise and, with a ``gap``, for the side to which each action chunk leads: drawn anew for each episode."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(num):
        time = np.arange(steps + H)
        y = rng.choice([-1.0, 1.0]) * gap * time + rng.normal(scale=0.02, size=steps + H)
        position = np.stack([time / 10, y], axis=-1)
        obs = np.stack([time[:steps] / 10, rng.normal(scale=0.01, size=steps)], axis=-1)  # does not tell the side
        made.append(Batch(obs, position[1 : steps + 1]))
    return made


@pytest.mark.parametrize(("gap", "least", "most"), [(0.0, 0, 8), (0.1, 80, 100)])
def test_two_ways_are_told_from_one(gap, least, most):
    everything, densest = audit.audit(episodes(gap), H, "position")
    assert least <= float(everything["bimodal, %"]) <= most and float(everything["by_chance, %"]) < 5
    assert least <= float(densest["bimodal, %"]) <= most
    assert everything["queries"] == "all (500)"


def test_displacements_are_added_up():
    moves = [Batch(e.obs[1:], np.diff(e.action, axis=0)) for e in episodes(0.1)]
    assert float(audit.audit(moves, H, "displacement")[0]["bimodal, %"]) > 80


def test_too_little_to_compare_is_told():
    with pytest.raises(InputError, match="--chunk=31: 0 of 40 episodes have so many steps; the audit needs 17"):
        audit.audit(episodes(0.0), 31, "position")
