"""The doctor: what it measures, that it leaves the run alone, both
sides of every threshold, and what it says of odd patients."""
import copy
import math
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from ganbook import data as sets
from ganbook import casebook, doctor, losses
from ganbook import vitals as measuring
from ganbook.casebook import one_page
from ganbook.data import Data
from ganbook.doctor import diagnose, diseases, report
from ganbook.drills import drills, practise, rehearse, sound
from ganbook.faults import Finding, settled, severities
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.plots import to_png
from ganbook.train import Log, TrainState, fit, new_state
from ganbook.objectives import forms_D, forms_G, reading, wrong_D, wrong_G
from ganbook.vitals import Vitals, log_vitals, state_vitals, vitals
from trials import doctor as benchmark

root = Path(__file__).resolve().parent.parent
ring, digits = sets.ring(5000), sets.digits()
all_names = {disease for _, disease in drills.values()}


@pytest.fixture(scope='module')
def healthy(): return practise(sound(ring, n_steps=250))[0]


def names(findings): return [f.name for f in findings]


def made_log(n=500, **columns):
    "A log with these columns, functions of the step or numbers."
    log = Log()
    given = dict(loss_D=1.3, real_logit=.1, fake_logit=-.1, loss_G=.74) | columns
    for i in range(n):
        log.append({c: torch.tensor(float(f(i) if callable(f) else f)) for c, f in given.items()})
    return log


# the run is left alone

def contents(s):
    nets = [
        (name, t.clone())
        for part in ('G', 'D', 'G_ema')
        if getattr(s, part) is not None
        for name, t in getattr(s, part).state_dict().items()
    ]
    memory = [(k, v.clone()) for o in (s.opt_G, s.opt_D) for m in o.state.values() for k, v in m.items()]
    grads = [('grad', None if p.grad is None else p.grad.clone()) for m in (s.G, s.D) for p in m.parameters()]
    wants = [(p.requires_grad, p.is_leaf) for m in (s.G, s.D) for p in m.parameters()]
    modes = [m.training for part in (s.G, s.D) for m in part.modules()]
    return (
        nets
        + memory
        + grads
        + [('log', s.log.rows().clone()), ('own', s.rng.get_state()), ('global', torch.get_rng_state())],
        modes,
        wants,
    )


def same(a, b):
    assert a[1:] == b[1:] and [n for n, _ in a[0]] == [n for n, _ in b[0]]
    return all(x is None and y is None or torch.equal(x, y) for (_, x), (_, y) in zip(a[0], b[0]))


