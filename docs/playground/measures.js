// How good the fakes are, in numbers: chapters 7, w10 and w19.

export const lim = 2.5;  // half the side of the plane that is shown

/** Of points (n,2): the index of the nearest centre of each, and how far away it is. */
export function nearestCentres(x, centres) {
  const n = x.length/2;
  const index = new Int32Array(n);
  const distance = new Float64Array(n).fill(Infinity);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < centres.length; k++) {
      const far = (x[2*i] - centres[k][0])**2 + (x[2*i + 1] - centres[k][1])**2;
      if (far < distance[i]) {
        distance[i] = far;
        index[i] = k;
      }
    }
    distance[i] = Math.sqrt(distance[i]);
  }
  return {index, distance};
}

/** Modes that were found, with at least ten good samples each, and the share of good samples: those within
 *  three standard deviations of a centre. Data without modes have NaN of them. */
export function coverage(fake, data) {
  const {index, distance} = nearestCentres(fake, data.centres);
  const counts = new Int32Array(data.centres.length);
  let good = 0;
  distance.forEach((far, i) => {
    if (!(far <= 3*data.std)) return;
    counts[index[i]]++;
    good++;
  });
  return {modes: data.modes ? counts.filter(c => c >= 10).length : NaN, good: good/distance.length};
}

/** The share of points in each of side² cells of the plane; those outside count in the nearest cell. */
export function shares(x, side = 20) {
  const n = x.length/2;
  const out = new Float64Array(side*side);
  const cell = v => Math.min(side - 1, Math.max(0, Math.floor((v + lim)*side/(2*lim))));
  for (let i = 0; i < n; i++) out[cell(x[2*i])*side + cell(x[2*i + 1])] += 1/n;
  return out;
}

/** The Jensen-Shannon divergence of two rows of shares, from 0 for equal ones to log 2 where they never meet.
 *  */
export function js(p, q) {
  const part = (a, b) => (a > 0 ? a*Math.log(2*a/(a + b)) : 0);
  return p.reduce((sum, a, i) => sum + (part(a, q[i]) + part(q[i], a))/2, 0);
}

/** The mean distance from points (n,2) to others (m,2); equal pairs of one set count as 0. */
export function meanDistance(x, y) {
  let sum = 0;
  for (let i = 0; i < x.length; i += 2) {
    for (let k = 0; k < y.length; k += 2) {
      const a = x[i] - y[k];
      const b = x[i + 1] - y[k + 1];
      sum += Math.sqrt(a*a + b*b);
    }
  }
  return sum/(x.length/2)/(y.length/2);
}

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  return sorted[(sorted.length - 1) >> 1];
}

export const mean = values => values.reduce((a, b) => a + b, 0)/values.length;

/** The standard deviation; `correction` is 1 where n - 1 divides. */
export function std(values, correction = 0) {
  const m = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - m)**2, 0)/(values.length - correction));
}
