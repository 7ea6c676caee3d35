// What is wrong with a match, and what to do about it: the diseases of chapters 8 and w20 that two small
// networks of points can have, by the same signs, thresholds and words. Each is a function of the vitals, and
// gives a finding or null. A number that was not measured is undefined, and every comparison refuses it.

const severities = ['alarm', 'warning', 'note'];  // the worst first
const few_steps = 100;
const few_moves = 0.03;   // steps times learning rate; weights begin at about .1
const young_steps = 400;
const young_moves = 0.2;
const ahead = 0.88;       // probability that D ranks a new pair rightly
const starving = 0.1;     // size of the gradients of G over those of D
const harmless = 0.02;    // shares of the energy distance: samples that near do no harm,
const lagging = 0.03;     // farther off they have something to learn,
const costly = 0.15;      // so far off, a run is as good as lost
const huge_logit = 1e4;
const rate_ratio = 16;
const mild_ratio = 3;
const flat_logits = 0.008;
const sure = 12;          // a gap of 12 is odds of 160,000 to 1
const wide = 5;
const won = 0.1;          // of the loss of a D that cannot tell
const leads = 0.6;
const off = 1;            // mean distances between data, from the median sample to the nearest
const nowhere = 0.25;
const slow_swing = 4;     // times the swing of smoothed noise
const far_off = 0.05;

// the loss of a D that cannot tell, by form
const levels = {'cross-entropy': 2*Math.log(2), 'least squares': 0.25, hinge: 2, relativistic: Math.log(2)};

// Numbers as text
const digits = (x, n) => String(Number(x.toPrecision(n)));
const percent = (x, n = 0) => `${(100*x).toFixed(n)}%`;

const moves = v => v.usable*Math.max(v.lr_G, v.lr_D);
const settled = v => v.usable >= few_steps && moves(v) >= few_moves;
const young = v => v.usable < young_steps || moves(v) < young_moves;

/** A grade by harm: a note while the run is young, and where samples are as like the data as those of sound
 *  runs. */
const graded = (v, severity) => (young(v) || v.unlike < harmless ? 'note' : severity);

const finding = (name, severity, evidence, advice, chapter, certainty) =>
  ({name, severity, evidence, advice, chapter, certainty});

function diverges(v) {
  const advice = 'smaller learning rates, and a penalty on the gradient of D (r1); then restart.';
  const told = (evidence, certainty) =>
    finding('divergence', 'alarm', evidence, advice, '11_dynamics', certainty);
  if (v.first_bad > 0) {
    return told(`The first loss or logit that is no finite number came at step ${v.first_bad}.`, 1);
  }
  if (v.fake_finite < 1) {
    return told(`${percent(1 - v.fake_finite)} of the generated values are not finite.`, 1);
  }
  if (v.logit_size > huge_logit) {
    return told(`Logits have grown to ${digits(v.logit_size, 2)}; a sigmoid is exactly 1 from 17 on.`, 0.97);
  }
  return null;
}

function G_does_not_learn(v) {
  const fine = !young(v) && v.unlike < harmless;
  if (v.felt_G === 0) {
    return finding('G does not learn', fine ? 'warning' : 'alarm',
      'Every gradient that opt_G has seen was exactly 0.',
      'another loss (non_saturating), or a penalty (r1).', '05_training', 0.99);
  }
  const starved = v.felt_G < starving*v.felt_D && v.auc > ahead && v.form_D in levels;
  if (!(settled(v) && starved)) return null;
  return finding('G does not learn', 'note',
    `The gradients of G are ${percent(v.felt_G/v.felt_D, 1)} of those of D, ` +
    `and D ranks ${percent(v.auc)} of new pairs rightly.`,
    'a penalty (r1), or a smaller learning rate of D.', '05_training', 0.5);
}

function unequal_rates(v) {
  const ratio = v.lr_G/v.lr_D;
  const lost = !young(v) && v.unlike > costly;
  const [fast, slow, times] = ratio > 1 ? ['G', 'D', ratio] : ['D', 'G', 1/ratio];
  const behind = fast === 'D' && v.auc > ahead;
  if (!(times > (lost || behind ? mild_ratio : rate_ratio))) return null;
  let severity = times > 3*rate_ratio || lost ? 'alarm' : times > rate_ratio ? 'warning' : 'note';
  if (settled(v) && v.unlike < harmless) severity = 'note';
  return finding('learning rates out of balance', severity,
    `${fast} learns at ${v[`lr_${fast}`]} and ${slow} at ${v[`lr_${slow}`]}, a ratio of ${times.toFixed(0)}.`,
    'equal rates to begin with; four times more for D is the usual most.', '10_rules_on_trial',
    times > rate_ratio ? 0.92 : 0.815);
}

function heavy_penalty(v) {
  if (!(settled(v) && 'penalty' in v)) return null;
  const told = evidence => finding('penalty too large', graded(v, 'alarm'), evidence,
    'a hundredth of the penalty (gamma), then search in factors of 10.', '12_critics', 0.84);
  if (v.logit_spread < flat_logits && v.unlike > harmless) {
    return told(`D is flat: the logits have a standard deviation of ${digits(v.logit_spread, 2)}, ` +
      `although samples and data are ${v.unlike.toFixed(3)} apart.`);
  }
  if (v.penalty > 5*Math.max(Math.abs(v.loss_D), 0.1)) {
    return told(`The penalty is ${digits(v.penalty, 3)}, the loss of D ${digits(v.loss_D, 3)}.`);
  }
  return null;
}

const cures = 'the loss non_saturating; a smaller n_critic or learning rate of D, or a penalty (r1).';

