"""The playground in a real browser: its script alone, its script
on a match in this process, and the chapter in JupyterLab."""
import base64
import json
import shutil

import pytest

pytest.importorskip('playwright', reason='playwright is not installed: pip install -e ".[dev]"')
pytest.importorskip('jupyterlab', reason='JupyterLab is not installed: pip install -e ".[dev]"')
from lab import Lab, chromium, root  # noqa: E402

from ganbook.playground import Playground, _on_message, from_text  # noqa: E402

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        chromium() is None,
        reason="no Chromium: install it (Debian: apt install chromium), or set GANBOOK_CHROMIUM to the "
               "program's path",
    ),
]
# the traits that the script reads
names = ('frame', 'real', 'about', 'setting', 'text', 'options', 'verdict')

# What a front end gives to `render`: a model that keeps traits,
# calls back when one has changed, and hands messages to Python.
page_html = '''<!doctype html><meta charset="utf-8"><style>%s</style><body><script type="module">
window.pg = await import(URL.createObjectURL(new Blob([%s], {type: 'text/javascript'})));
const bytes = text => {
  const raw = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const padded = new Uint8Array(raw.length + 3);
  padded.set(raw, 3);
  return new DataView(padded.buffer, 3, raw.length);
};
class Model {
  constructor() { this.traits = {}; this.listeners = []; this.sent = [] }
  get(name) { return this.traits[name] }
  on(event, f) { this.listeners.push([event, f]) }
  off(event, f) { this.listeners = this.listeners.filter(([e, g]) => e !== event || g !== f) }
  set(traits) {
    const read = (k, v) => ['frame', 'real'].includes(k) ? bytes(v) : v;
    for (const [k, v] of Object.entries(traits)) this.traits[k] = read(k, v);
    for (const [event, f] of [...this.listeners]) if (event.slice(7) in traits) f();
  }
  send(message) { this.sent.push(message); window.python?.(message).then(traits => this.set(traits)) }
}
window.model = new Model(); window.ready = true;
</script>'''


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp('lab')) as lab: yield lab


@pytest.fixture
def page(lab):
    page, broken = lab.browser.new_page(viewport=dict(width=940, height=1000)), []
    page.on('pageerror', lambda e: broken.append(str(e)))
    page.set_content(page_html % (Playground._css, json.dumps(Playground._esm)))
    page.wait_for_function('window.ready')
    yield page
    page.close()
    assert not broken, f'the script failed: {broken}'


def traits(p):
    "The traits as they travel, bytes as base64."
    return {
        name: base64.b64encode(v).decode() if isinstance(v := getattr(p, name), bytes) else v
        for name in names
    }


def shown(page, p):
    "Render the script in the page on the match of `p`, in this process; gives the locator of the playground."
    def python(message):
        _on_message(p, message, [])
        return traits(p)
    page.expose_function('python', python)
    page.evaluate(
        'traits => { model.set(traits); window.close_view = pg.default.render({model, el: document.body}) }',
        traits(p),
    )
    page.wait_for_selector('.pg[data-frame]')
    return page.locator('.pg')


# The script's own functions

