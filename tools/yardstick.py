"""Train the yardstick classifiers of ganbook.metrics, and the readers of drawn faces of ganbook.readers, and
store them, with their cards, inside the package.

usage: python tools/yardstick.py [digits] [mnist] [faces] [parts] [--dry STEPS]     all without a name; --dry
                                                                                    only measures speed

The same seed, thread count and versions give the same weights; another machine's
differ in the last digits, and so in their sum. Figures in the book are made with
the stored weights, which are what `ganbook.metrics.yardstick` loads. """
import hashlib
import json
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load, save

from ganbook import data as sets
from ganbook.downloads import mnist
from ganbook.causes import draw_causes, kind_causes
from ganbook.drawing import draw_faces, parts
from ganbook.metrics import Yardstick
from ganbook.readers import FaceReader, PartReader, at_32, in_groups, targets

root = Path(__file__).resolve().parent.parent
folder = root/'ganbook'/'yardsticks'
version = 1  # of the weights: figures measured with different versions do not compare

recipes = dict(
    digits=dict(
        network=dict(shape=(1, 8, 8), width=24, n_features=64), shift=1, batch=50, epochs=40, lr=5e-3, seed=0,
        data=lambda: sets.split(sets.digits(), test=1/3, seed=0), split='split(digits(), test=1/3, seed=0)',
    ),
    mnist=dict(
        network=dict(shape=(1, 28, 28), width=24, n_features=64), shift=2, batch=100, epochs=14, lr=5e-3,
        seed=0, data=lambda: (mnist(), mnist(train=False)),
        split='the public training and test sets',
    ),
)


def as_drawn(x: torch.Tensor) -> torch.Tensor:
    "Images of bytes as a network sees them, in [-1,1]."
    return x.float()/127.5 - 1


def shifted(x: torch.Tensor, by: int, rng) -> torch.Tensor:
    "Each image (B,C,H,W) moved by up to `by` pixels in both directions; black comes in at the edges."
    b, _, h, w = x.shape
    padded = F.pad(x, (by,)*4, value=-1.)
    dy, dx = torch.randint(0, 2*by + 1, (2, b, 1), generator=rng)
    rows, cols = dy + torch.arange(h), dx + torch.arange(w)
    return padded[torch.arange(b)[:, None, None], :, rows[:, :, None], cols[:, None, :]].movedim(-1, 1)


def errors(net: torch.nn.Module, d: sets.Data) -> int:
    "How many images of `d` the classifier gets wrong."
    return int((net.probs(as_drawn(d.x)).argmax(-1) != d.y).sum())


