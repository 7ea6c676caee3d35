"A folder of images as it comes: kinds of files, names, links, and what cannot be read."
import os
import warnings
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from ganbook.cli import main
from ganbook.images import folder
from ganbook.runs import Run


def told(path, **kw):
    "(data, all that is said) of a folder."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        d = folder(path, **dict(size=16) | kw)
    return d, [str(c.message) for c in caught]

def some(seed=0, h=16, w=16): return np.random.default_rng(seed).integers(0, 256, (h, w), dtype=np.uint8)

def saved(img, path, **kw):
    path.parent.mkdir(parents=True, exist_ok=True)
    img.save(path, **kw)
    return path


# Kinds of files

turned = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # tag -> how the sensor saw it

@pytest.mark.parametrize('ending', ['jpg', 'webp', 'tiff', 'png'])
def test_the_eight_ways_to_hold_a_camera_give_one_picture(tmp_path, ending):
    "A large picture, so that a JPEG is decoded at a smaller size."
    a = np.zeros((120, 360, 3), np.uint8)
    for c in range(3): a[:, 120*c:120*(c + 1), c] = 255
    a[:40] //= 2  # darker above
    for tag in range(1, 9):
        seen = Image.fromarray(a)
        for t in turned.get(tag, []): seen = seen.transpose(t)
        exif = Image.Exif()
        exif[0x112] = tag
        saved(seen, tmp_path/f'{tag}.{ending}', exif=exif)
    d, _ = told(tmp_path, size=(12, 36))
    for x in d.x.float():
        assert (x - d.x[0].float()).abs().mean() < 3
        assert x[:, 8, [6, 18, 30]].argmax(0).tolist() == [0, 1, 2] and x[0, 2, 6] < .7*x[0, 8, 6]

table = b'MM\0*\0\0\0\x08\0\x01\x01\x12\0'  # a table of one entry, the orientation, and then what it holds

@pytest.mark.parametrize('exif', [
    b'', b'nothing', b'II*\0\x08\0\0\0\xff\xff', table + b'\x02\0\0\0\x04abc\0\0\0\0\0',
    table + b'\x03\0\0\0\x02\0\x09\0\x06\0\0\0\0',
], ids=['empty', 'no table', 'cut off', 'a word', 'two numbers'])
def test_a_picture_whose_notes_are_damaged_is_read(tmp_path, exif):
    saved(Image.new('RGB', (40, 40), (200, 50, 120)), tmp_path/'a.jpg', exif=b'Exif\0\0' + exif, quality=95)
    d, says = told(tmp_path)
    assert len(d) == 1 and len(says) == 1 and 'very few' in says[0]

def test_deep_images_land_on_the_scale_of_the_same_picture_in_8_bits(tmp_path):
    a = some()
    a[0, :2] = 0, 255
    deep = dict(
        png=a.astype(np.uint16)*257, tiff=a.astype(np.uint16)*257, tif=a.astype(np.float32)/255,
        bytes=a.astype(np.float32), whole=a.astype(np.int32), big=(a.astype(np.uint16)*257).astype('>u2'),
    )
    for name, values in deep.items():
        ending = name if name in ('png', 'tiff', 'tif') else 'tiff'
        saved(Image.fromarray(values), tmp_path/name/f'a.{ending}')
        d, _ = told(tmp_path/name, channels=1)
        assert np.abs(d.x[0, 0].numpy().astype(int) - a).max() <= 1, name

def test_a_palette_with_transparency_of_its_own_for_each_colour(tmp_path):
    img = Image.new('P', (20, 20), 1)
    img.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    img.paste(2, (10, 0, 20, 20))
    saved(img, tmp_path/'a.png', transparency=bytes([255, 0, 255]))  # red is clear, blue is not
    d, _ = told(tmp_path)
    assert d.x[0, :, 8, [3, 12]].T.tolist() == [[255, 255, 255], [0, 0, 255]]

@pytest.mark.parametrize('ending', ['gif', 'webp', 'png', 'tiff'])
def test_of_an_animation_the_first_frame_is_taken_and_that_is_said(tmp_path, ending):
    frames = [Image.new('RGB', (20, 20), c) for c in ('red', 'lime', 'blue')]
    saved(frames[0], tmp_path/f'a.{ending}', save_all=True, append_images=frames[1:])
    saved(frames[1], tmp_path/f'b.{ending}')
    d, says = told(tmp_path)
    assert d.x[:, :, 4, 4].argmax(1).tolist() == [0, 1]
    assert says[0] == '1 of 2 images have several frames or pages: the first of each was taken.'

def test_a_film_that_breaks_off_after_its_first_frame_is_read(tmp_path):
    frames = [Image.fromarray(some(i, 64, 64)) for i in range(3)]
    path = saved(frames[0], tmp_path/'a.gif', save_all=True, append_images=frames[1:])
    first = saved(frames[0], tmp_path/'one'/'a.gif')
    whole = path.read_bytes()
    path.write_bytes(whole[:first.stat().st_size + 200])
    d, says = told(tmp_path)
    assert len(d) == 2 and np.array_equal(d.x[0], d.x[1]) and not [s for s in says if 'decoded' in s]


# What is left out

