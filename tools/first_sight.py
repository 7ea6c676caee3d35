"""The pictures that a reader meets first, most of them made by the cell of chapter 0 that trains a GAN.

usage: python tools/first_sight.py      about a minute on two cores

Writes nbs/images/faces.webp, a film from noise to faces (96 latents, at most 1.5 MB); faces.png, its last
picture; faces_game.svg, the drawing of the game with a real face, a fake and noise in it; and looks.png, what
the generator @looks draws to order. """
import json
import re
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import torch
from ganbook.data import latents
from ganbook.files import whole_file
from ganbook.plots import enlarged, save_png, to_png
from ganbook.runs import existing, trained

root = Path(__file__).resolve().parent.parent
images = root/'nbs'/'images'
side = 4       # screen pixels of a pixel in the film
every = 10     # steps between two pictures
n_latents = 96
most_bytes = 1_500_000


def cells() -> list:
    "The code cells of chapter 0, up to and with the one that trains."
    nb = json.loads((root/'nbs'/'00_faces.ipynb').read_text(encoding='utf-8'))
    code = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
    last = next(i for i, source in enumerate(code) if 'for step in range' in source)
    return code[:last + 1]


def train() -> tuple:
    "Run the chapter's cells with more pictures of more latents: (the film, one batch a moment; real faces)."
    names = {}
    *before, whole = cells()
    for source in before: exec(source, names)
    whole, n = re.subn(r'z, film = torch\.randn\(24, 64\)', f'z, film = torch.randn({n_latents}, 64)', whole)
    if n != 1: raise SystemExit('the cell that trains no longer draws z, film = torch.randn(24, 64)')
    names |= dict(every=every, show=lambda batch: None, display=lambda widget: None)
    exec(whole, names)
    return names['film'], names['faces']


def large(batch): return enlarged(batch, n_cols=16, scale=side, pad=0)


def write_film(film: list, path: Path):
    "An animated WebP: fast at first, when most happens; it rests on the last picture."
    moments = [*range(0, 12), *range(12, len(film), 3), len(film) - 1]
    frames = [large(film[i]) for i in moments]
    ms = [600] + [160]*(len(frames) - 2) + [3000]
    for quality in (80, 65, 50, 35):
        out = BytesIO()
        frames[0].save(
            out, 'WEBP', save_all=True, append_images=frames[1:], duration=ms, loop=0, quality=quality,
            method=6,
        )
        if out.tell() <= most_bytes: break
    else: raise SystemExit(f'{path.name} would be {out.tell():,} bytes, and {most_bytes:,} are allowed')
    with whole_file(path) as part: part.write_bytes(out.getvalue())


def data_url(batch) -> str:
    return 'data:image/png;base64,' + b64encode(to_png(enlarged(batch, scale=6))).decode()


def picture(batch, x, y, colour) -> str:
    return (
        f'<image x="{x}" y="{y}" width="96" height="96" href="{data_url(batch)}" '
        f'style="image-rendering:pixelated"/>'
        f'<rect x="{x}" y="{y}" width="96" height="96" fill="none" stroke="{colour}" stroke-width="3"/>'
    )


def game(real, fake) -> str:
    "The drawing of the game as SVG text."
    noise = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))*2 - 1
    text = 'text-anchor="middle" font-size="15"'
    return f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 290" width="760" height="290"
 font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" role="img" aria-labelledby="t d">
<title id="t">The game of a GAN</title>
<desc id="d">Random numbers z go through the generator G and become a fake face. The discriminator D sees real
 and fake faces and gives a number for each. Both networks learn from these numbers.</desc>
<defs><marker id="k" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L10 5L0 10z" fill="#444"/></marker></defs>
<rect x="1" y="1" width="758" height="288" rx="14" fill="#fcfcfa" stroke="#c9c9c4"/>
<image x="24" y="152" width="64" height="64" href="{data_url(noise)}" style="image-rendering:pixelated"/>
<text x="56" y="240" {text}>64 random</text><text x="56" y="258" {text}>numbers z</text>
<path d="M130 184L220 134L220 234L130 204z" fill="#fdebd8" stroke="#d96b0b" stroke-width="1.5"/>
<text x="183" y="191" {text} font-weight="bold" fill="#8a4305">G</text>
<text x="176" y="258" {text} fill="#8a4305">the forger</text>
{picture(fake, 266, 138, '#d96b0b')}<text x="314" y="258" {text} fill="#8a4305">a fake</text>
{picture(real, 266, 18, '#0d8a8a')}<text x="314" y="132" {text} fill="#0a6a6a">a real face</text>
<path d="M450 78L560 112L560 152L450 186z" fill="#e9e9e9" stroke="#555" stroke-width="1.5"/>
<text x="503" y="138" {text} font-weight="bold">D</text><text x="503" y="212" {text}>the detective</text>
<text x="664" y="106" {text}>a number:</text><text x="664" y="128" {text} fill="#0a6a6a">above 0, real</text>
<text x="664" y="150" {text} fill="#8a4305">below 0, fake</text>
<g fill="none" stroke="#444" stroke-width="1.8" marker-end="url(#k)">
<path d="M92 186H126"/><path d="M224 186H260"/><path d="M366 66C410 66 405 116 446 120"/>
<path d="M366 186C410 186 405 148 446 144"/><path d="M564 132H606"/></g>
<g fill="none" stroke="#444" stroke-width="1.3" stroke-dasharray="5 4" marker-end="url(#k)">
<path d="M664 162V272H176V266"/><path d="M503 272V220"/></g>
<text x="420" y="266" {text} fill="#555">both learn from it</text>
</svg>
'''


def to_order():
    "Twelve classes, a column each; a row has its latents."
    G, y = trained(existing('@looks'), 'cpu'), torch.arange(12)
    z = latents(5, G.G.latent_dim, torch.Generator().manual_seed(5))
    return torch.cat([G.of(one.expand(12, -1), y) for one in z])


def main():
    save_png(to_order(), images/'looks.png', n_cols=12, scale=2)
    film, faces = train()
    last = film[-1]
    write_film(film, images/'faces.webp')
    with whole_file(images/'faces.png') as part: large(last).save(part, 'PNG', optimize=True)
    with whole_file(images/'faces_game.svg') as part:
        part.write_text(game(faces[8:9], last[13:14]), encoding='utf-8')
    for name in ('faces.webp', 'faces.png', 'faces_game.svg', 'looks.png'):
        print(f'{(images/name).stat().st_size/1e3:7.0f} kB  nbs/images/{name}')


if __name__ == '__main__': main()
