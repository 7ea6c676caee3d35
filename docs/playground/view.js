// The playground on its page: what is shown, what can be pressed, and the loop that joins both to the game.

import {colorsOf, h, sized} from './dom.js';
import {change, measured, move, newMatch, iterate} from './game.js';
import {defaults, fromDrawing, fromHash, toDrawing, toHash} from './setting.js';
import {drawCursor, drawPlane, toPlane} from './plane.js';
import {Scene, side} from './scene.js';
import {knobs, menu, showSetting} from './controls.js';
import {chartPanel, doctorPanel, readings} from './panels.js';
import {lessons} from './lessons.js';
import {penOf} from './pen.js';
import {flow} from './flow.js';
import {vitals} from './vitals.js';
import {diagnose} from './doctor.js';

const frame_ms = 13;     // of the 16.7 that a frame lasts: for training and drawing
const least_ms = 4;      // of training in a frame
const update_ms = 600;   // an update in slow motion
const calm_ms = 500;     // between two pictures for those who want little motion
const visit_ms = 1000;   // between two visits of the doctor
const speeds = {slow: 'slow motion', 1: '1 step a frame', 5: '5 steps a frame', fast: 'as fast as it goes'};
const layers = {real: 'real', fake: 'fakes', field: 'field of D', arrows: 'pushes', warp: 'warped latents'};

const button = (name, title, onclick, text) =>
  h('button', {type: 'button', class: `pg-${name}`, title: title || false, onclick}, text);

class View {
  constructor(place) {
    this.moments = [];   // of the frames of the last second
    this.calm = matchMedia('(prefers-reduced-motion: reduce)');
    this.small = h('canvas', {width: side, height: side});
    this.build(place);
    this.load(location.hash);
    window.addEventListener('hashchange', e => this.load(new URL(e.newURL).hash));
    const restyle = () => this.restyle();
    new ResizeObserver(restyle).observe(this.root);
    new MutationObserver(restyle).observe(document.documentElement, {attributeFilter: ['data-theme']});
  }

  // What is on the page

  build(place) {
    this.charts = chartPanel();
    this.readings = readings();
    this.doctor = doctorPanel();
    this.knobs = knobs(changes => this.turn(changes));
    this.alert = h('p', {class: 'pg-alert', role: 'alert'});
    this.note = h('p', {class: 'pg-look'});
    const board = h('div', {class: 'pg-board'}, this.leftSide(), this.rightSide());
    this.root = h('div', {class: 'pg', role: 'group', 'aria-label': 'GAN playground'},
      this.lessonBar(), this.note, this.buttons(), board, this.knobs.element);
    this.root.addEventListener('keydown', e => this.onKey(e));
    place.replaceChildren(this.root);
  }

  lessonBar() {
    const chips = lessons.map(lesson => button('lesson', '', () => this.begin(lesson), lesson.name));
    const label = {role: 'group', 'aria-label': 'games to try'};
    return h('div', {class: 'pg-lessons', ...label}, h('span', {}, 'Try'), ...chips);
  }

  buttons() {
    const options = Object.entries(speeds)
      .map(([value, text]) => h('option', {value, selected: value === '5'}, text));
    const drawing = 'drag over the plane; or arrow keys, and enter for a place';
    this.playButton = button('play', 'key: space', () => this.setPlaying(!this.playing), '');
    this.speed = h('select', {class: 'pg-speed', 'aria-label': 'speed'}, ...options);
    this.data = menu('data', changes => this.turn(changes));
    this.penButton = button('draw', drawing, () => this.setPen(!this.pen.out), 'draw');
    return h('div', {class: 'pg-bar'}, this.playButton,
      button('step', 'one iteration: key s', () => this.once(iterate), 'one step'),
      button('move', 'one update of one network: key u', () => this.once(move), 'one update'),
      button('restart', 'new networks: key r', () => this.restart(), 'restart'), this.speed,
      h('span', {class: 'pg-data'}, this.data.element, this.penButton,
        button('anew', 'the next stroke begins a new drawing', () => this.drawAnew(), 'draw anew')));
  }

