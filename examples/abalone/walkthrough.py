# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Abalone: predictions that explain themselves
#
# The age of an abalone shows in the rings of its shell, which are counted under a microscope. A model predicts
# them from eight measurements. In this walkthrough we patch AWS's XGBoost image, train the model in it, and get
# each prediction together with its SHAP values: how much each measurement moved it, in rings.
#
# The steps are those of SageMaker: a training job, a batch transform job, an endpoint, a multi-model endpoint.
# Here they run in containers on this machine, without an account. With `--aws` (in a notebook, `aws = True`) the
# same steps run in your account.
#
# ```bash
# python examples/abalone/walkthrough.py          # in containers, on this machine
# python examples/abalone/walkthrough.py --aws    # in your account; says first what it creates
# ```

# %% tags=["parameters"]
import os
import sys

version = os.environ.get("XGBPATCH_VERSION", "3.2-0")  # of SageMaker's XGBoost image
image = os.environ.get("ABALONE_IMAGE", "")  # an image with the feature shap; empty: it is built below
output = os.environ.get("ABALONE_OUTPUT", "abalone")  # folder for all that comes out
aws = "--aws" in sys.argv  # the same steps in your account

# %%
import io
import subprocess
import tarfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shap
import xgboost

HERE = Path(__file__).parent if "__file__" in globals() else Path.cwd()  # a notebook starts in its own folder
sys.path.insert(0, str(HERE))
folder = Path(output).absolute()
folder.mkdir(parents=True, exist_ok=True)


