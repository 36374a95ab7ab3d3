"""`xgbpatch explain` with S3 and on SageMaker, both moto's."""

from __future__ import annotations

import gzip
import json
import re

import boto3
import numpy as np
import pytest
import xgboost
from click.testing import CliRunner

from support.aws import ACCOUNT, REGION
from support.documentation import commands, run_by
from support.layers import tar_of
from support.moto_sagemaker import sagemaker_door
from support.patched_images import also, depot_of_user, patched
from xgbpatch.aws import AwsRegion, RepositoryOptions
from xgbpatch.aws.s3 import S3, S3Location
from xgbpatch.aws.sagemaker import TransformJobs
from xgbpatch.cli import cli
from xgbpatch.errors import AwsError, ConfigurationError
from xgbpatch.explanation import files, transform

BUCKET = "bucket"  # as docs/explain.md calls it
FROM_S3, ON_SAGEMAKER = (words[1:] for block in run_by(__file__, "docs/explain.md") for words in commands(block.script))
ROLE = ON_SAGEMAKER[ON_SAGEMAKER.index("--role") + 1]
ROWS = np.random.default_rng(0).random((250, 4)).astype(np.float32)
TEXT = "".join(",".join(map(str, row)) + "\n" for row in ROWS.tolist())


def run(*arguments):
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def model():
    booster = xgboost.train({"nthread": 1, "max_depth": 3}, xgboost.DMatrix(ROWS, label=ROWS[:, 0]), 5)
    return bytes(booster.save_raw("json"))


@pytest.fixture
def bucket(model, monkeypatch):
    """`put(key, content)` and `get(key)`, once one of the AWS fixtures is there; parts have 100 rows."""
    monkeypatch.setattr(files.ExplainOptions.__init__, "__defaults__", ((), False, False, False, 100))

    class Bucket:
        client = boto3.client("s3", REGION)

        def put(self, key, content):
            self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

        def get(self, key):
            return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

        def keys(self, prefix):
            objects = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
            return [item["Key"] for item in objects]

    new_bucket = Bucket()
    new_bucket.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    new_bucket.put("model.json", model)
    new_bucket.put("model.tar.gz", gzip.compress(tar_of([("xgboost-model.json", model)])))
    new_bucket.put("rows/one.csv", TEXT)
    new_bucket.put("rows/two.csv", TEXT.splitlines(keepends=True)[0])
    return new_bucket


@pytest.fixture
def s3(aws, bucket):
    return bucket


def test_model_input_and_output_in_s3_give_the_bytes_of_this_machine(s3, model, tmp_path):
    (tmp_path / "rows").mkdir()
    for name in ("one.csv", "two.csv"):
        (tmp_path / "rows" / name).write_bytes(s3.get(f"rows/{name}"))
    (tmp_path / "model.json").write_bytes(model)
    run("explain", tmp_path / "model.json", tmp_path / "rows", "--output", tmp_path / "out")
    result = run(
        "explain", f"s3://{BUCKET}/model.json", f"s3://{BUCKET}/rows/", "--output", f"s3://{BUCKET}/out", "--json"
    )
    document = json.loads(result.stdout)
    assert (document["rows"], document["output"]) == (251, f"s3://{BUCKET}/out")
    assert document["parts"] == [f"part-0000{number}.csv" for number in range(4)]
    for name in document["parts"]:
        assert s3.get(f"out/{name}") == (tmp_path / "out" / name).read_bytes()


def test_the_command_of_the_page_leaves_parquet_in_s3(s3):
    run(*FROM_S3)
    assert s3.keys("explained/") == [
        "explained/explain.json",
        *(f"explained/part-0000{part}.parquet" for part in range(4)),
    ]


