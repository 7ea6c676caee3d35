// The game: two networks that take turns, one update at a time, and the settings that may change in between.

import {Random} from './random.js';
import {MLP, Pass} from './nets.js';
import {evaluate, losses} from './losses.js';
import {penalties} from './penalties.js';
import {optimisers} from './optim.js';
import {dataOf, draw} from './data.js';
import {fromDrawing} from './setting.js';
import {coverage, js, mean, shares} from './measures.js';

export const n_shown = 400;    // points that are shown of either kind
export const n_counted = 1000; // fakes that are measured
const latent_dim = 2;
const most_rows = 20000;       // of the log; then the older half goes

/** Networks, data and optimisers at step 0. */
export function newMatch(setting) {
  const random = new Random(setting.seed);
  const m = {
    G: new MLP([latent_dim, setting.width_G, setting.width_G, 2], random),
    D: new MLP([2, setting.width_D, setting.width_D, 1], random),
    z: new Random(1).normals(n_counted*latent_dim),  // latents of the fakes that are shown and measured
    random, step: 0, done: 0, row: {}, history: [], stride: 5,
  };
  m.grad_G = new Float64Array(m.G.weights.length);
  m.grad_D = new Float64Array(m.D.weights.length);
  m.counted = new Pass(m.G, n_counted);
  return adopt(m, setting);
}

/** Takes over a setting, all but what the networks are built of. */
function adopt(m, setting) {
  const old = m.setting ?? {};
  m.setting = setting;
  if (setting.data !== old.data || setting.drawing !== old.drawing) aim(m);
  if (setting.batch_size !== old.batch_size) {
    const made = (net) => new Pass(net, setting.batch_size);
    m.passes = {real: made(m.D), fake: made(m.D), between: made(m.D), made: made(m.G)};
  }
  if (setting.optimiser !== old.optimiser) {
    m.opt_G = new optimisers[setting.optimiser](m.G.weights.length);
    m.opt_D = new optimisers[setting.optimiser](m.D.weights.length);
  }
  m.log = {loss_D: [], loss_G: [], real_logit: [], fake_logit: [], penalty: []};  // since the last change
  m.logged = m.done = 0;
  return m;
}

/** The data of the setting, and what is shown of them. */
function aim(m) {
  m.data = dataOf(m.setting.data, fromDrawing(m.setting.drawing));
  const x = draw(m.data, 20000, new Random(1));
  m.shown = x.slice(0, 2*n_shown);
  m.p = shares(x);
}

const built = ['width_D', 'width_G', 'seed'];  // a change of these needs new networks

/** Changes the setting between two updates: the match goes on, or a new one begins. */
export function change(m, changes) {
  const setting = {...m.setting, ...changes};
  return built.some(name => setting[name] !== m.setting[name]) ? newMatch(setting) : adopt(m, setting);
}

/** One update of D, on real points (n,2) and fakes of the latents z (n,2); `random` (2n) are uniform numbers
 *  for penalties at points of their own. */
export function d_step(m, real, z, random = null) {
  const {passes, setting, D, grad_D} = m;
  const fake = passes.made.forward(z);
  const real_logits = passes.real.forward(real);
  const fake_logits = passes.fake.forward(fake);
  const loss = evaluate(losses[setting.loss].discriminator, real_logits, fake_logits);
  grad_D.fill(0);
  const weighed = penalties[setting.penalty].map(p => p(passes, {real, fake, random}, setting.gamma, grad_D));
  passes.real.backward(loss.real, grad_D);
  passes.fake.backward(loss.fake, grad_D);
  m.opt_D.step(D.weights, grad_D, {...setting, lr: setting.lr_D});
  const penalty = weighed.reduce((a, b) => a + b, 0);
  return {loss_D: loss.value, real_logit: mean(real_logits), fake_logit: mean(fake_logits), penalty};
}

/** One update of G, through a D that stays as it is; a relativistic loss looks at the real points too. */
export function g_step(m, real, z) {
  const {passes, setting, G, grad_G} = m;
  const {generator, relativistic} = losses[setting.loss];
  const real_logits = relativistic ? passes.real.forward(real) : null;
  const fake_logits = passes.fake.forward(passes.made.forward(z));
  const loss = evaluate(generator, real_logits, fake_logits);
  grad_G.fill(0);
  passes.made.backward(passes.fake.backward(loss.fake), grad_G);
  m.opt_G.step(G.weights, grad_G, {...setting, lr: setting.lr_G});
  return {loss_G: loss.value};
}

/** One update, of D as often as `n_critic` says, then of G; gives whose move it was. */
export function move(m) {
  const {n_critic, n_generator, batch_size} = m.setting;
  const player = m.done < n_critic ? 'D' : 'G';
  const z = m.random.normals(batch_size*latent_dim);
  if (player === 'D') {
    m.batch = draw(m.data, batch_size, m.random);
    Object.assign(m.row, d_step(m, m.batch, z, m.random.uniforms(2*batch_size)));
  } else Object.assign(m.row, g_step(m, m.batch, z));
  m.done++;
  if (m.done >= n_critic + n_generator) endIteration(m);
  return player;
}

/** A whole iteration; one that is under way counts. */
export function iterate(m) {
  const {step} = m;
  while (m.step === step) move(m);
  return m;
}

/** Counts the iteration, logs it, and measures it if it is its turn. */
function endIteration(m) {
  m.step++;
  m.logged++;
  for (const [name, values] of Object.entries(m.log)) {
    values.push(m.row[name]);
    if (values.length > most_rows) values.splice(0, most_rows/2);
  }
  if (!Number.isFinite(m.row.loss_D + m.row.loss_G)) m.diverged ??= m.step;
  if (m.step % m.stride === 0) m.history.push({step: m.step, ...m.row, ...measured(m)});
  if (m.history.length > 300) {  // thinned where it grows long
    m.stride *= 2;
    m.history = m.history.filter((row, i) => i % 2);
  }
  m.row = {};
  m.done = 0;
}

/** How good the fakes are now: modes found, share of good samples, Jensen-Shannon divergence. */
export function measured(m) {
  const fake = m.counted.forward(m.z);
  if (!fake.every(Number.isFinite)) return {modes: NaN, good: NaN, js: NaN};
  return {...coverage(fake, m.data), js: js(m.p, shares(fake))};
}

/** Where, and how strongly, the loss of G wants each of the first n fakes to go: minus its gradient there. */
export function pushes(m, fake, n, pass) {
  const {generator, relativistic} = losses[m.setting.loss];
  const real_logits = relativistic ? pass.forward(m.shown.subarray(0, 2*n)).slice() : null;
  const loss = evaluate(generator, real_logits, pass.forward(fake.subarray(0, 2*n)));
  return pass.backward(loss.fake).map(v => -n*v);
}
