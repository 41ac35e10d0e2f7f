"""The command line: the pipeline on one machine, and a look into it."""
