// The picture of the plane: D a grey field, real points teal, fakes orange, and arrows where the loss pushes
// them.

import {sigmoid} from './losses.js';
import {lim} from './measures.js';
import {knots, side} from './scene.js';

/** Coordinates of the plane to pixels of a square canvas, and back; y grows upwards in the plane. */
export const toPixel = (x, y, size) => [(x + lim)/(2*lim)*size, (lim - y)/(2*lim)*size];
export const toPlane = (px, py, size) => [px/size*2*lim - lim, lim - py/size*2*lim];

/** From dark, surely fake, to light, surely real; a place where D is no number keeps the middle. */
function drawField(c, logits, size, colors, small) {
  const pixels = new ImageData(side, side);
  logits.forEach((logit, i) => {
    const p = Number.isFinite(logit) ? sigmoid(logit) : 0.5;
    pixels.data.fill(Math.round(colors.low + (colors.high - colors.low)*p), 4*i, 4*i + 3);
    pixels.data[4*i + 3] = 255;
  });
  small.getContext('2d').putImageData(pixels, 0, 0);
  c.imageSmoothingEnabled = true;
  c.imageSmoothingQuality = 'high';
  c.drawImage(small, 0, 0, size, size);
}

/** The line on which D cannot tell: between four places whose logits differ in sign, by marching squares. */
function drawBorder(c, logits, size, color) {
  const unit = size/side;
  const at = (i, j) => logits[i*side + j];
  c.beginPath();
  for (let i = 0; i + 1 < side; i++) {
    for (let j = 0; j + 1 < side; j++) {
      const corners = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]];
      const crossed = [];
      corners.forEach(([r, s], k) => {
        const [u, v] = corners[(k + 1) % 4];
        const [a, b] = [at(r, s), at(u, v)];
        if (a > 0 === b > 0 || !Number.isFinite(a - b)) return;
        const t = a/(a - b);
        crossed.push([(s + 0.5 + t*(v - s))*unit, (r + 0.5 + t*(u - r))*unit]);
      });
      for (let k = 0; k + 1 < crossed.length; k += 2) {
        c.moveTo(...crossed[k]);
        c.lineTo(...crossed[k + 1]);
      }
    }
  }
  c.strokeStyle = color;
  c.lineWidth = 1;
  c.setLineDash([4, 3]);
  c.stroke();
  c.setLineDash([]);
}

function drawDots(c, x, size, color, radius) {
  c.fillStyle = color;
  c.beginPath();
  for (let i = 0; i < x.length; i += 2) {
    const [px, py] = toPixel(x[i], x[i + 1], size);
    if (!Number.isFinite(px + py)) continue;
    c.moveTo(px + radius, py);
    c.arc(px, py, radius, 0, 2*Math.PI);
  }
  c.fill();
}

/** An arrow from (x,y) along (u,v), in pixels. */
function addArrow(c, x, y, u, v) {
  const long = Math.hypot(u, v);
  if (!(long > 1)) return;
  const a = u/long;
  const b = v/long;
  const head = Math.min(5, long/2);
  c.moveTo(x, y);
  c.lineTo(x + u, y + v);
  c.moveTo(x + u - head*(a - 0.6*b), y + v - head*(b + 0.6*a));
  c.lineTo(x + u, y + v);
  c.lineTo(x + u - head*(a + 0.6*b), y + v - head*(b - 0.6*a));
}

/** Pushes are true up to 0.35 units of the plane, and cut there. */
function drawArrows(c, fake, arrows, size, color) {
  c.beginPath();
  for (let i = 0; i < arrows.length; i += 2) {
    const long = Math.hypot(arrows[i], arrows[i + 1]);
    const [px, py] = toPixel(fake[i], fake[i + 1], size);
    if (!Number.isFinite(long + px + py)) continue;
    const scale = size/(2*lim)*Math.min(long, 0.35)/(long || 1);
    addArrow(c, px, py, arrows[i]*scale, -arrows[i + 1]*scale);
  }
  c.strokeStyle = color;
  c.lineWidth = 1.3;
  c.stroke();
}

/** Area of a polygon [[x,y], ...]. */
export function area(corners) {
  const cross = ([x, y], [u, v]) => x*v - u*y;
  return Math.abs(corners.reduce((sum, p, i) => sum + cross(p, corners[(i + 1) % corners.length]), 0))/2;
}

/** Every cell of the latent lattice where G puts it: all hold the same share of the fakes, so the smaller,
 *  the denser. */
function drawWarp(c, warp, size, color) {
  const at = (i, j) => [warp[2*(i*knots + j)], warp[2*(i*knots + j) + 1]];
  const share = (0.96/(knots - 1))**2;
  c.fillStyle = c.strokeStyle = color;
  c.lineWidth = 0.7;
  for (let i = 0; i + 1 < knots; i++) {
    for (let j = 0; j + 1 < knots; j++) {
      const cell = [at(i, j), at(i, j + 1), at(i + 1, j + 1), at(i + 1, j)];
      if (!cell.flat().every(Number.isFinite)) continue;
      const density = share/Math.max(area(cell), 1e-9);
      c.beginPath();
      cell.forEach(p => c.lineTo(...toPixel(...p, size)));
      c.closePath();
      c.globalAlpha = 0.8*density/(density + 0.5);
      c.fill();
      c.globalAlpha = 0.4;
      c.stroke();
    }
  }
  c.globalAlpha = 1;
}

/** All layers that are on, from the back to the front. */
export function drawPlane(c, size, scene, colors, on, small) {
  c.fillStyle = colors.ground;
  c.fillRect(0, 0, size, size);
  if (on.field) {
    drawField(c, scene.logits, size, colors, small);
    drawBorder(c, scene.logits, size, colors.soft);
  }
  if (on.warp && scene.warp) drawWarp(c, scene.warp, size, colors.fake);
  const radius = Math.max(1.6, size/220);
  if (on.real) drawDots(c, scene.real, size, colors.real, radius);
  if (on.fake) drawDots(c, scene.fake, size, colors.fake, radius);
  if (on.arrows) drawArrows(c, scene.fake, scene.arrows, size, colors.ink);
}

/** The ring that the arrow keys move while the pen is out. */
export function drawCursor(c, size, [x, y], color) {
  c.strokeStyle = color;
  c.lineWidth = 2;
  c.beginPath();
  c.arc(...toPixel(x, y, size), 7, 0, 2*Math.PI);
  c.stroke();
}
