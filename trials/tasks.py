"""What each further task buys: classes, codes, a few labels, rotation, on the 8x8 digits.

usage: python -m trials.tasks [--check] [--data digits|mnist] [--only ARM ...] [--steps N] [--seeds K]
[--width W] [--device cpu|cuda] [--out FILE]

The digits are divided at random: 1,197 to train on, 600 that neither GAN nor classifier
sees. All GANs have fully connected networks, two hidden layers each, BatchNorm in G, and
the objective of the recipe stable: relativistic, R1 and R2, Adam without momentum, an
average of G, rates that fall over the second half. They differ in what their arm says:

  no task             neither classes nor questions
  embedding           G gets a vector of the class before its latents, D judges by projection
  conditional BN      G is told its class in every BatchNorm, D judges by projection
  AC-GAN              G as above; D does not look at the class, but has to name it: that of real samples
                      (weight 1)
  AC-GAN, weight .2   the same with a weight of .2
  AC-GAN, fakes too   D names fakes as well, as in the paper (weight 1)
  AC-GAN, fakes too, weight .2
  InfoGAN             no labels; G as above, with a code of its own for the class, and D reads off which it
                      was (weight .2)
  rotation            no labels; D says by how much an image is turned (weight .2)
  few labels          D is a classifier whose logit is the logsumexp of its ten, with the non-saturating loss
                      and lower penalties; it knows 100 labels of the 1,197 images
  few labels, no GAN  the same network, trained on the same 100 images alone, with noise on them and weight
                      decay (the best of eight settings on five other seeds), and stopped at its best moment
                      on the test set

1,800 samples of the average, 180 a class, are judged in the features of the digits' yardstick: squared
Frechet distance to the training set in units of half against half, share whose class the yardstick names as
asked, share it is sure of (confidence above .9), mutual information of code and class. The classification
accuracy score (Ravuri and Vinyals 2019) is the accuracy on the 600 of a small classifier trained on 1,197
samples alone. Seeds train side by side; all was tuned on seeds from 100 up. On a GPU --data mnist trains on
60,000 images with a border, 32x32. --check exits with 1 if a target of the stored figures is missed. """
import torch
from torch import nn
from ganbook.data import digits, split
from ganbook.ensemble import Stacked, members
from ganbook.losses import non_saturating, relativistic
from ganbook.models import conditional as parts
from ganbook.models.conditional import CodedGenerator, EmbeddedGenerator, NormedGenerator, answers, code
from ganbook.tasks import (
    Task, agreement, classify, counted, inform, mutual_information, nats, rotate, taught, with_tasks,
)
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import alternating, fit, linear_decay, new_state, sample
from trials import common
from trials.common import (
    arm_options, as_drawn, both, chosen, clock, each, failing, fixed_latents, machine, mean, mnist32, parsed,
    run_arms, stored, verdict,
)

latent_dim, n_embed = 64, 16
acgans = {
    'AC-GAN': (1., False), 'AC-GAN, weight .2': (.2, False), 'AC-GAN, fakes too': (1., True),
    'AC-GAN, fakes too, weight .2': (.2, True),
}
conditional = ('embedding', 'conditional BN', *acgans)
tasks = {
    **{name: with_tasks((classify(fakes=fakes), weight)) for name, (weight, fakes) in acgans.items()},
    'InfoGAN': with_tasks((inform(), .2)),
    'rotation': with_tasks((rotate(), .2)),
}
heads = {
    **{name: dict(classes=10) for name in acgans}, 'InfoGAN': dict(codes=10), 'rotation': dict(rotation=4),
}
arms = (
    'no task', 'embedding', 'conditional BN', *acgans, 'InfoGAN', 'rotation', 'few labels',
    'few labels, no GAN',
)

def with_batchnorm(G):
    "Put BatchNorm after each hidden layer of a fully connected generator."
    layers = []
    for m in G.net:
        layers += [nn.BatchNorm1d(layers[-1].out_features), m] if isinstance(m, nn.LeakyReLU) else [m]
    G.net = nn.Sequential(*layers)
    return G

def pair(arm, shape, width):
    "The two networks of an arm: fully connected for the digits, convolutional for larger images."
    Z = latent_dim + n_embed*(arm == 'embedding')
    if shape[-1] == 8:
        G, D = with_batchnorm(MLPGenerator(shape, Z, (width, width))), MLPDiscriminator(shape, (width, width))
    else:
        G = DCGANGenerator(shape, Z, width, init=None)
        D = DCGANDiscriminator(shape, width, norm=None, init=None)
    if arm == 'embedding': G = EmbeddedGenerator(G, 10, n_embed)
    elif arm in conditional: G = NormedGenerator(G, 10)
    elif arm == 'InfoGAN': G = CodedGenerator(NormedGenerator(G, 10))
    if arm.startswith('few'): return G, parts.Judge(D, dict(classes=10), logit_from='classes')
    projects = arm in conditional and arm not in acgans
    return G, parts.Judge(D, heads.get(arm), n_classes=10 if projects else None)

