"A recipe with classes and tasks, from `build` to the command line: train, resume, draw, measure, examine."
import json
from dataclasses import asdict, replace
import numpy as np
import pytest
import torch
from PIL import Image
from commands import ok, stopped, working_in
from ganbook.callbacks import latest
from ganbook.checkpoints import read
from ganbook.cli import main
from ganbook.data import Data, digits, ring, two_moons
from ganbook.recipes import (
    build, count_classes, draws_classes, find, from_settings, networks, wants_labels,
)
from ganbook.runs import Run, trained
from ganbook.sources import stand_in
from ganbook.train import fit

torch.set_num_threads(1)
small = dict(hidden=(16,), latent_dim=20, batch_size=8, n_steps=3)
told = replace(find('conditional'), **small)
ways = {
    'projection': dict(classes='projection'),
    'AC-GAN': dict(classes='embedding', tasks=(('classify', .2),)),
    'AC-GAN, fakes too': dict(classes='embedding', tasks=(('classify_fakes', .2),)),
    'InfoGAN': dict(classes='codes', latent_dim=30, tasks=(('inform', .2),)),
    'few labels': dict(classes='', tasks=(('classify_real', 1.),)),
    'rotation': dict(classes='projection', tasks=(('rotate', .2), ('classify_real', 1.))),
    'conditional BatchNorm': dict(networks='dcgan', width=4, smallest=2, classes='projection_norm'),
    'BatchNorm and a task': dict(networks='resnet', width=4, up='nearest', classes='embedding',
        tasks=(('classify', 1.),)),
    'spectral norm': dict(classes='projection', spectral=True, minibatch_std=True),
}


@pytest.mark.parametrize('k', [None, 2])
@pytest.mark.parametrize('name', ways)
def test_each_way_trains_alone_and_side_by_side(name, k):
    r = replace(told, **ways[name])
    s, a = build(r, digits(), k=k)
    fit(s, **a)
    assert all(torch.as_tensor(v).isfinite().all() for v in s.log.last().values())
    assert a['labels'] == wants_labels(r) == (name != 'InfoGAN')
    heads = {c.removesuffix('_D') for c in s.log.columns} - {'loss', 'loss_D'}
    wanted = dict(classify='classes', classify_fakes='classes', classify_real='classes', inform='codes',
        rotate='rotation')
    assert {wanted[t] for t, _ in r.tasks} <= heads
    assert from_settings(json.loads(json.dumps(asdict(r)))) == r


def test_what_a_recipe_asks_of_the_data():
    assert count_classes(told, digits()) == 10 and count_classes('stable', digits()) is None
    moons = replace(find('points'), classes='projection', latent_dim=18)
    assert count_classes(moons, two_moons(50)) == 2 and count_classes(moons, ring(50)) == 8
    few = Data('few', digits().x[:6], torch.tensor([0, 2, -1, -1, 1, -1]))
    assert count_classes(replace(told, **ways['few labels']), few) == 3
    assert draws_classes('conditional') and not draws_classes(replace(told, **ways['InfoGAN']))
    assert not draws_classes(replace(told, **ways['few labels']))
    s, a = build(replace(told, **ways['few labels']), few)
    fit(s, **a)


def test_a_recipe_without_classes_has_the_networks_it_had():
    from ganbook.models.mlp import mlp_pair
    from torch import nn
    r = find('mlp')
    G, D = networks(r, (1, 8, 8))
    torch.manual_seed(0)
    for net, same in zip((G, D), mlp_pair(r, (1, 8, 8), (1, 8, 8), nn.Tanh)):
        assert type(net) is type(same)
        assert all(torch.equal(p, q) for p, q in zip(net.parameters(), same.parameters()))


