# A small VGGish that knows the drawn sounds, as VGGish comes to the published models. The file is made by
# tools/analysis_tools/compare_methods.py.
drawn_sounds = dict(type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-sounds.pth')
