"Measures of samples whose quality is known."
import numpy as np
import torch
from ganbook.data import digits, split, subset
from ganbook.evaluate import copying, eye, few, of_images


def test_a_perfect_generator_reads_as_one_and_one_image_does_not():
    seen, fresh = split(digits(), .4, seed=1)
    look, n = eye('digits', 'cpu'), len(seen)//2
    found, real, _, notes = of_images(fresh.x[:n], seen, n, 0, None, look)
    assert (
        .8 < found['distance'] < 1.25
        and .8 < real['distance'] < 1.25
        and all('rough' in note for note in notes)
    )
    one = of_images(seen.x[:1].expand(n, -1, -1, -1), seen, n, 0, None, look)[0]
    assert one['distance'] > 20 and one['recall'] < .05
    some = subset(seen, 40)
    found, _, _, notes = of_images(
        some.x[:1].expand(20, -1, -1, -1), some, 20, 0, None, eye('pixels', 'cpu')
    )
    assert (
        all(np.isnan(found[k]) for k in ('distance', 'precision', 'recall', 'density', 'coverage'))
        and len(notes) == 2
    )
    assert 'No distance' in notes[0] and 'one image' in notes[1]
    assert few(200, 64) == [] and 'rough' in few(100, 64)[0] and few(5000) == []


def test_copies_are_found():
    seen, unseen = split(digits(), .3)
    honest, half = copying(unseen.x, seen), copying(torch.cat([unseen.x[:200], seen.x[:50]]), seen)
    assert .8 < honest['nearest'] < 1.2 and honest['copies'] < .05 and abs(half['copies'] - .2) < .05
    assert copying(seen.x, seen, unseen) == dict(nearest=0., copies=1.)
