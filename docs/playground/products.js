// The three products that a linear layer needs. Matrices are flat, row after row: x (n,a), weight (b,a), y
// (n,b). Each goes four rows at a time, so that a number once read serves four products.

/** y = x weightᵀ + bias; without a bias if it is null. */
export function affine(x, weight, bias, y, n, a, b) {
  for (let i = 0; i < n; i++) {
    const row = i*a;
    let j = 0;
    for (; j + 3 < b; j += 4) {
      const w0 = j*a, w1 = w0 + a, w2 = w1 + a, w3 = w2 + a;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (let k = 0; k < a; k++) {
        const v = x[row + k];
        s0 += v*weight[w0 + k];
        s1 += v*weight[w1 + k];
        s2 += v*weight[w2 + k];
        s3 += v*weight[w3 + k];
      }
      const to = i*b + j;
      y[to] = s0;
      y[to + 1] = s1;
      y[to + 2] = s2;
      y[to + 3] = s3;
    }
    for (; j < b; j++) {
      let s = 0;
      for (let k = 0; k < a; k++) s += x[row + k]*weight[j*a + k];
      y[i*b + j] = s;
    }
    if (bias) for (let k = 0; k < b; k++) y[i*b + k] += bias[k];
  }
}

/** dx = dy weight: what reaches the inputs of the layer. */
export function toInputs(dy, weight, dx, n, a, b) {
  dx.fill(0, 0, n*a);
  for (let i = 0; i < n; i++) {
    const row = i*a;
    let j = 0;
    for (; j + 3 < b; j += 4) {
      const from = i*b + j, w0 = j*a, w1 = w0 + a, w2 = w1 + a, w3 = w2 + a;
      const d0 = dy[from], d1 = dy[from + 1], d2 = dy[from + 2], d3 = dy[from + 3];
      for (let k = 0; k < a; k++) {
        dx[row + k] += d0*weight[w0 + k] + d1*weight[w1 + k] + d2*weight[w2 + k] + d3*weight[w3 + k];
      }
    }
    for (; j < b; j++) {
      const d = dy[i*b + j];
      for (let k = 0; k < a; k++) dx[row + k] += d*weight[j*a + k];
    }
  }
}

/** grad += dyᵀ x: what reaches the weights. */
export function toWeights(dy, x, grad, n, a, b) {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    const x0 = i*a, x1 = x0 + a, x2 = x1 + a, x3 = x2 + a;
    for (let j = 0; j < b; j++) {
      const d0 = dy[i*b + j], d1 = dy[i*b + b + j], d2 = dy[i*b + 2*b + j], d3 = dy[i*b + 3*b + j];
      const to = j*a;
      for (let k = 0; k < a; k++) {
        grad[to + k] += d0*x[x0 + k] + d1*x[x1 + k] + d2*x[x2 + k] + d3*x[x3 + k];
      }
    }
  }
  for (; i < n; i++) {
    for (let j = 0; j < b; j++) {
      const d = dy[i*b + j];
      for (let k = 0; k < a; k++) grad[j*a + k] += d*x[i*a + k];
    }
  }
}
