"""Damaged files of every format are refused in one line or read right, where there is a checksum; and outcomes are told apart."""

import numpy as np
import pytest

from ebgan_mdn_jax.types import InputError
from experiments import damage

for package in ("zarr", "h5py", "tensorboard"):
    pytest.importorskip(package, reason="extras formats and tensorboard are not installed")


@pytest.mark.parametrize("name", damage.FORMATS)
def test_damaged_files(name, tmp_path):
    counts = damage.count(name, tmp_path, 60)
    assert counts.total() == 60 and counts["other"] == 0
    assert counts["refused"] > (10 if name == "checkpoints" else 20)  # most of a checkpoint's bytes are for training on
    if damage.FORMATS[name].checksums != "none":
        assert counts["wrong"] == 0


def test_outcomes():
    whole = [np.arange(3), np.arange(2)]

    def outcome(found):
        def read(path):
            if isinstance(found, Exception):
                raise found
            return found

        return damage.outcome(read, None, whole)

    assert outcome(InputError("one line")) == "refused"
    assert outcome(InputError("two\nlines")) == outcome(KeyError("obs")) == "other"
    assert outcome(whole) == "right"
    assert outcome(whole[:1]) == outcome([np.arange(3), np.arange(1)]) == "shorter"
    assert outcome([np.arange(3), np.zeros(2)]) == outcome([*whole, np.arange(1)]) == outcome([np.arange(4)]) == "wrong"


def test_damage_is_one_byte_or_a_cut():
    rng, content = np.random.default_rng(0), bytes(range(50))
    for _ in range(100):
        changed = damage.damage(rng, content)
        apart = [a != b for a, b in zip(changed, content, strict=False)]
        assert (len(changed) == 50 and sum(apart) == 1) or (len(changed) < 50 and not any(apart))
