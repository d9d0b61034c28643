"""Statistics, Markdown and figures of the rows that runs have left.

`python -m examples.experiments.report TABLE` prints a table, `...report.summary` one line
of each, and `...report.figures TABLE` draws it. `[report]` in the TOML file says how:

    [report]
    by = ["sparsity", "scope"]   # a part of its own for each of their values
    about = "learned positions"     # optional: for the summary
    across = "task"              # optional: a column for each, settings in lines
    right = {HeadDirection = "circle"}  # of those: what to compare with all others
    own = true                   # optional: that is called "own" where it is used
    placeless = "manifolds"      # optional: a table whose L1 and no penalty to show too
    settled = true               # optional: medians of all epochs at the final mask
    relative = true              # optional: differences in percent, by ratios
    matrices = true              # optional: the zeros of each matrix
    plot = "sparsity"            # optional: what the picture is drawn against
"""