def state(arm, seed, shape, width, device):
    torch.manual_seed(seed)
    G, D = pair(arm, shape, width)
    return new_state(G.to(device), D.to(device), lr, (0., .99), ema=True, seed=seed)

lr = 3e-3
how = dict(loss=relativistic, penalties=both(1.), schedule=linear_decay(.5), ema_halflife=150.)


class Judge(common.Judge):
    "Real images, looked at once, and what is measured on generated ones."
    def __init__(self, name, train, test, device, limit=1_800):
        self.train, self.test = train, test
        self.x, self.test_x = (as_drawn(d.x.to(device)) for d in (train, test))
        super().__init__(name, self.x, device, limit)
        named = agreement(self.eye.probs(self.test_x), test.y.to(device)).item()
        self.real_row = dict(agreement=named, sure=self.confident(self.test_x).item())
    def score(self, x, y, seed):
        "Accuracy on the test images of a classifier that has seen `x` and `y` alone."
        net = taught(x, y, n_steps=300 if len(x) < 10_000 else 3_000, seed=seed)
        return agreement(net(self.test_x), self.test.y.to(self.device)).item()
    def real_scores(self): return [self.score(self.x, self.train.y, i) for i in range(3)]
    def scores(self, s):
        "That of the samples of each member: as many as there are real ones, of the same classes."
        G, y = s.best, self.train.y.to(self.device).expand(*s.members, -1)
        x = sample(G, fixed_latents(len(self.train), G, s.members, self.device), y)
        return torch.tensor([self.score(a, b, i) for i, (a, b) in enumerate(zip(x, y))])
    def __call__(self, s, arm):
        "All measures, one a member."
        y = (torch.arange(self.n) % 10).to(self.device).expand(*s.members, self.n)
        x = self.samples(s.best, s.members, *([y] if arm in conditional else []))
        p = self.eye.probs(x)
        table = counted(code(fixed_latents(self.n, s.best, s.members, self.device)), p.argmax(-1))
        row = dict(
            distance=self.frechet(x)/self.floor, sure=self.confident(x),
            code_information=mutual_information(table),
        )
        if arm in conditional: row |= dict(agreement=agreement(p, y), score=self.scores(s))
        if arm == 'InfoGAN': row['table'] = table
        return {k: v.tolist() for k, v in row.items()}


def try_arm(arm, judge, n_steps, seeds, width, device):
    "Train the seeds of a GAN side by side and measure them."
    start = clock(device)
    s = members(lambda i: state(arm, seeds[i], judge.train.shape, width, device), len(seeds))
    fit(s, judge.train, n_steps, labels=arm in conditional, update=tasks.get(arm, alternating), **how)
    seconds = clock(device) - start
    return judge(s, arm) | dict(n_steps=n_steps, seconds=seconds/len(seeds))

def shown(data, seed, n=10):
    "Indices of `n` images of every class."
    g = torch.Generator().manual_seed(1_000 + seed)
    where = [(data.y.cpu() == c).nonzero()[:, 0] for c in range(10)]
    return torch.cat([w[torch.randperm(len(w), generator=g)[:n]] for w in where])

def hundred(judge, seeds, device):
    "The images that have a label, and their labels, for each seed."
    i = torch.stack([shown(judge.train, seed) for seed in seeds]).to(device)
    return judge.x[i], judge.train.y.to(device)[i]

@torch.no_grad()
def right(D, judge, k):
    "Share of the test images that each member names right."
    x, y = (t.expand(k, *t.shape) for t in (judge.test_x, judge.test.y.to(judge.device)))
    blocks = zip(x.split(500, 1), y.split(500, 1))
    return torch.cat([answers(D, a, b)['classes'].argmax(-1) == b for a, b in blocks], 1).double().mean(1)

def few_labels(judge, n_steps, seeds, width, device, noise=.3):
    """A GAN whose D is a classifier, asked about the hundred images
    that it knows in every step; D sees all images with noise."""
    start = clock(device)
    x, y = hundred(judge, seeds, device)
    def noisy(x): return x + noise*torch.randn_like(x)
    task = Task('classes', lambda r: nats(r.ask(noisy(x))['classes'], y))
    s = members(lambda i: state('few labels', seeds[i], judge.train.shape, width, device), len(seeds))
    options = how | dict(loss=non_saturating, penalties=both(.1))
    fit(s, judge.train, n_steps, augment=noisy, update=with_tasks((task, 1.)), **options)
    accuracy = right(s.D, judge, len(seeds)).tolist()
    return dict(accuracy=accuracy, n_steps=n_steps, seconds=(clock(device) - start)/len(seeds))