class Dropping(nn.Sequential):
    "A G with BatchNorm and dropout: examining it draws random numbers and touches buffers."
    latent_dim = 2
    def __init__(self):
        super().__init__(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Dropout(.3), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize('options', [{}, dict(loss=losses.non_saturating)])
def test_not_a_bit_of_the_run_moves(options):
    torch.manual_seed(0)
    D = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    s, twin = (
        new_state(copy.deepcopy(G), copy.deepcopy(D), lr=1e-3, ema=True)
        for G in [Dropping()]
        for _ in range(2)
    )
    torch.manual_seed(1)
    fit(s, ring, 150, losses.non_saturating)
    torch.manual_seed(1)
    fit(twin, ring, 150, losses.non_saturating)
    s.G[0].eval()  # modes may be mixed
    before = contents(s)
    to_png(one_page(s, ring, diagnose(s, ring, **options)))
    assert same(before, contents(s))
    s.G[0].train()
    torch.manual_seed(2)
    fit(s, ring, 170, losses.non_saturating)
    torch.manual_seed(2)
    fit(twin, ring, 170, losses.non_saturating)
    assert same(contents(s), contents(twin))  # and it goes on as one that was never examined


def test_the_same_patient_gets_the_same_verdict(healthy):
    a, b = vitals(healthy, ring), vitals(healthy, ring)
    assert a == b and diagnose(healthy, ring) == diagnose(healthy, ring)


# the curves

rng = np.random.default_rng(0)
lead = dict(real_logit=rng.uniform(.2, 3, 400), fake_logit=rng.uniform(-3, -.2, 400))

@pytest.mark.parametrize(
    'player,forms,right',
    [('D', forms_D, True), ('D', wrong_D, False), ('G', forms_G, True), ('G', wrong_G, False)],
)
def test_every_form_is_read(player, forms, right):
    for name, form in forms.items():
        both = dict(loss_D=np.full(400, 50.), loss_G=np.full(400, 50.)) | {
            f'loss_{player}': form(lead['real_logit'], lead['fake_logit'])
        }
        r = reading(lead | both)
        small, large = (r[f'{k}_{player}'] for k in (('fit', 'misfit') if right else ('misfit', 'fit')))
        assert small < 1e-12 < large, name


@pytest.mark.parametrize(
    'name', ['minimax', 'non_saturating', 'least_squares', 'hinge', 'wasserstein', 'relativistic']
)
def test_the_losses_of_the_book_are_read_from_batch_means(name):
    loss, g = getattr(losses, name), torch.Generator().manual_seed(0)
    noise, lead = torch.randn(2, 300, 64, generator=g)*.8, torch.linspace(.2, 3, 300)[:, None]
    # labels 1 and 0
    r, f = (
        (noise[0] + 1, noise[1] - lead)
        if name != 'least_squares'
        else (noise[0]/4 + .5 + lead/8, noise[1]/4 + .5 - lead/8)
    )
    table = dict(
        real_logit=r.mean(1), fake_logit=f.mean(1), loss_D=loss.discriminator(r, f),
        loss_G=loss.generator(r, f),
    )
    read = reading({k: v.numpy() for k, v in table.items()})
    assert read['fit_G'] < read['misfit_G']/2 and read['fit_D'] < read['misfit_D']/2
    turned = reading({k: v.numpy() for k, v in table.items()} | dict(loss_G=-table['loss_G'].numpy()))
    assert turned['misfit_G'] < turned['fit_G']/2


def test_the_first_bad_step_is_counted_from_one():
    log = made_log(200, loss_D=lambda i: math.nan if i == 149 else 1.3)
    v = log_vitals(log)
    assert v['first_bad'] == 150 and v['usable'] == 149 and v['steps'] == 200
    assert 'step 150' in diagnose(log)[0].evidence and diagnose(log)[0].name == 'divergence'


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_log_that_is_bad_from_the_start(bad):
    log = made_log(300, loss_G=bad)
    assert names(diagnose(log)) == ['divergence']
    to_png(one_page(log))


def test_a_missing_penalty_is_no_divergence():
    log = made_log(200)
    log.append(
        dict(
            loss_D=torch.tensor(1.3), real_logit=torch.tensor(.1), fake_logit=torch.tensor(-.1),
            loss_G=torch.tensor(.7), penalty=torch.tensor(.1),
        )
    )
    assert math.isnan(log_vitals(log)['first_bad']) and diagnose(log) == []


def test_an_empty_log_and_one_with_other_columns():
    assert names(diagnose(Log())) == ['too few steps']
    other = Log()
    for _ in range(300): other.append(dict(mine=torch.tensor(1.)))
    assert [f.severity for f in diagnose(other)] in ([], ['note'])
    to_png(one_page(Log())), to_png(one_page(other))


def test_members_are_asked_for_one(healthy):
    log = Log()
    for _ in range(3):
        log.append(
            dict(
                loss_D=torch.zeros(4), real_logit=torch.zeros(4), fake_logit=torch.zeros(4),
                loss_G=torch.zeros(4),
            )
        )
    with pytest.raises(ValueError, match='holds members: ask for one'): diagnose(log)
    s = replace(healthy, rng=[torch.Generator() for _ in range(3)])
    with pytest.raises(ValueError, match='members is .3,.: ask for one'): diagnose(s, ring)


@pytest.mark.parametrize('thing', [None, ring, {}, 'runs/x'])
def test_what_is_no_patient_is_refused(thing):
    with pytest.raises(TypeError, match='cannot be examined'): diagnose(thing)


# both sides of every threshold, on made-up vitals

calm = Vitals(
    steps=1000, usable=1000, lr_G=1e-3, lr_D=1e-3, held_G=1., held_D=1., stepped_G=1., stepped_D=1.,
    felt_G=1e-3, felt_D=1e-3, loss_D=1.2, loss_G=.8, real_logit=.2, fake_logit=-.2, gap=.4, logit_size=.2,
    real_drift=3., reversed=0., turns=0., swing=1., mean_low=-.5, mean_high=.5, last_D='Linear',
    far_low=-900., far_high=900., logit_low=-.5, logit_high=.5, form_G='non-saturating',
    form_D='cross-entropy', fit_G=.01, misfit_G=.4, fit_D=.01, misfit_D=.4, auc=.8, logit_spread=.1,
    spread=1., unlike=.025, far=.4, recall=.5, coverage=.9, precision=.8, n_real=5000., image=1., kinds=8,
    kinds_effective=.98, kinds_missing=0, copies=1.1, real_low=-1., real_high=1., real_rms=.8, reach_low=-1.,
    reach_high=1., fake_finite=1., mode_gap=.08, mode_harm=0., auc_apart=.8, auc_mixed=.8, penalty=.05,
)

def test_a_calm_patient_is_well(): assert [d(calm) for d in diseases if d(calm)] == []

cases = [  # what is changed, the name that must appear, severity, what is changed so that it must not
    (dict(first_bad=3.), 'divergence', 'alarm', dict(first_bad=math.nan)),
    (dict(logit_size=2e4), 'divergence', 'alarm', dict(logit_size=5e3)),
    (dict(fake_finite=.99), 'divergence', 'alarm', {}),
    (dict(lr_D=0.), 'D does not learn', 'alarm', dict(lr_D=1e-3)),
    (dict(held_D=.5), 'D does not learn', 'alarm', {}),
    (dict(stepped_D=0.), 'D does not learn', 'alarm', {}),
    (dict(felt_D=0.), 'D does not learn', 'alarm', dict(felt_D=1e-9)),
    (dict(lr_G=0.), 'G does not learn', 'alarm', {}),
    (dict(held_G=.99), 'G does not learn', 'alarm', {}),
    (dict(stepped_G=0.), 'G does not learn', 'alarm', {}),
    (dict(felt_G=0.), 'G does not learn', 'alarm', {}),
    (dict(reach_low=0.), 'ranges do not match', 'alarm', dict(reach_low=-.95)),
    (dict(real_rms=20.), 'ranges do not match', 'alarm', dict(real_rms=3.)),
    (dict(real_rms=.01), 'ranges do not match', 'alarm', dict(real_rms=.1)),
    (dict(real_low=0.), 'ranges do not match', 'warning', dict(real_low=-.65)),
    (dict(misfit_G=.001, fit_G=.3), 'labels or losses swapped', 'alarm', dict(misfit_G=.001, fit_G=.015)),
    (
        dict(misfit_D=.001, fit_D=.3, gap=-2.), 'labels or losses swapped', 'alarm',
        dict(misfit_D=.2, fit_D=.3),
    ),
    (dict(lr_G=2e-2), 'learning rates out of balance', 'warning', dict(lr_G=1.5e-2)),
    (dict(lr_D=1e-1), 'learning rates out of balance', 'alarm', dict(lr_D=1e-2)),
    (
        dict(mode_gap=.3, mode_harm=.05), 'BatchNorm statistics at evaluation', 'warning',
        dict(mode_gap=.19, mode_harm=.05),
    ),
    (
        dict(mode_gap=.5, mode_harm=.2), 'BatchNorm statistics at evaluation', 'alarm',
        dict(mode_gap=.5, mode_harm=.01),
    ),
    (dict(auc_apart=.99, auc=.5), 'BatchNorm in D mixes real and fake', 'alarm', dict(auc_apart=.9)),
    (dict(auc_mixed=.6), 'BatchNorm in D mixes real and fake', 'warning', dict(auc_mixed=.7)),
    (
        dict(logit_spread=.001, unlike=.1), 'penalty too large', 'alarm', dict(logit_spread=.001, unlike=.01),
    ),
    (dict(penalty=10.), 'penalty too large', 'alarm', dict(penalty=1.)),
    (dict(form_G='minimax', fake_logit=-9.), 'D wins', 'alarm', dict(form_G='minimax', fake_logit=-3.)),
    (dict(felt_G=1e-9, auc=.99), 'D wins', 'alarm', dict(felt_G=1e-6, auc=.99)),
    (dict(gap=20., auc=1., unlike=.1), 'D wins', 'warning', dict(gap=20., auc=1., unlike=.02)),
    (
        dict(loss_D=.1, auc=.999, unlike=.053), 'D wins', 'warning', dict(loss_D=.9, auc=.999, unlike=.053),
    ),
    (dict(loss_D=.7, auc=.95, unlike=.053), 'D wins', 'note', dict(loss_D=.7, auc=.85, unlike=.053)),
    (dict(gap=8., auc=.8, unlike=.1), 'D wins', 'warning', dict(gap=8., auc=.7, unlike=.1)),
    (dict(loss_D=.1, auc=.999, unlike=.3), 'D wins', 'alarm', dict(loss_D=.1, auc=.9, unlike=.3)),
    (dict(push=1e-5), 'D wins', 'alarm', dict(push=.1)),
    (dict(spread=.02), 'mode collapse, total', 'alarm', dict(spread=.5)),
    (dict(spread=.25, kinds_effective=.125), 'mode collapse, total', 'alarm', dict(spread=.25)),
    (dict(kinds_effective=.6), 'mode collapse, partial', 'warning', dict(kinds_effective=.7)),
    (dict(kinds_effective=.4), 'mode collapse, partial', 'alarm', {}),
    (
        dict(turns=9., reversed=.3, swing=9., unlike=.2), 'oscillation', 'alarm',
        dict(turns=9., reversed=.3, swing=1., unlike=.2),
    ),
    (
        dict(turns=9., reversed=.05, swing=9., unlike=.2), 'oscillation', 'warning',
        dict(turns=1., reversed=.05, swing=9., unlike=.2),
    ),
    (dict(copies=.5), 'memorisation', 'warning', dict(copies=.8)),
    (dict(copies=.2), 'memorisation', 'alarm', dict(copies=.2, spread=.1)),
    (dict(last_D='Sigmoid'), 'D ends in a sigmoid', 'alarm', dict(last_D='Linear')),
    (
        dict(far_low=0., far_high=1., logit_low=.2, logit_high=.7), 'D ends in a sigmoid', 'alarm',
        dict(far_low=-9., far_high=1., logit_low=.2, logit_high=.7),
    ),
    (
        dict(last_D='Sigmoid', form_D='least squares'), 'D ends in a sigmoid', 'warning',
        dict(far_low=0., far_high=1., logit_low=-.1, logit_high=.7),
    ),
    (dict(real_bulk=.1), 'ranges do not match', 'alarm', dict(real_bulk=1.9)),
    (dict(real_bulk=.4), 'ranges do not match', 'warning', {}),
    (
        dict(column_low=.001, column_high=1.), 'ranges do not match', 'alarm',
        dict(column_low=.2, column_high=1.),
    ),
    (
        dict(raw_unlike=.01, unlike=.2, usable=300, fake_rms=.8, raw_fake_rms=.8), 'average behind G', 'note',
        dict(raw_unlike=.19, unlike=.2),
    ),
    (
        dict(raw_unlike=.01, unlike=.2, usable=3000, fake_rms=.8, raw_fake_rms=.8), 'average behind G',
        'warning', {},
    ),
    (
        dict(raw_unlike=.01, unlike=.9, usable=300, fake_rms=99., raw_fake_rms=.8), 'average behind G',
        'alarm', {},
    ),
    (dict(far=30., unlike=.9), 'samples far from the data', 'alarm', dict(far=.9)),
    (dict(unlike=.3), 'samples far from the data', 'alarm', dict(unlike=.2)),
    (dict(recall=.022, coverage=.01), 'little variety', 'warning', dict(recall=.3, coverage=.1)),
    (dict(recall=.022, coverage=.33), 'little variety', 'note', dict(recall=.022, coverage=.7)),
    (dict(n_real=1.), 'few real samples', 'warning', dict(n_real=600.)),
    (dict(n_real=60., image=0.), 'few real samples', 'note', dict(n_real=110., image=0.)),
    (dict(n_real=300.), 'few real samples', 'note', dict(n_real=300., image=0.)),
    (
        dict(auc=.01, reversed=.95, gap=-1.), 'labels or losses swapped', 'alarm',
        dict(auc=.3, reversed=.95, gap=-1.),
    ),
    (dict(felt_G=5e-5, auc=.95), 'G does not learn', 'note', dict(felt_G=5e-5, auc=.8)),
    (dict(lr_D=4e-3, auc=.95), 'learning rates out of balance', 'note', dict(lr_D=4e-3, auc=.8)),
    (
        dict(mode_gap=.3, mode_harm=.015, here_unlike=.005), 'BatchNorm statistics at evaluation', 'note',
        dict(mode_gap=.3, mode_harm=.015, here_unlike=.01),
    ),
    (dict(usable=150, steps=150, auc=.95), 'too few steps', 'note', dict(usable=250, steps=250, auc=.95)),
    (dict(usable=50, steps=50), 'too few steps', 'note', dict(usable=150, steps=150)),
    (dict(usable=200, steps=200, unlike=.2), 'too few steps', 'note', dict(usable=200, steps=200)),
    (dict(lr_G=1e-6, lr_D=1e-6), 'too few steps', 'note', {}),
]

@pytest.mark.parametrize('sick,name,severity,well', cases, ids=lambda x: None if isinstance(x, dict) else x)
def test_both_sides_of_a_threshold(sick, name, severity, well):
    found = {f.name: f for d in diseases if (f := d(calm | sick))}
    assert name in found and found[name].severity == severity
    assert not any(f.name == name for d in diseases if (f := d(calm | well)))


def test_every_drill_has_a_disease_that_is_tested():
    assert all_names <= {name for _, name, *_ in cases} and len(drills) >= 12 and len(all_names) >= 12


def test_what_was_not_measured_is_neither_found_nor_an_error():
    for d in diseases:
        assert d(Vitals()) is None or d(Vitals()).name == 'too few steps'
    for sick, *_ in cases:
        full = calm | sick
        for key in full:
            without = Vitals({k: v for k, v in full.items() if k != key})
            for d in diseases:
                f = d(without)
                assert f is None or isinstance(f, Finding) and f.evidence and f.try_ and 0 <= f.certainty <= 1


def test_symptoms_wait_until_the_run_has_settled():
    for sick, *_ in cases:
        found = {f.name for d in diseases if (f := d(calm | sick | dict(usable=20, steps=20)))}
        facts = {
            'D ends in a sigmoid', 'few real samples', 'divergence', 'D does not learn', 'G does not learn',
            'ranges do not match', 'learning rates out of balance', 'too few steps',
        }
        assert found <= facts
    assert settled(calm) and not settled(Vitals())


def test_the_worst_and_surest_come_first():
    made = [
        lambda v: Finding('a', 'note', 'e', 't', 'c', 1.), lambda v: Finding('b', 'alarm', 'e', 't', 'c', .2),
        lambda v: None, lambda v: Finding('c', 'alarm', 'e', 't', 'c', .9),
        lambda v: Finding('d', 'warning', 'e', 't', 'c', 1.),
    ]
    assert names(diagnose(made_log(), diseases=tuple(made))) == ['c', 'b', 'd', 'a']
    with pytest.raises(ValueError, match='take one of alarm, warning, note'):
        Finding('x', 'bad', 'e', 't', 'c')


def test_the_text_has_everything():
    f = Finding('a disease', 'alarm', 'It is 3 long.', 'make it shorter.', '05_training')
    text = report([f])
    for part in ('1. ALARM: a disease', 'It is 3 long.', 'Try: make it shorter.', 'chapter 05_training'):
        assert part in text
    assert all(
        part in str(f) for part in (f.name, f.evidence, f.try_, f.chapter)
    ) and 'Nothing was found' in report([])
    assert max(map(len, report([replace(f, evidence='long '*100)], 60).split('\n'))) <= 60
    chapters = {p.stem for p in (root/'nbs').glob('*.ipynb')} | {
        '09_dcgan', '10_rules_on_trial', '11_dynamics', '12_critics', '14_averaging', '16_collapse',
        '19_augmentation',
    }
    for sick, *_ in cases: assert all(f.chapter in chapters for d in diseases if (f := d(calm | sick)))


# grades and what the doctor may not say

def test_a_symptom_is_a_note_while_the_run_is_young_and_where_it_does_no_harm():
    for name in (
        'BatchNorm in D mixes real and fake', 'penalty too large', 'D wins', 'mode collapse, total',
        'mode collapse, partial', 'oscillation',
    ):
        sick = next(
            s
            for s, n, grade, _ in cases
            if n == name and grade == 'alarm' and 'form_G' not in s and 'push' not in s and 'felt_G' not in s
        )
        def grade(more):
            return {f.name: f.severity for d in diseases if (f := d(calm | sick | more))}.get(name)
        assert (
            grade({}) == 'alarm'
            and grade(dict(usable=200, steps=200)) in ('note', None)
            and grade(dict(lr_G=1e-4, lr_D=1e-4)) in ('note', None)
        ), name
        assert name.endswith('partial') or grade(dict(unlike=.005)) in ('note', None), name


def test_a_collapse_of_the_average_alone_is_none():
    few = dict(kinds_effective=.4, unlike=.2)
    assert doctor.partly_collapsed(
        calm | few | dict(raw_kinds_effective=.95)
    ) is None and doctor.partly_collapsed(calm | few | dict(raw_kinds_effective=.4))
    one = dict(spread=.02, unlike=.6)
    assert doctor.collapsed(calm | one | dict(raw_spread=.9)) is None and doctor.collapsed(
        calm | one | dict(raw_spread=.02)
    )


def test_samples_far_away_are_of_no_kind():
    v = calm | dict(kinds_effective=.125, kinds_missing=7, far=30., unlike=.95, spread=.1)
    found = [f for d in diseases if (f := d(v))]
    assert 'samples far from the data' in names(found) and not any('kinds' in f.evidence for f in found)


def test_cures_name_what_exists():
    import inspect
    import re
    from ganbook import cli, data as sets_, losses as losses_, penalties, recipes, train
    known = {w for f in (train.fit, train.new_state, penalties.r1) for w in inspect.signature(f).parameters}
    known |= (
        set(recipes.Recipe.__dataclass_fields__)
        | set(sets_.Data.__dataclass_fields__)
        | set(recipes.recipes)
        | {'Data', 'recipe', 'state', 'G', 'N', 'RUN'}
    )
    known |= {n for m in (train, penalties, losses_) for n in dir(m)} | {
        'binary_cross_entropy_with_logits', 'generator', 'discriminator', 'ganbook', 'resume', '1',
    }
    known |= {w for f in (cli.cmd_train, cli.cmd_resume) for w in inspect.signature(f).parameters} | {'none'}
    for sick, *_ in cases:
        for f in (f for d in diseases if (f := d(calm | sick))):
            for quoted in re.findall('`([^`]+)`', f.try_):
                words = [
                    w.replace('-', '_') for w in re.findall(r'[A-Za-z][\w-]*', quoted.replace('--', ' '))
                ]
                assert set(words) <= known, (f.name, quoted)
    for name in ('few_samples', 'ends_in_sigmoid', 'average_behind'): assert getattr(doctor, name) in diseases


# patients of many kinds

def test_a_young_average_of_dcgan_is_no_alarm():
    "The average is younger than its half-life, and G itself is well."
    from ganbook.recipes import build, recipes
    s, a = build(replace(recipes['dcgan'], width=8), digits, 0, 'cpu')
    for moment in (100, 200):
        fit(s, **(a | dict(n_steps=moment)))
        assert not [f for f in diagnose(s, digits, a['loss']) if f.severity != 'note'], moment


def test_D_that_has_won_is_named_without_labels():
    data = replace(digits, y=None)
    torch.manual_seed(0)
    G, D = MLPGenerator(data.shape, 64, (64, 64)), MLPDiscriminator(data.shape, (64, 64))
    s = new_state(G, D, 2e-4, (.5, .999), 2e-3)
    fit(s, data, 800, losses.non_saturating, n_critic=2)
    assert s.log.table()['loss_D'][-200:].mean() < .3
    assert 'D wins' in names(diagnose(s, data))[:2]


class Squashed(MLPDiscriminator):
    "The sigmoid stands in forward, where no list of layers shows it."
    def forward(self, x): return super().forward(x).sigmoid()


def test_a_double_sigmoid_is_named_and_a_probability_for_bce_is_not_accused():
    def squash(s):
        s.D = Squashed(digits.shape, (64, 64))
        s.opt_D = torch.optim.Adam(s.D.parameters(), 1e-3)
    s, _ = practise(sound(digits, n_steps=120, before=squash))
    found = diagnose(s, digits)
    assert (found[0].name, found[0].severity) == ('D ends in a sigmoid', 'alarm')
    alone = TrainState(s.G, s.D, s.opt_G, s.opt_D, step=120)  # the loop may have used BCELoss
    assert [f.severity for f in diagnose(alone, digits) if f.name == 'D ends in a sigmoid'] == ['note']
    assert names(diagnose(s.log)) == ['D ends in a sigmoid']  # from the curves alone


def test_samples_far_off_show_no_kinds(healthy):
    s = copy.deepcopy(replace(healthy, log=Log()))
    s.step = 1000
    with torch.no_grad(): [*s.G.parameters()][-1].add_(50.)
    found = diagnose(s, ring)
    assert 'samples far from the data' in names(found) and 'kinds' not in report(found)


def test_samples_that_are_not_finite_are_not_drawn():
    class Holes(nn.Module):
        latent_dim = 2
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))
        def forward(self, z): return self.w*torch.where(z[:, :1] > 0, z, math.nan)
    s = new_state(Holes(), MLPDiscriminator((2,), (8,)))
    fig = Figure()
    ax = casebook._draw_fakes(fig.subplots(), s, ring)
    drawn = np.concatenate(
        [c.get_offsets() for c in ax.collections] + [np.column_stack(k.get_data()) for k in ax.lines]
    )
    drawn = np.ma.filled(np.ma.asarray(drawn, float), np.nan)
    assert np.isfinite(drawn).all() and not (drawn == 0).all(1).any()
    with torch.no_grad(): s.G.w.fill_(math.nan)
    ax = casebook._draw_fakes(Figure().subplots(), s, ring)
    assert [t.get_text() for t in ax.texts] == ['no sample is a finite number'] and not ax.collections


