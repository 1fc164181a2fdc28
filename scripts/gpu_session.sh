#!/usr/bin/env bash
# Nine minutes on a borrowed GPU machine without network, which has PyTorch of its own.
#   scripts/gpu_session.sh --carry WHEELS            elsewhere: fills the folder WHEELS with what the session needs
#   scripts/gpu_session.sh WHEELS [OPTIONS]          there: `kd bench gpu OPTIONS`, then the tests of test/gpu
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:?name the folder of wheels}" = --carry ]; then
    mkdir -p "${2:?name the folder of wheels}"
    list="$2/requirements.txt"
    grep -hEv '^(#|-r|torch==|ros-|tensorrt-rtx)' requirements/{robot,training,test,gpu,indirect}.txt > "$list"
    python3 -m pip download --quiet --no-deps --dest "$2" --requirement "$list"
    exit
fi

wheels=$(realpath "$1")
shift
python3 -m venv --system-site-packages out/gpu-venv
python=$PWD/out/gpu-venv/bin/python
"$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" --requirement "$wheels/requirements.txt"
export PYTHONPATH=$PWD:$PWD/test
"$python" setup.py -q egg_info
timeout 420 "$python" -m kd_perception.cli bench gpu --minutes 6.5 "$@" || echo "kd bench gpu ended with $?"
timeout 90 "$python" -m pytest -q -m gpu test/gpu || echo "test/gpu ended with $?"