def no_gan(judge, seeds, width, device, noise=.6, decay=.1, lr=3e-3, n_steps=300, every=10):
    """The same network on the same images alone: what it comes to
    at the end, and at the moment that is best on the test set."""
    start, looks = clock(device), []
    D = Stacked([state('few labels', seed, judge.train.shape, width, device).D for seed in seeds])
    x, y = hundred(judge, seeds, device)
    opt = torch.optim.AdamW(D.parameters(), lr, weight_decay=decay)
    rng = torch.Generator(device).manual_seed(seeds[0])
    for step in range(n_steps):
        for group in opt.param_groups: group['lr'] = lr*(1 - step/n_steps)
        loss = nats(answers(D, x + noise*torch.randn(x.shape, generator=rng, device=device))['classes'], y)
        opt.zero_grad()
        loss.sum().backward()
        opt.step()
        if step % every == every - 1: looks.append(right(D, judge, len(seeds)))
    looks = torch.stack(looks)
    return dict(
        accuracy=looks.amax(0).tolist(), at_the_end=looks[-1].tolist(), n_steps=n_steps,
        seconds=(clock(device) - start)/len(seeds),
    )

def missed(kept, kind):
    "The targets that are not met, in words."
    if kind not in kept: return [f'there is no {kind}']
    entry, least = kept[kind], .97 if 'digits' in kind else .98
    rows, least_score = entry['rows'], .95 if 'digits' in kind else .98
    if faults := [f'{kind}: no arm called {a}' for a in arms if a not in rows]: return faults
    def met(ok, text, value): return ok, f'{kind}: {text} is {value:.4g}'
    targets = []
    for arm in ('embedding', 'conditional BN'):
        named, over = mean(rows[arm]['agreement']), mean(rows[arm]['score'])/entry['real_score']
        targets += [
            met(named >= least, f'{arm}, agreement', named),
            met(over >= least_score, f'{arm}, score over that of real data', over),
        ]
    few, alone = (rows[a]['accuracy'] for a in ('few labels', 'few labels, no GAN'))
    gain = min(a - b for a, b in zip(few, alone))
    info, without = mean(rows['InfoGAN']['code_information']), max(rows['no task']['code_information'])
    return failing(
        *targets, (len(few) >= 5, f'{kind}: {len(few)} seeds with few labels, at least 5'),
        met(gain > 0, 'what the unlabelled images bring, worst seed', gain),
        met(info >= entry['information_bar'], 'information of the code, mean', info),
        met(without < .2, 'information of a code that nobody asks for', without),
    )

def line(name, row):
    told = {
        k: each(v, '.3f') for k, v in row.items() if isinstance(v, list) and isinstance(v[0], float)
    }
    return f"{name:29} {'  '.join(f'{k} {v}' for k, v in told.items())}   {row['seconds']:.0f} s a run"

def main():
    p = arm_options(__doc__, 'tasks', arms, '1000; on a GPU 30,000', first=True)
    p.add_argument(
        '--width', type=int,
        help='units of a hidden layer (default 128), on a GPU channels of the first layer (default 32)',
    )
    a = parsed(p)
    names, device, kind = chosen(p, a, arms), torch.device(a.device), f'{a.device} {a.data}'
    if not names: return verdict(missed(stored(a.out), kind), a.check)
    on_digits = a.data == 'digits'
    seeds = [a.first + i for i in range(a.seeds)]
    n_steps = a.steps or (30_000 if a.device == 'cuda' else 1_000)
    width = a.width or (128 if on_digits else 32)
    train, test = split(digits(), 600/1797) if on_digits else (mnist32(), mnist32(train=False))
    judge = Judge(a.data, train.to(device), test.to(device), device, 1_800 if on_digits else 10_000)
    about = machine(a.device) | dict(
        n_seeds=a.seeds, width=width, order=list(arms), information_bar=1., floor=judge.floor,
        real=judge.real_row, n_train=len(train), n_test=len(test), n_samples=judge.n,
    )
    about |= {k: v for k, v in stored(a.out).get(kind, {}).items() if k.startswith('real_')}
    def trial(arm):
        if arm == 'few labels': return few_labels(judge, n_steps, seeds, width, device)
        if arm == 'few labels, no GAN': return no_gan(judge, seeds, width, device)
        row = try_arm(arm, judge, n_steps, seeds, width, device)
        if arm in conditional and 'real_scores' not in about:
            scores = judge.real_scores()
            about.update(real_scores=scores, real_score=mean(scores))
        return row
    run_arms(names, trial, line, a.out, kind, about)
    return verdict(missed(stored(a.out), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
