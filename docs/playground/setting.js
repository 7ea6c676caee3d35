// All that decides a match, as plain data, and its line of text in the address of the page.

import {losses} from './losses.js';
import {penalties} from './penalties.js';
import {optimisers} from './optim.js';
import {sets} from './data.js';
import {lim} from './measures.js';

export const defaults = {
  data: 'ring',            // what G is to imitate
  drawing: '',             // where 'drawn' data lie, as `toDrawing` writes it
  loss: 'non_saturating',
  penalty: 'none',         // on the slope of D
  gamma: 0.1,              // its weight
  lr_D: 0.002,             // learning rates
  lr_G: 0.002,
  optimiser: 'adam',       // of both players
  beta1: 0,                // decay of Adam's mean gradient
  beta2: 0.99,             // and of its mean square
  n_critic: 1,             // updates of D in an iteration
  n_generator: 1,          // and of G
  batch_size: 64,          // real points in an update of D, and fakes in an update of either
  width_D: 32,             // units of each of two hidden layers
  width_G: 32,
  seed: 0,                 // of weights, batches and latents
};

export const choices = {
  data: [...Object.keys(sets), 'drawn'],
  loss: Object.keys(losses),
  penalty: Object.keys(penalties),
  optimiser: Object.keys(optimisers),
};

export const ranges = {
  gamma: [0, 1e4], lr_D: [1e-6, 10], lr_G: [1e-6, 10], beta1: [0, 0.999], beta2: [0, 0.9999],
};

export const wholes = {
  n_critic: [1, 20], n_generator: [1, 20], batch_size: [2, 1024], width_D: [1, 128], width_G: [1, 128],
  seed: [0, 1e6],
};

const most_dabs = 100;  // places in a drawing

/** Places of the plane [[x,y], ...] as text: two bytes each, in letters that may stand in an address. */
export function toDrawing(places) {
  const level = v => Math.round((Math.min(lim, Math.max(-lim, v)) + lim)*255/(2*lim));
  const bytes = places.slice(-most_dabs).flat().map(level);
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Places of a drawing, or null where the text is damaged. */
export function fromDrawing(text) {
  if (!/^[\w-]*$/.test(text)) return null;
  let raw;
  try { raw = atob(text.replaceAll('-', '+').replaceAll('_', '/')); } catch { return null; }
  if (raw.length % 2 || raw.length > 2*most_dabs) return null;
  const v = Array.from(raw, c => c.charCodeAt(0)*2*lim/255 - lim);
  return Array.from({length: v.length/2}, (_, i) => [v[2*i], v[2*i + 1]]);
}

/** The whole setting as the part of an address after #. */
export function toHash(setting) {
  const used = Object.keys(defaults).filter(name => name !== 'drawing' || setting.data === 'drawn');
  return new URLSearchParams(used.map(name => [name, setting[name]])).toString();
}

/** What a setting may be, in words; empty if this text is it. */
function refusal(name, text) {
  if (name === 'drawing') return fromDrawing(text) ? '' : 'a whole drawing';
  if (name in choices) return choices[name].includes(text) ? '' : `one of ${choices[name].join(', ')}`;
  const [low, high] = ranges[name] ?? wholes[name];
  const number = /^[-+.\de]+$/i.test(text) ? Number(text) : NaN;
  const fits = number >= low && number <= high && (name in ranges || Number.isInteger(number));
  return fits ? '' : `a ${name in ranges ? '' : 'whole '}number from ${low} to ${high}`;
}

/** Reads a setting, and says in a sentence each what had to be left out: {setting, faults}. */
export function fromHash(text) {
  const setting = {...defaults};
  const faults = [];
  for (const [name, value] of new URLSearchParams(text.replace(/^#/, ''))) {
    const said = `${name}=${value.length > 40 ? `${value.slice(0, 40)}…` : value}`;
    const known = Object.hasOwn(defaults, name);
    const wanted = known ? refusal(name, value) : '';
    if (!known) faults.push(`There is no setting ${name.slice(0, 40)}, so it is left out.`);
    else if (wanted) faults.push(`${said} is not ${wanted}: it is ${defaults[name] || 'empty'} here.`);
    else setting[name] = typeof defaults[name] === 'number' ? Number(value) : value;
  }
  if (setting.data === 'drawn' && !setting.drawing) {
    setting.data = defaults.data;
    faults.push(`data=drawn comes without a drawing: data is ${defaults.data} here.`);
  }
  return {setting, faults};
}
