// The gradient penalties of chapter 12. Each gives its value, and adds its derivative by the weights of D to
// `grad`.
//
// A penalty is a mean of some function of the slopes g = ∇D(x), so its derivative by g, the vectors u, is
// written down by hand, and `bend` takes it on to the weights.

/** Half gamma times the mean of |g|²; its derivative by g is gamma g/n. */
function meanSquare(pass, gamma, grad) {
  const g = pass.slopes();
  const u = g.map(v => gamma/pass.n*v);
  const sum = g.reduce((total, v) => total + v*v, 0);
  pass.bend(u, grad);
  return gamma/2*sum/pass.n;
}

/** The weight times the mean of (|g| - 1)² at the points x; by the chain rule its derivative by g is
 *  2 (|g| - 1) g/|g| times weight/n. Where the slope is 0 the root has none, and nothing is asked. */
function offSlope(pass, x, weight, grad) {
  pass.forward(x);
  const g = pass.slopes();
  const u = new Float64Array(g.length);
  let sum = 0;
  for (let i = 0; i < pass.n; i++) {
    const square = g[2*i]**2 + g[2*i + 1]**2;
    const slope = Math.sqrt(Math.max(square, 1e-12));
    sum += (slope - 1)**2;
    const c = square > 1e-12 ? weight/pass.n*2*(slope - 1)/slope : 0;
    u[2*i] = c*g[2*i];
    u[2*i + 1] = c*g[2*i + 1];
  }
  pass.bend(u, grad);
  return weight*sum/pass.n;
}

const r1 = (passes, batch, gamma, grad) => meanSquare(passes.real, gamma, grad);
const r2 = (passes, batch, gamma, grad) => meanSquare(passes.fake, gamma, grad);

/** At random points between real and generated samples. */
function wgan_gp(passes, {real, fake, random}, weight, grad) {
  const x = real.map((r, i) => r + random[i >> 1]*(fake[i] - r));
  return offSlope(passes.between, x, weight, grad);
}

/** At real samples moved by up to half of their standard deviation. */
function dragan(passes, {real, random}, weight, grad) {
  const mean = real.reduce((a, b) => a + b)/real.length;
  const std = Math.sqrt(real.reduce((sum, r) => sum + (r - mean)**2, 0)/(real.length - 1));
  const x = real.map((r, i) => r + 0.5*std*random[i]);
  return offSlope(passes.between, x, weight, grad);
}

export const penalties = {
  none: [], r1: [r1], r2: [r2], wgan_gp: [wgan_gp], dragan: [dragan], r1_r2: [r1, r2],
};