def columns():
    "Two columns of very different size; `Data` warns of them too."
    with pytest.warns(UserWarning, match='coordinates have standard deviations'):
        return Data('columns', torch.randn(500, 2)*torch.tensor([1000., .01]), scale=700.)


@pytest.mark.parametrize(
    'make, words',
    [
        (lambda: replace(digits, x=digits.x//20), 'stretch the brightness'),
        (columns, 'divide each coordinate'),
    ],
    ids=['dark', 'columns'],
)
def test_dark_data_and_unequal_columns_are_named(make, words):
    data = make()
    s, _ = practise(sound(data, n_steps=3))
    found = diagnose(s, data)
    assert found[0].name == 'ranges do not match' and words in found[0].try_


def test_one_image():
    one = Data('one', digits.x[:1])
    s, _ = practise(sound(one, n_steps=150))
    found = names(diagnose(s, one))
    assert 'few real samples' in found[:2] and not {'penalty too large', 'mode collapse, total'} & {*found}


def test_features_are_used_for_recall():
    s, _ = practise(sound(digits, n_steps=3))
    seen = []
    def features(x):
        seen.append(x.shape)
        return torch.zeros(len(x), 1)
    v = vitals(s, digits, features=features)
    # every ball holds all
    assert seen == [(500, 1, 8, 8)]*2 and v['recall'] == v['coverage'] == 1 > vitals(s, digits)['recall']


def test_an_average_without_buffers_is_known_by_its_statistics():
    s, d, found = rehearse('average without buffers', digits, seed=7, n_steps=200)
    assert found[0].name == 'BatchNorm statistics at evaluation' and found[0].severity == 'alarm'
    assert vitals(s, d)['untouched'] == 1


def test_ones_own_loop(healthy):
    "Five lines; see chapter 8."
    s = TrainState(healthy.G, healthy.D, healthy.opt_G, healthy.opt_D, step=250)
    assert diagnose(s, ring) == []

def test_a_healthy_run_with_and_without_data_and_loss(healthy):
    assert (
        diagnose(healthy, ring)
        == diagnose(healthy, ring, losses.non_saturating)
        == diagnose(healthy)
        == diagnose(healthy.log)
        == []
    )
    assert (
        'auc' in vitals(healthy, ring) and 'auc' not in vitals(healthy) and 'lr_G' not in vitals(healthy.log)
    )
    assert .1 < vitals(healthy, ring, losses.non_saturating)['push'] < 1  # sigma(-f) of the slope
    # asks for real samples
    assert (
        vitals(healthy, None, losses.relativistic)['push']
        != vitals(healthy, None, losses.relativistic)['push']
    )


def test_a_state_that_never_trained():
    s = new_state(MLPGenerator((2,), 2, (8,), nn.Identity), MLPDiscriminator((2,), (8,)))
    assert names(diagnose(s, ring)) == ['too few steps'] and names(diagnose(s)) == ['too few steps']


def test_a_loop_of_ones_own_without_a_log(healthy):
    # step 0, no log; Adam remembers 250 steps
    s = TrainState(healthy.G, healthy.D, healthy.opt_G, healthy.opt_D)
    assert vitals(s, ring)['usable'] == 250 and diagnose(s, ring) == []


def test_an_optimiser_without_memory_is_not_accused(healthy):
    G, D = copy.deepcopy(healthy.G), copy.deepcopy(healthy.D)
    s = TrainState(
        G, D, torch.optim.SGD(G.parameters(), lr=1e-2), torch.optim.SGD(D.parameters(), lr=1e-2), step=250,
        log=healthy.log,
    )
    assert diagnose(s, ring) == []
    s.opt_G = torch.optim.SGD(G.parameters(), lr=1e-2, momentum=.9)  # has a memory, and it is empty
    assert 'G does not learn' in names(diagnose(s, ring))


def test_a_rate_that_has_fallen_to_zero_is_no_fault(healthy):
    assert float(healthy.opt_G.param_groups[0]['lr']) < 1e-4 and vitals(healthy)['lr_G'] == 1e-3


@pytest.mark.parametrize('shape', [(3,), (1,), (2, 6, 6), (3, 5, 7)])
def test_samples_of_any_shape(shape):
    g = torch.Generator().manual_seed(0)
    x = (
        torch.randn(300, *shape, generator=g)
        if len(shape) == 1
        else torch.randint(256, (300, *shape), generator=g, dtype=torch.uint8)
    )
    s, d = practise(sound(Data('mine', x), n_steps=20))
    found = diagnose(s, d)
    few = ['few real samples']*(len(shape) > 1)  # images
    assert names(found) == ['too few steps', *few] and to_png(one_page(s, d, found))[:4] == b'\x89PNG'


def test_a_data_set_of_one_sample_and_one_without_labels():
    for d in (Data('one', torch.ones(1, 2)), Data('two', torch.ones(2, 2)), replace(ring, y=None)):
        s, _ = practise(sound(d, n_steps=3))
        assert names(diagnose(s, d))[-1] == 'too few steps'
        assert 'kinds' not in vitals(s, d)


def test_networks_with_labels():
    class G(nn.Module):
        latent_dim = 2
        def __init__(self):
            super().__init__()
            self.net, self.norm = nn.Linear(10, 2), nn.BatchNorm1d(2)
        def forward(self, z, y): return self.norm(self.net(torch.cat([z, nn.functional.one_hot(y, 8)], -1)))
    class D(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.norm = nn.Linear(10, 1), nn.BatchNorm1d(2)
        def forward(self, x, y):
            return self.net(torch.cat([self.norm(x), nn.functional.one_hot(y, 8)], -1)).squeeze(-1)
    s = new_state(G(), D())
    fit(s, ring, 5, losses.relativistic, labels=True)
    v = vitals(s, ring, losses.relativistic, labels=True)
    assert {'auc', 'auc_apart', 'mode_gap', 'push', 'spread'} <= v.keys()
    assert names(diagnose(s, ring, labels=True)) == ['too few steps']


@pytest.mark.parametrize(
    'part, words',
    [('G', 'Weights of G are'), ('D', 'Weights of D are'), ('G_ema', 'Weights of the average of G are')],
)
def test_nan_weights_are_divergence(healthy, part, words):
    s = copy.copy(healthy)
    s.G = copy.deepcopy(healthy.G)
    s.D = copy.deepcopy(healthy.D)
    s.G_ema = copy.deepcopy(healthy.G)
    s.log = Log()
    with torch.no_grad(): next(getattr(s, part).parameters())[0].fill_(math.nan)
    found = diagnose(s, ring)
    assert found[0].name == 'divergence' and found[0].severity == 'alarm' and words in found[0].evidence
    to_png(one_page(s, ring, found))


def test_samples_of_infinity_are_divergence(healthy):
    "Finite weights can still give what is not."
    s = copy.copy(healthy)
    s.G, s.log = copy.deepcopy(healthy.G), Log()
    with torch.no_grad(): [*s.G.parameters()][-2].fill_(3e38)
    found = diagnose(s, ring)
    assert found[0].name == 'divergence' and 'of the generated values' in found[0].evidence


def test_the_doctor_computes_its_own_gradients(healthy):
    with torch.no_grad():
        assert diagnose(healthy, ring, losses.non_saturating) == diagnose(
            healthy, ring, losses.non_saturating
        )
    assert torch.is_grad_enabled()


def test_copies_are_copies():
    g = torch.Generator().manual_seed(0)
    real = sets.draw(digits, 300, g)
    copied = measuring._sample_vitals(sets.draw(digits, 300, g), real, digits, g)
    assert copied['copies'] == 0
    noisy = measuring._sample_vitals(
        sets.draw(digits, 300, g) + .5*torch.randn(300, 1, 8, 8, generator=g), real, digits, g
    )
    assert noisy['copies'] > 1


# drills

@pytest.mark.parametrize('name', drills)
@pytest.mark.parametrize('data', [ring, digits], ids=lambda d: d.name)
def test_every_drill_runs(name, data):
    s, shown, found = rehearse(name, data, n_steps=3)
    assert (
        s.step == 3
        and len(s.log) == 3
        and shown.shape == data.shape
        and all(isinstance(f, Finding) for f in found)
    )


@pytest.mark.parametrize(
    'name',
    [
        'wrong end of G', 'optimiser of an old D', 'optimiser of an old G', 'learning rate 0 in D',
        'fakes without gradient', 'labels swapped in D', 'sign swapped in G', 'label 0 in G',
        'average without buffers', 'D a hundred times slower', 'loader never shuffles',
        'stopped after 30 steps',
    ],
)
def test_short_drills_are_found(name):
    _, _, found = rehearse(name, digits, seed=7, n_steps=200)
    assert drills[name][1] in names(found)[:2], report(found)


def test_practice_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    practise(sound(ring, n_steps=2)), rehearse('BatchNorm in D', ring, n_steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_drill_is_said():
    with pytest.raises(ValueError, match="no drill called 'x': take one of sound, D far too strong"):
        rehearse('x', ring)


@pytest.mark.parametrize(
    'name,data', [('sound', ring), ('sound', digits), ('fakes without gradient', digits)]
)
def test_a_case_is_drawn_in_one_row(name, data):
    fig = Figure(figsize=(6, 2))
    s, shown, found = rehearse(name, data, n_steps=150)
    axes = fig.subplots(1, 3)
    casebook.draw_case(axes, s, shown, found, name)
    words = [t.get_text() for t in axes[2].texts]
    assert words[0] == name and (words[1] == 'nothing found' if not found else found[0].name in words[1])
    to_png(fig)


def test_severities_are_in_order(): assert severities == ('alarm', 'warning', 'note')


def test_state_vitals_takes_more_samples(healthy):
    assert (
        abs(state_vitals(healthy, ring, n=1000)['spread'] - state_vitals(healthy, ring, n=200)['spread'])
        < .1
    )


# the benchmark

@pytest.fixture
def bench(monkeypatch, capsys):
    "The benchmark's command: words -> (exit code, what it printed, what it said of errors)."
    def run(*words):
        monkeypatch.setattr(sys, 'argv', ['doctor', *words])
        try: code = benchmark.main()
        except SystemExit as e: code = e.code
        return code, *capsys.readouterr()
    return run

def test_the_benchmark_runs_a_part(bench, tmp_path):
    words = (
        '--only', 'sound/digits', 'stopped early/digits/3', '--seeds', '1', '--check', '--cache',
        str(tmp_path/'c.jsonl'), '--out', str(tmp_path/'b.json'),
    )
    code, said, errors = bench(*words)
    assert code == 0 and '1 of 1 failures named' in said, said + errors
    # a part is not a result
    assert '0 of 2 looks at sound runs' in said and not (tmp_path/'b.json').exists()
    _, again, _ = bench(*words)  # goes on where it was: nothing is left to train
    assert again.splitlines()[-2:] == said.splitlines()[-2:] and ' s\n' not in again
    code, _, errors = bench('--only', 'nothing like it', '--cache', str(tmp_path/'c.jsonl'))
    assert code == 2 and "no arm's key contains" in errors
