"""Two kinds of tests of CUDA that need no GPU.

Those in ``simulated`` run kernels in numba's simulator, which is chosen when numba is
imported, for the whole process: ``test_simulated.py`` starts a process for each module.
Here they are collected only in such a process; all else only outside of it. By hand::

    NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/cuda
"""

import os

if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    from tests.cuda import scheduler

    scheduler.install()
    collect_ignore_glob = ["test_*.py"]
else:
    collect_ignore = ["scheduler.py", "simulated"]
