// The knobs: one for each setting, which can be turned while it trains.

import {choices} from './setting.js';
import {h} from './dom.js';

const rates = [1e-6, 1e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const steps = [1, 2, 3, 4, 5, 7, 10, 15, 20];
const widths = [2, 4, 8, 16, 32, 48, 64, 96, 128];

const stops = {  // where a slider rests
  gamma: [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1, 3, 10, 30, 100],
  lr_D: rates, lr_G: rates,
  beta1: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95],
  beta2: [0.9, 0.95, 0.99, 0.999],
  n_critic: steps, n_generator: steps,
  batch_size: [4, 8, 16, 32, 64, 128, 256, 512],
  width_D: widths, width_G: widths,
};

const words = {
  data: ['data', 'what G is to imitate'],
  loss: ['loss', 'the objectives of both players (chapter 2)'],
  penalty: ['penalty', 'on the slope of D (chapter 12)'],
  gamma: ['gamma', 'the weight of the penalty'],
  lr_D: ['rate of D', 'the learning rate of D'],
  lr_G: ['rate of G', 'the learning rate of G'],
  optimiser: ['optimiser', 'of both players'],
  beta1: ['beta1', "decay of Adam's mean gradient: 0 is no momentum"],
  beta2: ['beta2', "decay of Adam's mean square of the gradient"],
  n_critic: ['steps of D', 'n_critic: updates of D in an iteration'],
  n_generator: ['steps of G', 'updates of G in an iteration'],
  batch_size: ['batch size', 'points of either kind in an update'],
  width_D: ['width of D', 'units of each of its two hidden layers; begins anew'],
  width_G: ['width of G', 'units of each of its two hidden layers; begins anew'],
  seed: ['seed', 'of weights, batches and latents; begins anew'],
};

const groups = {
  'The game': ['loss', 'penalty', 'gamma'],
  'Rates': ['lr_D', 'lr_G', 'batch_size'],
  'Optimiser': ['optimiser', 'beta1', 'beta2'],
  'Turns': ['n_critic', 'n_generator'],
  'Networks': ['width_D', 'width_G', 'seed'],
};

const spoken = name => name.replaceAll('_', ' ');

/** The stop of a slider nearest to a value, on a scale of ratios. */
function nearestStop(list, value) {
  const far = stop => Math.abs(Math.log(stop + 1e-9) - Math.log(value + 1e-9));
  return list.reduce((best, stop, i) => (far(stop) < far(list[best]) ? i : best), 0);
}

/** A menu of names; `show` sets it. */
export function menu(name, turned) {
  const options = choices[name].map(choice => h('option', {value: choice}, spoken(choice)));
  const input = h('select', {name, onchange: () => turned({[name]: input.value})}, ...options);
  const element = h('label', {class: 'pg-knob', title: words[name][1]}, h('span', {}, words[name][0]), input);
  return {element, input, show: value => { input.value = value; }};
}

function slider(name, turned) {
  const list = stops[name];
  const output = h('output', {});
  const said = value => {
    output.textContent = String(value);
    input.setAttribute('aria-valuetext', String(value));
  };
  const input = h('input', {type: 'range', name, min: 0, max: list.length - 1, step: 1, oninput: () => {
    said(list[input.value]);
    turned({[name]: list[input.value]});
  }});
  const show = value => {
    input.value = nearestStop(list, value);
    said(value);
  };
  const label = h('span', {}, words[name][0], output);
  return {element: h('label', {class: 'pg-knob', title: words[name][1]}, label, input), input, show};
}

function seedField(turned) {
  const turn = value => turned({seed: Math.min(1e6, Math.max(0, Math.round(Number(value) || 0)))});
  const onchange = () => turn(input.value);
  const onclick = () => turn(Number(input.value) + 1);
  const input = h('input', {type: 'number', name: 'seed', min: 0, max: 1e6, step: 1, onchange});
  const next = h('button', {type: 'button', title: 'the next seed', onclick}, 'next');
  const label = h('label', {title: words.seed[1]}, h('span', {}, words.seed[0]), input);
  const element = h('div', {class: 'pg-knob pg-seed'}, label, next);
  return {element, input, show: value => { input.value = value; }};
}

/** All knobs but that of the data, in their groups; `turned` gets what was changed, as {name: value}. */
export function knobs(turned) {
  const made = {};
  const make = name => {
    if (name === 'seed') return seedField(turned);
    return name in choices ? menu(name, turned) : slider(name, turned);
  };
  const boxes = Object.entries(groups).map(([title, names]) => {
    for (const name of names) made[name] = make(name);
    return h('fieldset', {}, h('legend', {}, title), ...names.map(name => made[name].element));
  });
  return {element: h('div', {class: 'pg-settings'}, ...boxes), made};
}

/** Shows a setting; what has no effect in it cannot be turned. */
export function showSetting(made, setting) {
  for (const [name, knob] of Object.entries(made)) knob.show(setting[name]);
  made.gamma.input.disabled = setting.penalty === 'none';
  made.beta1.input.disabled = made.beta2.input.disabled = setting.optimiser !== 'adam';
}
