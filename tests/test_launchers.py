"""Scripts that start several processes: here, and with stand-ins for clusters."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
LAUNCHER = SCRIPTS / "launch_local"


def launch(count, script):
    return subprocess.Popen(
        [LAUNCHER, str(count), "bash", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_launched_processes_know_their_place():
    script = (
        'echo "$CVXJAX_NUM_PROCESSES $CVXJAX_PROCESS_ID $JAX_LOCAL_DEVICE_IDS";'
        'echo "$CVXJAX_COORDINATOR" >&2; printf unended'
    )
    process = launch(3, script)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = out.replace("unended", "unended\n").splitlines()
    for k in range(3):
        assert {f"[{k}] 3 {k} {k}", f"[{k}] unended"} <= set(lines)
    addresses = {line.split()[1] for line in lines if "127.0.0.1:" in line}
    assert len(addresses) == 1


def test_one_that_fails_ends_the_others():
    process = launch(2, "((CVXJAX_PROCESS_ID)) && exit 7; exec sleep 60")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 7
    assert "process 1 failed with exit code 7" in said


def test_a_signal_reaches_all_of_them():
    script = 'trap "echo saved; exit 3" TERM; echo up; while :; do sleep 0.05; done'
    process = launch(2, script)
    for _ in range(2):
        assert process.stdout.readline().endswith("up\n")
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 3 and "failed" not in said
    assert {"[0] saved", "[1] saved"} <= set(out.splitlines())


@pytest.mark.parametrize("arguments", [[], ["2"], ["0", "true"], ["two", "true"]])
def test_wrong_usage_of_the_launcher(arguments):
    done = subprocess.run(
        [LAUNCHER, *arguments], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2 and "usage" in done.stderr


def put_command(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def cluster(tmp_path):
    """A folder with the jobs; srun runs its command, which shows its arguments."""
    shutil.copytree(SCRIPTS / "slurm", tmp_path / "scripts" / "slurm")
    log = tmp_path / "log"
    put_command(
        tmp_path / "bin" / "srun", 'while [[ "$1" == --* ]]; do shift; done; exec "$@"'
    )
    put_command(tmp_path / "bin" / "scontrol", f'echo "$@" >>{log}')
    put_command(
        tmp_path / ".venv" / "bin" / "python",
        'trap "echo saved; exit 143" TERM; echo "$@"; eval "${THEN:-}"',
    )
    return tmp_path


def submit(folder, job, *arguments, **variables):
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    ids = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "11"}
    return subprocess.Popen(
        ["bash", folder / "scripts" / "slurm" / job, *arguments],
        env=os.environ
        | ids
        | {"PATH": path, "SLURM_SUBMIT_DIR": str(folder)}
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


JOBS = sorted(path.name for path in (SCRIPTS / "slurm").glob("*.sbatch"))


@pytest.mark.parametrize("job", JOBS)
def test_jobs_run_the_experiment_where_it_can_resume(job, cluster):
    process = submit(cluster, job, "--epochs=2", "--data_dir=a b")
    out, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    flags = out.split()
    assert flags[:2] == ["-m", "experiments.cifar10_convex_sgd"]
    assert out.endswith("--epochs=2 --data_dir=a b\n")
    where = "5/rate-1e-6-seed-2" if job == "sweep.sbatch" else "7"
    assert {f"--checkpoint_dir=checkpoints/{where}", f"--out=results/{where}"} <= set(
        flags
    )
    if job == "sweep.sbatch":
        assert {"--learning_rates=1e-6", "--seed=2"} <= set(flags)
    assert not (cluster / "log").exists()
    text = (SCRIPTS / "slurm" / job).read_text()
    assert "#SBATCH --requeue\n#SBATCH --signal=B:TERM@120\n" in text


@pytest.mark.parametrize("job", JOBS)
def test_an_interrupted_job_goes_back_into_the_queue(job, cluster):
    process = submit(cluster, job, THEN="while :; do sleep 0.05; done")
    assert process.stdout.readline().startswith("-m experiments")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 143 and out == "saved\n"
    assert (cluster / "log").read_text() == "requeue 7\n"


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"), [(1, 0, False), (143, 3, True), (143, 100, False)]
)
def test_only_interrupted_jobs_come_back(code, restarts, requeued, cluster):
    count = {"SLURM_RESTART_COUNT": str(restarts)}
    process = submit(cluster, "single_gpu.sbatch", THEN=f"exit {code}", **count)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert (cluster / "log").exists() == requeued


def test_a_job_without_an_environment_says_so(cluster):
    shutil.rmtree(cluster / ".venv")
    process = submit(cluster, "single_gpu.sbatch")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2 and "scripts/slurm/README.md" in said


@pytest.fixture
def pod(tmp_path):
    """A home with cvxjax/; gcloud runs what each host would, once."""
    put_command(
        tmp_path / "bin" / "gcloud",
        f'echo "$@" >>{tmp_path}/log; cd {tmp_path}; last="${{@: -1}}"; '
        'exec bash -c "${last#--command=}"',
    )
    put_command(
        tmp_path / "cvxjax" / ".venv" / "bin" / "show",
        'trap "echo saved; exit 143" TERM; echo "$CVXJAX_COORDINATOR $# $2"; eval "$1"',
    )
    return tmp_path


def launch_on_pod(pod, then):
    environment = os.environ | {"PATH": f"{pod / 'bin'}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [SCRIPTS / "tpu" / "launch", "name", "zone", "show", then, "a  b"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_command_runs_on_every_host_of_a_pod(pod):
    process = launch_on_pod(pod, "exit 3")
    out, said = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, "auto 2 a  b\n"), said
    words = shlex.split((pod / "log").read_text().splitlines()[0].split("--command")[0])
    assert words == "compute tpus tpu-vm ssh name --zone=zone --worker=all".split()


def test_a_signal_reaches_every_host_of_a_pod(pod):
    process = launch_on_pod(pod, "while :; do sleep 0.05; done")
    assert process.stdout.readline() == "auto 2 a  b\n"
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    assert (process.returncode, out) == (143, "saved\n"), said


@pytest.mark.parametrize("script", ["launch", "setup"])
def test_wrong_usage_of_a_pod(script):
    done = subprocess.run(
        [SCRIPTS / "tpu" / script], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2 and "usage" in done.stderr