def test_functions(page):
    """Bytes to numbers, the plane to pixels and back, greys, areas,
    opacities, ranges, strokes, rates and numbers as text."""
    def call(expression):
        return page.evaluate(
            f'() => {{ const {{unpack, unpackAll, toPixel, toPlane, grey, area, opacity, '
            f'extent, thin, rate, short, fieldPixels}} = pg; return {expression} }}'
        )
    # 1, 2, 3 from an odd address, as they arrive
    odd = 'new DataView(new Uint8Array([9, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64]).buffer, 1)'
    assert call(f"unpack({odd}, [['a', [1]], ['b', [1, 2]]]).map(x => x.a ? [...x.a, ...x.b] : x)") == [
        [1, 2, 3], 12,
    ]
    assert call(
        f"unpackAll({odd}, [{{sizes: [['a', [2]]], step: 7}}, {{sizes: "
        f"[['a', [1]]], step: 8}}]).map(f => [f.step, ...f.arrays.a])"
    ) == [[7, 1, 2], [8, 3]]
    assert 'within b' in call(
        f"(() => {{ try {{ unpack({odd}, [['a', [2]], ['b', [2]]]) }} catch (e) {{ return e.message }} }})()"
    )
    assert call('[toPixel(-2, 2, 2, 100), toPixel(0, 0, 2, 100), toPixel(2, -2, 2, 100)]') == [
        [0, 0], [50, 50], [100, 100],
    ]
    assert call('toPlane(...toPixel(0.5, -1.5, 2, 100), 2, 100)') == [.5, -1.5]
    assert call('[0, 1, 2, NaN].map(p => grey(p)[0])') == [92, 255, 255, 240]
    assert (
        call('area([[0, 0], [2, 0], [2, 3], [0, 3]])') == 6
        and call('area([[0, 0], [1, 1], [2, 2], [1, 1]])') == 0
    )
    thick, thinner, nothing = call('[opacity(1, 1), opacity(1, 10), opacity(1, 0)]')
    assert 0 < thinner < thick < nothing <= .8
    assert call('[extent([3, NaN, 1]), extent([]), extent([Infinity])]') == [[1, 3], [0, 1], [0, 1]]
    assert (
        call('thin([[0, 0], [0.1, 0], [1, 0]], 0.5)') == [[0, 0], [1, 0]]
        and call('thin([[0, 0.1]], 0.5, [0, 0])') == []
    )
    assert call('[rate([0, 50, 100, 150], 150), rate([0], 0), rate([0, 10, 5000], 5001)]') == [20, 0, 0]
    assert call('[0, 0.5, 1234, 1e-5, null, NaN, -2.3456].map(short)') == [
        '0', '0.5', '1.2e+3', '1.0e-5', '–', '–', '-2.35',
    ]
    assert call('[...fieldPixels(new Float32Array([0, 1]))]') == [92, 92, 92, 255, 255, 255, 255, 255]


# The script on a match in this process, without a kernel

def test_one_step_is_one_step(page):
    """Buttons and keys: a step is one iteration, an update moves
    one player, and the diagram shows whose move it was."""
    p = Playground()
    pg, frame = shown(page, p), lambda: int(pg.get_attribute('data-frame'))
    def step(n): return page.wait_for_selector(f'.pg[data-step="{n}"]')
    for n, press in enumerate(
        (lambda: page.locator('.pg-step').click(), lambda: pg.press('s'), lambda: pg.press('s')), 1
    ):
        before = frame()
        press()
        step(n)
        assert p.match.state.step == n == len(p.match.state.log) and frame() == before + 1
    for player, n in (('D', 3), ('G', 4)):
        pg.press('u')
        page.wait_for_selector(f'.pg[data-player="{player}"]')
        assert p.match.state.step == n and page.locator('.pg-flow').get_attribute('data-player') == player
    pg.press('r')
    step(0)
    assert p.match.state.step == 0


def test_play_and_pause(page):
    "It plays until it is paused, frame after frame, one step a frame; and a pause is a pause."
    p = Playground('v1~width_G-4~width_D-4')
    pg = shown(page, p)
    pg.press(' ')
    page.wait_for_function("document.querySelector('.pg').dataset.step >= 8")
    pg.press(' ')
    page.wait_for_timeout(400)
    step = p.match.state.step
    # frames under way were passed over
    assert 8 <= step == int(pg.get_attribute('data-step')) <= int(pg.get_attribute('data-frame')) + 8
    page.wait_for_timeout(300)
    assert p.match.state.step == step
    page.locator('.pg-speed').select_option('slow')  # slow motion: an update at a time
    page.locator('.pg-play').click()
    page.wait_for_selector('.pg[data-player="D"]')
    page.wait_for_selector('.pg[data-player="G"]')
    page.locator('.pg-play').click()
    assert p.match.state.step in (step, step + 1, step + 2)


