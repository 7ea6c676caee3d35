// The losses of chapter 2: two objectives on logits, both minimised. Each is a mean over pairs of a real and
// a fake logit (r, f): its `value`, and the derivatives of that, `by_real` and `by_fake`.

const sigmoid = x => 1/(1 + Math.exp(-x));
// log(1 + eˣ); its derivative is the sigmoid
const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const zero = () => 0;

const log_D = {
  value: (r, f) => softplus(-r) + softplus(f),
  by_real: r => -sigmoid(-r),
  by_fake: (r, f) => sigmoid(f),
};
const minimax_G = {value: (r, f) => -softplus(f), by_real: zero, by_fake: (r, f) => -sigmoid(f)};
const non_saturating_G = {value: (r, f) => softplus(-f), by_real: zero, by_fake: (r, f) => -sigmoid(-f)};

const square_D = {
  value: (r, f) => (r - 1)**2/2 + f**2/2,
  by_real: r => r - 1,
  by_fake: (r, f) => f,
};
const square_G = {value: (r, f) => (f - 1)**2/2, by_real: zero, by_fake: (r, f) => f - 1};

const hinge_D = {
  value: (r, f) => Math.max(0, 1 - r) + Math.max(0, 1 + f),
  by_real: r => (r < 1 ? -1 : 0),
  by_fake: (r, f) => (f > -1 ? 1 : 0),
};
const linear_G = {value: (r, f) => -f, by_real: zero, by_fake: () => -1};
const wasserstein_D = {value: (r, f) => f - r, by_real: () => -1, by_fake: () => 1};

// D compares the logits of a pair; what is +1 for the one is -1 for the other
const relativistic_D = {
  value: (r, f) => softplus(f - r),
  by_real: (r, f) => -sigmoid(f - r),
  by_fake: (r, f) => sigmoid(f - r),
};
const relativistic_G = {
  value: (r, f) => softplus(r - f),
  by_real: (r, f) => sigmoid(r - f),
  by_fake: (r, f) => -sigmoid(r - f),
};

export const losses = {
  non_saturating: {discriminator: log_D, generator: non_saturating_G},
  minimax: {discriminator: log_D, generator: minimax_G},
  least_squares: {discriminator: square_D, generator: square_G},
  hinge: {discriminator: hinge_D, generator: linear_G},
  wasserstein: {discriminator: wasserstein_D, generator: linear_G},
  relativistic: {discriminator: relativistic_D, generator: relativistic_G, relativistic: true},
};

/** An objective on real and fake logits (n,): its mean, and the derivatives of the mean by each logit.
 *  Without real logits the objective must not read them. */
export function evaluate(objective, real_logits, fake_logits) {
  const n = fake_logits.length;
  const out = {value: 0, real: new Float64Array(n), fake: new Float64Array(n)};
  for (let i = 0; i < n; i++) {
    const r = real_logits ? real_logits[i] : NaN;
    const f = fake_logits[i];
    out.value += objective.value(r, f)/n;
    out.real[i] = objective.by_real(r, f)/n;
    out.fake[i] = objective.by_fake(r, f)/n;
  }
  return out;
}

/** Logits as the loss understands them, so that 0 says that D cannot tell: the shift and the factor. A loss
 *  that only compares has no zero of its own, so the middle of both kinds serves. */
export function zeroOf(loss, real_logit, fake_logit) {
  if (loss === 'least_squares') return [0.5, 4];
  const compares = loss === 'wasserstein' || loss === 'relativistic';
  return [compares ? (real_logit + fake_logit)/2 : 0, 1];
}

export {sigmoid};
