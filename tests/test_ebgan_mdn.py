"""EBGAN-MDN: what each loss term computes, where gradients stop, and in what order a step descends.

The energy of most tests is a closed form, ``E = theta |a - o|^2``, which can note the actions that it is asked about.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from ebgan_mdn_jax.methods import ebgan_mdn, mdn
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.methods.base import step_decay
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
B, N, K = 5, 6, 3
FLOOR, ALPHA = 0.05, 0.4
THETA = jnp.asarray(1.5)
KEY = jax.random.key(11)
# One action is outside the box, where the density of uniform negatives is zero.
BATCH = Batch(jnp.linspace(-0.8, 0.8, B)[:, None], jnp.asarray([[-0.9], [0.1], [1.2], [0.5], [-0.3]]))


def quadratic(theta, obs, action):
    return theta * jnp.sum((action - jnp.broadcast_to(obs, action.shape)) ** 2, axis=-1)


def make_losses(energy=quadratic, spec=SPEC, **fields):
    """Loss terms with a linear generator, and its weights."""
    default = {
        "generator": generators.GeneratorConfig(K, "isotropic", hidden=()),
        "num_negatives": N,
        "reweight": False,
    }
    config = ebgan_mdn.Config(**default | fields)
    generator = generators.make(config.generator, spec)
    return ebgan_mdn.make_losses(config, spec, generator, energy), generator, jax.jit(generator.init)(jax.random.key(0))


def seen_by_energy(batch=BATCH, key=KEY, **fields):
    """Actions ``[1 + N + 1, B, Da]`` that the energy loss compares: demonstrated, negatives, generated."""
    seen = []

    def energy(theta, obs, action):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)), action)
        return quadratic(theta, obs, action)

    spec = fields.pop("spec", SPEC)
    terms, _, weights = make_losses(energy, spec, **fields)
    jax.block_until_ready(jax.jit(terms.energy)(THETA, weights, batch, key, ALPHA, FLOOR))
    jax.effects_barrier()
    (actions,) = seen
    return actions


def move(tree):
    return jax.tree.map(lambda x: x + 0.3, tree)


def assert_zero(tree):
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, np.zeros_like(g)), tree)


# Where gradients stop


@pytest.mark.parametrize("correct_proposal", [False, True])
def test_the_energy_loss_does_not_train_the_generator(correct_proposal):
    terms, _, weights = make_losses(correct_proposal=correct_proposal)

    @jax.jit
    def loss(weights, theta):
        return terms.energy(theta, weights, BATCH, KEY, ALPHA, FLOOR)[0]

    to_generator, to_energy = jax.jit(jax.grad(loss, argnums=(0, 1)))(weights, THETA)
    assert_zero(to_generator)
    assert to_energy != 0
    assert abs(loss(move(weights), THETA) - loss(weights, THETA)) > 1e-3  # although it depends on the generator


@pytest.mark.parametrize("energy_term", ["sampled", "all_components"])
def test_the_generator_loss_does_not_train_the_energy(energy_term):
    terms, _, weights = make_losses(energy_term=energy_term)

    @jax.jit
    def loss(weights, theta):
        return terms.generator_energy(weights, theta, BATCH, KEY, FLOOR, 0.0)[0]

    to_generator, to_energy = jax.jit(jax.grad(loss, argnums=(0, 1)))(weights, THETA)
    assert_zero(to_energy)
    assert abs(loss(weights, move(THETA)) - loss(weights, THETA)) > 1e-3  # although it depends on the energy
    assert all(np.any(g != 0) for g in jax.tree.leaves(to_generator))


def test_only_all_components_trains_the_mixture_weights():
    def last_layer(energy_term):
        terms, _, weights = make_losses(energy_term=energy_term)
        gradient = jax.jit(jax.grad(lambda w: terms.generator_energy(w, THETA, BATCH, KEY, FLOOR, 0.0)[0]))(weights)
        return gradient["params"]["MLP_0"]["Dense_0"]

    sampled, every = last_layer("sampled"), last_layer("all_components")
    for gradient in (sampled, every):  # outputs are K logits, K means, K scales
        assert np.any(gradient["bias"][K : 2 * K] != 0) and np.any(gradient["bias"][2 * K :] != 0)
    assert_zero((sampled["bias"][:K], sampled["kernel"][:, :K]))
    assert np.all(every["bias"][:K] != 0) and np.all(every["kernel"][:, :K] != 0)


# What the terms compute


def numpy_info_nce(energies, alpha, alpha_form="weight"):
    """Of ``energies [1 + N + 1, B]``: the paper's formula, averaged."""
    terms = np.exp(-np.asarray(energies, np.float64))
    terms[-1] = alpha * terms[-1] if alpha_form == "weight" else terms[-1] ** alpha
    return np.mean(-np.log(terms[0] / terms.sum(0)))