def test_settings_and_text(page):
    """The menus change the match without losing its weights; what
    cannot be is told in a sentence; a text brings a whole setting."""
    p = Playground()
    pg = shown(page, p)
    pg.press('s')
    page.wait_for_selector('.pg[data-step="1"]')
    page.locator('.pg-settings select[name=loss]').select_option('minimax')
    page.wait_for_function("document.querySelector('.pg-text').value === 'v1~loss-minimax'")
    assert p.match.setting.loss == 'minimax' and p.match.state.step == 1
    page.locator('.pg-settings select[name=lr_D]').select_option('0.01')
    page.wait_for_function("document.querySelector('.pg-text').value.endsWith('lr_D-0.01')")
    assert p.match.state.opt_D.param_groups[0]['lr'] == .01
    page.locator('.pg-settings select[name=data]').select_option('drawn')
    page.wait_for_function(
        "document.querySelector('.pg-error').textContent.includes('nothing has been drawn yet')"
    )
    assert page.locator('.pg-settings select[name=data]').input_value() == 'ring' == p.match.setting.data
    text = page.locator('.pg-text')
    text.fill('v1~depth_G-3~gamma-0.25')
    text.press('Enter')
    page.wait_for_selector('.pg[data-step="0"]')
    assert p.match.setting == from_text('v1~depth_G-3~gamma-0.25')
    # a value that the menu did not have
    assert page.locator('.pg-settings select[name=gamma]').input_value() == '0.25'
    assert page.locator('.pg-error').inner_text() == ''
    text.fill('v9')
    text.press('Enter')
    page.wait_for_function(
        "document.querySelector('.pg-error').textContent.includes('a setting begins with v1')"
    )
    assert p.match.setting.depth_G == 3


def drag(page, *places):
    "Move the mouse over the plane with its button down; places are shares of the plane's side."
    box = page.locator('.pg-plane').bounding_box()
    def at(x, y): return (box['x'] + x*box['width'], box['y'] + y*box['height'])
    page.mouse.move(*at(*places[0]))
    page.mouse.down()
    for place in places[1:]: page.mouse.move(*at(*place), steps=8)
    page.mouse.up()


def test_draw(page):
    "With the pen, a stroke becomes data where it was drawn; a second adds to it; `draw anew` begins again."
    p = Playground()
    pg = shown(page, p)
    drag(page, (.2, .2), (.8, .2))  # without the pen nothing happens
    page.wait_for_timeout(200)
    assert p.match.setting.data == 'ring'
    page.locator('.pg-draw').click()
    drag(page, (.2, .25), (.8, .25))
    page.wait_for_function("document.querySelector('.pg').dataset.dabs >= 5")
    # a quarter from the top of [-2.5,2.5]
    assert p.match.setting.data == 'drawn' and abs(p.match.data.x[:, 1].mean() - 1.25) < .1
    n = int(pg.get_attribute('data-dabs'))
    drag(page, (.2, .75), (.8, .75))
    page.wait_for_function(f"document.querySelector('.pg').dataset.dabs > {n}")
    assert abs(p.match.data.x[:, 1].mean()) < .15
    page.locator('.pg-anew').click()
    drag(page, (.5, .5), (.5, .5))
    page.wait_for_selector('.pg[data-dabs="1"]')
    assert p.match.data.x.abs().max() < .5


def test_picture_and_diverged(page):
    """The canvas shows real in teal and fakes in orange; numbers that
    are none leave the page alive; a closed view lets go of its model."""
    p = Playground()
    pg = shown(page, p)
    near = (
        "c => { const d = document.querySelector('.pg-plane').getContext('2d').getImageData(0, "
        "0, 300, 300).data; let n = 0;for (let i = 0; i < d.length; i += 4) n += "
        "Math.hypot(d[i] - c[0], d[i + 1] - c[1], d[i + 2] - c[2]) < 12; return n }"
    )
    teal, orange = [13, 138, 138], [240, 128, 26]
    assert page.evaluate(near, teal) > 100 and page.evaluate(near, orange) > 100
    page.locator('[name=layer-real]').uncheck()
    page.wait_for_timeout(100)
    assert page.evaluate(near, teal) < 20
    for w in p.match.state.G.parameters(): w.data.fill_(float('nan'))
    pg.press('s')
    page.wait_for_selector('.pg[data-step="1"]')
    assert page.evaluate(near, orange) == 0
    assert page.evaluate('() => { close_view(); return model.listeners.length }') == 0


