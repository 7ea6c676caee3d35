// Fully connected networks with leaky ReLUs between their layers, as MLPGenerator and MLPDiscriminator of
// chapter 4, and the passes through them: forward, backward, and the second derivative that a penalty needs.

import {affine, toInputs, toWeights} from './products.js';

const slope = 0.2;  // of the leaky ReLU below zero

/** A network of layers with the given numbers of units, such as [2, 32, 32, 1]. */
export class MLP {
  constructor(sizes, random) {
    this.sizes = sizes;
    this.layers = [];
    let size = 0;
    for (let l = 0; l + 1 < sizes.length; l++) {
      this.layers.push({a: sizes[l], b: sizes[l + 1], at: size});
      size += (sizes[l] + 1)*sizes[l + 1];
    }
    this.weights = new Float64Array(size);  // all weights and biases in one row, layer after layer
    for (const {a, b, at} of this.layers) {
      const bound = 1/Math.sqrt(a);  // the initial weights of nn.Linear
      for (let i = 0; i < (a + 1)*b; i++) this.weights[at + i] = bound*(2*random.uniform() - 1);
    }
  }

  /** The weight (b,a) of a layer within a row such as `weights`, and its bias (b,). */
  static weightOf({a, b, at}, row) { return row.subarray(at, at + a*b); }
  static biasOf({a, b, at}, row) { return row.subarray(at + a*b, at + (a + 1)*b); }
}

/** Multiplies by the slope of the leaky ReLU, which the sign of what it gave tells. */
function mask(x, given) {
  for (let i = 0; i < x.length; i++) if (!(given[i] > 0)) x[i] *= slope;
}

/** A batch of n on its way through a network. Its arrays are made once and used again at every step. */
export class Pass {
  constructor(net, n) {
    const rows = () => net.sizes.map(size => new Float64Array(n*size));
    this.net = net;
    this.n = n;
    this.given = rows();   // what each layer was given; the last one is what came out
    this.deltas = rows();  // derivatives by the sums before each leaky ReLU; the first one by the input
    this.tangents = rows();
    this.ones = new Float64Array(n).fill(1);
  }

  /** Samples (n,a) through the network; gives the outputs (n,b), which the next call overwrites. */
  forward(x) {
    const {layers, weights} = this.net;
    this.given[0].set(x);
    layers.forEach((layer, l) => {
      const y = this.given[l + 1];
      const [weight, bias] = [MLP.weightOf(layer, weights), MLP.biasOf(layer, weights)];
      affine(this.given[l], weight, bias, y, this.n, layer.a, layer.b);
      if (l + 1 < layers.length) mask(y, y);
    });
    return this.given[layers.length];
  }

  /** Derivatives by the outputs (n,b) back through the last forward; gives those by the input (n,a), and adds
   *  those by the weights to `grad` if there is one. */
  backward(dOut, grad = null) {
    const {layers, weights} = this.net;
    this.deltas[layers.length].set(dOut);
    for (let l = layers.length - 1; l >= 0; l--) {
      const layer = layers[l];
      const delta = this.deltas[l + 1];
      if (grad) this.addTo(grad, layer, delta, this.given[l]);
      toInputs(delta, MLP.weightOf(layer, weights), this.deltas[l], this.n, layer.a, layer.b);
      if (l > 0) mask(this.deltas[l], this.given[l]);
    }
    return this.deltas[0];
  }

  addTo(grad, layer, delta, given) {
    const {a, b} = layer;
    toWeights(delta, given, MLP.weightOf(layer, grad), this.n, a, b);
    const bias = MLP.biasOf(layer, grad);
    for (let i = 0; i < this.n; i++) for (let j = 0; j < b; j++) bias[j] += delta[i*b + j];
  }

  /** The gradient ∇D of each logit at its own sample (n,a), for a network with one output. */
  slopes() { return this.backward(this.ones); }

  /** Right after `slopes`: adds to `grad` the derivative of Σ u·∇D by the weights, for given vectors u (n,a).
   *
   *  Between the kinks of the leaky ReLUs D is linear. With S for their slopes, a diagonal of 1 and 0.2, and
   *  two hidden layers,
   *      ∇D·u = W₃ S₂ W₂ S₁ W₁ u.
   *  Each weight stands in this product once. What stands left of it is the delta that `slopes` has left
   *  there; what stands right of it is u, taken forward through the layers before: the tangent. So the
   *  derivative by a weight is the outer product of the two. The S do not change with the weights, but at
   *  the kinks, and biases do not occur. */
  bend(u, grad) {
    const {layers, weights} = this.net;
    this.tangents[0].set(u);
    layers.forEach((layer, l) => {
      const {a, b} = layer;
      toWeights(this.deltas[l + 1], this.tangents[l], MLP.weightOf(layer, grad), this.n, a, b);
      if (l + 1 === layers.length) return;
      affine(this.tangents[l], MLP.weightOf(layer, weights), null, this.tangents[l + 1], this.n, a, b);
      mask(this.tangents[l + 1], this.given[l + 1]);
    });
  }
}
