// The face of the playground: it draws what Python has computed, and asks for the next frame once the last one is drawn.
// No libraries. What can be tested without a page is a function of its own; `render` puts the pieces together.

export const REAL = '#0d8a8a', FAKE = '#f0801a', INK = '#333333', SOFT = '#9a9a9a';


// Numbers

/** A DataView of float32 numbers and their [name, [sizes]] in order, from a byte on -> [{name: Float32Array}, the byte after them]. */
export function unpack(view, sizes, at = 0) {
  const out = {};
  for (const [name, size] of sizes) {
    const end = at + 4 * size.reduce((a, b) => a * b, 1);
    if (end > view.byteLength) throw new RangeError(`the frame ends within ${name}`);
    out[name] = new Float32Array(view.buffer.slice(view.byteOffset + at, view.byteOffset + end));  // a copy, as float32 may not begin anywhere
    at = end;
  }
  return [out, at];
}

/** The frames of a message: what is said of each, and its arrays. */
export function unpackAll(view, frames) {
  let at = 0, arrays;
  return frames.map(frame => { [arrays, at] = unpack(view, frame.sizes, at); return {...frame, arrays} });
}

/** Coordinates of the plane [-lim,lim]² to pixels of a square canvas, and back; y grows upwards in the plane and downwards on the canvas. */
export const toPixel = (x, y, lim, size) => [(x + lim) / (2 * lim) * size, (lim - y) / (2 * lim) * size];
export const toPlane = (px, py, lim, size) => [px / size * 2 * lim - lim, lim - py / size * 2 * lim];

/** Probability that a place is real -> a grey from 92 (sure fake) to 255 (sure real); a rose where it is no number. */
export const grey = p => Number.isFinite(p) ? Array(3).fill(Math.round(92 + 163 * Math.min(1, Math.max(0, p)))) : [240, 190, 200];

/** Area of a polygon [[x,y], ...]. */
export const area = q => Math.abs(q.reduce((sum, [x, y], i) => { const [u, v] = q[(i + 1) % q.length]; return sum + x * v - u * y }, 0)) / 2;

/** Opacity of a cell that holds the share `mass` of all fakes: the denser, the more. */
export const opacity = (mass, size) => { const density = mass / Math.max(size, 1e-9); return 0.8 * density / (density + 0.5) };

/** The finite values' [lowest, highest]; [0, 1] where there are none. */
export function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v) }
  return low > high ? [0, 1] : [low, high];
}

/** Places of a stroke, none nearer to the last one kept than `gap`; `last` is that place or null. */
export function thin(places, gap, last = null) {
  const kept = [];
  for (const p of places) if (!last || Math.hypot(p[0] - last[0], p[1] - last[1]) >= gap) { kept.push(p); last = p }
  return kept;
}

/** Moments of frames (ms, the newest last) -> frames a second over the last `window` ms. */
export function rate(moments, now, window = 1000) {
  const recent = moments.filter(t => t > now - window);
  return recent.length < 2 ? 0 : (recent.length - 1) / (recent.at(-1) - recent[0]) * 1000;
}

/** A number as text of about three digits. */
export const short = v => v === null || v === undefined || !Number.isFinite(v) ? '–' : Math.abs(v) >= 1000 || v !== 0 && Math.abs(v) < 0.001 ? v.toExponential(1) : String(Number(v.toPrecision(3)));


// Drawing on a canvas

/** The picture of D's field: row by row from the top, one pixel a place. */
export function fieldPixels(field) {
  const out = new Uint8ClampedArray(4 * field.length);
  field.forEach((p, i) => out.set([...grey(p), 255], 4 * i));
  return out;
}

function dots(c, xy, lim, size, color, r) {
  c.fillStyle = color;
  for (let i = 0; i + 1 < xy.length; i += 2) {
    const [px, py] = toPixel(xy[i], xy[i + 1], lim, size);
    if (Number.isFinite(px + py)) c.fillRect(px - r, py - r, 2 * r, 2 * r);
  }
}

