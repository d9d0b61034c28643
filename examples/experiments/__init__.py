"""Tasks, trained with penalties by geometry and with their controls, and pruned.

`settings` holds what a run can vary and `controls` the penalties; a file in `tasks` is a
task, one in `tables` a table of runs; `training` trains one run, `run` a whole table, and
`report` shows what came out.
"""
