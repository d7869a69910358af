# Also pretrained to tell apart the pitches of objects of the same category; otherwise as vggish_tiny_synthetic.py.
_base_ = './vggish_tiny_synthetic.py'

audio_backbone = dict(init_cfg=dict(checkpoint='pretrained/vggish_tiny_drawn-pitches.pth'))