  leftSide() {
    this.plane = h('canvas', {class: 'pg-plane', tabindex: 0, role: 'img',
      'aria-label': 'the plane: real points teal, fakes orange, D a grey field'});
    this.pen = penOf(this.plane, place => this.dab(place));
    this.plane.addEventListener('pointermove', e => this.ask(e));
    this.plane.addEventListener('pointerleave', () => { this.asked.textContent = ''; });
    this.plane.addEventListener('keydown', () => this.plan());
    this.asked = h('span', {class: 'pg-asked'});
    this.status = h('span', {class: 'pg-status'});
    const address = 'the address of this page holds the whole setting';
    this.copyButton = button('copy', address, () => this.copyLink(), 'copy link');
    const framed = h('div', {class: 'pg-frame'}, this.plane, this.asked, this.alert);
    return h('div', {class: 'pg-left'}, framed, this.ticks(),
      h('div', {class: 'pg-share'}, this.copyButton, this.status));
  }

  ticks() {
    const onchange = () => this.plan();
    const tick = name =>
      h('input', {type: 'checkbox', name: `layer-${name}`, checked: name !== 'warp', onchange});
    this.layers = Object.fromEntries(Object.keys(layers).map(name => [name, tick(name)]));
    const label = ([name, text]) => h('label', {class: `pg-layer-${name}`}, this.layers[name], text);
    return h('div', {class: 'pg-layers'}, ...Object.entries(layers).map(label));
  }

  rightSide() {
    this.diagram = h('div', {class: 'pg-flow'});
    this.diagram.innerHTML = flow;
    const panels = [this.readings, this.doctor, this.charts].map(({element}) => element);
    return h('div', {class: 'pg-right'}, ...panels, this.diagram);
  }

  // Settings

  /** Takes the setting out of an address, and begins it. */
  load(hash) {
    const {setting, faults} = fromHash(hash);
    if (this.match && toHash(setting) === toHash(this.match.setting) && !faults.length) return;
    this.setPlaying(false);
    this.take(newMatch(setting));
    this.tell(faults.join(' '));
  }

  /** Shows a match, which may be a new one. */
  take(match) {
    this.match = match;
    if (this.scene?.D !== match.D) this.scene = new Scene(match);
    const {setting} = match;
    showSetting({...this.knobs.made, data: this.data}, setting);
    this.seen = null;
    if (!match.diverged) this.doctor.show(null);
    clearTimeout(this.writing);
    this.writing = setTimeout(() => history.replaceState(null, '', `#${toHash(setting)}`), 200);
    this.plan();
  }

  turn(changes) {
    this.tell('');
    if (changes.data === 'drawn' && !this.match.setting.drawing) {
      this.data.show(this.match.setting.data);
      this.setPen(true);
      return this.tell('Nothing has been drawn yet: drag over the plane.');
    }
    return this.take(change(this.match, changes));
  }

  begin(lesson) {
    const {seed} = this.match.setting;
    this.tell('');
    this.note.textContent = lesson.note;
    this.take(newMatch({...defaults, seed, ...lesson.changes}));
    if (lesson.draws) this.drawAnew();
    else this.setPlaying(true);
  }

  restart() {
    this.tell('');
    this.take(newMatch(this.match.setting));
  }

  tell(sentence) { this.alert.textContent = sentence; }

  async copyLink() {
    const {href} = new URL(`#${toHash(this.match.setting)}`, location.href);
    try {
      await navigator.clipboard.writeText(href);
      this.copyButton.textContent = 'copied';
      setTimeout(() => { this.copyButton.textContent = 'copy link'; }, 1500);
    } catch {
      this.tell('This browser lets no page copy: take the address of this page, which is the link.');
    }
  }

  // Drawing

  setPen(out) {
    this.pen.out = out;
    this.penButton.setAttribute('aria-pressed', out);
    this.plane.classList.toggle('pg-pen', out);
    this.plan();
  }

  drawAnew() {
    this.fresh = true;
    this.setPen(true);
  }

  dab(place) {
    const {data, drawing} = this.match.setting;
    const kept = this.fresh || data !== 'drawn' ? [] : fromDrawing(drawing);
    this.fresh = false;
    this.tell('');
    this.take(change(this.match, {data: 'drawn', drawing: toDrawing([...kept, place])}));
  }

  // Playing

  setPlaying(on) {
    if (on && this.match.diverged) this.restart();
    this.playing = on;
    this.playButton.textContent = on ? '❚❚ pause' : '▶ play';
    this.playButton.setAttribute('aria-pressed', on);
    if (!on) this.moments = [];
    this.root.classList.toggle('pg-playing', on);
    if (this.match) this.plan();
  }

