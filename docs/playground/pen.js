// Data by hand: places gather while the pointer is down, or where the arrow keys lead and enter is pressed.

import {lim} from './measures.js';
import {toPlane} from './plane.js';

const gap = 0.12;    // no two places of a stroke are nearer
const stride = 0.15; // of an arrow key

const inside = v => Math.min(lim, Math.max(-lim, v));

/** Draws on a canvas while `pen.out`; `dab` gets each new place. */
export function penOf(canvas, dab) {
  const pen = {out: false, cursor: [0, 0], last: null};
  const put = place => {
    if (pen.last && Math.hypot(place[0] - pen.last[0], place[1] - pen.last[1]) < gap) return;
    pen.last = place;
    dab(place);
  };
  const placeOf = e => {
    const box = canvas.getBoundingClientRect();
    return toPlane(e.clientX - box.left, e.clientY - box.top, box.width).map(inside);
  };
  canvas.addEventListener('pointerdown', e => {
    if (!pen.out) return;
    canvas.setPointerCapture(e.pointerId);
    pen.last = null;
    put(placeOf(e));
    e.preventDefault();
  });
  canvas.addEventListener('pointermove', e => {
    if (pen.out && canvas.hasPointerCapture(e.pointerId)) put(placeOf(e));
  });
  canvas.addEventListener('keydown', e => byKey(pen, put, e));
  return pen;
}

const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

function byKey(pen, put, e) {
  if (!pen.out || !(e.key in ways || e.key === 'Enter')) return;
  e.preventDefault();
  if (e.key === 'Enter') {
    pen.last = null;
    put([...pen.cursor]);
  } else pen.cursor = pen.cursor.map((v, i) => inside(v + stride*ways[e.key][i]));
}
