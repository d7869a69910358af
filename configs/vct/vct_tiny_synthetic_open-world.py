# The small VCT with event labels for six of eight categories: clock and hive have masks, but no event and no learned
# prototype. A bank of prototypes finds their audio, an extension of ours.
_base_ = './vct_tiny_synthetic.py'

num_events = 7

# GenerateEventLabels
_base_.train_pipeline[0].transforms[-1].update(num_events=num_events, allow_unknown=True)
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))

model = dict(
    decode_head=dict(
        num_prototypes=num_events,
        prototype_bank=dict(type='PrototypeBank', capacity=8, min_similarity=0.5, momentum=0.95, warmup=600)))