@pytest.mark.parametrize("alpha_form", ["weight", "logit"])
def test_energy_loss_is_info_nce_of_the_actions_seen(alpha_form):
    terms, _, weights = make_losses(alpha_form=alpha_form)
    loss, (positive, negative) = jax.jit(terms.energy)(THETA, weights, BATCH, KEY, ALPHA, FLOOR)
    actions = seen_by_energy(alpha_form=alpha_form)
    np.testing.assert_array_equal(actions[0], BATCH.action)
    energies = 1.5 * np.sum((actions.astype(np.float64) - np.asarray(BATCH.obs)) ** 2, -1)
    assert float(loss) == pytest.approx(numpy_info_nce(energies, ALPHA, alpha_form), rel=1e-5)
    assert float(positive) == pytest.approx(energies[0].mean(), rel=1e-5)
    assert float(negative) == pytest.approx(energies[1:-1].mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("family", "critic"), [("gaussian", "info_nce"), ("laplace", "info_nce"), ("gaussian", "importance_nll")]
)
def test_correct_proposal_takes_log_r_out_of_the_logits(family, critic):
    """The logits are -E - log r, with r = (N u + alpha q) / (N + alpha), at every action; reported energies stay as they are."""
    fields = {
        "generator": generators.GeneratorConfig(K, "isotropic", hidden=(), family=family),
        "correct_proposal": True,
        "critic": critic,
    }
    terms, generator, weights = make_losses(**fields)
    loss, (positive, _) = jax.jit(terms.energy)(THETA, weights, BATCH, KEY, ALPHA, FLOOR)
    actions = seen_by_energy(**fields).astype(np.float64)
    energies = 1.5 * np.sum((actions - np.asarray(BATCH.obs)) ** 2, -1)
    q = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.jit(generator.mixture)(weights, BATCH.obs, FLOOR))
    distribution = {"gaussian": scipy.stats.norm, "laplace": scipy.stats.laplace}[family]
    density = np.sum(np.exp(q.log_weights) * distribution.pdf(actions, q.means[..., 0], q.scales[..., 0]), -1)
    uniform = np.where(np.abs(actions[..., 0]) <= 1, 0.5, 0.0)
    log_r = np.log((N * uniform + ALPHA * density) / (N + ALPHA))
    if critic == "info_nce":
        expected = numpy_info_nce(energies + log_r, ALPHA)
    else:
        weight = np.append(np.ones(N), ALPHA)[:, None]
        normaliser = np.sum(weight * np.exp(-energies - log_r)[1:], 0) / weight.sum()
        expected = np.mean(energies[0] + np.log(normaliser))
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(positive) == pytest.approx(energies[0].mean(), rel=1e-5)


def test_every_draw_counts_in_the_denominator():
    terms, _, weights = make_losses(num_generated=3)
    loss, _ = jax.jit(terms.energy)(THETA, weights, BATCH, KEY, ALPHA, FLOOR)
    actions = seen_by_energy(num_generated=3).astype(np.float64)
    assert actions.shape[0] == 1 + N + 3 and len(np.unique(actions[:, 0])) == 1 + N + 3
    factors = (
        np.exp(-1.5 * np.sum((actions - np.asarray(BATCH.obs)) ** 2, -1)) * np.r_[np.ones(1 + N), [ALPHA] * 3][:, None]
    )
    assert float(loss) == pytest.approx(np.mean(-np.log(factors[0] / factors.sum(0))), rel=1e-5)


