"""A VAE, a diffusion model and the loop that trains both: the smallest input, wrong input, and the figures of
trials/beside.py."""
import json
import sys
from functools import partial
from pathlib import Path
import pytest
import torch
from torch import nn
from ganbook.data import faces, gaussian, ring
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.models.others import (
    VAE, Flow, ImageVelocity, PointVelocity, descend, flow_loss, path_view, vae_loss,
)
from ganbook.plots import to_png
from ganbook.train import sample

root = Path(__file__).resolve().parent.parent

@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)

def pair(): return MLPGenerator((2,), 3, (8,), nn.Identity), MLPDiscriminator((2,), (8,))

def rng(seed=0): return torch.Generator().manual_seed(seed)


# The VAE

def test_a_vae_tells_and_draws_again():
    vae = VAE(*pair())
    again, mean, log_var = vae(torch.randn(5, 2), torch.randn(5, 3))
    assert again.shape == (5, 2) and mean.shape == log_var.shape == (5, 3)
    assert vae_loss(vae, torch.randn(1, 2), rng()).shape == ()

def test_a_vae_of_images_takes_the_dcgan_pair():
    shape = (3, 16, 16)
    vae = VAE(DCGANGenerator(shape, 5, 8), DCGANDiscriminator(shape, 8))
    again, mean, _ = vae(torch.zeros(2, *shape), torch.zeros(2, 5))
    assert again.shape == (2, *shape) and mean.shape == (2, 5)

def test_the_loss_of_a_vae_is_what_it_says():
    vae, x = VAE(*pair()), torch.randn(7, 2)
    again, mean, log_var = vae(x, torch.randn(7, 3, generator=rng(1)))
    error = (again - x).square().sum(1)
    told = torch.distributions.Normal(mean, (log_var/2).exp())
    nats = torch.distributions.kl_divergence(told, torch.distributions.Normal(0., 1.)).sum(1)
    torch.testing.assert_close(vae_loss(vae, x, rng(1), beta=.3), (error + .3*nats).mean())


# The diffusion model

def test_a_flow_is_a_generator():
    flow = Flow(PointVelocity(2, (8,)), (2,), 3)
    z = torch.randn(4, 5, 2)
    assert flow.latent_dim == 2 and len(flow.path(z[0])) == 4
    torch.testing.assert_close(sample(flow, z)[1], flow.path(z[1])[-1].detach())

def test_the_loss_of_a_flow_at_velocities_that_are_known():
    "All samples are one point: the noise is known from where one is, and the loss is 0."
    class Known(nn.Module):
        def forward(self, x, t): return (2. - x)/(1 - t.view(-1, 1))
    assert flow_loss(Known(), torch.full((50, 3), 2.), rng()) < 1e-6

def test_a_network_hears_the_time():
    nets = {PointVelocity(3, (8,)): (3,), ImageVelocity((1, 8, 12), 24): (1, 8, 12)}
    for net, shape in nets.items():
        x = torch.randn(2, *shape)
        early, late = (net(x, torch.full((2,), t)) for t in (.1, .9))
        assert early.shape == x.shape and not torch.allclose(early, late)

@pytest.mark.parametrize(
    'make,part',
    [
        (lambda: ImageVelocity((3, 18, 16)), 'give sides that 4 divides'),
        (lambda: ImageVelocity((3, 16, 16), 20), 'width is 20'),
        (lambda: Flow(PointVelocity(), (2,), 0), 'n_steps is 0'),
        (lambda: Flow(PointVelocity(), (2,))(torch.zeros(1, 3)), r'give \(...,B,2\)'),
        (lambda: descend(PointVelocity(), flow_loss, ring(100), 0), 'n_steps is 0'),
        (lambda: descend(PointVelocity(), flow_loss, ring(100), 1, batch_size=.5), 'batch_size is 0.5'),
        (lambda: descend(PointVelocity(), flow_loss, ring(100), 1, lr=-1.), 'lr is -1'),
    ],
)
def test_what_is_refused(make, part):
    with pytest.raises(ValueError, match=part): make()


# The loop

def test_both_learn_a_little():
    data = gaussian(3., 1., dim=1, n=2_000)
    vae = VAE(MLPGenerator((1,), 1, (8,), nn.Identity), MLPDiscriminator((1,), (8,)))
    vae = descend(vae, partial(vae_loss, beta=.1), data, 300, 64, 1e-2)
    flow = Flow(descend(PointVelocity(1, (16,)), flow_loss, data, 300, 64, 1e-2), (1,), 8)
    for G in (vae.G, flow):
        x = sample(G, torch.randn(1_000, 1))*data.scale
        assert 2.5 < x.mean() < 3.5 and .5 < x.std() < 1.5

def test_a_seed_repeats_a_run():
    def net():
        torch.manual_seed(1)
        return PointVelocity(2, (8,))
    runs = [descend(net(), flow_loss, ring(1_000), 3, 16, seed=seed) for seed in (5, 5, 6)]
    first, again, other = (torch.cat([p.flatten() for p in run.parameters()]) for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not any(p.requires_grad for p in runs[0].parameters()) and not runs[0].training

def test_images_are_learned_by_the_same_loop():
    data = faces(20, 16)
    net = descend(ImageVelocity(data.shape, 24), flow_loss, data, 2, 4)
    assert sample(Flow(net, data.shape, 2), torch.randn(3, 768)).shape == (3, 3, 16, 16)


# The view

def test_the_view_walks():
    fig = path_view(PointVelocity(2, (8,)), 1)
    assert [ax.get_title() for ax in fig.axes] == ['1 step', '1,000 points'] and len(to_png(fig)) > 500


# The figures of trials/beside.py

def test_the_stored_figures_are_whole():
    from trials.beside import missed
    assert missed(json.loads((root/'results/bench_beside.json').read_text(encoding='utf-8'))) == []

def test_missing_figures_are_found():
    from trials.beside import arms, missed
    assert missed({}) == ['there is no ring', 'there is no faces']
    def rows(): return {arm: dict(ms=[1.]*5, modes=[8.]*5) for arm in arms}
    kept = dict(ring=dict(rows=rows()), faces=dict(rows=rows()))
    assert missed(kept) == []
    kept['ring']['rows']['VAE'] = dict(ms=[1.]*4, modes=[8.]*5)
    assert missed(kept) == ['ring, VAE: 4 seeds, at least 5']
    kept['ring']['rows']['VAE'] = dict(ms=[1.]*5, modes=[2.]*5)
    assert missed(kept) == ['ring: 2.0 modes on average, at least 7']

def test_a_tiny_trial(tmp_path, monkeypatch):
    from trials import beside
    out = tmp_path/'b.json'
    monkeypatch.setattr(beside, 'seconds_a_step', lambda world, method: 1.)
    monkeypatch.setattr(
        sys, 'argv',
        ['beside', '--only', 'GAN', 'diffusion', '--steps', '2', '--seeds', '2', '--out', str(out)],
    )
    assert beside.main() == 0
    entry = json.loads(out.read_text())['ring']
    assert set(entry['rows']) == {'GAN', 'diffusion'} and len(entry['rows']['diffusion']['by_steps']) == 2
    assert entry['rows']['diffusion']['n_steps'] >= 2 and entry['costs']['GAN']['macs'] > 0
