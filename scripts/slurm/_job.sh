# shellcheck shell=bash
# Sourced by the jobs beside it, which are submitted from the repository root: SLURM
# runs a copy of them. Sets `python`; `run_step` starts a step that survives preemption.

cd "${SLURM_SUBMIT_DIR:?submit with sbatch from the repository root}" || exit 2
python="$PWD/.venv/bin/python"
if [[ ! -x "$python" ]]; then
    echo "no $python: see scripts/slurm/README.md" >&2
    exit 2
fi

# Runs a command, after srun's own options, as a step of the job. SLURM announces the
# time limit and preemption by SIGTERM. An experiment then saves its state and exits with
# 143, and the job goes back into the queue, to resume: a hundred times at most, so that
# what cannot resume does not come back for ever.
run_step() {
    local step status
    srun "$@" &
    step=$!
    trap 'kill -TERM "$step" 2>/dev/null || true' TERM
    while :; do
        status=0
        wait "$step" || status=$?
        kill -0 "$step" 2>/dev/null || break # else a signal came, and its trap ran
    done
    trap - TERM
    if ((status == 143 && ${SLURM_RESTART_COUNT:-0} < 100)); then
        echo "interrupted: back into the queue" >&2
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$status"
}