def test_likelihood_of_the_energy_needs_the_proposal():
    with pytest.raises(InputError, match="set method.correct_proposal=True"):
        ebgan_mdn.Config(critic="importance_nll")
    with pytest.raises(InputError, match="set method.critic=info_nce and method.correct_proposal=False"):
        ebgan_mdn.Config(critic="importance_nll", correct_proposal=True, negatives="data", reweight=False)


def test_steps_of_their_own_have_no_components_of_whole_actions():
    steps = generators.GeneratorConfig(independent_steps=2)
    for fields in ({"reweight": True}, {"reweight": False, "energy_term": "all_components"}):
        with pytest.raises(InputError, match="use method.generator.independent_steps=1"):
            ebgan_mdn.Config(steps, **fields)
    assert ebgan_mdn.Config(steps, reweight=False).generator is steps


def test_binary_critic_sees_data_and_draws_alone():
    actions = seen_by_energy(critic="binary", num_generated=3)
    assert actions.shape[0] == 1 + 3
    terms, _, weights = make_losses(critic="binary", num_generated=3)
    loss, _ = jax.jit(terms.energy)(THETA, weights, BATCH, KEY, ALPHA, FLOOR)
    energies = 1.5 * np.sum((actions.astype(np.float64) - np.asarray(BATCH.obs)) ** 2, -1)
    assert float(loss) == pytest.approx(
        np.mean(np.logaddexp(0, energies[0]) + np.logaddexp(0, -energies[1:]).mean(0)), rel=1e-5
    )


def test_correct_proposal_stays_finite_without_the_generator():
    terms, _, weights = make_losses(correct_proposal=True)
    assert np.isfinite(jax.jit(terms.energy)(THETA, weights, BATCH, KEY, 0.0, FLOOR)[0])


@pytest.mark.parametrize("energy_term", ["sampled", "all_components"])
def test_generator_energy_is_the_expected_energy_of_draws(energy_term):
    """E |a - o|^2 under the mixture in closed form; over 2,000 equal rows, within 5 standard errors."""
    terms, generator, weights = make_losses(energy_term=energy_term)
    obs = jnp.full((2_000, 1), 0.5)
    value, _ = jax.jit(terms.generator_energy)(weights, THETA, Batch(obs, obs), KEY, FLOOR, 0.0)
    q = jax.tree.map(lambda x: np.asarray(x[0], np.float64), jax.jit(generator.mixture)(weights, obs[:1], FLOOR))
    bias, variance = q.means[:, 0] - 0.5, q.scales[:, 0] ** 2
    first = np.sum(np.exp(q.log_weights) * (bias**2 + variance))
    second = np.sum(np.exp(q.log_weights) * (bias**4 + 6 * bias**2 * variance + 3 * variance**2))
    assert float(value) == pytest.approx(1.5 * first, abs=5 * 1.5 * np.sqrt((second - first**2) / 2_000))


@pytest.mark.parametrize("energy_term", ["sampled", "all_components"])
def test_entropy_term_is_the_expected_log_density_of_draws(energy_term):
    """Against quadrature; over 2,000 equal rows, within 5 standard errors."""
    terms, generator, weights = make_losses(energy_term=energy_term)
    obs = jnp.full((2_000, 1), 0.5)
    with_and_without = [
        float(jax.jit(terms.generator_energy)(weights, THETA, Batch(obs, obs), KEY, FLOOR, h)[0]) for h in (2.0, 0.0)
    ]
    q = jax.tree.map(lambda x: np.asarray(x[0], np.float64), jax.jit(generator.mixture)(weights, obs[:1], FLOOR))
    grid = np.linspace(-15, 15, 20_001)[:, None]
    density = np.sum(np.exp(q.log_weights) * scipy.stats.norm.pdf(grid, q.means[:, 0], q.scales[:, 0]), -1)
    mass, log_density = density * (grid[1] - grid[0]), np.log(np.maximum(density, 1e-300))
    mean, square = np.sum(mass * log_density), np.sum(mass * log_density**2)
    gained = with_and_without[0] - with_and_without[1]
    assert gained == pytest.approx(2 * mean, abs=5 * 2 * np.sqrt((square - mean**2) / 2_000))


