// What a run shows, in numbers with the names of chapter w10; what was not measured is left out, and every
// comparison refuses it.

import {losses, evaluate} from './losses.js';
import {Pass} from './nets.js';
import {draw} from './data.js';
import {Random} from './random.js';
import {mean, meanDistance, median, nearestCentres, std} from './measures.js';

const forms = {
  minimax: ['cross-entropy', 'minimax'], non_saturating: ['cross-entropy', 'non-saturating'],
  least_squares: ['least squares', 'least squares'], hinge: ['hinge', 'linear'],
  wasserstein: ['Wasserstein', 'linear'], relativistic: ['relativistic', 'relativistic'],
};
const late = x => x.slice(-Math.max(1, x.length >> 2));  // the last quarter
const differences = x => x.slice(1).map((v, i) => v - x[i]);

/** In the second half, smoothed: the share of the gap with the wrong sign, how often the sign turns, and the
 *  swing beside that of smoothed noise. */
function reversals(gap) {
  const half = gap.slice(gap.length >> 1);
  const width = Math.max(5, Math.floor(gap.length/100));
  if (half.length < width + 20) return {};
  const sums = [0];
  half.forEach((v, i) => sums.push(sums[i] + v));
  const calm = sums.slice(width).map((sum, i) => (sum - sums[i])/width);
  const noise = std(differences(half))/Math.sqrt(2*width);
  const wrong = calm.reduce((sum, v) => sum + Math.max(0, -v), 0);
  const size = calm.reduce((sum, v) => sum + Math.abs(v), 0);
  const turns = differences(calm.map(Math.sign)).filter(v => v !== 0).length;
  return {reversed: wrong/Math.max(size, 1e-300), turns, swing: std(calm)/Math.max(noise, 1e-300)};
}

/** What the curves say: columns of numbers, one a step. */
export function logVitals(log, steps) {
  const columns = ['loss_D', 'real_logit', 'fake_logit', 'loss_G'];
  const bad = log.loss_D.findIndex((_, i) => !columns.every(name => Number.isFinite(log[name][i])));
  const usable = bad < 0 ? log.loss_D.length : bad;
  const v = {steps, usable: bad < 0 ? steps : usable};
  if (bad >= 0) v.first_bad = bad + 1;
  if (!usable) return v;
  const recent = Object.fromEntries(Object.entries(log).map(([name, x]) => [name, late(x.slice(0, usable))]));
  for (const [name, x] of Object.entries(recent)) v[name] = mean(x);
  v.gap = v.real_logit - v.fake_logit;
  v.logit_size = Math.max(...['real_logit', 'fake_logit'].map(name => mean(recent[name].map(Math.abs))));
  const gap = log.real_logit.slice(0, usable).map((r, i) => r - log.fake_logit[i]);
  return {...v, ...reversals(gap)};
}

/** The probability that a real sample gets the higher logit; ties count half. */
export function auc(real_logits, fake_logits) {
  let wins = 0;
  for (const r of real_logits) for (const f of fake_logits) wins += r > f ? 1 : r === f ? 0.5 : 0;
  return wins/real_logits.length/fake_logits.length;
}

const length = x => Math.sqrt(x.reduce((sum, v) => sum + v*v, 0));

/** The share of the slope of D that the loss hands on to the weights of G. */
function push(m, made, judged, real_logits, fake_logits) {
  const handedOn = d => {
    const grad = new Float64Array(m.G.weights.length);
    made.backward(judged.backward(d), grad);
    return length(grad);
  };
  const {generator} = losses[m.setting.loss];
  const loss = evaluate(generator, real_logits, fake_logits);
  return handedOn(loss.fake)/Math.max(handedOn(judged.ones.map(one => one/judged.n)), 1e-300);
}

/** Likeness, spread and kinds of samples (n,2) beside real ones, in units of the data. */
export function sampleVitals(fake, real, data) {
  const finite = fake.filter(Number.isFinite).length/fake.length;
  if (finite < 1) return {fake_finite: finite};
  const width = Math.max(meanDistance(real, real), 1e-12);
  const within = meanDistance(fake, fake);
  const unlike = Math.max(0, 1 - (within + width)/Math.max(2*meanDistance(fake, real), 1e-12));
  const places = Array.from({length: real.length/2}, (_, i) => [real[2*i], real[2*i + 1]]);
  const far = median(nearestCentres(fake, places).distance)/width;
  return {fake_finite: 1, spread: within/width, unlike, far, ...kindVitals(fake, data)};
}

/** Kinds in use among the samples; data of one kind have none. */
function kindVitals(fake, data) {
  if (data.kinds < 2) return {};
  const share = new Float64Array(data.kinds);
  const {index} = nearestCentres(fake, data.centres);
  for (const i of index) share[data.centres[i][2]] += 1/index.length;
  const entropy = share.reduce((sum, p) => sum - (p > 0 ? p*Math.log(p) : 0), 0);
  const missing = share.filter(p => p < 1/data.kinds/5).length;
  return {kinds: data.kinds, kinds_effective: Math.exp(entropy)/data.kinds, kinds_missing: missing};
}

/** All that can be measured of a match; it is not changed. */
export function vitals(m, n = 500) {
  const random = new Random(0);
  const [form_D, form_G] = forms[m.setting.loss];
  const {lr_D, lr_G} = m.setting;
  const v = {...logVitals(m.log, m.logged), form_D, form_G, lr_D, lr_G};
  const made = new Pass(m.G, n);
  const judged = new Pass(m.D, n);
  const real = draw(m.data, n, random);
  const real_logits = judged.forward(real).slice();
  const fake = made.forward(random.normals(2*n));
  const fake_logits = judged.forward(fake).slice();
  Object.assign(v, sampleVitals(fake, real, m.data));
  v.auc = auc(real_logits, fake_logits);
  v.logit_spread = std([...real_logits, ...fake_logits], 1);
  v.push = push(m, made, judged, real_logits, fake_logits);
  for (const P of ['D', 'G']) if (m[`opt_${P}`].felt) v[`felt_${P}`] = m[`opt_${P}`].felt();
  if (m.setting.penalty === 'none') delete v.penalty;
  return v;
}
