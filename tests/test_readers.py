"The reader of drawn faces: what its card says, what it refuses, and how kinds are counted."
import json
from dataclasses import replace
from pathlib import Path
import pytest
import torch
from ganbook import readers
from ganbook.cli import main
from ganbook.causes import draw_causes, kind, kind_causes, n_kinds, options, spans
from ganbook.data import faces
from ganbook.drawing import draw_faces
from ganbook.evaluate import eye, of_images
from ganbook.metrics import frechet, yardstick
from ganbook.readers import FaceReader, at_32, face_reader, in_groups, kinds_expected, kinds_found, targets

def pixels(d): return d.x.float()/127.5 - 1

@pytest.fixture(scope='module')
def reader(): return face_reader()

@pytest.fixture(scope='module')
def some(): return faces(1500, 32, seed=40)

@pytest.mark.parametrize('size', [16, 32])
def test_the_faces_card_is_true(reader, size):
    "On the held-out faces that it names, drawn anew; another processor may tip one in a thousand over."
    card = reader.card
    causes = draw_causes(card['held_out'], seed=2)
    assert 'seed' in card['data'] and "draw_causes(**{'n': 4000, 'seed': 2}) held out" in card['data']
    read = reader.read_causes(draw_faces(causes, size).float()/127.5 - 1)
    told, right = card['sizes'][str(size)], {}
    for name in options:
        right[name] = read[name].argmax(-1) == getattr(causes, name)
        assert abs(right[name].double().mean().item() - told['accuracy'][name]) <= .001, name
    whole = torch.stack([right[name] for name in kind_causes]).all(0).double().mean().item()
    assert abs(whole - told['kind']) <= .001
    for name in (*spans, 'shirt'):
        v = getattr(causes, name)
        r2 = 1 - ((read[name] - v).square().mean()/v.var(correction=0)).item()
        want = told['r2'][name]
        # of the shirt the variance is that of all three colours together
        assert abs(r2 - want) <= .002, name
    if size == 32: assert card['accuracy'] == told['kind']

def test_the_reader_is_good_enough(reader):
    large, small = (reader.card['sizes'][k] for k in ('32', '16'))
    for told in (large, small):
        assert told['kind'] >= .99 and min(told['accuracy'].values()) >= .99
        assert min(told['r2'].values()) >= .9

def test_the_weights_are_small():
    folder = Path(readers.__file__).parent/'yardsticks'
    assert (folder/'faces.safetensors').stat().st_size <= 500_000

def test_other_sizes_are_read_too(reader, some):
    read = reader.probs(draw_faces(some.causes[:200], 64).float()/127.5 - 1).argmax(-1)
    assert (read == some.y[:200]).double().mean() > .95
    assert at_32(torch.zeros(2, 3, 3, 48, 48)).shape == (2, 3, 3, 32, 32)
    x = torch.zeros(1, 3, 32, 32)
    assert at_32(x) is x

@pytest.mark.parametrize('shape', [(2, 1, 32, 32), (2, 3, 8, 8), (2, 3, 32, 16), (3, 32, 32)])
def test_what_is_no_face_is_refused(reader, shape):
    with pytest.raises(ValueError, match=r'give \(...,N,3,32,32\)'): reader.features(torch.zeros(shape))

def test_bytes_are_refused(reader, some):
    with pytest.raises(TypeError, match='floating-point'): reader.probs(some.x[:2])
    with pytest.raises(ValueError, match='values in .-1,1.'): reader.probs(some.x[:2].float())

def test_groups_are_as_the_targets(some):
    chosen, numbers = in_groups(torch.arange(2.*readers.n_outputs).view(2, -1))
    words, values = targets(some.causes[:2])
    assert list(chosen) == list(words) == list(options)
    assert {k: v.shape for k, v in numbers.items()} == {k: v.shape for k, v in values.items()}
    assert [v.shape[-1] for v in chosen.values()] == [len(v) for v in options.values()]
    for v in values.values(): assert v.abs().max() <= 1 + 1e-5