def test_verdict(page):
    "The doctor waits, finds nothing, or says what it found, as text and nothing else."
    shown(page, Playground('v1~width_G-4~width_D-4'))
    def says(): return page.locator('.pg-verdict').inner_text()
    assert 'waits for 100 steps' in says()
    page.evaluate('model.set({verdict: []})')
    assert 'finds nothing wrong' in says()
    found = dict(
        severity='alarm', name='D wins', evidence='A gap of <b>12</b>.', advice='less of it.',
        chapter='02_losses',
    )
    page.evaluate('found => model.set({verdict: [found]})', found)
    assert 'D wins A gap of <b>12</b>. Try: less of it. Chapter 02_losses.' in says()
    assert page.locator('.pg-alarm').count() == 1


def test_narrow_and_dark(page):
    "On a phone nothing is wider than the page, and the card stays light on a dark page."
    page.set_viewport_size(dict(width=360, height=800))
    page.evaluate("document.body.style.background = '#111'")
    pg = shown(page, Playground())
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    assert (
        pg.evaluate('e => getComputedStyle(e).backgroundColor') == 'rgb(255, 255, 255)'
        and pg.evaluate('e => getComputedStyle(e).color') == 'rgb(51, 51, 51)'
    )


# The chapter's widget in JupyterLab

def test_jupyterlab(lab, monkeypatch, tmp_path):
    """In a real JupyterLab it plays for 5 s at 20 frames a second or
    more, one step is one step, and a stroke of the mouse adds data."""
    import lab as lab_module
    nb = json.loads((root/'nbs'/'w01_playground.ipynb').read_text(encoding='utf-8'))
    # the chapter's own cell
    cell, = [c for c in nb['cells'] if ''.join(c['source']).startswith('playground = Playground(')]
    nb['cells'] = [cell | dict(source=['from ganbook.playground import Playground\n', *cell['source']])]
    (tmp_path/'nbs').mkdir()
    (tmp_path/'nbs'/'w01_playground.ipynb').write_text(json.dumps(nb), encoding='utf-8')
    shutil.copytree(root/'ganbook', tmp_path/'ganbook')
    monkeypatch.setattr(lab_module, 'root', tmp_path)
    with lab.run_notebook('w01_playground') as page:
        page.wait_for_selector('.pg[data-frame]')
        pg = page.locator('.pg')
        pg.scroll_into_view_if_needed()
        def get(name): return int(pg.get_attribute(f'data-{name}'))
        page.locator('.pg-step').click()
        page.wait_for_selector('.pg[data-step="1"]')
        page.locator('.pg-play').click()
        page.wait_for_timeout(500)
        # the first 5 s will do, but for a moment in which the machine is busy with something else
        for _ in range(3):
            frame, step = get('frame'), get('step')
            page.wait_for_timeout(5000)
            frames, steps = get('frame') - frame, get('step') - step
            print(f'{frames/5:.0f} frames a second')
            if frames/5 >= 20: break
        assert frames/5 >= 20 and abs(steps - frames) <= 5  # a training step a frame
        page.locator('.pg-play').click()
        page.wait_for_timeout(500)
        at = get('step')
        page.wait_for_timeout(300)
        assert get('step') == at  # paused
        pg.press('s')
        page.wait_for_selector(f'.pg[data-step="{at + 1}"]')
        page.locator('.pg-draw').click()
        drag(page, (.3, .3), (.7, .3))
        page.wait_for_function("document.querySelector('.pg').dataset.dabs >= 4")
        assert page.locator('.pg-settings select[name=data]').input_value() == 'drawn'
