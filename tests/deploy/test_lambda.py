"""The Lambda stack: the template deploys, the package builds, and its handlers run from it in a clean interpreter."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import util
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from glyphforge.database.clock import database_time
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun, JobSchedule
from tests.support import database

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "lambda"
TEMPLATE = FOLDER / "template.yaml"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags as plain values."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))
RESOURCES: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader)["Resources"]


def module(name: str) -> Any:
    """A program of the folder, whose name is a keyword and so no package."""
    spec = util.spec_from_file_location(f"lambda_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    loaded = util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Context:
    def __init__(self, seconds: float = 300) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def test_template_is_clean() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(TEMPLATE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("name", "timeout", "memory", "schedule"),
    [
        ("DailyMaintenance", 900, 512, "cron(0 2 * * ? *)"),
        ("HealthCheck", 300, 256, "cron(0/15 * * * ? *)"),
        ("HourlySync", 300, 256, "cron(5 * * * ? *)"),
    ],
)
def test_function_has_its_schedule_limits_vpc_and_secret(name: str, timeout: int, memory: int, schedule: str) -> None:
    function = RESOURCES[name]["Properties"]
    assert (function["Timeout"], function["MemorySize"]) == (timeout, memory)
    assert RESOURCES[f"{name}Schedule"]["Properties"]["ScheduleExpression"] == schedule
    assert set(function["VpcConfig"]) == {"SecurityGroupIds", "SubnetIds"}
    assert function["Environment"]["Variables"]["SETTINGS_SECRET_ARN"] == "SettingsSecretArn"
    assert not {"DATABASE_URL", "SLACK_WEBHOOK_URL"} & set(function["Environment"]["Variables"])
    assert hasattr(module("handler"), function["Handler"].removeprefix("handler."))


def test_every_job_belongs_to_one_function() -> None:
    handler = module("handler")
    grouped = [*handler.DAILY, *handler.HOURLY, *handler.FREQUENT, *handler.ELSEWHERE]
    assert len(grouped) == len(set(grouped))
    assert set(JOBS) == set(grouped)


def test_every_hourly_job_is_asked_for_when_it_is_due() -> None:
    """Waiting for the next hour would take longer than the grace after which a job is overdue."""
    asked = {"5"}
    asked |= set(RESOURCES["OtherHourlySlotsSchedule"]["Properties"]["ScheduleExpression"][5:].split()[0].split(","))
    assert {JOBS[name].cron.split()[0] for name in module("handler").HOURLY} == asked


def test_backups_are_left_to_a_machine_that_keeps_files(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = module("handler")
    monkeypatch.setattr(handler, "set_up", lambda: None)
    monkeypatch.setattr("monitoring.jobs.schedules.due", lambda: ["backup", "drill"])
    for function in (handler.daily_maintenance, handler.hourly_sync, handler.health_check):
        assert function({}, Context()) == {}


@mock_aws
def test_stack_is_created_with_three_scheduled_functions() -> None:
    region = {"region_name": "us-east-1"}
    boto3.client("s3", **region).create_bucket(Bucket="code")
    boto3.client("s3", **region).put_object(Bucket="code", Key="lambda.zip", Body=b"PK\5\6" + b"\0" * 18)
    ec2 = boto3.client("ec2", **region)
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    secret = boto3.client("secretsmanager", **region).create_secret(Name="settings", SecretString="{}")["ARN"]
    values = {
        "CodeBucket": "code",
        "CodeKey": "lambda.zip",
        "SettingsSecretArn": secret,
        "VpcSecurityGroupIds": group,
        "VpcSubnetIds": subnet,
    }
    boto3.client("cloudformation", **region).create_stack(
        StackName="glyph-forge-db-maintenance",
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    functions = boto3.client("lambda", **region).list_functions()["Functions"]
    assert {function["Handler"]: (function["Timeout"], function["MemorySize"]) for function in functions} == {
        "handler.daily_maintenance": (900, 512),
        "handler.health_check": (300, 256),
        "handler.hourly_sync": (300, 256),
    }
    rules = boto3.client("events", **region).list_rules()["Rules"]
    assert {rule["ScheduleExpression"] for rule in rules} >= {"cron(0 2 * * ? *)", "cron(5 * * * ? *)"}


@mock_aws
def test_settings_come_from_the_secret_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("secretsmanager", region_name="us-east-1")
    text = json.dumps({"METRICS_TOKEN": "from the secret", "LOG_LEVEL": "DEBUG"})
    monkeypatch.setenv("SETTINGS_SECRET_ARN", client.create_secret(Name="settings", SecretString=text)["ARN"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("METRICS_TOKEN")
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    module("handler").load_secrets()
    assert (os.environ.pop("METRICS_TOKEN"), os.environ["LOG_LEVEL"]) == ("from the secret", "INFO")


@pytest.mark.django_db
class TestDueJobs:
    @pytest.fixture(autouse=True)
    def due(self) -> None:
        JobSchedule.objects.update(next_due_at=database_time() - timedelta(hours=2))
        JobSchedule.objects.exclude(job__in=("sync", "orphans", "rollup")).update(enabled=False)

    def test_a_function_runs_the_due_jobs_of_its_group_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        handler = module("handler")
        monkeypatch.setattr(handler, "set_up", lambda: None)
        assert handler.hourly_sync({}, Context()) == {"orphans": "succeeded", "sync": "succeeded"}
        assert set(JobRun.objects.values_list("job", "trigger")) == {("sync", "lambda"), ("orphans", "lambda")}
        assert handler.hourly_sync({}, Context()) == {}

    def test_without_time_left_a_job_stays_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        handler = module("handler")
        monkeypatch.setattr(handler, "set_up", lambda: None)
        assert set(handler.hourly_sync({}, Context(seconds=21)).values()) == {"postponed"}
        assert not JobRun.objects.exists()


class SecretsManager(BaseHTTPRequestHandler):
    """Answers GetSecretValue with `values`."""

    values: dict[str, str] = {}

    def do_POST(self) -> None:
        body = json.dumps({"ARN": "arn", "Name": "settings", "SecretString": json.dumps(self.values)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def secrets_manager() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), SecretsManager)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package built for this interpreter, unpacked as Lambda does."""
    folder = tmp_path_factory.mktemp("lambda")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run(
        [sys.executable, str(FOLDER / "package.py"), str(folder / "lambda.zip"), "--python-version", version],
        check=True,
    )
    with zipfile.ZipFile(folder / "lambda.zip") as archive:
        archive.extractall(folder / "task")
    return folder / "task"