@pytest.mark.parametrize('change,data,words', [
    (dict(), Data('grey', torch.zeros(9, 1, 8, 8, dtype=torch.uint8)), 'grey has no labels: take data with'),
    (dict(), Data('few', digits().x[:2], torch.tensor([0, -1])), 'smallest_label is -1'),
    (dict(classes='name_tag'), digits(), "no way to tell classes called 'name_tag': take one of projection"),
    (dict(tasks=(('colour', 1.),)), digits(), "no task called 'colour': take one of classify"),
    (dict(tasks=(('rotate', 1.),), update='extragradient'), digits(), "tasks need the update 'alternating'"),
    (dict(pack=2), digits(), 'with classes or tasks D answers for a sample'),
    (dict(tasks=(('classify', 1.), ('classify_real', 1.))), digits(), 'two tasks have one name'),
])
def test_what_cannot_be_is_refused(change, data, words):
    with pytest.raises(ValueError, match=words): build(replace(told, **change), data)


# on disk

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A folder with a run of 30 steps, the same run in two parts, and one without classes."
    home = tmp_path_factory.mktemp('classes')
    with working_in(home):
        words = 'train conditional --n-steps 30 --quiet --batch-size 16 --every 15 --out'.split()
        ok(*words, 'whole')
        stopped(15, *words, 'parts')
        assert Run.read('parts').step == 15
        ok('resume', 'parts', '--quiet')
        ok('train', 'mlp', '--n-steps', '2', '--quiet', '--out', 'plain')
    (home/'unlabelled').mkdir()
    for i in range(9): Image.new('RGB', (8, 8), (20*i, 9, 9)).save(home/'unlabelled'/f'{i}.png')
    return home


def test_a_resumed_run_has_the_same_bits(at_home):
    a, b = (read(latest(f'{name}/checkpoints'))['parts'] for name in ('whole', 'parts'))
    def flat(x): return [v for y in x.values() for v in flat(y)] if isinstance(x, dict) else [x]
    for p, q in zip(flat(a), flat(b), strict=True):
        assert torch.equal(p, q) if isinstance(p, torch.Tensor) else p == q
    assert (at_home/'whole/samples.png').read_bytes() == (at_home/'parts/samples.png').read_bytes()


def test_classes_are_written_down(at_home):
    about = Run.read('whole').about
    assert list(about['classes']) == list('0123456789') and sum(about['classes'].values()) == 1797
    assert stand_in(Run.read('whole').settings).classes == tuple('0123456789')
    wide, high = Image.open('whole/samples.png').size
    tile = 600/8  # ten rows of eight, a class each, and beside each row four real ones
    assert abs(high - 10*tile) < 40 and abs(wide - 12*tile) < 40


