# Sourced by the scripts beside it. Sets `root` and `python`, makes .venv when it is
# missing or out of date, and leaves the shell in the repository root.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$root/.venv/bin/python"

# An activated virtual environment, or pip settings of another project, must not matter.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_CONSTRAINT
unset PIP_REQUIRE_VIRTUALENV
# Tests start some thirty processes, each of which would compile the package anew.
unset PYTHONDONTWRITEBYTECODE
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# A command may exist and yet not run (a version manager's shim): so run it.
fits() {
    "$1" -c 'import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

find_python() {
    local candidate
    if [[ -n "${CVXJAX_PYTHON:-}" ]]; then
        fits "$CVXJAX_PYTHON" && type -P "$CVXJAX_PYTHON" && return
        echo "CVXJAX_PYTHON=$CVXJAX_PYTHON is not a working Python 3.11, 3.12 or 3.13" \
            "with venv." >&2
        return 1
    fi
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        fits "$candidate" && type -P "$candidate" && return
    done
    echo "cvxjax needs Python 3.11, 3.12 or 3.13 with its venv module, and found none on" \
        "PATH. Install one (on Debian and Ubuntu: apt install python3-venv), or point" \
        "at one: CVXJAX_PYTHON=/path/to/python3.13 $0" >&2
    return 1
}

stamp_now() {
    {
        cat "$root/requirements.txt" "$root/setup.cfg"
        echo "$root" "$(version_of "$python")"
    } | cksum
}

wanted() {
    fits "$python" || return 1
    [[ -z "${CVXJAX_PYTHON:-}" || "$(version_of "$1")" == "$(version_of "$python")" ]]
}

make_environment() {
    local base="" stamp="$root/.venv/requirements-stamp"
    if [[ -n "${CVXJAX_PYTHON:-}" ]]; then
        base="$(find_python)" || exit 1
    fi
    if ! wanted "$base"; then
        base="${base:-$(find_python)}" || exit 1
        echo "[1/3] making .venv with Python $(version_of "$base") ..."
        "$base" -m venv --clear "$root/.venv"
    elif [[ -f "$stamp" && "$(cat "$stamp")" == "$(stamp_now)" ]]; then
        return 0
    else
        echo "[1/3] bringing .venv up to date ..."
    fi
    rm -f "$stamp"
    echo "[2/3] installing the pinned packages (the first time: a minute or two, 1.7 GB) ..."
    "$python" -m pip install -qq --no-deps -r "$root/requirements.txt"
    echo "[3/3] installing cvxjax ..."
    "$python" -m pip install -qq --no-deps --no-build-isolation -e "$root"
    stamp_now >"$stamp"
}

make_environment
cd "$root"