def train(recipe: dict, train_set: sets.Data, max_steps=None) -> Yardstick:
    "AdamW under a cosine schedule with warm-up, on shifted images."
    torch.manual_seed(recipe['seed'])
    rng = torch.Generator().manual_seed(recipe['seed'])
    net = Yardstick(**recipe['network']).train()
    opt = torch.optim.AdamW(net.parameters(), lr=recipe['lr'], weight_decay=.02, fused=True)
    x, y = as_drawn(train_set.x), train_set.y
    batch = recipe['batch']
    per_epoch = len(x)//batch
    total, step = recipe['epochs']*per_epoch, 0
    t = time.process_time()
    for epoch in range(recipe['epochs']):
        order = torch.randperm(len(x), generator=rng)
        for i in order[:per_epoch*batch].split(batch):
            warm, p = min(1., (step + 1)/(.1*total)), step/total
            for group in opt.param_groups: group['lr'] = recipe['lr']*warm*.5*(1 + math.cos(math.pi*p))
            loss = F.cross_entropy(net(shifted(x[i], recipe['shift'], rng)), y[i])
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            if step == max_steps: break
        if step == max_steps: break
        if epoch % max(1, recipe['epochs']//10) == 0:
            took = time.process_time() - t
            done = f'epoch {epoch + 1} of {recipe["epochs"]}'
            print(f'{done}, loss {loss.item():.4f}, {took:.0f} s', flush=True)
    print(f'{step} steps, {(time.process_time() - t)/step*1e3:.1f} ms a step', flush=True)
    return net.eval()


def sha256(d: sets.Data) -> str:
    "Of the images' bytes, then of the labels' as one byte each."
    return hashlib.sha256(
        d.x.contiguous().numpy().tobytes() + d.y.to(torch.uint8).numpy().tobytes()
    ).hexdigest()


reader = dict(
    network=dict(width=24, n_features=96), batch=128, epochs=8, lr=4e-3, noise=.03, seed=0,
    train=dict(n=24_000, seed=1), held_out=dict(n=4000, seed=2),
)


def descend(net: torch.nn.Module, recipe: dict, total: int, loss_of):
    "AdamW under the same schedule; `loss_of()` draws a batch and gives its loss."
    opt = torch.optim.AdamW(net.parameters(), lr=recipe['lr'], weight_decay=.02, fused=True)
    t = time.process_time()
    for step in range(total):
        warm = min(1., (step + 1)/(.1*total))
        for group in opt.param_groups: group['lr'] = recipe['lr']*warm*.5*(1 + math.cos(math.pi*step/total))
        loss = loss_of()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % max(1, total//10) == 0:
            took = time.process_time() - t
            print(f'step {step + 1} of {total}, loss {loss.item():.3f}, {took:.0f} s', flush=True)
    print(f'{total} steps, {(time.process_time() - t)/total*1e3:.1f} ms a step', flush=True)


def train_reader(recipe: dict, max_steps=None) -> FaceReader:
    """Cross entropy of choices and five times the squared error of numbers, on batches
    that are half faces of 32 pixels and half faces of 16, with a little noise."""
    torch.manual_seed(recipe['seed'])
    rng = torch.Generator().manual_seed(recipe['seed'])
    net = FaceReader(**recipe['network']).train()
    n = recipe['train']['n'] if max_steps is None else 1000
    causes = draw_causes(n, recipe['train']['seed'])
    large, small = draw_faces(causes, 32), draw_faces(causes, 16)
    half = recipe['batch']//2

    def loss_of():
        i, j = torch.randint(n, (2, half), generator=rng)
        x = torch.cat([as_drawn(large[i]), at_32(as_drawn(small[j]))])
        x += recipe['noise']*torch.randn(x.shape, generator=rng)
        (logits, numbers), (words, values) = in_groups(net(x)), targets(causes[torch.cat([i, j])])
        loss = sum(F.cross_entropy(logits[name], words[name]) for name in words)
        return loss + 5*sum(F.mse_loss(numbers[name], values[name]) for name in values)

    descend(net, recipe, recipe['epochs']*(n//half) if max_steps is None else max_steps, loss_of)
    return net.eval()


def judged(net: FaceReader, held_out: dict) -> dict:
    "Size -> share of each choice read rightly, share of faces with all of the kind right, R² of each number."
    causes, found = draw_causes(**held_out), {}
    for size in (16, 32):
        with torch.no_grad():
            x = at_32(as_drawn(draw_faces(causes, size)))
            logits, numbers = in_groups(net.head(net.features(x)))
        words, values = targets(causes)
        right = {name: logits[name].argmax(-1) == words[name] for name in words}
        def unread(name): return (numbers[name] - values[name]).square().mean()/values[name].var(correction=0)
        found[str(size)] = dict(
            kind=torch.stack([right[name] for name in kind_causes]).all(0).double().mean().item(),
            accuracy={name: r.double().mean().item() for name, r in right.items()},
            r2={name: 1 - unread(name).item() for name in values},
        )
    return found


def make_reader(dry=None):
    "Train the reader of faces; store weights, as float16, and card."
    recipe = reader
    net = train_reader(recipe, dry)
    raw = halves(net)
    net.load_state_dict(load(raw))  # what is judged is what is stored
    sizes = judged(net, recipe['held_out'])
    print(json.dumps(sizes, indent=1), f'{len(raw)/1e3:.0f} kB of weights', flush=True)
    if dry: return
    card = dict(
        name='faces', version=version, network=recipe['network'],
        parameters=sum(p.numel() for p in net.parameters()),
        features='last hidden layer after BatchNorm, before its ReLU', accuracy=sizes['32']['kind'],
        sizes=sizes, held_out=recipe['held_out']['n'],
        data=f'draw_causes(**{recipe["train"]}) to train on, draw_causes(**{recipe["held_out"]}) held out',
        seed=recipe['seed'], epochs=recipe['epochs'], made_by='tools/yardstick.py', torch=torch.__version__,
        sha256=hashlib.sha256(raw).hexdigest(),
    )
    write('faces', raw, card)


part_recipe = dict(
    network=dict(width=12), batch=32, steps=3_000, lr=4e-3, noise=.03, seed=0,
    train=dict(n=12_000, seed=1), held_out=dict(n=2000, seed=2),
)


def parts_of(n: int, seed: int) -> tuple:
    "Faces (n,3,32,32) in [-1,1], and the number of the part that each pixel shows (n,32,32)."
    causes = draw_causes(n, seed)
    return as_drawn(draw_faces(causes, 32)), draw_faces(causes, 32, 'parts').argmax(1)


def train_part_reader(recipe: dict, max_steps=None) -> PartReader:
    "The cross entropy of every pixel, with a little noise."
    torch.manual_seed(recipe['seed'])
    rng = torch.Generator().manual_seed(recipe['seed'])
    net = PartReader(**recipe['network']).train()
    x, y = parts_of(**recipe['train'] | ({} if max_steps is None else dict(n=500)))

    def loss_of():
        i = torch.randint(len(x), (recipe['batch'],), generator=rng)
        noisy = x[i] + recipe['noise']*torch.randn(x[i].shape, generator=rng)
        return F.cross_entropy(net(noisy), y[i])

    descend(net, recipe, max_steps or recipe['steps'], loss_of)
    return net.eval()


def overlap(net: PartReader, held_out: dict) -> dict:
    "Part -> the pixels that are read and drawn as such, over those of either."
    x, y = parts_of(**held_out)
    read, true = net.masks(x), F.one_hot(y, len(parts)).movedim(-1, 1).bool()
    iou = (read & true).sum((0, 2, 3))/(read | true).sum((0, 2, 3))
    return dict(zip(parts, iou.double().tolist()))


def make_part_reader(dry=None):
    "Train the reader of parts; store weights, as float16, and card."
    recipe = part_recipe
    net = train_part_reader(recipe, dry)
    raw = halves(net)
    net.load_state_dict(load(raw))  # what is judged is what is stored
    iou = overlap(net, recipe['held_out'])
    print(json.dumps(iou, indent=1), f'{len(raw)/1e3:.0f} kB of weights', flush=True)
    if dry: return
    write('parts', raw, dict(
        name='parts', version=version, network=recipe['network'],
        parameters=sum(p.numel() for p in net.parameters()), iou=iou, held_out=recipe['held_out']['n'],
        data=f'draw_causes(**{recipe["train"]}) to train on, draw_causes(**{recipe["held_out"]}) held out',
        seed=recipe['seed'], steps=recipe['steps'], made_by='tools/yardstick.py', torch=torch.__version__,
        sha256=hashlib.sha256(raw).hexdigest(),
    ))


def halves(net: torch.nn.Module) -> bytes:
    "The weights as a safetensors file, in half precision."
    state = net.state_dict()
    return save({k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()})


def write(name: str, raw: bytes, card: dict):
    "Weights and card into the package."
    (folder/f'{name}.safetensors').write_bytes(raw)
    (folder/f'{name}.json').write_text(json.dumps(card, indent=1) + '\n', encoding='utf-8')


def make(name: str, dry=None):
    "Train one yardstick; store weights and card."
    if name == 'faces': return make_reader(dry)
    if name == 'parts': return make_part_reader(dry)
    recipe = recipes[name]
    train_set, test_set = recipe['data']()
    net = train(recipe, train_set, dry)
    wrong = errors(net, test_set)
    print(
        f'{name}: {1 - wrong/len(test_set):.4f} right on {len(test_set):,} held-out '
        f'images, {1 - errors(net, train_set)/len(train_set):.4f} on the training images',
        flush=True,
    )
    if dry: return
    raw = save({k: v.contiguous() for k, v in net.state_dict().items()})
    card = dict(
        name=name, version=version, network=recipe['network'],
        parameters=sum(p.numel() for p in net.parameters()),
        features='last hidden layer after BatchNorm, before its ReLU', accuracy=1 - wrong/len(test_set),
        errors=wrong, held_out=len(test_set), data=recipe['split'], train_sha256=sha256(train_set),
        test_sha256=sha256(test_set), seed=recipe['seed'], epochs=recipe['epochs'],
        made_by='tools/yardstick.py', torch=torch.__version__, sha256=hashlib.sha256(raw).hexdigest(),
    )
    write(name, raw, card)
    print(f'{len(raw)/1e3:.0f} kB of weights')


if __name__ == '__main__':
    torch.set_num_threads(1)
    words = sys.argv[1:]
    dry = int(words.pop(words.index('--dry') + 1)) if '--dry' in words else None
    known = [*recipes, 'faces', 'parts']
    names = [w for w in words if w != '--dry'] or known
    unknown = [n for n in names if n not in known]
    if unknown:
        raise SystemExit(f"no yardstick is called {', '.join(unknown)}: choose from {', '.join(known)}.")
    for name in names: make(name, dry)
