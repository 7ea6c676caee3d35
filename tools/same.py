"""Does a refactor leave every loss as it was? Prints the losses of all recipes over 20 steps, to the last
bit. A recipe that the commit before did not have is named, and is no difference.

usage: python tools/same.py > before.txt          on the commit before
       python tools/same.py --against before.txt  on the commit after: says which recipe differs, exit 1

Each recipe is trained alone and as two members, on the digits (on the ring where it makes points, on
outlines of faces, or faces of two kinds, where it translates), on one thread of the CPU. A loss is printed
as a hexadecimal number, so that no bit is lost; another machine gives other last bits. """
import argparse
import sys
from dataclasses import replace
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def losses(name: str, n_steps: int, n_members: int | None) -> str:
    "One line: the recipe, how many members, and the losses of its last step."
    from ganbook.data import digits, ring
    from ganbook.pairs import face_pairs
    from ganbook.recipes import build, find, goes_both_ways, takes_sources
    from ganbook.train import fit
    from ganbook.unpaired import face_unpaired
    recipe = replace(find(name), n_steps=n_steps, batch_size=32)
    data = ring() if recipe.kind == 'points' else digits()
    if takes_sources(recipe): data = (face_unpaired if goes_both_ways(recipe) else face_pairs)(200, 16)
    state, arguments = build(recipe, data, seed=0, device='cpu', k=n_members)
    fit(state, **arguments)
    told = [
        float(value).hex()
        for column in ('loss_D', 'loss_G')
        for value in state.log.table()[column][-1:].flatten()
    ]
    return ' '.join([name, str(n_members or 1), *told])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--against', type=Path, help='what the commit before has printed')
    p.add_argument('--steps', type=int, default=20)
    a = p.parse_args()
    sys.path.insert(0, str(root))
    import torch
    from ganbook.recipes import recipes
    torch.set_num_threads(1)
    now = [losses(name, a.steps, k) for name in recipes for k in (None, 2)]
    print('\n'.join(now))
    if a.against is None: return 0
    before = {line for line in a.against.read_text(encoding='utf-8').split('\n') if line}
    new = {name for name in recipes if not any(line.startswith(f'{name} ') for line in before)}
    differ = sorted({line for line in now if line.split()[0] not in new} ^ before)
    if new: print(f"new: {', '.join(sorted(new))}", file=sys.stderr)
    for line in differ: print(f'differs: {line}', file=sys.stderr)
    print('all as before' if not differ else f'{len(differ)} lines differ', file=sys.stderr)
    return int(bool(differ))


if __name__ == '__main__': sys.exit(main())
