"The gallery of appendix a4: its closed forms over many inputs, its order, and what the doctor sees."
import json
import math
import re
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from ganbook.data import digits, latents, ring, to_units
from ganbook.doctor import diagnose
from ganbook.drills import practise, sound
from ganbook.losses import minimax, non_saturating, relativistic
from ganbook.metrics import mode_coverage
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator, normal_init
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import grad_sq, lipschitz, wgan_gp
from ganbook.train import adam, new_state
from ganbook.vitals import vitals

torch.set_num_threads(1)
cells = json.loads(
    (Path(__file__).resolve().parent.parent/'nbs'/'a4_broken.ipynb').read_text(encoding='utf-8')
)['cells']
prose = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
close = torch.testing.assert_close


# The appendix itself

def test_ten_exhibits_each_with_code_symptom_and_fault_in_that_order():
    exhibits = re.split(r'^## \d+\. ', prose, flags=re.M)[1:]
    exhibits[-1] = exhibits[-1].split('\n## ')[0]
    assert len(exhibits) == 10
    for text in exhibits:
        places = [
            text.find(word)
            for word in (
                '**The code.**', '**The symptom.**', '*Look before you read on.*', '**The fault.**',
                '**The fix**',
            )
        ]
        assert -1 not in places and places == sorted(places), text[:40]
        assert 'octor' in text, f'{text[:40]}: what does the doctor say?'

def test_a_reader_who_has_not_read_on_is_not_told():
    "Neither the headings nor what stands before the line names a place or the fault."
    for text in re.split(r'^## \d+\. ', prose, flags=re.M)[1:]:
        before = text.split('*Look before you read on.*')[0]
        assert '`/' not in before and 'Seen in' not in before and 'fix' not in before

def test_the_last_table_names_every_exhibit():
    table = prose[prose.index('| what you see'):]
    assert {int(n) for row in re.findall(r'\(([\d, ]+)\) \|', table) for n in row.split(',')} == set(
        range(1, 11)
    )

def test_the_stored_table_has_ten_rows():
    out = ''.join(''.join(o.get('text', '')) for c in cells if c['cell_type'] == 'code' for o in c['outputs'])
    assert [int(n) for n in re.findall(r'^ ?(\d+) \S.*\d   \w', out, re.M)] == list(range(1, 11))


# 1, 10: from bytes to numbers and back

@pytest.mark.parametrize('low,found', [(0., True), (-1., False)])
@pytest.mark.parametrize('conv', [False, True], ids=['mlp', 'dcgan'])
def test_the_doctor_sees_a_range_before_any_step(low, found, conv):
    G, D = (
        (DCGANGenerator((1, 8, 8), 8, 4), DCGANDiscriminator((1, 8, 8), 4))
        if conv
        else (MLPGenerator((1, 8, 8), 8, (8,)), MLPDiscriminator((1, 8, 8), (8,)))
    )
    assert (
        'ranges do not match' in [f.name for f in diagnose(new_state(G, D), replace(digits(), low=low))]
    ) == found

def test_bytes_by_way_of_int_wrap_and_to_units_does_not():
    every = replace(digits(), x=torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1), y=None)
    x = every.x.float()/127.5 - 1
    assert torch.equal(to_units(every, x), every.x)
    wrapped = (x*255).int().to(torch.uint8).flatten().int()
    assert (wrapped.diff() < 0).sum() == 1 and wrapped[:128].max() >= 254 and wrapped[128] < 5
    close(wrapped, (x.flatten()*255).trunc().int() % 256)

@pytest.mark.parametrize('level', [0, 1, 100, 127, 128, 200, 255])
def test_a_byte_less_128_is_a_byte(level):
    got = ((np.array([level], np.uint8) - np.uint8(128))/128).item()
    assert got == (level - 128) % 256/128 and (got == (level - 128)/128) == (level >= 128)


# 2, 4: first values of a layer

@pytest.mark.parametrize('eps', [1e-5, .1, .8])
@pytest.mark.parametrize('std', [.03, .3, 1., 10.])
@pytest.mark.parametrize('images', [False, True])
def test_what_eps_leaves_of_a_layer(eps, std, images):
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    x = std*(x - x.mean(0))/x.std(0, correction=0)
    norm, x = (
        (nn.BatchNorm2d(2, eps), x.view(1000, 4, 2).mT[..., None]) if images else (nn.BatchNorm1d(2, eps), x)
    )
    close(norm(x).std(correction=0), torch.tensor(std/math.sqrt(std**2 + eps)), rtol=1e-3, atol=1e-4)

def test_the_momentum_of_one_library_is_one_minus_that_of_the_other():
    norm = nn.BatchNorm1d(1, momentum=.2)
    for _ in range(5): norm(torch.tensor([[1.], [3.]]))
    close(norm.running_mean, torch.tensor([2*(1 - .8**5)]))

@pytest.mark.parametrize('shape,smallest', [((1, 8, 8), 2), ((3, 16, 16), 4), ((1, 28, 28), 4)])
def test_gains_around_0_turn_the_contrast_down_whatever_the_size(shape, smallest):
    def around_0(model):
        normal_init(model)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d): nn.init.normal_(m.weight, 0., .02)
    ratios = []
    for seed in range(3):
        stds = []
        for init in (normal_init, around_0):
            torch.manual_seed(seed)
            with torch.no_grad():
                stds.append(
                    DCGANGenerator(shape, 16, 32, init=init, smallest=smallest)(
                        latents(64, 16, torch.Generator().manual_seed(0))
                    ).std()
                )
        ratios.append((stds[0]/stds[1]).item())
    assert 25 < np.mean(ratios) < 100

