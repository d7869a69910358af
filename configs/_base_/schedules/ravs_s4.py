# RAVS on S4. The entries of the schedule become those of this config.
_base_ = './ravs.py'

globals().update(_base_.pop('schedules').s4)
