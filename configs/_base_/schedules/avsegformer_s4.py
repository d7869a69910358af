# AVSegFormer on S4, whose configs freeze the backbone in the first epochs (FreezeBackboneHook).
_base_ = './avsegformer.py'

find_unused_parameters = True  # while the backbone is frozen