def test_adam_moves_a_weight_by_its_rate_a_step():
    w = nn.Parameter(torch.zeros(3))
    opt = adam([w], lr=2e-4)
    for _ in range(100):
        w.grad = torch.tensor([-1., -1e-3, -100.])
        opt.step()
    close(w.detach(), torch.full((3,), 100*2e-4), rtol=1e-3, atol=0.)


# 3, 6, 8: losses

def slope(loss, real, fake):
    fake = torch.tensor(fake, requires_grad=True)
    return torch.autograd.grad(loss(torch.tensor(real), fake), fake)[0]

@pytest.mark.parametrize('c', [-5., 0., 5., 12.])
def test_only_a_loss_that_compares_does_not_mind_a_constant(c):
    def shifted(loss): return slope(loss.generator, [1. + c, 2. + c], [0. + c, -1. + c])
    close(shifted(relativistic), slope(relativistic.generator, [1., 2.], [0., -1.]), rtol=1e-4, atol=1e-6)
    close(shifted(non_saturating), -torch.sigmoid(-torch.tensor([c, c - 1.]))/2)
    d = relativistic.discriminator
    close(d(torch.tensor([1. + c]), torch.tensor([c])), d(torch.tensor([1.]), torch.tensor([0.])))

@pytest.mark.parametrize('f', [-20., -3., 0., 3.])
def test_label_0_with_a_minus_is_the_minimax_loss(f):
    def wrong(r, fake): return -F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    close(slope(wrong, [0.], [f]), slope(minimax.generator, [0.], [f]))
    close(
        slope(wrong, [0.], [f])/slope(non_saturating.generator, [0.], [f]), torch.tensor([math.exp(f)]),
        rtol=1e-3, atol=1e-9,
    )

@pytest.mark.parametrize('size', [0., 1., 10., 1000.])
def test_two_sigmoids_have_a_floor(size):
    floor, x = math.log(2) + math.log1p(1/math.e), torch.linspace(-1, 1, 11)*size
    losses = torch.tensor(
        [[non_saturating.discriminator(r.sigmoid()[None], f.sigmoid()[None]) for f in x] for r in x]
    )
    assert losses.min() >= floor - 1e-6
    if size == 1000.: close(losses.min(), torch.tensor(floor))


# 5: where a penalty is taken

@pytest.mark.parametrize('steep', [0., 3., 20.])
def test_a_penalty_at_real_points_does_not_see_between(steep):
    "A critic of slope 1 where the samples are and 1 + steep halfway between."
    def D(x): return x[:, 0] + steep*x[:, 0].clamp(-.5, .5)
    real = torch.tensor([[1., 0.]]).expand(2000, 2)
    fake, none = -real, torch.zeros(2000)
    def rng(): return torch.Generator().manual_seed(0)
    close(wgan_gp(D, real, real, none, none, rng=rng()), torch.tensor(0.), rtol=0., atol=1e-4)
    close(wgan_gp(D, real, fake, none, none, rng=rng()), torch.tensor(10*steep**2/2), rtol=.1, atol=1e-4)
    close(lipschitz(D, torch.zeros(1, 2)), torch.tensor(1. + steep))

def test_a_norm_over_channels_alone_is_no_slope():
    x = torch.randn(5, 3, 4, 4, requires_grad=True)
    w = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    logits = (w*x).sum((1, 2, 3))
    close(grad_sq(logits, x), w.square().sum().expand(5))
    grads, = torch.autograd.grad(logits.sum(), x)
    close(grads.flatten(1).norm(dim=1), w.norm().expand(5))
    assert grads.norm(2, dim=1).max() < w.norm()


# 7: the ring

@pytest.mark.parametrize('n', range(3, 13))
def test_a_ring_with_both_ends_has_one_mode_less(n):
    ends = {}
    for endpoint in (True, False):
        theta = np.linspace(0, 2*np.pi, n, endpoint=endpoint)
        modes = torch.tensor(np.stack([np.cos(theta), np.sin(theta)], 1), dtype=torch.float32)
        x = modes[torch.arange(400*n) % n] + .01*torch.randn(
            400*n, 2, generator=torch.Generator().manual_seed(0)
        )
        score = ends[endpoint] = mode_coverage(x, modes.round(decimals=6), .01, at_least=100)
        if not endpoint: close(modes, ring(10, n).modes, rtol=0., atol=1e-6)
    assert score['modes'] == n and score['kl'] < 1e-6
    assert ends[True]['modes'] == n - 1
    close(ends[True]['kl'].item(), 2*math.log(2)/n)


# 9: who gets a gradient

def test_a_detached_step_leaves_its_gradient_in_D():
    G, D = MLPGenerator((2,), 3, (8,), nn.Identity), MLPDiscriminator((2,), (8,))
    fake = G(latents(5, 3)).detach()
    non_saturating.generator(None, D(fake)).backward()
    assert all(p.grad is None for p in G.parameters()) and all(p.grad is not None for p in D.parameters())


# The doctor, and broken runs beside sound ones

def test_the_forms_of_both_losses_are_read():
    points, overwritten = ring(2000), replace(relativistic, generator=non_saturating.generator)
    v, _ = practise(sound(points, loss=overwritten, n_steps=110))
    # the level of the logits has not drifted up
    assert 'D wins' not in [f.name for f in diagnose(v, points, overwritten)]
    assert (vitals(v)['form_D'], vitals(v)['form_G']) == ('relativistic', 'non-saturating')
    v, _ = practise(sound(points, loss=relativistic, n_steps=110))
    assert (vitals(v)['form_D'], vitals(v)['form_G']) == ('relativistic', 'relativistic')
    # at 110 steps it may still be on its way
    assert {f.name for f in diagnose(v, points, relativistic)} <= {'too few steps'}
