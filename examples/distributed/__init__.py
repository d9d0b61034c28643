"""Training on several devices and machines, each compared with training on one."""