def test_a_run_in_s3_keeps_whole_parts_and_makes_others_again(s3):
    words = ("explain", f"s3://{BUCKET}/model.json", f"s3://{BUCKET}/rows/one.csv", "--output", f"s3://{BUCKET}/out")
    run(*words)
    content = {key: s3.get(key) for key in s3.keys("out/")}
    before = s3.client.head_object(Bucket=BUCKET, Key="out/part-00000.csv")["LastModified"]
    s3.put("out/part-00001.csv", b"changed")
    s3.client.delete_object(Bucket=BUCKET, Key="out/part-00002.csv")
    assert "250 rows, 100 of them before" in run(*words).stderr
    assert {key: s3.get(key) for key in s3.keys("out/")} == content
    assert s3.client.head_object(Bucket=BUCKET, Key="out/part-00000.csv")["LastModified"] == before
    s3.put("rows/one.csv", TEXT * 2)
    with pytest.raises(ConfigurationError, match="holds parts of another run: other inputs"):
        run(*words)


def test_a_line_in_s3_that_cannot_be_read_is_told_by_its_url(s3):
    s3.put("bad.csv", "1,2,3,4\n1,2,x,4\n")
    with pytest.raises(ConfigurationError, match=f'"s3://{BUCKET}/bad.csv", line 2, column 3'):
        run("explain", f"s3://{BUCKET}/model.json", f"s3://{BUCKET}/bad.csv", "--output", f"s3://{BUCKET}/out")
    with pytest.raises(ConfigurationError, match=f'there is nothing at "s3://{BUCKET}/absent"'):
        run("explain", f"s3://{BUCKET}/model.json", f"s3://{BUCKET}/absent", "--output", f"s3://{BUCKET}/out")
    with pytest.raises(AwsError, match="NoSuchBucket") as caught:
        run("explain", "s3://no-such-bucket/model.json", f"s3://{BUCKET}/bad.csv", "--output", f"s3://{BUCKET}/out")
    assert "Check the bucket's name" in caught.value.next_step


def test_an_object_that_was_replaced_while_it_was_read_is_refused(s3, tmp_path):
    (item,) = S3().objects(S3Location(BUCKET, "rows/one.csv"))
    s3.put("rows/one.csv", TEXT.replace("1", "2"))
    with pytest.raises(AwsError, match="PreconditionFailed"):
        S3().download(item, tmp_path / "one.csv")


# On SageMaker.


@pytest.fixture
def explain_job(ecr, bucket, tmp_path, monkeypatch):
    """`explain_job(*options)`: the page's command, whose image is in ECR; `door` stands before moto's SageMaker."""
    place = ecr.reference("xgbpatch/sagemaker-xgboost")
    AwsRegion(REGION).ensure_repository(ACCOUNT, place.repository, RepositoryOptions())
    services = depot_of_user(tmp_path)
    image = patched(services, place)
    also(services, image, "3.2-0")
    with sagemaker_door(ecr.endpoint) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", door.url)
        monkeypatch.setattr(transform, "_POLL_SECONDS", 0.01)

        def call(*options):
            result = run(*ON_SAGEMAKER, "--json", *options)
            return json.loads(result.stdout), result.stderr

        call.door, call.image, call.sagemaker = door, image, boto3.client("sagemaker", REGION)
        yield call


def test_a_job_is_made_waited_for_and_its_model_is_removed(explain_job, bucket):
    document, stderr = explain_job("--no-wait")
    job = explain_job.sagemaker.describe_transform_job(TransformJobName=document["job"])
    sagemaker_model = explain_job.sagemaker.describe_model(ModelName=document["job"])
    assert re.fullmatch(r"xgbpatch-explain-[0-9a-f]{16}", document["job"])
    assert sagemaker_model["PrimaryContainer"]["Image"] == str(explain_job.image.pinned)
    assert sagemaker_model["PrimaryContainer"]["Environment"] == {"XGBPATCH_SHAP_LAYOUT": "append"}
    assert sagemaker_model["ExecutionRoleArn"] == ROLE
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/rows/"}
    assert job["TransformInput"] == {
        "DataSource": {"S3DataSource": source}, "ContentType": "text/csv", "SplitType": "Line",
        "CompressionType": "None",
    }  # fmt: skip
    assert job["TransformResources"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 4}
    assert "2 of 4 have nothing to do" in stderr
    for name in ("one.csv", "two.csv"):
        bucket.put(f"explained/{name}.out", "1,1\n")
    explain_job.door.statuses += ["InProgress", "InProgress"]
    again, stderr = explain_job()
    assert again == {"output": f"s3://{BUCKET}/explained", "job": document["job"], "status": "Completed"}
    assert "was started before: InProgress" in stderr
    assert "2 of 2 files are explained" in stderr
    assert explain_job.sagemaker.list_models()["Models"] == []