INVOKE = """
import sys
sys.path.insert(0, {task!r})
import json, handler
class Context:
    def get_remaining_time_in_millis(self): return 300_000
print("RESULT " + json.dumps(handler.{name}({{}}, Context())))
outside = [m.__file__ for m in sys.modules.values() if "site-packages" in (getattr(m, "__file__", None) or "")]
assert not outside, outside
"""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_handlers_run_from_the_package_alone(package: Path, secrets_manager: str) -> None:
    assert (package / "docs" / "runbook.md").is_file()  # alerts show it
    JobSchedule.objects.update(next_due_at=database_time() - timedelta(hours=2))
    JobSchedule.objects.exclude(job__in=("daily", "sync", "rollup")).update(enabled=False)
    SecretsManager.values = {
        "DATABASE_URL": database.url(),
        "DJANGO_SECRET_KEY": "x" * 50,
        "API_KEY_PEPPER": "x" * 50,
        "STRIPE_WEBHOOK_SECRET": "whsec_test",
    }
    environment = {
        "SETTINGS_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:settings",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets_manager,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "DJANGO_DEBUG": "false",
        "DJANGO_ALLOWED_HOSTS": "localhost",
        "HOME": str(package.parent),
    }
    base = Path(sys.base_prefix) / "bin" / "python3"
    for name, jobs in (("daily_maintenance", "daily"), ("hourly_sync", "sync"), ("health_check", "rollup")):
        done = subprocess.run(
            [str(base), "-I", "-S", "-c", INVOKE.format(task=str(package), name=name)],
            env=environment,
            cwd=package.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
        assert json.loads(result.removeprefix("RESULT ")) == {jobs: "succeeded"}
