"""Minibatches read from the host are those that members see with all rows on the device, and train to the same bits."""

import importlib.util
import itertools

import jax
import numpy as np
import pytest

from ebgan_mdn_jax.policy import restore
from ebgan_mdn_jax.training import loop, stream
from ebgan_mdn_jax.types import Batch, InputError
from experiments import config as configs
from experiments import run

pytest.importorskip("grain", reason="extra stream is not installed")


def test_blocks_are_the_minibatches_of_shuffled_epochs():
    """Of 3 members on 2 splits of 11 rows, 4 at a time: 3 steps an epoch; from step 2 to 12 in blocks of 4."""
    rng = np.random.default_rng(0)
    data = Batch(rng.normal(size=(2, 11, 3)), rng.normal(size=(2, 11, 1)))
    keys, folds = jax.random.split(jax.random.key(0), 3), np.array([0, 1, 0], np.int32)
    found = list(stream.blocks(data, keys, folds, 4, 2, 12, 4))
    assert [block.obs.shape for block in found] == [(3, 16, 3)] * 3
    for step in range(2, 12):
        block, start = found[(step - 2) // 4], (step - 2) % 4 * 4
        for member in range(3):
            order = loop.epoch_order(keys[member], step // 3, 11)
            expected = loop.take_batch(data, folds[member], order, step % 3, 4)
            for ours, theirs in zip(block, expected, strict=True):
                np.testing.assert_array_equal(ours[member, start : start + 4], theirs)


def test_streamed_training_is_bitwise_that_on_the_device(tmp_path, monkeypatch):
    """Three members, each with demonstrations of its own; 23 steps in blocks of 5, cut off after 15 and resumed."""
    settings = ("train.steps=23", "train.checkpoint_every=5", "data.num_demonstrations=50", "data.redraw=True")
    settings += ("evaluation.num_inputs=4", "evaluation.num_draws=4", "evaluation.num_quadrature=20")

    def trained(name, *more):
        config = configs.make_config(
            "hyperbola", "mdn", 3, 0, (*settings, "method.generator.hidden=(8,)", *more), "small"
        )
        run.train(config, tmp_path / name, log=lambda line: None)
        return jax.tree.leaves([restore(tmp_path / name, member).params for member in range(3)])

    expected, blocks = trained("whole"), stream.blocks
    with monkeypatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(stream, "blocks", lambda *arguments: itertools.islice(blocks(*arguments), 3))
        trained("streamed", "train.stream=5")
    for ours, theirs in zip(trained("streamed", "train.stream=5"), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_cannot_be_streamed_is_told(monkeypatch):
    with pytest.raises(InputError, match="leave out train.log_every=3"):
        configs.make_config("hyperbola", "mdn", 1, 0, ("train.stream=5", "train.log_every=3"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ebgan_mdn_jax\[stream\]'"):
        stream.require_grain()
