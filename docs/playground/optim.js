// One step down a gradient, as PyTorch does it. An optimiser keeps its memory; rates and decays come with
// every step, so that they can be turned while it trains.

const eps = 1e-8;

class SGD {
  step(weights, grad, {lr}) {
    for (let i = 0; i < weights.length; i++) weights[i] -= lr*grad[i];
  }
}

class RMSprop {
  constructor(size) { this.square = new Float64Array(size); }

  step(weights, grad, {lr}) {
    const q = this.square;
    for (let i = 0; i < weights.length; i++) {
      q[i] = 0.99*q[i] + 0.01*grad[i]**2;
      weights[i] -= lr*grad[i]/(Math.sqrt(q[i]) + eps);
    }
  }
}

/** Running mean and mean square of the gradient, each divided by the share of it that has come in so far. */
class Adam {
  constructor(size) {
    this.mean = new Float64Array(size);
    this.square = new Float64Array(size);
    this.rest_mean = this.rest_square = 1;  // what still stands from the zeros of the start
  }

  step(weights, grad, {lr, beta1, beta2}) {
    const m = this.mean;
    const q = this.square;
    this.rest_mean *= beta1;
    this.rest_square *= beta2;
    const rate = lr/(1 - this.rest_mean);
    const root = Math.sqrt(1 - this.rest_square);
    for (let i = 0; i < weights.length; i++) {
      m[i] = beta1*m[i] + (1 - beta1)*grad[i];
      q[i] = beta2*q[i] + (1 - beta2)*grad[i]**2;
      weights[i] -= rate*m[i]/(Math.sqrt(q[i])/root + eps);
    }
  }

  /** Root mean square of the gradients it has seen. */
  felt() {
    const sum = this.square.reduce((a, b) => a + b, 0);
    return Math.sqrt(sum/this.square.length/(1 - this.rest_square));
  }
}

export const optimisers = {adam: Adam, rmsprop: RMSprop, sgd: SGD};
