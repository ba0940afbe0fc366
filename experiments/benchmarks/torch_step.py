"""One EBGAN-MDN training step in PyTorch, for comparison: with a Python loop over negatives, and vectorised.

Written from the update rule (`ebgan_mdn_jax.methods.ebgan_mdn`), not copied. Both forms do the arithmetic of our step: R energy updates
with fresh negatives and draws on one minibatch, then one generator update, K isotropic Gaussians, alpha as a weight. Neither does what
the result does not need: draws are made without a graph, and the generator's gradients stop at the energy. What we log beyond the
losses (gradient norms, entropies) they leave out.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Layers = list[tuple[Tensor, Tensor]]  # weight [out, in] and bias [out] of each layer


class Networks(NamedTuple):
    """Weights of both networks, and K."""

    energy: Layers
    generator: Layers
    num_components: int


def make_networks(obs_dim: int, action_dim: int, num_components: int, hidden: tuple[int, ...]) -> Networks:
    """PyTorch's default initialisation."""

    def layers(*widths):
        linear = [torch.nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False)]
        return [(layer.weight, layer.bias) for layer in linear]

    outputs = num_components * (1 + action_dim + 1)
    energy = layers(obs_dim + action_dim, *hidden, 1)
    return Networks(energy, layers(obs_dim, *hidden, outputs), num_components)


def mlp(layers: Layers, x: Tensor) -> Tensor:
    """``[..., in] -> [..., out]`` with ReLU, which overwrites what the layer before it returned."""
    for weight, bias in layers[:-1]:
        x = functional.linear(x, weight, bias).relu_()
    return functional.linear(x, *layers[-1])


def mixture(networks: Networks, obs: Tensor, scale_floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights ``[B, K]``, means ``[B, K, Da]`` and scales ``[B, K, 1]``."""
    k = networks.num_components
    outputs = mlp(networks.generator, obs)
    means = outputs[:, k:-k].unflatten(1, (k, -1))
    return functional.log_softmax(outputs[:, :k], 1), means, scale_floor + outputs[:, -k:, None].exp()


@torch.no_grad
def draw(log_weights: Tensor, action_dim: int) -> tuple[Tensor, Tensor]:
    """Component ``[B]``, by its cumulated weights, and standard noise ``[B, Da]`` of one draw per row."""
    above = torch.rand(len(log_weights), 1) > log_weights.exp().cumsum(1)[:, :-1]
    return above.sum(1), torch.randn(len(log_weights), action_dim)


def generated(means: Tensor, scales: Tensor, component: Tensor, noise: Tensor) -> Tensor:
    """The draw ``[B, Da]``, differentiable in mean and scale of its component."""
    rows = torch.arange(len(component))
    return means[rows, component] + scales[rows, component] * noise


def energy_loss_loop(
    networks: Networks, obs: Tensor, action: Tensor, negatives: Tensor, drawn: Tensor, alpha: float
) -> Tensor:
    """Mean InfoNCE of ``negatives [N, B, Da]`` and a generated action ``[B, Da]``, one call of the network for each of them."""
    positive = -mlp(networks.energy, torch.cat([obs, action], 1))[:, 0]
    logits = [positive]
    for negative in negatives:
        logits.append(-mlp(networks.energy, torch.cat([obs, negative], 1))[:, 0])
    logits.append(-mlp(networks.energy, torch.cat([obs, drawn], 1))[:, 0] + math.log(alpha))
    return (torch.logsumexp(torch.stack(logits), 0) - positive).mean()


def energy_loss_vectorised(networks: Networks, inputs: Tensor, alpha: float) -> Tensor:
    """The same of ``inputs [1 + N + 1, B, Do + Da]``: demonstrated, negatives, generated, each beside its observation."""
    logits = -mlp(networks.energy, inputs.flatten(0, 1)).view(inputs.shape[:2])
    generator_logit = logits[-1:] + math.log(alpha)
    return (torch.logsumexp(torch.cat([logits[:-1], generator_logit]), 0) - logits[0]).mean()


def generator_loss(
    networks: Networks,
    obs: Tensor,
    action: Tensor,
    scale_floor: float,
    component_and_noise: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Mean energy of a draw, fresh or with the given component and noise, plus mean negative log-likelihood."""
    log_weights, means, scales = mixture(networks, obs, scale_floor)
    drawn = generated(means, scales, *(component_and_noise or draw(log_weights, action.shape[1])))
    standard = (action[:, None] - means) / scales
    dim = action.shape[1]
    log_density = -0.5 * standard.square().sum(2) - dim * scales[:, :, 0].log() - 0.5 * dim * math.log(2 * math.pi)
    nll = -torch.logsumexp(log_weights + log_density, 1)
    return (mlp(networks.energy, torch.cat([obs, drawn], 1))[:, 0] + nll).mean()


def make_step(
    networks: Networks,
    num_negatives: int,
    energy_steps: int,
    batch_size: int,
    vectorised: bool,
    learning_rates: tuple[float, float] = (1e-3, 5e-4),
    scale_floor: float = 1e-3,
) -> Callable[[Tensor, Tensor, float], None]:
    """``step(obs, action, alpha)`` trains the networks in place; negatives are uniform in ``[-1, 1]``.

    ``vectorised`` also turns on what a careful user would: the fused Adam, and one input buffer that negatives are drawn into.
    """
    energy = [tensor for layer in networks.energy for tensor in layer]
    generator = [tensor for layer in networks.generator for tensor in layer]
    energy_optimizer, generator_optimizer = (
        torch.optim.Adam(parameters, rate, fused=vectorised)
        for parameters, rate in zip((energy, generator), learning_rates, strict=True)
    )
    obs_dim, input_dim = networks.generator[0][0].shape[1], networks.energy[0][0].shape[1]
    action_dim = input_dim - obs_dim
    inputs = torch.empty(num_negatives + 2, batch_size, input_dim)

    @torch.no_grad
    def sample(obs):
        log_weights, means, scales = mixture(networks, obs, scale_floor)
        return generated(means, scales, *draw(log_weights, action_dim))

    def descend(optimizer, loss, parameters):
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()

    def step(obs, action, alpha):
        if vectorised:
            inputs[..., :obs_dim] = obs
            inputs[0, :, obs_dim:] = action
        for _ in range(energy_steps):
            if vectorised:
                inputs[1:-1, :, obs_dim:].uniform_(-1, 1)
                inputs[-1, :, obs_dim:] = sample(obs)
                loss = energy_loss_vectorised(networks, inputs, alpha)
            else:
                negatives = torch.empty(num_negatives, batch_size, action_dim).uniform_(-1, 1)
                loss = energy_loss_loop(networks, obs, action, negatives, sample(obs), alpha)
            descend(energy_optimizer, loss, energy)
        descend(generator_optimizer, generator_loss(networks, obs, action, scale_floor), generator)

    return step