def test_probabilities_of_kinds_multiply(reader, some):
    x = pixels(some)[:6].view(2, 3, 3, 32, 32)
    p, read = reader.probs(x), reader.read_causes(x)
    assert p.shape == (2, 3, n_kinds)
    most = kind({name: read[name].argmax(-1) for name in kind_causes})
    assert torch.equal(p.argmax(-1), most)
    product = torch.stack([read[name].amax(-1) for name in kind_causes]).prod(0)
    assert torch.allclose(p.amax(-1), product, atol=1e-6)

def test_kinds_found_wants_certainty():
    p = torch.tensor([[.95, .05, 0.], [.95, .05, 0.], [.5, .5, 0.], [0., .08, .92]])
    assert kinds_found(p) == 2 and kinds_found(p, .93) == 1 and kinds_found(p, .4) == 2
    assert kinds_expected(1) == pytest.approx(1) and kinds_expected(10**6) == pytest.approx(1200)
    assert kinds_expected(2, 2) == pytest.approx(1.5)

def test_kinds_of_drawn_faces_are_nearly_all_found(reader, some):
    found, there = kinds_found(reader.probs(pixels(some))), some.y.unique().numel()
    assert .95*there <= found <= 1.02*there
    assert abs(there - kinds_expected(1500)) < 60
    collapsed = faces(300, 32, seed=41, background=1, skin=2, hair_colour=3, hair_style=0)
    assert kinds_found(reader.probs(pixels(collapsed))) <= 8  # two, and what is misread

def test_distances_tell_faces_apart(reader, some):
    a, b = reader.features(pixels(some)).chunk(2)
    bare = reader.features(pixels(faces(750, 32, seed=42, glasses=0)))
    mirrored = reader.features(pixels(replace(some, x=some.x.flip(-1)))[:750])
    assert frechet(a, bare) > 2*frechet(a, b)
    assert frechet(b, mirrored) > 2*frechet(a, b)

def test_the_yardstick_of_faces_is_named():
    with pytest.raises(ValueError, match=r'readers.face_reader\(\)'): yardstick('faces')

def test_a_reader_of_another_make():
    y = FaceReader(width=4, n_features=8).eval()
    assert y.features(torch.zeros(3, 3, 16, 16)).shape == (3, 8) and not y.card

def test_evaluate_counts_kinds(some):
    found = of_images(some.x[:500], some, 400, 0, None, eye('faces', 'cpu'))
    assert found.found['kinds'] > 200 and 'classes' not in found.found and 'reads the kind of' in found.words
    same = of_images(some.x[:1].expand(200, -1, -1, -1), some, 200, 0, None, eye('faces', 'cpu'))
    assert same.found['kinds'] <= 1 and same.found['distance'] > 10

@pytest.mark.slow
def test_train_and_evaluate_on_faces(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = 'train mlp --data faces --size 16 --n-steps 2 --batch-size 4 --quiet --out a'
    assert main(words.split()) == 0
    assert main(['evaluate', 'a', '--n', '200']) == 0
    out = capsys.readouterr().out
    assert "yardstick 'faces'" in out and 'different kinds of face' in out and 'distance' in out
    told = json.loads(Path('a/evaluation.json').read_text())
    assert told['of_real']['kinds'] > 60 and told['measures']['kinds'] <= 2
    about = json.loads(Path('a/run.json').read_text())
    assert about['settings']['source'] == dict(name='faces', size=16, grey=False)
    assert main(['train', 'mlp', '--data', 'faces', '--grey', '--out', 'b']) == 2
    assert '--grey is for a folder of images: leave it out for faces' in capsys.readouterr().err
    assert main(['train', 'mlp', '--data', 'faces', '--size', '8', '--out', 'b']) == 2
    assert 'size is 8: it must be a whole number from 16 to 128' in capsys.readouterr().err
