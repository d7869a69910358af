# RAVS on MS3. The entries of the schedule become those of this config.
_base_ = './ravs.py'

globals().update(_base_.pop('schedules').ms3)