def test_reverse_divergence_has_no_gradient_where_the_generator_is_the_energys_density():
    """With h = 1, all components and ``E = -log q`` of the generator itself, ``E + log q`` is 0 at every draw, and so is its gradient."""
    obs = jnp.full((20_000, 1), 0.5)
    _, generator, weights = make_losses()

    def energy(_, obs, action):
        return -generator.log_prob(weights, obs, action, FLOOR)

    def gradient(h):
        terms, _, _ = make_losses(energy, energy_term="all_components")
        return jax.jit(jax.grad(lambda w: terms.generator_energy(w, THETA, Batch(obs, obs), KEY, FLOOR, h)[0]))(weights)

    balanced, pulled = (optax.tree.norm(gradient(h)) for h in (1.0, 0.0))
    assert balanced < 0.05 * pulled


def test_likelihood_is_the_mean_nll_and_weight_entropy():
    terms, generator, weights = make_losses()
    nll, entropy = jax.jit(terms.likelihood)(weights, BATCH, KEY, FLOOR)
    q = jax.jit(generator.mixture)(weights, BATCH.obs, FLOOR)
    density = np.sum(
        np.exp(q.log_weights) * scipy.stats.norm.pdf(BATCH.action, q.means[..., 0], q.scales[..., 0]), axis=-1
    )
    assert float(nll) == pytest.approx(-np.mean(np.log(density)), rel=1e-5)
    assert float(entropy) == pytest.approx(np.mean(scipy.stats.entropy(np.exp(q.log_weights), axis=-1)), rel=1e-5)


# Negatives


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_box_of_negatives_is_scaled_about_its_centre(factor):
    drawn = seen_by_energy(spec=Spec((-1.0,), (1.0,), (1.0,), (5.0,)), num_negatives=400, negatives_box=factor)[1:-1]
    assert drawn.min() == pytest.approx(3 - 2 * factor, abs=0.05 * factor)
    assert drawn.max() == pytest.approx(3 + 2 * factor, abs=0.05 * factor)


@pytest.fixture
def numbered():
    """A batch whose actions tell their row: 10, 20, 30, ..., outside the box of uniform negatives."""
    return Batch(BATCH.obs, 10.0 * (1 + jnp.arange(B, dtype=jnp.float32))[:, None])


def test_uniform_negatives_fill_the_box():
    spec = Spec((-1.0,), (1.0,), (-1.0, 2.0), (1.0, 5.0))
    batch = Batch(jnp.zeros((40, 1)), jnp.zeros((40, 2)))
    seen = seen_by_energy(batch, spec=spec, num_negatives=100)
    assert seen.shape == (102, 40, 2)
    values = seen[1:-1].reshape(-1, 2)
    assert np.all(values >= [-1, 2]) and np.all(values <= [1, 5])
    for dim, (low, width) in enumerate(((-1, 2), (2, 3))):
        assert scipy.stats.kstest(values[:, dim], scipy.stats.uniform(low, width).cdf).pvalue > 1e-6
    assert scipy.stats.pearsonr(*values.T).pvalue > 1e-6
    assert len(np.unique(values[:, 0])) > 0.99 * len(values)  # every row and negative has its own


def test_data_negatives_are_other_rows_never_the_own(numbered):
    seen = seen_by_energy(numbered, negatives="data", num_negatives=200)
    rows = np.rint(seen[1:-1, :, 0] / 10).astype(int) - 1
    for row in range(B):
        counts = np.bincount(rows[:, row], minlength=B)
        assert counts[row] == 0
        assert scipy.stats.chisquare(np.delete(counts, row)).pvalue > 1e-6


def test_data_negatives_need_a_second_row():
    with pytest.raises((InputError, AssertionError)):
        seen_by_energy(jax.tree.map(lambda x: x[:1], BATCH), negatives="data")


@pytest.mark.parametrize(("num", "from_data"), [(6, 3), (7, 3), (1, 0)])
def test_mixed_negatives_are_half_and_half(numbered, num, from_data):
    seen = seen_by_energy(numbered, negatives="mixed", num_negatives=num)
    data = seen[1:-1, :, 0] >= 10
    np.testing.assert_array_equal(data.sum(0), np.full(B, from_data))
    assert np.all(np.abs(seen[1:-1, :, 0][~data]) <= 1)
    assert not np.any(seen[1:-1] == np.asarray(numbered.action))


