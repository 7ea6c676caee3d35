"""Loops that train the same GAN, to be timed beside `fit`: as textbooks write it, faster rung by rung, and
the leanest that one could write by hand."""
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from ganbook import data as sets
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import Stop, fit, new_state
from trials.common import clock, timed


# What is trained

@dataclass
class Case:
    "One pair of networks on one set of data, and its targets."
    name: str
    data: sets.Data
    make: object  # () -> (G, D) on the CPU
    batch: int
    gain: float = 0.     # target on a GPU: images a second over the textbook's loop
    most: float = 1.05   # target on the CPU: `fit` over the minimal loop
    textbook: bool = True
    gpu: bool = False    # too large to be measured on a CPU unless it is asked for by name

def image_pair(): return MLPGenerator((1, 28, 28)), MLPDiscriminator((1, 28, 28))

def small_pair():
    shape, hidden = (1, 8, 8), (64, 64)
    return MLPGenerator(shape, latent_dim=64, hidden=hidden), MLPDiscriminator(shape, hidden=hidden)

def dcgan_pair(shape): return lambda: (DCGANGenerator(shape), DCGANDiscriminator(shape))


# The loops

class Ours:
    """The library's loop: D frozen in the step of G, its own
    latents for either player, a log; with options of `fit`."""
    def __init__(self, case, device, compiled=False, **options):
        torch.manual_seed(0)
        self.case, self.data, self.options = case, case.data.to(device), options
        self.s = new_state(*(m.to(device) for m in case.make()), lr=2e-4, seed=0)
        if compiled:
            for m in self.nets: m.compile()
    def run(self, n, callbacks=()):
        fit(
            self.s, self.data, self.s.step + n, non_saturating, batch_size=self.case.batch,
            callbacks=callbacks, **self.options,
        )
    @property
    def nets(self): return self.s.G, self.s.D

class ByHand:
    "Networks and optimisers of a loop that uses nothing of the library's."
    fused = None  # torch's choice
    def __init__(self, case, device):
        torch.manual_seed(0)
        self.case, self.device = case, torch.device(device)
        self.nets = tuple(m.to(device) for m in case.make())
        adam = partial(torch.optim.Adam, lr=2e-4, betas=(.5, .999), fused=self.fused)
        self.opts = [adam(m.parameters()) for m in self.nets]

class Minimal(ByHand):
    "The leanest loop with the same arithmetic: no log, no options, no state; D frozen by hand in G's step."
    fused = True
    def __init__(self, case, device):
        super().__init__(case, device)
        self.data = case.data.to(device)
        self.rng = torch.Generator(device).manual_seed(0)
    def run(self, n):
        (G, D), (opt_G, opt_D) = self.nets, self.opts
        x = self.data.x
        B, Z = self.case.batch, G.latent_dim
        rng, device = self.rng, self.device
        params = list(D.parameters())
        is_image, scale = self.data.is_image, self.data.scale
        for _ in range(n):
            real = x.index_select(0, torch.randint(len(x), (B,), generator=rng, device=device))
            real = real.float().mul_(2/255).sub_(1) if is_image else real.div_(scale)
            with torch.no_grad(): fake = G(torch.randn(B, Z, generator=rng, device=device))
            loss = F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()
            opt_D.zero_grad()
            loss.backward()
            opt_D.step()
            for p in params: p.requires_grad_(False)
            loss = F.softplus(-D(G(torch.randn(B, Z, generator=rng, device=device)))).mean()
            opt_G.zero_grad()
            loss.backward()
            opt_G.step()
            for p in params: p.requires_grad_(True)

class Samples(Dataset):
    "Sample by sample to float and normalised, as transforms do."
    def __init__(self, data): self.data = data
    def __len__(self): return len(self.data)
    def __getitem__(self, i):
        x = self.data.x[i].to(torch.float32).div(255)
        return x.sub(torch.tensor([.5]).view(-1, 1, 1)).div(torch.tensor([.5]).view(-1, 1, 1))

class Textbook(ByHand):
    """As it is commonly written: a DataLoader, labels of ones
    and zeros, one z for both players, losses read each step."""
    def __init__(self, case, device):
        super().__init__(case, device)
        self.loader = DataLoader(Samples(case.data), case.batch, shuffle=True, drop_last=True)
        self.batches = iter(())
    def next(self):
        try: return next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            return next(self.batches)
    def run(self, n):
        (G, D), (opt_G, opt_D), device, losses = self.nets, self.opts, self.device, []
        bce, B = nn.BCEWithLogitsLoss(), self.case.batch
        for _ in range(n):
            real = self.next().to(device)
            valid, fake_label = torch.ones(B, device=device), torch.zeros(B, device=device)
            opt_G.zero_grad()
            fake = G(torch.randn(B, G.latent_dim, device=device))
            loss_G = bce(D(fake), valid)
            loss_G.backward()
            opt_G.step()
            opt_D.zero_grad()
            loss_D = (bce(D(real), valid) + bce(D(fake.detach()), fake_label))/2
            loss_D.backward()
            opt_D.step()
            losses.append((loss_D.item(), loss_G.item()))

class OnDevice(Textbook):
    "The textbook's loop with the data on the device: a batch is one index."
    def __init__(self, case, device):
        super().__init__(case, device)
        self.x = case.data.x.to(device)
    def next(self):
        i = torch.randint(len(self.x), (self.case.batch,), device=self.device)
        return self.x.index_select(0, i).float().mul_(2/255).sub_(1)

class NoWaiting(OnDevice):
    "And nothing asks for a value: losses stay on the device, the labels are made once."
    fused = False
    def __init__(self, case, device):
        super().__init__(case, device)
        self.labels = torch.ones(case.batch, device=device), torch.zeros(case.batch, device=device)
    def run(self, n):
        (G, D), (opt_G, opt_D), (ones, zeros), losses = self.nets, self.opts, self.labels, []
        bce, B = nn.BCEWithLogitsLoss(), self.case.batch
        for _ in range(n):
            real = self.next()
            opt_G.zero_grad()
            fake = G(torch.randn(B, G.latent_dim, device=self.device))
            loss_G = bce(D(fake), ones)
            loss_G.backward()
            opt_G.step()
            opt_D.zero_grad()
            loss_D = (bce(D(real), ones) + bce(D(fake.detach()), zeros))/2
            loss_D.backward()
            opt_D.step()
            losses.append((loss_D.detach(), loss_G.detach()))

class Fused(NoWaiting):
    "And each optimiser is one kernel."
    fused = True


# Turns

class Turns:
    "A callback: every `n` steps of fit, note how long they took, and give each other loop a turn of its own."
    def __init__(self, others, steps, repeats, device):
        self.others, self.steps = others, steps
        self.repeats, self.device = repeats, device
        self.n = 10  # the first ten steps set up, record and warm
        self.times = {k: [] for k in steps}
        self.begun = None
    def __call__(self, s):
        self.n -= 1
        if self.n: return
        if self.begun is not None:
            self.times['fit'].append((clock(self.device) - self.begun)/self.steps['fit'])
        if len(self.times['fit']) == self.repeats: raise Stop
        for k, loop in self.others.items():
            self.times[k].append(timed(lambda: loop.run(self.steps[k]), self.device)/self.steps[k])
        self.n, self.begun = self.steps['fit'], clock(self.device)
