"""A study of trainings with all that predicts them, which runs in seconds."""

STUDY = """
name: predicted
seed: 31
chain: {kind: coupled-tanh, a: 0.5, b: 0.4, s: 0.5, c: 0.6, e: 0.3, r: 0.5}
target: {sin_x: 1.0, z: 0.5}
network: {b: {offset: 0.2, slope: 0.6}}
training:
  {beta: [0.9], width: [24, 32, 48, 64], replicas: 256, replicas_per_block: 256, horizon: 1.0, loss_bins: 8,
   checkpoints: [1.0]}
twin: {follow: true}
rich: {follow: true, tangents: 4, directions: 16}
limit: {nodes: 32}
probes: {count: 6, length: 16}
draws: {blocks: 4, chains: 16, steps: 100, couplings: 8, coupling_steps: 8}
"""