/** The loss hands on none of the slope of D. */
function no_slope(v) {
  const typical = v.form_G === 'minimax' ? 1/(1 + Math.exp(Math.min(-v.fake_logit, 700))) : v.push;
  if (!(typical < 1e-3 || v.felt_G < 1e-7 && v.auc > 0.9)) return null;
  let rest = '.';
  if (v.push > 1e-2) rest = ` (over all fakes ${digits(v.push, 2)}: a few are much better).`;
  else if (v.felt_G < 1e-7) rest = `, whose weights see gradients of ${digits(v.felt_G, 1)}.`;
  return finding('D wins', v.push > 1e-2 ? 'warning' : 'alarm',
    `The mean fake logit is ${v.fake_logit.toFixed(1)} and loss_D ${digits(v.loss_D, 2)}: at such a fake, ` +
    `a share of ${digits(typical, 1)} of the slope of D reaches G${rest}`, cures, '02_losses', 0.83);
}

function D_wins(v) {
  if (!settled(v)) return null;
  const starved = no_slope(v);
  if (starved) return starved;
  const part = v.loss_D/levels[v.form_D];
  const gap_counts = v.form_D in levels && v.form_D !== 'relativistic';
  const beyond = part < won || v.gap > sure || v.gap > wide && gap_counts;
  const ranks = `D orders ${percent(v.auc, 1)} of new pairs rightly.`;
  const lead = `loss_D is ${digits(v.loss_D, 2)}, ${percent(part)} of that of a D that cannot tell`;
  const told = (severity, words, certainty) =>
    finding('D wins', severity, `${words}; ${ranks}`, cures, '02_losses', certainty);
  if (v.unlike > lagging && part < leads && v.auc > ahead && !beyond) return told('note', lead, 0.4);
  if (!(beyond && v.auc > (v.gap > wide ? 0.75 : 0.99) && v.unlike > lagging)) return null;
  const words = part < won ? lead : `Real and fake logits are ${v.gap.toFixed(1)} apart`;
  return told(graded(v, v.unlike > costly ? 'alarm' : 'warning'), words, 0.83);
}

const fewKinds = v => `${(v.kinds_effective*v.kinds).toFixed(1)} of ${v.kinds} kinds`;

function collapsed(v) {
  const known = 'kinds' in v && !(v.far > off);
  const one = known ? v.kinds_effective*v.kinds < 1.7 : false;
  const few = known ? v.kinds_effective < 0.5 : true;
  const alike = v.spread < 0.3 && one || v.spread < 0.2 && few || v.spread < 0.05;
  if (!(settled(v) && alike)) return null;
  const kinds = known ? `; they show ${fewKinds(v)}` : '';
  return finding('mode collapse, total', graded(v, 'alarm'),
    `The mean distance between samples is ${percent(v.spread, 1)} of that between data${kinds}.`,
    'one step of G for one of D; the loss relativistic, a penalty (r1_r2).', '16_collapse', 0.82);
}

function partly_collapsed(v) {
  const gone = v.kinds_missing >= 1 && v.kinds_effective < 0.9;
  const few = v.kinds_effective < 0.65;
  if (!(settled(v) && (gone || few)) || v.far > off || collapsed(v)) return null;
  let severity = v.kinds_effective < 0.5 ? 'alarm' : 'warning';
  if (young(v) || !few) severity = 'note';
  return finding('mode collapse, partial', severity,
    `Samples show ${fewKinds(v)} in effect; ` +
    `${v.kinds_missing} are rare or missing${young(v) ? ' so far' : ''}.`,
    'the loss relativistic, a penalty (r1_r2), a wider D.', '16_collapse', 0.5);
}

function oscillates(v) {
  const swings = v.turns >= 3 && v.reversed > 0.03 && v.swing > slow_swing;
  if (!(settled(v) && swings) || v.unlike < far_off) return null;
  return finding('oscillation', graded(v, v.reversed > 0.1 ? 'alarm' : 'warning'),
    `In the second half the gap between the logits changed its sign ${v.turns.toFixed(0)} times, ` +
    `and was the wrong way round for ${percent(v.reversed)} of its size; ` +
    `it swings ${v.swing.toFixed(1)} times as far as noise would.`,
    'smaller learning rates, beta1 at 0, and a penalty (r1).', '11_dynamics', 0.81);
}

function far_from_data(v) {
  if (!(settled(v) && (v.far > off || v.unlike > nowhere))) return null;
  return finding('samples far from the data', young(v) ? 'note' : 'alarm',
    `The median sample lies ${digits(v.far, 2)} mean distances between data ` +
    'from the nearest of 500 real ones; ' +
    `the energy distance is ${v.unlike.toFixed(2)} of its greatest value.`,
    'look at the findings beside this one; without any, at the curves.', '06_first_images', 0.2);
}

function too_early(v) {
  const on_its_way = young(v) && v.unlike > lagging || v.usable < 2*few_steps && v.auc > ahead;
  if (v.usable < v.steps || settled(v) && !on_its_way) return null;
  const rate = Math.max(v.lr_G, v.lr_D);
  return finding('too few steps', 'note', `${v.steps} steps at a learning rate of ${rate}: ` +
    `no weight has moved by more than about ${digits(v.steps*rate, 2)}.`, 'play on for some thousand steps.',
  '05_training', 1);
}

const diseases = [
  diverges, G_does_not_learn, unequal_rates, heavy_penalty, D_wins, collapsed, partly_collapsed, oscillates,
  far_from_data, too_early,
];

/** What the vitals show, the most severe and most certain first; empty if nothing was found. */
export function diagnose(v) {
  const rank = f => severities.indexOf(f.severity);
  const found = diseases.map(disease => disease(v)).filter(f => f !== null);
  return found.sort((a, b) => rank(a) - rank(b) || b.certainty - a.certainty);
}
