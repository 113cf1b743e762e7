"""The skxent benchmark suite; README.md beside asv.conf.json says how to run it."""