def xgbpatch(*arguments: str) -> str:
    """Run a command of xgbpatch; returns what it printed. What it says on the way goes to stderr."""
    print("$ xgbpatch", *arguments)
    return subprocess.run(
        [sys.executable, "-m", "xgbpatch", *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


# %% [markdown]
# ## 1. Build the image
#
# One command takes the official image, adds one folder to it, and proves that nothing else has changed. The
# feature `shap` can explain predictions. It is off until a variable, a header or a key asks for it.

# %%
if not image:
    image = xgbpatch("build", "--version", version, "--feature", "shap", "--quiet")
    if aws:
        image = xgbpatch("push", image, "--quiet")  # into your ECR, where SageMaker looks for it
print("image:", image)

# %% [markdown]
# ## 2. The data
#
# 3,548 rows of the abalone data set (Nash and others, 1994, <https://doi.org/10.24432/C55C7W>). The file holds
# lengths and weights divided by 200; we turn them back into millimetres and grams. 626 rows are the test split:
# the model never sees them while it is trained. The sex is 1 for male, 2 for female, 3 for infant. SageMaker's
# algorithm reads CSV without a header, the label first.

# %%
NAMES = [
    "sex (1 M, 2 F, 3 I)", "length (mm)", "diameter (mm)", "height (mm)",
    "whole weight (g)", "shucked weight (g)", "viscera weight (g)", "shell weight (g)",
]  # fmt: skip


def table(name: str) -> pd.DataFrame:
    """A file of lines `rings 1:sex 2:length ...` as a table."""
    lines = (HERE / "data" / name).read_text(encoding="utf-8").splitlines()
    cells = [[float(word.split(":")[-1]) for word in line.split()] for line in lines if line.strip()]
    frame = pd.DataFrame(cells, columns=["rings", *NAMES])
    frame[NAMES[1:]] = (frame[NAMES[1:]] * 200).round(1)
    return frame


known = pd.concat([table("train_0.libsvm"), table("train_1.libsvm")])
train, validation, test = known[:-500], known[-500:], table("validation.libsvm")
files = {name: folder / f"{name}.csv" for name in ("train", "validation", "test")}
for name, frame in (("train", train), ("validation", validation), ("test", test[NAMES])):
    frame.to_csv(files[name], header=False, index=False)
print(f"{len(train)} rows to train on, {len(validation)} to validate with, {len(test)} to test")
test.head()

# %% [markdown]
# ## 3. Train, with the built-in algorithm's hyperparameters
#
# The patched image trains as the official one does. `sagemaker` is this machine's Docker, or your account: both
# have the same four functions (`here.py`, `on_aws.py`).

# %%
HYPERPARAMETERS = {
    "objective": "reg:squarederror", "num_round": "50", "max_depth": "5", "eta": "0.2", "gamma": "4",
    "min_child_weight": "6", "subsample": "0.7", "seed": "0",
}  # fmt: skip

if aws:
    from on_aws import OnAws

    sagemaker = OnAws(image, folder)
else:
    from here import Here

    sagemaker = Here(image, folder)
model = sagemaker.train(HYPERPARAMETERS, files["train"], files["validation"])
print("model:", model)

# %% [markdown]
# ## 4. Batch transform, with SHAP values behind each prediction
#
# One variable switches them on. Each line of the output has the prediction, then the base value (about the mean
# of the model's predictions over the training rows), then one SHAP value for each measurement. All are in rings.

# %%
EXPLAINED = {"XGBPATCH_SHAP_LAYOUT": "append"}


def read(answer: str) -> pd.DataFrame:
    """Lines of `prediction,base_value,phi_1,...` as a table; the numbers are float32, written as text."""
    return pd.read_csv(io.StringIO(answer), header=None, names=["prediction", "base value", *NAMES], dtype=np.float32)


transformed = sagemaker.batch_transform(model, files["test"], EXPLAINED)
batch = read(transformed.read_text(encoding="utf-8"))
print(f"{len(batch)} explained predictions in {transformed}")
batch.head().round(2)

# %% [markdown]
# Base value and SHAP values add up to the prediction, in every row.

# %%
sums = batch[["base value", *NAMES]].to_numpy(np.float64).sum(axis=1)
additivity = np.abs(sums - batch["prediction"]).max()
print(f"largest difference between a prediction and the sum of its parts: {additivity:.7f} rings")
assert additivity < 1e-4

# %% [markdown]
# ## 5. The same from an endpoint, and from a multi-model endpoint
#
# The three ways of serving give the same numbers, to the last bit.

# %%
rows = files["test"].read_bytes()
with sagemaker.endpoint(model, EXPLAINED) as ask:
    real_time = read(ask(rows))
with sagemaker.multi_model_endpoint(model, EXPLAINED) as ask:
    multi_model = read(ask(rows))
print("endpoint equals batch transform:", real_time.equals(batch))
print("multi-model endpoint equals batch transform:", multi_model.equals(batch))
assert real_time.equals(batch)
assert multi_model.equals(batch)

# %% [markdown]
# ## 6. Checked against the package `shap`
#
# `shap.TreeExplainer` explains the same model on this machine. For a model of xgboost it asks xgboost itself. So
# we ask twice: once as it is, and once with its own code for trees (`model_type = "internal"`), which is a second
# opinion.

# %%
with tarfile.open(model) as packed:
    packed.extract("xgboost-model", folder / "for-shap")
own = folder / "for-shap" / "xgboost-model"
if version < "3":  # an older xgboost wrote it, in a format that today's does not read
    own = Path(xgbpatch("convert-model", own, f"{own}.ubj", "--image", image, "--unpickle", "--force", "--quiet"))
booster = xgboost.Booster(model_file=bytearray(own.read_bytes()))
explainer = shap.TreeExplainer(booster)
by_xgboost = explainer.shap_values(test[NAMES].to_numpy())
explainer.model.model_type = "internal"
by_shap = explainer.shap_values(test[NAMES].to_numpy(np.float32), check_additivity=False)

TOLERANCE = 1e-4  # rings; float32 has seven digits
differences = {
    "shap's own code": np.abs(batch[NAMES].to_numpy() - by_shap).max(),
    "xgboost, by shap": np.abs(batch[NAMES].to_numpy() - by_xgboost).max(),
    "base value": abs(batch["base value"].iloc[0] - float(np.ravel(explainer.expected_value)[0])),
}
for name, difference in differences.items():
    print(f"{name}: differs by {difference:.7f} rings at most")
assert max(differences.values()) < TOLERANCE

# %% [markdown]
# ## 7. Pictures
#
# The answers fit the plots of `shap` as they are.

# %%
explanation = shap.Explanation(
    batch[NAMES].to_numpy(), batch["base value"].to_numpy(), test[NAMES].to_numpy(), feature_names=NAMES
)
shap.plots.beeswarm(explanation, color=plt.cm.viridis, plot_size=(9, 5), show=False)
plt.xlabel("SHAP value (rings)")
plt.savefig(folder / "beeswarm.png", dpi=100, bbox_inches="tight")

# %% [markdown]
# The heavier a shell is, the more rings the model expects. Of two shells of the same weight, the one around a
# heavier body gets fewer: an animal that has much meat in a light shell is young.

# %%
shap.plots.scatter(
    explanation[:, "shell weight (g)"], color=explanation[:, "shucked weight (g)"], cmap=plt.cm.viridis, show=False
)
plt.ylabel("SHAP value of the shell's weight (rings)")
plt.savefig(folder / "shell-weight.png", dpi=100, bbox_inches="tight")

# %% [markdown]
# ## 8. A report
#
# `xgbpatch report` makes one page of the file that batch transform wrote. It needs no other file and no network:
# open it, send it to somebody, or print it. It says how good the model is, what moves its predictions and for
# whom, and checks that the numbers add up.

# %%
names, labels = folder / "names.txt", folder / "labels.csv"
names.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
test["rings"].to_csv(labels, header=False, index=False)
report = xgbpatch(
    "report", transformed, "--output", folder / "report.html", "--png", folder / "pictures",
    "--data", files["test"], "--labels", labels, "--names", names, "--cohort", NAMES[0],
    "--title", "What tells the age of an abalone", "--prediction", "age", "--unit", "rings",
    "--model", model, *([] if aws else ["--image", image]), "--quiet",
)  # fmt: skip
print("report:", report)
