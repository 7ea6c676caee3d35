"""What the measures of ganbook.metrics say of cheats on MNIST: repeated images, class means, copies.

usage: python -m trials.cheats      10,000 images each, against all 60,000 training images; a minute or two
on one core
"""
import time

import torch
from ganbook.downloads import mnist
from ganbook.metrics import frechet, frechet_floor, inception_score, kid, prdc, yardstick
from trials.common import as_drawn, machine, results, rounded, store


def main(n: int = 10_000):
    start, rng = time.perf_counter(), torch.Generator().manual_seed(0)
    train, test = mnist(), mnist(train=False)
    y = yardstick('mnist')
    real = y.features(as_drawn(train.x))
    def pick(k): return as_drawn(train.x[torch.randperm(len(train), generator=rng)[:k]])
    means = torch.stack([as_drawn(train.x[train.y == c]).mean(0) for c in range(10)])
    cheats = {
        'test images': as_drawn(test.x[:n]),
        '1,000 images repeated': pick(1000).repeat(n//1000, 1, 1, 1),
        '100 images repeated': pick(100).repeat(n//100, 1, 1, 1),
        'class means + noise':
            means.repeat(n//10, 1, 1, 1).add_(torch.randn(n, 1, 28, 28, generator=rng), alpha=.1),
        'copies': pick(n),
        '9 of 10 classes': as_drawn(test.x[test.y != 3][:n]),
    }
    rows = {}
    for name, x in cheats.items():
        f = y.features(x)
        value, error = kid(real[:n], f)
        found = dict(IS=inception_score(y.probs(x)), FD=frechet(real, f), KID=value, KID_error=error)
        rows[name] = {k: v.item() for k, v in (found | prdc(real[:n], f)).items()}
        print(f'{name:22}', ' '.join(f'{k} {v:.4f}' for k, v in rows[name].items()), flush=True)
    entry = dict(
        n=n, version=y.card['version'], rows=rows, floor=frechet_floor(real).item(),
        seconds=time.perf_counter() - start, machine=machine(), device=machine()['device'],
    )
    store(results/'bench_cheats.json', 'mnist', rounded(entry))
    print(f"floor, half against half: {entry['floor']:.4f}; {entry['seconds']:.0f} s")


if __name__ == '__main__': main()