def test_noise_depends_on_the_key_and_the_row_only():
    first, again, other = seen_by_energy(), seen_by_energy(), seen_by_energy(key=jax.random.key(12))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first[1:] == other[1:])
    shorter = seen_by_energy(jax.tree.map(lambda x: x[:3], BATCH))
    np.testing.assert_allclose(shorter, first[:, :3], rtol=1e-6)


# Schedules


def test_alpha_falls_once_per_epoch_to_its_floor():
    horizon, hyper = Horizon(num_steps=100, steps_per_epoch=10), ebgan_mdn.Hyper(alpha=2.0, alpha_floor=0.5)
    steps = jnp.arange(120)
    linear = ebgan_mdn.Config(alpha_schedule="linear")
    alpha = ebgan_mdn.alpha_at(horizon.epoch(steps), horizon, linear, hyper)
    expected = [max(2.0 * (1 - (step // 10) / 10), 0.5) for step in range(120)]
    np.testing.assert_allclose(alpha, expected, rtol=1e-6)
    constant = ebgan_mdn.Config(alpha_schedule="constant")
    assert {float(ebgan_mdn.alpha_at(jnp.asarray(e), horizon, constant, hyper)) for e in range(12)} == {2.0}


def test_a_last_epoch_cut_short_counts():
    assert Horizon(101, 10).num_epochs == 11 and Horizon(100, 10).num_epochs == 10 and Horizon(1, 10).num_epochs == 1


def test_step_decay_is_step_lr():
    horizon, steps = Horizon(num_steps=122, steps_per_epoch=2), jnp.arange(122)
    expected = [0.5 ** (step // 2 // 20) for step in range(122)]
    np.testing.assert_allclose(step_decay(steps, horizon, 0.5, 20), expected, rtol=1e-6)
    np.testing.assert_allclose(step_decay(steps, horizon, 1.0, 20), np.ones(122))


def test_schedules_may_count_in_steps():
    horizon, steps = Horizon(num_steps=122, steps_per_epoch=2, epoch_steps=10), jnp.arange(122)
    expected = [0.5 ** (step // 10 // 3) for step in range(122)]
    np.testing.assert_allclose(step_decay(steps, horizon, 0.5, 3), expected, rtol=1e-6)
    assert horizon.num_epochs == 13


def test_step_decay_of_a_fifth_has_five_stages():
    for num_epochs in (50, 100):
        rates = np.asarray(step_decay(jnp.arange(num_epochs), Horizon(num_epochs, 1), 0.5, 0))
        np.testing.assert_allclose(rates, np.repeat(0.5 ** np.arange(5), num_epochs // 5), rtol=1e-6)


# One step


STEP_CONFIG = ebgan_mdn.Config(
    generators.GeneratorConfig(2, "isotropic", hidden=()),
    energy_hidden=(4,),
    num_negatives=4,
    energy_steps=2,
    alpha_schedule="linear",
    decay_every=1,
)
STEP_HORIZON = Horizon(100, 10)


@pytest.fixture(scope="module")
def stepper():
    """Plain gradient descent, so that an update is ``-learning rate * gradient``."""
    method = ebgan_mdn.make(STEP_CONFIG, SPEC, STEP_HORIZON, optimizer=optax.identity())
    return method, jax.jit(method.step), jax.jit(method.init)(jax.random.key(5))


def test_a_step_descends_the_losses_in_order(stepper):
    """R energy updates with the old generator, then one generator update against the new energy; fresh noise for each."""
    method, step, state = stepper
    state = state._replace(step=jnp.asarray(25))  # epoch 2: alpha 0.8, learning rates / 4
    hyper = method.hyper._replace(
        energy_weight=0.7, scale_floor=0.02, energy_learning_rate=0.4, generator_learning_rate=0.2
    )
    new, info = step(state, BATCH, hyper)

    generator = generators.make(STEP_CONFIG.generator, SPEC)

    def network(params, obs, action):
        return method.energy(state.params._replace(energy=params), obs, action)

    terms = ebgan_mdn.make_losses(STEP_CONFIG, SPEC, generator, network)
    key_energy, key_generator = jax.random.split(jax.random.fold_in(state.key, 25))

    @jax.jit
    def by_hand(params):
        energy, weights, logged = params.energy, params.generator, []
        for key in jax.random.split(key_energy, 2):
            (loss, _), grads = jax.value_and_grad(terms.energy, has_aux=True)(energy, weights, BATCH, key, 0.8, 0.02)
            energy = jax.tree.map(lambda p, g: p - 0.1 * g, energy, grads)
            logged.append(loss)

        def total(weights):
            value = terms.generator_energy(weights, energy, BATCH, key_generator, 0.02, 0.0)[0]
            return 0.7 * value + terms.likelihood(weights, BATCH, key_generator, 0.02)[0]

        grads = jax.grad(total)(weights)
        return jax.tree.map(lambda p, g: p - 0.05 * g, weights, grads), energy, jnp.mean(jnp.stack(logged))

    weights, energy, loss = by_hand(state.params)
    for ours, reference, old in (
        (new.params.generator, weights, state.params.generator),
        (new.params.energy, energy, state.params.energy),
    ):
        assert (
            max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(*map(jax.tree.leaves, (ours, old)), strict=True)) > 0.01
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), ours, reference)
    assert float(info.energy_loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(info.alpha) == float(new.params.alpha) == pytest.approx(0.8)
    assert float(new.params.scale_floor) == pytest.approx(0.02)  # what inference must use
    assert int(new.step) == 26


def test_each_step_draws_its_own_noise(stepper):
    method, step, state = stepper
    hyper = method.hyper._replace(energy_learning_rate=0.0, generator_learning_rate=0.0)
    first, info = step(state, BATCH, hyper)
    assert float(step(state, BATCH, hyper)[1].energy_loss) == float(info.energy_loss)  # a restart repeats a step
    jax.tree.map(np.testing.assert_array_equal, first.params.energy, state.params.energy)
    later = step(first, BATCH, hyper)[1]  # same weights and alpha, another step
    assert float(later.alpha) == float(info.alpha)
    assert float(later.negative_energy) != float(info.negative_energy)
    assert float(later.generator_energy) != float(info.generator_energy)
    assert float(later.positive_energy) == float(info.positive_energy)


def test_the_energy_has_no_say_in_the_generator_until_the_warm_up_is_over(stepper):
    method, step, state = stepper

    def weights(index, **hyper):
        moved, _ = step(state._replace(step=jnp.asarray(index)), BATCH, method.hyper._replace(warm_up=0.5, **hyper))
        return moved.params.generator

    for index in (0, 49):
        jax.tree.map(np.testing.assert_array_equal, weights(index), weights(index, energy_weight=0.0))
    with pytest.raises(AssertionError):
        jax.tree.map(np.testing.assert_array_equal, weights(50), weights(50, energy_weight=0.0))


def test_without_the_energys_weight_the_generator_takes_the_steps_of_an_mdn(stepper):
    method, step, state = stepper
    alone = mdn.make(mdn.Config(STEP_CONFIG.generator, decay_every=1), SPEC, STEP_HORIZON, optimizer=optax.identity())
    other = jax.jit(alone.init)(jax.random.key(6))
    other = other._replace(params=other.params._replace(generator=state.params.generator))
    alone_step, rate = jax.jit(alone.step), alone.hyper.learning_rate
    for weight, same in ((0.0, True), (0.7, False)):
        ours, theirs = state, other
        for _ in range(25):  # over two decays
            ours, _ = step(ours, BATCH, method.hyper._replace(energy_weight=weight, generator_learning_rate=rate))
            theirs, _ = alone_step(theirs, BATCH, alone.hyper)
        pairs = zip(*map(jax.tree.leaves, (ours.params.generator, theirs.params.generator)), strict=True)
        assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs) == same


def test_alpha_is_constant_within_an_epoch_of_steps(stepper):
    method, step, state = stepper

    def alpha(index):
        return float(step(state._replace(step=jnp.asarray(index)), BATCH, method.hyper)[1].alpha)

    assert alpha(0) == alpha(9) == 1.0
    assert alpha(10) == alpha(19) == pytest.approx(0.9)
    assert alpha(95) == pytest.approx(0.1)


@pytest.mark.parametrize("field", ["num_negatives", "num_generated", "energy_steps", "num_candidates"])
def test_counts_must_be_positive(field):
    with pytest.raises(InputError, match=f"method.{field}=0"):
        ebgan_mdn.Config(**{field: 0})