  /** One step, or one update, by hand. */
  once(act) {
    this.setPlaying(false);
    if (this.match.diverged) return this.examine();
    const made = act(this.match);
    this.player = typeof made === 'string' ? made : 'both';
    this.seen = null;
    this.examine();
    return this.plan();
  }

  onKey(e) {
    const typing = ['INPUT', 'SELECT'].includes(e.target.tagName);
    if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
    const press = name => this.root.querySelector(`.pg-${name}`).click();
    const keys = {' ': 'play', s: 'step', u: 'move', r: 'restart'};
    if (!(e.key in keys) || e.key === ' ' && e.target.tagName === 'BUTTON') return;
    e.preventDefault();
    press(keys[e.key]);
  }

  // The loop

  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(now => this.frame(now));
  }

  frame(now) {
    this.planned = false;
    if (this.playing) this.advance(now);
    if (!this.playing || !this.calm.matches || now - (this.drawn ?? 0) >= calm_ms) this.draw(now);
    if (this.playing) this.plan();
  }

  /** Trains for the time that a frame leaves, an update at a time, so that no setting can freeze the page. */
  advance(now) {
    const {match, speed: {value}} = this;
    if (value === 'slow') return this.slowly(now);
    const end = performance.now() + Math.max(least_ms, frame_ms - (this.draw_ms ?? 0));
    const last = match.step + (value === 'fast' ? Infinity : Number(value));
    do move(match); while (match.step < last && !match.diverged && performance.now() < end);
    this.player = 'both';
    if (match.diverged || now - (this.visited ?? 0) > visit_ms) this.examine();
    return undefined;
  }

  slowly(now) {
    if (now - (this.moved ?? 0) < update_ms) return;
    this.moved = now;
    this.player = move(this.match);
    this.examine();
  }

  /** Asks the doctor; a match that has diverged is over, and that is said. */
  examine() {
    const {match} = this;
    this.visited = performance.now();
    if (match.diverged) {
      this.setPlaying(false);
      this.tell(`This match has diverged at step ${match.diverged}: its numbers are finite no longer. ` +
        'Turn something down, and press play to begin anew.');
    }
    if (match.logged < 100 && !match.diverged) return;
    const v = vitals(match);
    this.doctor.show(diagnose(v), v);
  }

  // The picture

  restyle() {
    this.colors = colorsOf(this.root);
    this.charted = null;
    if (this.match) this.plan();
  }

  draw(now) {
    const start = performance.now();
    const {match, scene, root} = this;
    this.colors ??= colorsOf(root);
    this.drawn = now;
    const on = Object.fromEntries(Object.entries(this.layers).map(([name, tick]) => [name, tick.checked]));
    const {c, width} = sized(this.plane);
    drawPlane(c, width, scene.look(match, on.warp), this.colors, on, this.small);
    const byKeys = this.pen.out && document.activeElement === this.plane;
    if (byKeys) drawCursor(c, width, this.pen.cursor, this.colors.ink);
    this.drawNumbers(now);
    root.dataset.step = match.step;
    root.dataset.frame = Number(root.dataset.frame ?? 0) + 1;
    this.diagram.dataset.player = this.player ?? '';
    this.draw_ms = 0.9*(this.draw_ms ?? 5) + 0.1*(performance.now() - start);
  }

  /** Readings five times a second, curves when there are new rows. */
  drawNumbers(now) {
    const {match} = this;
    if (this.seen === null || now - this.seen > 200) {
      this.seen = now;
      this.readings.show(match, measured(match));
      this.status.textContent = this.playing ? `${this.rate(now)} frames a second` : '';
    }
    const charted = `${match.history.length} ${match.history.at(-1)?.step}`;
    if (charted !== this.charted) {
      this.charted = charted;
      this.charts.draw(match.history, this.colors);
    }
    if (this.playing) this.moments = [...this.moments.filter(t => t > now - 1000), now];
  }

  rate(now) {
    const {moments} = this;
    return moments.length > 1 ? Math.round((moments.length - 1)/(moments.at(-1) - moments[0])*1000) : 0;
  }

  /** What D says of the place under the pointer. */
  ask(e) {
    const box = this.plane.getBoundingClientRect();
    const p = this.scene.at(...toPlane(e.clientX - box.left, e.clientY - box.top, box.width));
    this.asked.textContent = p === null || Number.isNaN(p) ? '' : `D: ${(100*p).toFixed(0)} % real here`;
  }
}

/** Puts the playground into an element of the page. */
export function start(place) { return new View(place); }
