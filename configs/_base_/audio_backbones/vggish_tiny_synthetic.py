# A small VGGish that knows the drawn sounds, as VGGish comes to the published models; the second one tells the pitches
# of twins apart as well. The files are made by tools/analysis_tools/compare_methods.py.
drawn_sounds = dict(type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-sounds.pth')
drawn_pitches = dict(type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-pitches.pth')
