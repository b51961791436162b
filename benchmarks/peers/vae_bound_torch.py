"""The peer of `benchmarks/vae_bound.py`: the same variational autoencoder, written in PyTorch."""

import itertools
import math
import time

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve
from torch import Tensor, nn

BATCH = 500  # of evaluation


class VAE(nn.Module):
    """Dense encoder and decoder, with the initial weights that Keras draws (Glorot)."""

    def __init__(self, pixels: int, hidden: list[int], latent: int):
        super().__init__()
        self.encoder = _dense_layers([pixels, *hidden])
        self.to_posterior = nn.Linear(hidden[-1], 2 * latent)
        self.decoder = _dense_layers([latent, *reversed(hidden)])
        self.decoder.append(nn.Linear(hidden[0], pixels))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the latent variables."""
        return self.to_posterior(self.encoder(x)).chunk(2, dim=-1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Log-likelihood of each image, given latent variables."""
        return -F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(-1)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The terms of the bound of each image: log p(x | z) at one draw, and the divergence."""
        mean, log_variance = self.posterior(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)
        return self.log_likelihood(x, z), divergence

    def importance_weighted_bound(self, x: Tensor, draws: int) -> Tensor:
        """The bound of several draws of each image."""
        mean, log_variance = self.posterior(x)
        posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
        prior = torch.distributions.Normal(0.0, 1.0)
        weights = []
        for _ in range(draws):
            z = posterior.sample()
            ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
            weights.append(self.log_likelihood(x, z) + ratio)
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(draws)


def _dense_layers(widths: list[int]) -> nn.Sequential:
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Run:
    """One training run, an epoch at a time."""

    def start(
        self,
        images: str,
        seed: int,
        hidden: list[int],
        latent: int,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        epsilon: float,
    ) -> int:
        """Sets up a run on the images of a `.npy` file; returns its number of parameters."""
        torch.manual_seed(seed)
        self.images = torch.from_numpy(np.load(images))
        self.batch_size = batch_size
        self.steps = len(self.images) // batch_size
        self.vae = VAE(self.images.shape[1], hidden, latent)
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), lr=learning_rate, weight_decay=weight_decay, eps=epsilon
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, T_max=epochs * self.steps
        )
        return sum(weight.numel() for weight in self.vae.parameters())

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch; returns its seconds and its mean loss."""
        start = time.perf_counter()
        total = 0.0
        order = torch.randperm(len(self.images))[: self.steps * self.batch_size]
        for rows in order.split(self.batch_size):
            x = torch.bernoulli(self.images[rows] / 255)
            likelihood, divergence = self.vae.terms(x)
            loss = (divergence - likelihood).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            total += loss.item()
        return {"seconds": time.perf_counter() - start, "loss": total / self.steps}

    @torch.no_grad()
    def measure(self, images: str, draws: int) -> dict[str, float]:
        """Both bounds of the binary images of a `.npy` file, and how latent variables are used."""
        batches = torch.from_numpy(np.load(images)).float().split(BATCH)
        means = torch.cat([self.vae.posterior(x)[0] for x in batches])
        likelihood, divergence = (
            torch.cat(one).double().mean().item()
            for one in zip(*(self.vae.terms(x) for x in batches), strict=True)
        )
        tighter = torch.cat([self.vae.importance_weighted_bound(x, draws) for x in batches])
        return {
            "bound": likelihood - divergence,
            "importance_weighted": tighter.double().mean().item(),
            "divergence": divergence,
            "active_units": int((means.var(dim=0) > 0.01).sum()),
        }


run = Run()
serve({"start": run.start, "epoch": run.epoch, "measure": run.measure})
