"""Train the generators that come with the package, measure them, and write them with their cards.

usage: python tools/generators.py [NAME ...] [--keep FOLDER]      none means all; --help lists them

Each is a run as `ganbook train` makes it, in FOLDER (default: build/generators), so one that was stopped goes
on where it was. What is measured is what is written: weights in half precision. """
import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
import torch
from ganbook.evaluate import evaluate, meanings
from ganbook.files import Files, whole_file
from ganbook.launch import launch
from ganbook.pretrained import home, packed
from ganbook.recipes import Recipe, find
from ganbook.runs import Run, Wish, trained
from ganbook.scale import device_name, versions

threads = 1


@dataclass(frozen=True)
class Plan:
    "What is trained, and what its card says that a run does not know."
    draws: str
    recipe: str | Recipe
    data: str
    n_steps: int
    limits: str
    size: int = None
    lr: float = None
    networks: str = None
    seed: int = 0
    classes: bool = False


plans = dict(
    faces=Plan(
        'drawn faces, in colour', 'pictures', 'faces', 6_000,
        'it draws no photographs; some faces are smudged, many kinds and one colour of the wall are rare',
        size=24, lr=2.5e-3,
    ),
    faces32=Plan(
        'drawn faces of 32 pixels, in colour', 'pictures32', 'faces', 6_000,
        'it draws no photographs; some faces are smudged, many kinds are rare',
        size=32,
    ),
    layers=Plan(
        'drawn faces of 32 pixels, in colour, painted in layers', 'pictures32', 'faces', 6_000,
        'it draws no photographs; some faces are smudged, some kinds are rare',
        size=32, networks='layered',
    ),
    looks=Plan(
        'drawn faces of 32 pixels, in colour, whose hair and glasses can be asked for', 'pictures32', 'looks',
        6_000, 'it draws no photographs; some faces are smudged, and some wear what was not asked for',
        size=32, classes=True,
    ),
    styles=Plan(
        'drawn faces of 16 pixels, in colour, by a generator with styles', 'style', 'faces', 3_000,
        'it draws no photographs; some faces are smudged, many kinds are rare',
        size=16,
    ),
    digits=Plan(
        'handwritten digits, grey', replace(find('stable'), width=16), 'mnist_small', 1_500,
        'trained on 5,000 images; some samples are no digit that a person would name',
    ),
)


def run_of(name: str, folder: Path) -> Path:
    "Train, or go on with what is there; the folder of the run."
    plan = plans[name]
    there = Files(folder/name).run.is_file()
    wish = Wish(
        out=str(folder/name), resume=there, recipe=plan.recipe, data=plan.data, size=plan.size,
        seed=plan.seed, n_steps=plan.n_steps, lr=plan.lr, threads=threads, classes=plan.classes,
        networks=plan.networks,
    )
    launch(wish)
    return folder/name


def measured(raw: bytes) -> dict:
    "Measures of the file, each beside that of real ones."
    with tempfile.TemporaryDirectory() as tmp:
        file = Path(tmp)/'generator.safetensors'
        file.write_bytes(raw)
        about, _ = evaluate(file, n=2500, device=torch.device('cpu'))
    return {
        name: f'{value:.4g} (real: {about["of_real"][name]:.4g}): {meanings[name]}'
        for name, value in about['measures'].items()
        if value is not None
    }


def card(name: str, run: Run) -> dict:
    "Heading -> what there is to say."
    plan = plans[name]
    n, shape = run.about['n'], 'x'.join(map(str, run.about['shape'][1:]))
    return dict(
        draws=plan.draws,
        data=f'{n:,} images of {shape} pixels, {run.about["name"]}',
        recipe=f'{run.recipe.name}, {run.step:,} steps, seed {run.seed}',
        trained=f'{date.today()}, {run.seconds/60:.0f} minutes, {device_name()}, torch {versions()["torch"]}',
        limits=plan.limits,
        licence='as ganbook',
        anew=f'python tools/generators.py {name}',
    )


def write(name: str, folder: Path):
    "Train a generator, and write its file into the package."
    run = Run.read(run_of(name, folder))
    what = trained(run.folder, 'cpu')
    about = dict(step=what.step, latent_dim=what.G.latent_dim, settings=what.settings, card=card(name, run))
    weights = what.G.state_dict()
    about['card'] |= measured(packed(weights, about))
    raw = packed(weights, about)
    with whole_file(home()/f'{name}.safetensors') as part: part.write_bytes(raw)
    print(f'{name}: {len(raw)/1e3:,.0f} kB')
    for heading, text in about['card'].items(): print(f'  {heading:10} {text}')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', metavar='NAME', help=', '.join(plans))
    p.add_argument('--keep', default='build/generators', metavar='FOLDER')
    a = p.parse_args()
    unknown = [n for n in a.names if n not in plans]
    if unknown: sys.exit(f"there is no generator {unknown[0]!r}: take one of {', '.join(plans)}.")
    for name in a.names or plans: write(name, Path(a.keep))


if __name__ == '__main__': main()
