"""One of each, made in a notebook and named in a recipe: a loss, a penalty, a data set, a pair of
networks, a policy of augmentation, an update, a task and a way to tell classes. Nothing of the library
is touched."""
import json
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
cells = {
    'a loss': '''
from ganbook import losses
losses.by_name['softer'] = losses.smooth(losses.non_saturating, .8)''',
    'a penalty': '''
from ganbook import penalties
def small_logits(weight, rng=None):
    return lambda D, real, fake, real_logits, fake_logits: weight*real_logits.square().mean(-1)
penalties.by_name['small_logits'] = small_logits''',
    'a data set': '''
import torch
from ganbook import data
def stripes():
    x = torch.randint(0, 2, (200, 1, 1, 8), dtype=torch.uint8).mul(255).expand(200, 1, 8, 8)
    return data.Data('stripes', x.contiguous())
data.sets['stripes'] = stripes''',
    'a pair': '''
from ganbook import recipes
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
def narrow(recipe, shape, seen, out):
    return MLPGenerator(shape, recipe.latent_dim, (7,), out), MLPDiscriminator(seen, (5,))
recipes.pairs['narrow'] = narrow''',
    'a policy': '''
from ganbook import augment
augment.by_name['dimmed'] = (lambda x, rng: x/2,)''',
    'an update': '''
from functools import partial
from ganbook import optim
optim.by_name['lookahead_2'] = partial(optim.lookahead, k=2)''',
    'a task': '''
from ganbook import tasks
def brightness(r): return (r.fake.flatten(-3).mean((-2, -1)) + 1)/2
tasks.by_name['ink'] = tasks.Task('ink', generator=brightness)''',
    'a way to tell classes': '''
from ganbook.models import conditional
def louder(G, n_classes): return conditional.EmbeddedGenerator(G, n_classes, 1)
conditional.by_name['one_number'] = conditional.Conditioning(louder, projects=True, labels=True)''',
    'a recipe': '''
from ganbook.recipes import Recipe, build
from ganbook.sources import data_by_name
from ganbook.train import fit
own = Recipe(
    'own', 'this notebook', 'images', networks='narrow', latent_dim=3, loss='softer', batch_size=16,
    penalties=(('small_logits', .1),), augment='dimmed', update='lookahead_2', n_steps=3,
)
s, arguments = build(own, data_by_name('stripes'), seed=0, device='cpu')
fit(s, **arguments)
widths = s.G.net[0].out_features, s.D.net[0].out_features
assert (s.step, widths, len(arguments['penalties'])) == (3, (7, 5), 1)
assert 'penalty' in s.log.columns
told = Recipe(
    'told', 'this notebook', 'images', networks='narrow', latent_dim=4, batch_size=16, classes='one_number',
    tasks=(('ink', 1.), ('classify', .5)), n_steps=3,
)
s, arguments = build(told, data_by_name('digits'), seed=0, device='cpu')
fit(s, **arguments)
assert (s.G.latent_dim, len(s.D.classes), list(s.D.heads)) == (3, 10, ['classes'])
assert {'ink_G', 'classes_D', 'classes_G'} <= {*s.log.columns}
print('trained')''',
}

def test_one_of_each_is_named_in_a_recipe(tmp_path):
    "In a process of its own, as the tables are those of the process."
    code = [
        dict(cell_type='code', metadata={}, source=text.strip(), outputs=[], execution_count=None)
        for text in cells.values()
    ]
    path = tmp_path/'own.ipynb'
    path.write_text(json.dumps(dict(cells=code, metadata={}, nbformat=4, nbformat_minor=5)))
    execute = f'CaptureShell().execute({str(path)!r}, {str(path)!r}, exc_stop=True)'
    run = f'from execnb.shell import CaptureShell; {execute}'
    done = subprocess.run([sys.executable, '-c', run], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    last = json.loads(path.read_text())['cells'][-1]
    assert 'trained' in str(last['outputs']), done.stderr[-2000:]
