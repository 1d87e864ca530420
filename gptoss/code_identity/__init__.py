"""The identity of a stage's code: which modules decide its bytes, and the hash of each.

DVC reruns a stage when a dependency changed. Code as a dependency *by path* reruns too much: a fix in a Slurm helper, a
new evaluation suite or a reworded docstring would train the model again and strand the checkpoints of a run under way.
Here a stage depends on the *syntax* of the modules it reaches, and on none that only executes it:

    stage file --imports--> modules --imports--> ...        computed from the source, never listed by hand (`imports`)
    each module --normalised syntax--> MD5                  no comments, docstrings, annotations, layout   (`digest`)
    all stages --> data/code/STAGE.yaml: {module: MD5}      the output of `stages/code.py`                 (`stages`)

`dvc.yaml` tracks `data/code/STAGE.yaml` as a parameter file of the stage, so `dvc status` names the module that
changed, `dvc.lock` keeps the hashes, and the fingerprint of a stage's resume folder includes them. `gptoss verify`
computes them again from the git commit of the run. Data files beside a module that it names (templates, conversations)
are hashed with it; suites and task files of `evals/` are ordinary dependencies.

Nothing here imports what it looks at: files are parsed, which takes a fraction of a second for the whole tree.
"""