function arrow(c, x, y, u, v) {
  const long = Math.hypot(u, v);
  if (!(long > 1)) return;
  const [a, b] = [u / long, v / long], head = Math.min(4, long / 2);
  c.moveTo(x, y); c.lineTo(x + u, y + v);
  c.moveTo(x + u - head * (a - 0.6 * b), y + v - head * (b + 0.6 * a)); c.lineTo(x + u, y + v);
  c.lineTo(x + u - head * (a + 0.6 * b), y + v - head * (b - 0.6 * a));
}

function drawArrows(c, fake, pushes, lim, size) {
  const unit = size / (2 * lim);
  c.strokeStyle = INK; c.lineWidth = 1.2; c.beginPath();
  for (let i = 0; i + 1 < pushes.length; i += 2) {
    const [px, py] = toPixel(fake[i], fake[i + 1], lim, size), long = Math.hypot(pushes[i], pushes[i + 1]);
    if (!Number.isFinite(px + py + long)) continue;
    const s = unit * Math.min(long, 0.35) / (long || 1);  // true up to 0.35 units of the plane
    arrow(c, px, py, pushes[i] * s, -pushes[i + 1] * s);
  }
  c.stroke();
}

/** Every cell of the latent lattice (rows, columns) where G puts it; on a line of latents, every piece. */
function drawWarp(c, warp, [rows, columns], lim, size) {
  const at = (i, j) => [warp[2 * (i * columns + j)], warp[2 * (i * columns + j) + 1]];
  c.strokeStyle = FAKE; c.fillStyle = FAKE;
  if (rows === 1) {
    for (let j = 0; j + 1 < columns; j++) {
      const [a, b] = [at(0, j), at(0, j + 1)];
      c.globalAlpha = 0.2 + opacity(0.96 / (columns - 1), 0.1 * Math.hypot(b[0] - a[0], b[1] - a[1]));
      c.lineWidth = 3; c.beginPath(); c.moveTo(...toPixel(...a, lim, size)); c.lineTo(...toPixel(...b, lim, size)); c.stroke();
    }
  } else for (let i = 0; i + 1 < rows; i++) for (let j = 0; j + 1 < columns; j++) {
    const cell = [at(i, j), at(i, j + 1), at(i + 1, j + 1), at(i + 1, j)];
    if (!cell.flat().every(Number.isFinite)) continue;
    c.beginPath(); cell.forEach(p => c.lineTo(...toPixel(...p, lim, size))); c.closePath();
    c.globalAlpha = opacity((0.96 / (rows - 1)) ** 2, area(cell)); c.fill();
    c.globalAlpha = 0.35; c.lineWidth = 0.6; c.stroke();
  }
  c.globalAlpha = 1;
}

/** How much of the data, and of the fakes, lies in each cell: squares whose area is the share. */
function drawCounts(c, counts, n, lim, size) {
  const cell = size / n, most = Math.max(...counts) || 1;
  for (const [k, color] of [[0, REAL], [1, FAKE]]) for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
    const side = cell * Math.sqrt(counts[k * n * n + i * n + j] / most);
    const [x, y] = [(i + 0.5) * cell, size - (j + 0.5) * cell];
    c.fillStyle = color; c.globalAlpha = 0.45; c.fillRect(x - side / 2, y - side / 2, side, side);
  }
  c.globalAlpha = 1;
}

