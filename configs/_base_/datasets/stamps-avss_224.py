# Clips of the stamps of Tux Paint in the layout of AVSS, whose masks are classes; otherwise as stamps-ms3_224.py, with
# --subset avss. The classes are those of label2idx.json for tuxpaint-stamps-default 2022.06.04.
_base_ = './stamps-ms3_224.py'

classes = (
    'background', 'badger', 'bassoon', 'bear', 'beaver', 'big-cat', 'blackbird', 'camel', 'camera', 'cello',
    'chicken', 'chimpanzee', 'cow', 'crow', 'cuckoo', 'cymbal', 'deer', 'dog', 'dolphin', 'drum', 'duck',
    'elephant', 'ferret', 'fire-engine', 'fox', 'frog', 'goat', 'gorilla', 'grasshopper', 'hammer', 'heron',
    'hippopotamus', 'hornet', 'horse', 'kettle', 'koala', 'lark', 'moth', 'mouse', 'orca', 'owl', 'penguin', 'pig',
    'quetzal', 'rabbit', 'rubber-duck', 'saw', 'sea-lion', 'seagull', 'sheep', 'squirrel', 'toilet', 'toucan',
    'turkey', 'violin', 'vulture', 'whale')

train_dataloader = val_dataloader = test_dataloader = dict(
    dataset=dict(type='AVSSDataset', data_root='data/stamps/AVSS', metainfo=dict(classes=classes)))

val_evaluator = test_evaluator = dict(type='AVSSMetric')
