"""One of two hosts of a training: joins by the base's own tracker and prints the rounds it would go on from, by folder.

Its arguments are NAME PORT FOLDER...; the hosts are 127.0.0.1 and localhost.
"""

import json
import sys

import numpy as np
import xgboost
from sagemaker_xgboost_container.distributed import Rabit
from xgbpatch_overlays.fixes.checkpoint_resume import Checkpoints, rounds_done

from support.overlays.training_jobs import load_in_forks

load_in_forks()
name, port, *folders = sys.argv[1:]
matrix = xgboost.DMatrix(np.zeros((4, 4)), label=np.arange(4))
with Rabit(["127.0.0.1", "localhost"], name, port=int(port)):
    answers = [rounds_done(Checkpoints(folder), {}, matrix, 12) for folder in folders]
print()
print(json.dumps(answers))