def test_links_that_lead_nowhere_are_told(tmp_path):
    saved(Image.fromarray(some()), tmp_path/'f'/'a.png')
    (tmp_path/'f'/'b.png').symlink_to('a.png')
    (tmp_path/'f'/'gone.png').symlink_to('nowhere.png')
    (tmp_path/'f'/'self.png').symlink_to('self.png')
    (tmp_path/'f'/'round').symlink_to('round', target_is_directory=True)
    d, says = told(tmp_path/'f')
    assert len(d) == 2
    assert says[0].endswith('f: 3 links that lead nowhere were left out: gone.png, round, self.png.')

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read everything')
def test_what_may_not_be_read_is_named(tmp_path):
    for name in ('a.png', 'b.png', 'c/d.png'): saved(Image.fromarray(some()), tmp_path/name)
    (tmp_path/'b.png').chmod(0)
    _, says = told(tmp_path)
    assert '1 of 3 images could not be decoded and were left out: b.png (' in says[0]
    (tmp_path/'c').chmod(0)
    try:
        with pytest.raises(PermissionError): folder(tmp_path)
    finally: (tmp_path/'c').chmod(0o755)

def test_a_file_that_may_not_be_read_is_named_as_the_system_says_it(tmp_path, monkeypatch):
    "The same for root, who may read everything: the file cannot be opened."
    for name in 'ab': saved(Image.fromarray(some()), tmp_path/f'{name}.png')
    whole = Image.open
    def opened(path, *more):
        if Path(path).name == 'b.png': raise PermissionError(13, 'Permission denied', str(path))
        return whole(path, *more)
    monkeypatch.setattr(Image, 'open', opened)
    d, says = told(tmp_path)
    assert len(d) == 1 and '1 of 2 images could not be decoded and were left out: b.png (' in says[0]
    assert 'Permission denied' in says[0]

def test_images_of_very_many_pixels(tmp_path, monkeypatch):
    "Pillow warns above a number of pixels, and refuses twice as many."
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    for n in (20, 40, 60): saved(Image.new('L', (n, n), n), tmp_path/f'{n}.png')
    d, says = told(tmp_path)
    assert d.x[:, 0, 0, 0].tolist() == [20, 40]
    assert '1 of 3 images could not be decoded and were left out: 60.png (more than 2,000 pixels).' in says[0]
    assert not [s for s in says if 'bomb' in s]


# Shapes and numbers

@pytest.mark.parametrize('w,h', [(3000, 8), (8, 3000), (1, 1)])
def test_a_panorama_keeps_its_middle_and_that_is_said(tmp_path, w, h):
    a = np.zeros((h, w), np.uint8)
    a[h//2 - h//8:h//2 + h//8 + 1, w//2 - w//8:w//2 + w//8 + 1] = 255
    saved(Image.fromarray(a), tmp_path/'a.png')
    d, says = told(tmp_path, channels=1)
    assert d.x[0, 0, 8, 8] > 200
    assert len([s for s in says if 'lose more than half of their area' in s]) == (w != h)

def test_one_image_is_trained_on(here, capsys):
    saved(Image.fromarray(some()), here/'one'/'a.png')
    words = ['train', 'mlp', '--data', 'one', '--size', '8', '--n-steps', '2', '--batch-size', '4', '--quiet']
    assert main([*words, '--out', 'a']) == 0 and Run.read('a').about['n'] == 1
    assert ': 1 image is very few, and a generator will learn to repeat' in capsys.readouterr().err
    assert main([*words, '--out', 'b', '--augment', 'ada']) == 2
    assert 'give 20 images or more' in capsys.readouterr().err and not Path('b').exists()


# Names

names = ['two words', 'Größe ö', '图片', 'a\nb', "it's", 'q"q', '-n', '100%', '{x}', 'a;b', '$HOME']

def test_any_name_of_a_folder_and_of_its_files(here, capsys):
    where = Path('my\nbilder ö')
    for i, name in enumerate(names): saved(Image.fromarray(some(i)), where/name/f'{name}.png')
    (where/names[0]/'broken\nfile ö.png').write_bytes(b'')
    assert main(['train', 'mlp', '--data', str(where), '--size', '8', '--n-steps', '2', '--batch-size', '4',
        '--quiet', '--classes', '--out', 'a']) == 0
    out, err = capsys.readouterr()
    assert '1 of 12 images could not be decoded and were left out: two words/broken file ö.png (' in err
    run = Run.read('a')
    assert sorted(run.about['classes']) == sorted(names) and run.about['n'] == len(names)
    assert main(['resume', 'a', '--n-steps', '3', '--quiet']) == 0
    assert main(['sample', 'a', '--class', 'a\nb', '--n', '2']) == 0
    assert main(['info', 'a']) == 0
    capsys.readouterr()
    assert main(['train', 'mlp', '--data', str(where), '--size', '8', '--n-steps', '1', '--batch-size', '4',
        '--quiet']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'runs/mlp-my_bilder_/samples.png'

@pytest.mark.skipif(os.name == 'nt', reason='names are text there')
def test_a_name_that_is_no_text(here, capsys):
    where = Path(os.fsdecode(b'bilder \xff'))
    try: where.mkdir()
    except OSError: pytest.skip('this disk takes names that are text alone')
    Image.fromarray(some()).save(where/os.fsdecode(b'\xfc.png'))
    (where/os.fsdecode(b'\xfe.png')).write_bytes(b'')
    assert main(['train', 'mlp', '--data', str(where), '--size', '8', '--n-steps', '2', '--batch-size', '4',
        '--quiet', '--out', 'a']) == 0
    assert main(['resume', 'a', '--n-steps', '3', '--quiet']) == 0
    assert main(['info', 'a']) == 0