/** Curves over the step; `series` are [values, colour, name]; `range` is [lowest, highest], that of the values if it is left out. */
export function drawCurves(c, width, height, steps, series, title, range = extent(series.flatMap(([v]) => Array.from(v)))) {
  const [left, top, bottom] = [36, 17, 15], [low, high] = range, first = steps[0] ?? 0, last = steps.at(-1) ?? 1, room = 3;
  const X = s => left + (width - left - 4) * (last > first ? (s - first) / (last - first) : 1);
  const Y = v => top + room + (height - top - bottom - 2 * room) * (high > low ? (high - v) / (high - low) : 0.5);
  c.clearRect(0, 0, width, height);
  c.font = '10px sans-serif'; c.fillStyle = INK; c.textAlign = 'right';
  for (const v of high > low ? [low, high] : [low]) c.fillText(short(v), left - 4, Y(v) + 3);
  c.fillText(steps.length ? `step ${last}` : '', width - 4, height - 3);
  c.strokeStyle = SOFT; c.lineWidth = 0.8; c.beginPath(); c.moveTo(left, top); c.lineTo(left, height - bottom); c.lineTo(width - 4, height - bottom); c.stroke();
  c.textAlign = 'left'; c.fillText(title, left, 10);
  let at = left + c.measureText(title).width + 10;
  for (const [values, color, name] of series) {
    c.fillStyle = color; c.fillText(name, at, 10); at += c.measureText(name).width + 8;
    c.strokeStyle = color; c.lineWidth = 1.5; c.beginPath();
    let pen = false;
    values.forEach((v, i) => { if (!Number.isFinite(v)) pen = false; else if (pen) c.lineTo(X(steps[i]), Y(v)); else { c.moveTo(X(steps[i]), Y(v)); pen = true } });
    c.stroke();
  }
}


// The page

/** An element: h('button', {class: 'x', onclick: f}, 'text', child, ...). */
export function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) k.startsWith('on') ? e.addEventListener(k.slice(2), v) : v !== false && e.setAttribute(k, v === true ? '' : v);
  e.append(...children);
  return e;
}

const flow = `<svg viewBox="0 0 330 92" role="img" aria-label="latents go through G to fakes, fakes and real data through D to the losses; gradients flow back to the player whose move it is">
<g class="wire"><path class="on-D on-G" d="M30 62H52M98 62H120M170 62L196 52M246 47H270"/><path class="on-D on-R" d="M170 24L196 40"/></g>
<g class="back"><path class="for-D" d="M288 34C288 8 222 8 222 30"/><path class="for-G" d="M288 62C280 88 222 88 222 66"/><path class="for-G" d="M206 66C186 90 90 90 76 80"/></g>
<g class="box"><rect class="G" x="52" y="46" width="46" height="32" rx="5"/><rect class="D" x="196" y="31" width="50" height="34" rx="5"/></g>
<g class="word"><text x="18" y="66">z</text><text x="75" y="66">G</text><text x="145" y="66" class="fake">fake</text><text x="145" y="28" class="real">real</text><text x="221" y="52">D</text>
<text x="298" y="44" class="lD">loss D</text><text x="298" y="58" class="lG">loss G</text></g></svg>`;

const labels = {data: 'data', loss: 'loss', penalty: 'penalty', gamma: 'gamma', lr_G: 'learning rate G', lr_D: 'learning rate D', optimiser: 'optimiser',
  n_critic: 'steps of D', n_generator: 'steps of G', batch_size: 'batch size', noise: 'latents', latent_dim: 'latent numbers', width_G: 'width G', depth_G: 'depth G',
  width_D: 'width D', depth_D: 'depth D', seed: 'seed'};
const layers = {field: 'field of D', density: 'densities', warp: 'warped latents', real: 'real', fake: 'fakes', arrows: 'pushes'};
const hidden = ['density', 'warp'];  // layers that are off at first
const batch = 4;  // frames in a message: each costs JupyterLab more than the drawing does

