// Games to try: what each changes of the defaults, and what to look at.

export const lessons = [
  {
    name: 'a fair game', changes: {},
    note: 'Both players learn at the same rate. The fakes are one cloud at first, then they find the ' +
      'clusters one after the other. Turn any knob while it plays.',
  },
  {
    name: 'a perfect D', changes: {loss: 'minimax', n_critic: 10, lr_G: 1e-6},
    note: 'D has ten steps for one of a G that hardly moves. Wait until the ground around the fakes is ' +
      'dark: the pushes vanish, since minimax hands on none of the slope of a D that is sure. Then ' +
      'choose the loss non saturating: the same D pushes with all its slope.',
  },
  {
    name: 'G runs ahead', changes: {lr_G: 0.01, lr_D: 0.0005},
    note: 'G learns twenty times as fast as D. The fakes rush to wherever D is most content, D learns ' +
      'that fakes are there, and they rush on, as one cloud. Then give both the rate 0.002.',
  },
  {
    name: 'rates too high', changes: {lr_D: 0.02, lr_G: 0.02},
    note: 'The points jump, clusters come and go, JS will not fall. Then put both rates at 0.002, and ' +
      'change nothing else.',
  },
  {
    name: 'no leash', changes: {loss: 'wasserstein'},
    note: 'Nothing bounds the slope of D here, so its logits swing far and the fakes are thrown about. ' +
      'Then choose the penalty wgan gp with gamma 1 while it plays.',
  },
  {
    name: 'a spiral', changes: {data: 'spiral', loss: 'relativistic', penalty: 'r1_r2'},
    note: 'One connected, curved set. Switch on the warped latents and watch G bend its sheet of latents ' +
      'along it.',
  },
  {
    name: 'a blow-up', changes: {loss: 'wasserstein', optimiser: 'sgd', lr_D: 0.5, lr_G: 0.5},
    note: 'Steps as long as the gradients: within a few steps the numbers leave all bounds, and the ' +
      'doctor says so.',
  },
  {
    name: 'draw your own', changes: {penalty: 'r1_r2'}, draws: true,
    note: 'Drag over the plane: each place becomes a small cluster of data. Press play, and draw more ' +
      'while it plays.',
  },
];