def test_one_class_is_drawn(at_home, capsys):
    assert main(['sample', 'whole', '--n', '5', '--class', '3', '--out', 'three.npy']) == 0
    assert main(['sample', 'whole', '--n', '5', '--class', '4', '--out', 'four.npy']) == 0
    assert main(['sample', 'whole', '--n', '5', '--out', 'any.npy']) == 0
    three, four, any_ = (np.load(f'{name}.npy') for name in ('three', 'four', 'any'))
    assert three.shape == (5, 1, 8, 8) and (three != four).any() and (three != any_).any()
    what = trained(at_home/'whole', 'cpu')
    from ganbook.data import to_units
    assert (to_units(digits(), what.draw(5, 0, 3)).numpy() == three).all()
    assert main(['sample', 'whole', '--class', '3']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'whole/samples-64-0-class-3.png'


def test_labels_are_as_frequent_as_in_the_data(at_home):
    what = trained(at_home/'whole', 'cpu')
    what.settings['data']['classes'] = dict(zip('abcdefghij', [3, 1, *[0]*8]))
    share = what.labels(4000).bincount(minlength=10)/4000
    assert abs(share[0] - .75) < .03 and abs(share[1] - .25) < .03
    assert what.class_number('b') == 1 and what.class_number('1') == 1


@pytest.mark.parametrize('words,said', [
    (['sample', 'whole', '--class', '11'], "no class of whole called '11': take one of 0, 1"),
    (['sample', 'whole', '--class', ''], "no class of whole called ''"),
    (['sample', 'plain', '--class', '3'], 'plain draws no classes: leave --class out'),
    (['train', 'conditional', '--data', 'unlabelled', '--size', '8'], 'unlabelled has no labels'),
    (['bench', 'conditional'], "a tutorial's loop has none"),
])
def test_one_sentence(at_home, capsys, words, said):
    assert main(words) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert said in err[-1] and err[-1].startswith('ganbook: ') and not any('Traceback' in l for l in err)


def test_evaluate_tells_how_many_are_what_was_asked_for(at_home, capsys):
    assert main(['evaluate', 'whole', '--n', '100']) == 0
    assert 'named as the class that was asked for' in capsys.readouterr().out
    found = json.loads((at_home/'whole/evaluation.json').read_text())
    assert 0 <= found['measures']['asked'] <= 1 and found['of_real']['asked'] > .97
    assert main(['evaluate', 'plain', '--n', '100']) == 0
    assert 'asked' not in json.loads((at_home/'plain/evaluation.json').read_text())['measures']


def test_the_doctor_and_the_exporters_hand_labels_on(at_home, capsys):
    assert main(['doctor', 'whole']) == 0 and (at_home/'whole/doctor.png').is_file()
    assert main(['export', 'whole', '--format', 'torch']) == 0
    assert 'y, int64 (B,), classes from 0 to 9' in capsys.readouterr().out
    from ganbook.export import write_form
    for form in ('safetensors', 'torch'):
        assert write_form(trained(at_home/'whole', 'cpu'), form, at_home/'files')[2] <= 1e-5


def test_compare_draws_both(at_home):
    assert main(['compare', 'whole', 'parts', '--out', 'both.png']) == 0
    assert (at_home/'both.png').is_file()


# a folder whose subfolders are the classes

@pytest.fixture(scope='module')
def people(tmp_path_factory):
    "A folder of faces without and with glasses, and a short run on it."
    from ganbook.data import faces
    from ganbook.plots import save_png
    home = tmp_path_factory.mktemp('people')
    for k, name in enumerate(('bare', 'with glasses')):
        for i, image in enumerate(faces(24, 16, seed=k, glasses=k).x):
            save_png(image[None], home/'people'/name/f'{i}.png', 1, scale=1)
    with working_in(home):
        short = ['--n-steps', '3', '--batch-size', '8', '--quiet']
        ok('train', '--data', 'people', '--classes', '--size', '16', *short, '--out', 'run')
    return home


def test_subfolders_are_classes(people, monkeypatch, capsys):
    monkeypatch.chdir(people)
    monkeypatch.setenv('GANBOOK_DEVICE', 'cpu')
    run = Run.read('run')
    assert run.about['classes'] == {'bare': 24, 'with glasses': 24}
    assert (run.recipe.name, run.recipe.classes, run.recipe.latent_dim) == ('stable', 'projection', 80)
    assert main(['info', 'run']) == 0
    assert 'bare 24, with glasses 24' in capsys.readouterr().out
    drawn = []
    for name in ('bare', 'with glasses', '1'):
        assert main(['sample', 'run', '--class', name, '--n', '4', '--out', 'a.npy']) == 0
        drawn.append(np.load('a.npy'))
    assert (drawn[0] != drawn[1]).any() and (drawn[1] == drawn[2]).all()
    assert main(['sample', 'run', '--class', 'dog']) == 2
    assert 'take one of bare, with glasses' in capsys.readouterr().err
    for words in (['resume', 'run', '--n-steps', '5', '--quiet'], ['doctor', 'run'],
        ['evaluate', 'run', '--n', '20'], ['train', '--config', 'run', '--n-steps', '2', '--out', 'again']):
        assert main(words) == 0, words
    assert Run.read('again').recipe.classes == 'projection' and Run.read('run').step == 5
    assert main(['train', '--resume', '--classes', '--out', 'run', '--n-steps', '6', '--quiet']) == 0
    assert main(['train', 'mlp', '--n-steps', '1', '--quiet', '--out', 'plain']) == 0
    capsys.readouterr()
    assert main(['train', '--resume', '--classes', '--out', 'plain']) == 2
    assert 'the run has classes False, not True' in capsys.readouterr().err


def test_classes_that_changed_are_refused(people, monkeypatch, capsys):
    monkeypatch.chdir(people)
    monkeypatch.setenv('GANBOOK_DEVICE', 'cpu')
    (people/'people'/'aged').mkdir()
    Image.new('RGB', (16, 16)).save(people/'people'/'aged'/'0.png')
    capsys.readouterr()
    before = (people/'run'/'run.json').read_bytes()
    assert main(['resume', 'run', '--n-steps', '9']) == 2
    err = capsys.readouterr().err
    assert 'has the classes aged, bare, with glasses now, and the run has bare, with glasses' in err
    assert (people/'run'/'run.json').read_bytes() == before
    (people/'people'/'aged'/'0.png').unlink()
    (people/'people'/'aged').rmdir()


@pytest.mark.parametrize('spoil,said', [
    ('flat', 'has no labels, since it has no subfolders'), ('one', 'has one class, a: add another'),
    ('empty', 'has a subfolder without images, b'), ('loose', 'has 1 images beside its subfolders'),
    ('damaged', 'of the class b can be read'), ('spiral', 'spiral has no labels'),
    ('gaussian', 'gaussian has one class'), ('nowhere', 'is not there'),
])
def test_classes_that_cannot_be_are_one_sentence(spoil, said, here, capsys):
    files = dict(flat=['0.png', '1.png'], one=['a/0.png'], empty=['a/0.png', 'b/x.txt'],
        loose=['a/0.png', 'b/0.png', '0.png'], damaged=['a/0.png', 'b/0.jpg'])
    for name in files.get(spoil, []):
        (here/'pics'/name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith('png'): Image.new('RGB', (9, 9)).save(here/'pics'/name)
        else: (here/'pics'/name).write_bytes(b'no picture')
    data = 'pics' if spoil in files else spoil
    assert main(['train', '--data', data, '--classes', '--n-steps', '1']) == 2
    err = capsys.readouterr().err
    last = err.splitlines()[-1]
    assert said in last and last.startswith('ganbook: ') and 'Traceback' not in err
    assert not (here/'runs').exists()


@pytest.mark.parametrize('data,classes', [('digits', 10), ('ring', 8), ('faces', 1200)])
def test_sets_with_labels_train_with_classes(data, classes, here):
    words = ['--n-steps', '1', '--batch-size', '4', '--quiet', '--out', 'a']
    sized = ['--size', '16'] if data == 'faces' else []
    assert main(['train', '--data', data, '--classes', *words, *sized]) == 0
    assert len(Run.read('a').about['classes']) == classes
    assert main(['sample', 'a', '--class', '3', '--n', '4', '--out', 'x.npy']) == 0


def test_a_row_of_the_picture_has_its_name_and_its_own_real_images(tmp_path):
    from ganbook.callbacks import save_samples
    x = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    x[4:] = 255
    data = Data('two', x, torch.arange(2).repeat_interleave(4), classes=('dark', 'light'))
    y = torch.tensor([0, 1]).repeat_interleave(4)
    fake = torch.zeros(8, 1, 8, 8)
    named, bare = (np.asarray(Image.open(save_samples(data, fake, tmp_path/f'{n}.png', 4, True, told)))
        for n, told in (('named', (y,)), ('bare', ())))
    assert named.shape[0] == bare.shape[0] and named.shape[1] > bare.shape[1] + 20
    right = named[:, -100:]
    assert right[60, 50] == 0 and right[-60, 50] == 255  # dark ones above, light ones below