function render({model, el}) {
  const id = Math.random().toString(36).slice(2), moments = [];
  let playing = false, slow = false, asked = 0, answered = 0, frames = 0, planned = false, timer = 0, seen = null, queue = [], charted = '', stroke = [], sent = [], last = null, fresh = false;

  const ask = message => model.send({...message, id, seq: ++asked});
  const change = (name, value) => ask({do: 'change', changes: {[name]: value}});
  const go = () => {
    if (!playing || answered < asked || queue.length > 2) return;
    const n = Number(speed.value);
    clearTimeout(timer);
    if (slow) timer = setTimeout(() => playing && answered >= asked && ask({do: 'move'}), 500); else ask({do: 'play', n, repeat: n === 1 ? batch : 1});
  };
  const setPlaying = on => { playing = on; clearTimeout(timer); if (!on) queue = queue.slice(-1); play.textContent = on ? '❚❚ pause' : '▶ play'; play.setAttribute('aria-pressed', on); go() };
  const stopped = f => () => { setPlaying(false); f() };

  // Controls
  const play = h('button', {class: 'pg-play', title: 'space', onclick: () => setPlaying(!playing)}, '▶ play');
  const step = h('button', {class: 'pg-step', title: 'one iteration: s', onclick: stopped(() => ask({do: 'play', n: 1}))}, 'one step');
  const move = h('button', {class: 'pg-move', title: 'one update of one network: u', onclick: stopped(() => ask({do: 'move'}))}, 'one update');
  const speed = h('select', {class: 'pg-speed', 'aria-label': 'speed', onchange: () => { slow = speed.value === 'slow'; clearTimeout(timer); go() }},
    ...[['slow', 'slow motion'], [1, '1 step a frame'], [5, '5 steps a frame'], [20, '20 steps a frame']].map(([v, t]) => h('option', {value: v, selected: v === 1}, t)));
  const restart = h('button', {class: 'pg-restart', title: 'new networks: r', onclick: () => ask({do: 'restart'})}, 'restart');
  const draw = h('button', {class: 'pg-draw', 'aria-pressed': 'false', title: 'draw data with the mouse', onclick: () => setDrawing(draw.getAttribute('aria-pressed') !== 'true')}, '✎ draw');
  const anew = h('button', {class: 'pg-anew', title: 'the next stroke begins a new drawing', onclick: () => { fresh = true; setDrawing(true) }}, 'draw anew');
  const setDrawing = on => { draw.setAttribute('aria-pressed', on); plane.classList.toggle('pg-pen', on) };
  const status = h('span', {class: 'pg-status', 'aria-live': 'off'});

  const inputs = {};
  const control = (name, options) => {
    inputs[name] = h('select', {name, onchange: e => { const v = e.target.value; change(name, typeof options[0] === 'number' ? Number(v) : v) }}, ...options.map(o => h('option', {value: o}, String(o).replaceAll('_', ' '))));
    return h('label', {}, h('span', {}, labels[name] ?? name), inputs[name]);
  };
  const settings = h('div', {class: 'pg-settings'}, ...Object.entries(model.get('options')).map(([name, options]) => control(name, options)));
  const text = h('input', {class: 'pg-text', 'aria-label': 'this setting as text', spellcheck: 'false', onchange: () => ask({do: 'text', text: text.value})});
  const copy = h('button', {onclick: () => navigator.clipboard?.writeText(text.value)}, 'copy');
  const error = h('div', {class: 'pg-error', role: 'alert'});
  const shownLayers = Object.fromEntries(Object.entries(layers).map(([name, label]) =>
    [name, h('input', {type: 'checkbox', name: `layer-${name}`, checked: !hidden.includes(name), onchange: () => plan()})]));

  // Pictures
  const plane = h('canvas', {class: 'pg-plane', 'aria-label': 'the plane: real points teal, fakes orange'}), dark = h('canvas', {width: 40, height: 40});
  const curves = ['losses', 'mean logits', 'KL', 'JS', 'modes'].map(name => h('canvas', {class: `pg-curves pg-${name}`, 'aria-label': `${name} over the steps`}));
  const diagram = h('div', {class: 'pg-flow'}); diagram.innerHTML = flow;
  const verdict = h('div', {class: 'pg-verdict', 'aria-live': 'off'});
  const root = h('div', {class: 'pg', tabindex: 0, 'data-lm-suppress-shortcuts': 'true', 'aria-label': 'the GAN playground: space plays and pauses, s is one step, u one update, r restarts'},
    h('div', {class: 'pg-bar'}, play, step, move, speed, restart, draw, anew, status), error,
    h('div', {class: 'pg-main'},
      h('div', {class: 'pg-left'}, plane, h('div', {class: 'pg-layers'}, ...Object.entries(layers).map(([name, label]) => h('label', {}, shownLayers[name], ` ${label}`))), diagram),
      h('div', {class: 'pg-right'}, h('div', {class: 'pg-charts'}, ...curves), verdict)),
    settings, h('div', {class: 'pg-share'}, h('span', {}, 'share'), text, copy));

  /** The canvas' 2-D context in CSS pixels, sharp on any screen. */
  function sized(canvas, width, height) {
    const k = window.devicePixelRatio || 1, c = canvas.getContext('2d');
    if (canvas.width !== Math.round(width * k) || canvas.height !== Math.round(height * k)) { canvas.width = Math.round(width * k); canvas.height = Math.round(height * k) }
    c.setTransform(k, 0, 0, k, 0, 0);
    return c;
  }

  function drawPlane(a, real) {
    const size = plane.clientWidth || 360, c = sized(plane, size, size), lim = seen.lim, on = name => shownLayers[name].checked;
    c.fillStyle = '#fff'; c.fillRect(0, 0, size, size);
    if (on('field')) {
      dark.getContext('2d').putImageData(new ImageData(fieldPixels(a.field), 40, 40), 0, 0);
      c.imageSmoothingEnabled = true; c.drawImage(dark, 0, 0, size, size);
    }
    if (on('density')) drawCounts(c, a.counts, 20, lim, size);
    if (on('warp')) drawWarp(c, a.warp, seen.sizes.find(([name]) => name === 'warp')[1], lim, size);
    if (on('real')) dots(c, real, lim, size, REAL, 1.5);
    if (on('fake')) dots(c, a.fake, lim, size, FAKE, 1.5);
    if (on('arrows')) drawArrows(c, a.fake, a.arrows, lim, size);
    c.fillStyle = REAL; for (const [x, y] of [...sent, ...stroke]) { const [px, py] = toPixel(x, y, lim, size); c.beginPath(); c.arc(px, py, 4, 0, 7); c.fill() }
  }

  function drawHistory(h) {
    const n = seen.columns.length, now = [h.length, h.at(-n), root.clientWidth, seen.modes].join();
    if (now === charted) return;  // rows come every few steps
    charted = now;
    const column = name => { const k = seen.columns.indexOf(name); return h.filter((_, i) => i % n === k) }, steps = Array.from(column('step'));
    const panels = [['losses', [['loss_D', INK, 'D'], ['loss_G', FAKE, 'G']]], ['mean logit', [['real_logit', REAL, 'real'], ['fake_logit', FAKE, 'fake']]],
      ['KL, data to fakes', [['kl', INK, '']]], ['JS', [['js', INK, 'at most log 2']], [0, Math.log(2)]],
      ['modes found', [['modes', REAL, seen.modes ? `of ${seen.modes}` : 'these data have none']], [0, seen.modes || 1]]];
    curves.forEach((canvas, k) => {
      const [width, height] = [canvas.clientWidth || 280, canvas.clientHeight || 78], [title, lines, range] = panels[k];
      drawCurves(sized(canvas, width, height), width, height, steps, lines.map(([name, color, label]) => [column(name), color, label]), title, range);
    });
  }

  function drawVerdict(findings) {
    verdict.replaceChildren(h('b', {}, 'the doctor '), ...(findings === null ? ['waits for 100 steps of this setting'] : findings.length ? [] : ['finds nothing wrong']),
      ...(findings ?? []).map(f => h('div', {class: `pg-${f.severity}`}, h('b', {}, f.name), ` ${f.evidence} `, h('i', {}, `Try: ${f.advice}`), ` Chapter ${f.chapter}.`)));
  }

  function drawFrame() {
    if (queue.length) { seen = queue.shift(); root.dataset.frame = ++frames; moments.push(performance.now()); if (moments.length > 120) moments.shift() }
    if (!seen) return;
    drawPlane(seen.arrays, seen.real); drawHistory(seen.arrays.history);
    for (const name of ['step', 'player', 'dabs']) root.dataset[name] = seen[name];
    diagram.dataset.player = seen.what === 'play' ? 'both' : seen.player;
    status.textContent = `step ${seen.step}${{D: ', D has moved', G: ', G has moved'}[seen.player] ?? ''}; frame ${frames}${playing ? `, ${rate(moments, performance.now()).toFixed(0)} a second` : ''}`;
    status.title = Object.entries(seen.values).map(([k, x]) => `${k} ${short(x)}`).join(', ');
  }

  function showSetting() {
    const setting = model.get('setting');
    for (const [name, input] of Object.entries(inputs)) {
      const value = String(setting[name]);
      if (![...input.options].some(o => o.value === value)) input.append(h('option', {value}, value));
      input.value = value;
    }
    if (document.activeElement !== text) text.value = model.get('text');
  }

  // A frame is drawn when the page is, never in a hidden tab; further ones are asked for then, so that messages cannot pile up.
  function plan() { if (!planned) { planned = true; requestAnimationFrame(() => { planned = false; drawFrame(); go(); if (queue.length) plan() }) } }
  function onAbout() {
    const about = model.get('about'), [{real}] = unpack(model.get('real'), [['real', about.real_size]]);
    queue.push(...unpackAll(model.get('frame'), about.frames).map(frame => ({...about, ...frame, real})));
    if (about.id === id) {
      answered = Math.max(answered, about.seq);
      if (!['play', 'move'].includes(about.what)) error.textContent = about.error;  // a fault stays to be read while it plays on
      if (about.error) showSetting();
      if (about.what === 'draw' || about.error) sent = [];
    }
    plan();
  }

  // Drawing data: places gather while the pointer is down, and go to Python when it is lifted.
  const place = e => { const box = plane.getBoundingClientRect(); return toPlane(e.clientX - box.left, e.clientY - box.top, seen.lim, box.width).map(v => Math.min(seen.lim, Math.max(-seen.lim, v))) };
  function pen(e) {
    if (!seen || draw.getAttribute('aria-pressed') !== 'true' || e.type === 'pointermove' && !plane.hasPointerCapture(e.pointerId)) return;
    if (e.type === 'pointerdown') { plane.setPointerCapture(e.pointerId); last = null }
    const added = thin([place(e)], 0.12, last);
    if (added.length) { last = added[0]; stroke.push(last); plan() }
    if (['pointerup', 'pointercancel'].includes(e.type) && stroke.length) { ask({do: 'draw', places: stroke, fresh}); sent = stroke; stroke = []; fresh = false }
    e.preventDefault();
  }
  for (const type of ['pointerdown', 'pointermove', 'pointerup', 'pointercancel']) plane.addEventListener(type, pen);

  root.addEventListener('keydown', e => {
    if (['INPUT', 'SELECT'].includes(e.target.tagName) && e.target.type !== 'checkbox' || e.ctrlKey || e.metaKey || e.altKey || e.repeat && answered < asked) return;
    const act = {' ': e.target.tagName === 'BUTTON' || e.target.type === 'checkbox' ? null : () => play.click(), s: () => step.click(), u: () => move.click(), r: () => restart.click()}[e.key];
    if (act) { e.preventDefault(); e.stopPropagation(); act() }
  });

  el.append(root);
  const listeners = [['change:about', onAbout], ['change:setting', showSetting], ['change:text', showSetting], ['change:verdict', () => drawVerdict(model.get('verdict'))]];
  for (const [event, f] of listeners) model.on(event, f);
  showSetting(); drawVerdict(model.get('verdict')); onAbout();
  const watch = new ResizeObserver(() => plan()); watch.observe(root);
  return () => { playing = false; clearTimeout(timer); watch.disconnect(); for (const [event, f] of listeners) model.off(event, f) };
}

export default {render};
