# The small VCT with COMBO's consistency of the masks of adjacent frames, an extension of ours: VCT has no such loss.
_base_ = './vct_tiny_synthetic.py'

model = dict(
    independent_frames=False,  # keeps the frames of a clip together
    decode_head=dict(consistency_loss=dict(type='TemporalConsistencyLoss', weight=10.)))
