// What is shown of a match, in numbers: the field of D, the fakes, the pushes on some of them, the warped
// latents.

import {Pass} from './nets.js';
import {sigmoid, zeroOf} from './losses.js';
import {lim, mean} from './measures.js';
import {n_shown, pushes} from './game.js';

export const side = 40;      // places along each side where D is asked
export const knots = 13;     // latents along each side of the lattice
const n_arrows = 40;
const slow_ms = 3;           // a field that takes longer is asked for in turns with the other frames

// Latents between which equal shares of all latents lie: normal quantiles of .02, .10, .18, ... .98
const quantiles = [0.2019, 0.4125, 0.6433, 0.9154, 1.2816, 2.0537];
const line = [...quantiles.map(q => -q).reverse(), 0, ...quantiles];

/** Row by row from the top, as a picture is. */
function placesOfField() {
  const at = i => (i + 0.5)*2*lim/side - lim;
  return Float64Array.from({length: 2*side*side}, (_, k) => {
    const place = k >> 1;
    return k % 2 ? -at(Math.floor(place/side)) : at(place % side);
  });
}

/** Looks at a match, whose networks it does not change. */
export class Scene {
  constructor(m) {
    this.D = m.D;  // a match with new networks needs a new scene
    this.places = placesOfField();
    this.asked = new Pass(m.D, side*side);
    this.judged = new Pass(m.D, n_shown);
    this.pushed = new Pass(m.D, n_arrows);
    this.made = new Pass(m.G, n_shown);
    this.latticed = new Pass(m.G, knots*knots);
    this.lattice = Float64Array.from(line.flatMap(a => line.flatMap(b => [a, b])));
    this.frame = 0;
    this.cost_ms = 0;
  }

  look(m, warped) {
    const fake = this.made.forward(m.z.subarray(0, 2*n_shown));
    if (this.frame++ % Math.max(1, Math.round(this.cost_ms/slow_ms)) === 0) this.logits = this.field(m, fake);
    const arrows = pushes(m, fake, n_arrows, this.pushed);
    const warp = warped ? this.latticed.forward(this.lattice) : null;
    return {real: m.shown, fake, arrows, logits: this.logits, warp};
  }

  /** Logits of D in the plane, so that 0 says that it cannot tell. */
  field(m, fake) {
    const start = performance.now();
    const real_logit = mean(this.judged.forward(m.shown));
    const [shift, factor] = zeroOf(m.setting.loss, real_logit, mean(this.judged.forward(fake)));
    const logits = this.asked.forward(this.places).map(logit => factor*(logit - shift));
    this.cost_ms = 0.9*this.cost_ms + 0.1*(performance.now() - start);
    return logits;
  }

  /** What D says of one place: the probability that it is real; null before the first look. */
  at(x, y) {
    const cell = v => Math.min(side - 1, Math.max(0, Math.floor((v + lim)*side/(2*lim))));
    return this.logits ? sigmoid(this.logits[cell(-y)*side + cell(x)]) : null;
  }
}