def test_a_job_that_fails_is_told_and_made_anew_by_the_same_command(explain_job, bucket):
    explain_job.door.statuses.append("Failed")
    with pytest.raises(AwsError, match="has failed: the door says so") as caught:
        explain_job()
    assert "CloudWatch" in caught.value.next_step
    assert explain_job.sagemaker.list_models()["Models"] == []
    bucket.put("explained/one.csv.out", "half")
    bucket.put("explained/two.csv.out", "1,1\n")
    explain_job.door.statuses += ["Failed", None]
    document, _ = explain_job()
    assert document["job"].endswith("-2")


def test_a_job_without_all_outputs_is_no_success(explain_job):
    with pytest.raises(AwsError, match=f'no output of "s3://{BUCKET}/rows/one.csv"'):
        explain_job()


def test_a_refused_job_leaves_no_model(explain_job):
    explain_job.door.refused.add("CreateTransformJob")
    with pytest.raises(AwsError, match="sagemaker:CreateTransformJob"):
        explain_job("--no-wait")
    assert explain_job.sagemaker.list_models()["Models"] == []


def test_an_interrupt_tells_how_to_stop_and_to_go_on(explain_job, bucket, monkeypatch):
    explain_job.door.statuses += ["InProgress"] * 2
    options = transform.Transform(explain_job.image, S3Location(BUCKET, "model.tar.gz"), S3Location(BUCKET, "rows/"),
                                 S3Location(BUCKET, "explained"), ROLE, "ml.m5.xlarge", 1)  # fmt: skip

    class Quiet:
        def line(self, text): ...

        def files(self, done, total): ...

    def interrupted(seconds):
        raise KeyboardInterrupt

    jobs = TransformJobs(REGION)
    with pytest.raises(KeyboardInterrupt) as caught:
        transform.run(transform.prepare(options, S3()), jobs, S3(), Quiet(), sleep=interrupted)
    assert "the same command waits for it again" in caught.value.__notes__[0]
    assert f"stop-transform-job --region {REGION} --transform-job-name xgbpatch-explain-" in caught.value.__notes__[1]


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [("rows/h.csv", "a,b,c,d\n1,2,3,4\n", "begins with a header"), ("rows/p.parquet", b"PAR1....", "neither CSV nor"),
     ("rows/j.jsonl", "[1, 2, 3, 4]\n", "neither CSV nor"), ("rows/s.libsvm", "1 0:1 1:2\n", "several kinds")],
)  # fmt: skip
def test_what_a_job_would_read_otherwise_is_refused(explain_job, bucket, key, content, reason):
    bucket.put(key, content)
    with pytest.raises(ConfigurationError, match=reason):
        explain_job("--no-wait")
    assert explain_job.sagemaker.list_models()["Models"] == []


def test_a_name_that_others_begin_with_and_a_full_output_are_refused(explain_job, bucket):
    bucket.put("rows/one.csv.bak", "1,2,3,4\n")
    with pytest.raises(ConfigurationError, match=r"would also read .*one\.csv\.bak"):
        run(*(f"{word}one.csv" if word.endswith("/rows/") else word for word in ON_SAGEMAKER))
    bucket.put("explained/other", "mine")
    with pytest.raises(ConfigurationError, match='is not empty: it holds "explained/other"'):
        explain_job("--no-wait")
